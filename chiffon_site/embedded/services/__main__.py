"""`python -m chiffon_site.embedded.services --root DIR`: run the service manager until SIGTERM or SIGINT.

One request per connection on the UNIX socket `DIR/manager.sock`, one JSON line each way:
`{"op": "start", "unit": "kuma"}` is answered by `{"ok": true, "changed": true, "unit": {...}}` or `{"ok": false, "code", "error"}`.
"""

import argparse
import contextlib
import fcntl
import json
import os
import selectors
import signal
import socket
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from chiffon_site.embedded.services.manager import Manager, Reply
from chiffon_site.embedded.services.units import UnitError

SOCKET_NAME: Final = "manager.sock"
LARGEST_REQUEST_BYTES: Final = 64 * 1024
REQUEST_SECONDS: Final = 1.0


class Stopping:
    """Whether a signal asked the manager to stop; calling it answers."""

    def __init__(self) -> None:
        self.asked = False

    def __call__(self) -> bool:
        return self.asked

    def ask(self, *_: object) -> None:
        """The handler of SIGTERM and SIGINT."""
        self.asked = True


def main(arguments: list[str] | None = None) -> int:
    """Run the manager; 0 after a wanted stop, 1 with one sentence on stderr when it cannot start."""
    parser = argparse.ArgumentParser(prog="python -m chiffon_site.embedded.services", description=__doc__)
    parser.add_argument("--root", type=Path, required=True, help="the sandbox folder; made when it is absent")
    root = parser.parse_args(arguments).root.absolute()
    stopping = Stopping()
    signal.signal(signal.SIGTERM, stopping.ask)
    signal.signal(signal.SIGINT, stopping.ask)
    try:
        with _locked(root), _listening(root) as listener:
            _serve(root.resolve(), listener, stopping)
    except OSError as problem:
        print(f"The service manager cannot use {root}: {problem.strerror or problem}.", file=sys.stderr)
        return 1
    return 0


@contextlib.contextmanager
def _locked(root: Path) -> Iterator[None]:
    """Make the folders, and hold the lock that keeps a second manager away; raises OSError."""
    root.mkdir(mode=0o700, parents=True, exist_ok=True)
    for folder in ("units", "logs", "run"):
        (root / folder).mkdir(mode=0o700, exist_ok=True)
    with (root / "manager.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise OSError(0, "another service manager already runs there") from None
        yield


@contextlib.contextmanager
def _listening(root: Path) -> Iterator[socket.socket]:
    """Listen on the socket, readable by this user only; raises OSError."""
    # A socket's address holds 107 bytes; from inside its folder the name is always short enough.
    os.chdir(root)
    Path(SOCKET_NAME).unlink(missing_ok=True)
    with socket.socket(socket.AF_UNIX) as listener:
        before = os.umask(0o177)
        try:
            listener.bind(SOCKET_NAME)
        finally:
            os.umask(before)
        listener.listen(16)
        listener.setblocking(False)
        try:
            yield listener
        finally:
            Path(SOCKET_NAME).unlink(missing_ok=True)


def _serve(root: Path, listener: socket.socket, stopping: Stopping) -> None:
    waker, woken = socket.socketpair()
    waker.setblocking(False)
    woken.setblocking(False)
    signal.set_wakeup_fd(waker.fileno(), warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)  # a unit's death must wake the loop below
    manager = Manager(root, say=_say, hurry=stopping)
    with selectors.DefaultSelector() as selector:
        selector.register(listener, selectors.EVENT_READ)
        selector.register(woken, selectors.EVENT_READ)
        manager.resume()
        _say("Service manager is ready")
        try:
            while not stopping():
                for key, _ in selector.select(manager.tick()):
                    if key.fileobj is listener:
                        _take_request(listener, manager)
                    else:
                        _drain(woken)
        finally:
            stopping.asked = False  # the units' own time to end is bounded, so the stop itself need not hurry
            manager.stop_all()
    _say("Service manager has stopped; its units will start again with it")


def _take_request(listener: socket.socket, manager: Manager) -> None:
    """Answer one connection. A slow one is dropped after a second, because nobody else is served meanwhile."""
    try:
        connection, _ = listener.accept()
    except OSError:
        return
    with connection, contextlib.suppress(OSError):
        try:
            line = _read_line(connection)
        except TimeoutError:
            return
        connection.settimeout(REQUEST_SECONDS)
        connection.sendall(json.dumps(_reply(line, manager)).encode() + b"\n")


def _read_line(connection: socket.socket) -> bytes:
    deadline = time.monotonic() + REQUEST_SECONDS
    data = b""
    while b"\n" not in data and len(data) <= LARGEST_REQUEST_BYTES:
        connection.settimeout(max(deadline - time.monotonic(), 0.001))
        received = connection.recv(8192)
        if not received:
            break
        data += received
    return data


def _reply(line: bytes, manager: Manager) -> Reply:
    try:
        request = json.loads(line) if len(line) <= LARGEST_REQUEST_BYTES else None
    except (ValueError, RecursionError):
        request = None
    if not isinstance(request, dict):
        return {"ok": False, "code": "bad_request", "error": 'A request is one line of JSON: {"op": …, "unit": …}.'}
    try:
        return {"ok": True, **manager.answer(request.get("op"), request.get("unit"))}
    except UnitError as refusal:
        return {"ok": False, "code": refusal.code, "error": str(refusal)}
    except OSError as problem:
        return {"ok": False, "code": "system", "error": f"The service manager could not do it: {problem}."}


def _drain(woken: socket.socket) -> None:
    with contextlib.suppress(BlockingIOError):
        while woken.recv(4096):
            pass


def _say(sentence: str) -> None:
    with contextlib.suppress(OSError):  # whoever read the output may be gone
        print(sentence, flush=True)


if __name__ == "__main__":
    sys.exit(main())
