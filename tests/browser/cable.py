"""The cable between a browser and the world, as a SOCKS proxy: it can be pulled out and put back."""

import contextlib
import socket
import socketserver
import struct
import threading


class Cable(socketserver.ThreadingTCPServer):
    """Carries each connection while it is in; pulled out, it ends all of them and lets none begin."""

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Carrier)
        self.inserted = True
        self.ends: set[socket.socket] = set()
        self.lock = threading.Lock()
        threading.Thread(target=self.serve_forever, args=(0.1,), daemon=True).start()

    @property
    def address(self) -> str:
        return f"socks5://127.0.0.1:{self.server_address[1]}"

    def pull(self) -> None:
        """End every connection without a word."""
        with self.lock:
            self.inserted = False
            for end in self.ends:
                with contextlib.suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)

    def insert(self) -> None:
        """Let connections begin again."""
        self.inserted = True

    def close(self) -> None:
        """End the proxy."""
        self.pull()
        self.shutdown()
        self.server_close()


class _Carrier(socketserver.StreamRequestHandler):
    server: Cable
    connection: socket.socket

    def handle(self) -> None:
        _, methods = self.rfile.read(2)
        self.rfile.read(methods)
        self.connection.sendall(b"\x05\x00")
        kind = self.rfile.read(4)[3]
        size = {1: 4, 4: 16}.get(kind) or self.rfile.read(1)[0]
        name = self.rfile.read(size)
        host = name.decode() if kind == 3 else socket.inet_ntop(socket.AF_INET if kind == 1 else socket.AF_INET6, name)
        (port,) = struct.unpack("!H", self.rfile.read(2))
        if not self.server.inserted:
            return
        with contextlib.suppress(OSError), socket.create_connection((host, port), 10) as far:
            far.settimeout(None)
            self.connection.sendall(b"\x05\x00\x00\x01" + bytes(6))
            with self.server.lock:
                self.server.ends |= {far, self.connection}
            back = threading.Thread(target=_carry, args=(far, self.connection), daemon=True)
            back.start()
            _carry(self.connection, far)
            back.join()
            with self.server.lock:
                self.server.ends -= {far, self.connection}


def _carry(source: socket.socket, target: socket.socket) -> None:
    """Carry bytes one way until there are none."""
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            target.sendall(data)
    for end in (source, target):
        with contextlib.suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)
