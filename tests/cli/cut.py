"""A way to a server that can be cut: it carries each connection until then, and new ones afterwards."""

import contextlib
import socket
import socketserver
import threading


class Way(socketserver.ThreadingTCPServer):
    """Leads to a port of this machine."""

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, port: int) -> None:
        super().__init__(("127.0.0.1", 0), _Carrier)
        self.port = port
        self.ends: set[socket.socket] = set()
        threading.Thread(target=self.serve_forever, args=(0.1,), daemon=True).start()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def cut(self) -> int:
        """End every connection without a word; how many there were."""
        ends, self.ends = self.ends, set()
        for end in ends:
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
        return len(ends)

    def close(self) -> None:
        """End the way."""
        self.cut()
        self.shutdown()
        self.server_close()


class _Carrier(socketserver.BaseRequestHandler):
    server: Way

    def handle(self) -> None:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.server.port), 10) as far:
            far.settimeout(None)
            self.server.ends |= {far, self.request}
            back = threading.Thread(target=_carry, args=(far, self.request), daemon=True)
            back.start()
            _carry(self.request, far)
            back.join()
            self.server.ends -= {far, self.request}


def _carry(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            target.sendall(data)
    for end in (source, target):
        with contextlib.suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)
