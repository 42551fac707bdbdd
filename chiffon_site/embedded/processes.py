"""Small things about processes that the standard library leaves to the operating system."""

import ctypes
import os
import random
import signal
import socket
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Final

import psutil

from chiffon_site.embedded.errors import CannotStart

TAG: Final = "CHIFFON_KEEPER"
_PORTS: Final = range(20_000, 32_768)
_PR_SET_PDEATHSIG: Final = 1
_PR_SET_CHILD_SUBREAPER: Final = 36
_libc = ctypes.CDLL(None, use_errno=True)


def adopt_orphans() -> None:
    """Make this process the parent of every descendant whose own parent dies, so that none can slip away."""
    _libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def before_exec(*, death_signal: signal.Signals, parent: int) -> Callable[[], None]:
    """Return what a child does before it becomes its program: take no blocked signals along, and die with its parent."""

    def prepare() -> None:
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        _libc.prctl(_PR_SET_PDEATHSIG, int(death_signal), 0, 0, 0)
        if os.getppid() != parent:  # the parent died before the line above could take effect
            os._exit(1)

    return prepare


def tagged(tag: str) -> list[psutil.Process]:
    """Return the processes whose environment carries the tag, this one excepted."""
    found = []
    for process in psutil.process_iter():
        # Processes of others do not show their environment, and some end while they are looked at.
        with suppress(psutil.Error, OSError):
            if process.pid != os.getpid() and process.environ().get(TAG) == tag:
                found.append(process)
    return found


def descendants() -> list[psutil.Process]:
    """Return every living process below this one."""
    with suppress(psutil.Error):
        return psutil.Process().children(recursive=True)
    return []


def end(processes: Iterable[psutil.Process], *, patience_seconds: float) -> list[int]:
    """Ask processes to end, then make them; return the ids of those that had to be ended."""
    living = [process for process in processes if _signal(process, signal.SIGTERM)]
    for process in living:
        _signal(process, signal.SIGCONT)  # a stopped process could not hear the request
    ids = [process.pid for process in living]
    _, stubborn = psutil.wait_procs(living, timeout=patience_seconds)
    for process in stubborn:
        _signal(process, signal.SIGKILL)
    psutil.wait_procs(stubborn, timeout=2)
    return ids


def _signal(process: psutil.Process, number: signal.Signals) -> bool:
    try:
        process.send_signal(number)
    except (psutil.Error, OSError):
        return False
    return True


def port_is_free(host: str, port: int) -> bool:
    """Whether a server could listen there now."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as the servers do: a port in TIME_WAIT is free
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True


def free_port() -> int:
    """Return a loopback port that nothing listens on, for a server that starts in some seconds.

    Not one of those that the system gives to outgoing connections, from 32768 on: one of these could take it meanwhile.
    """
    for port in random.SystemRandom().sample(_PORTS, 100):
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise CannotStart(f"No port of 127.0.0.1 between {_PORTS[0]} and {_PORTS[-1]} is free.")


def wait_until(is_true: Callable[[], bool], *, seconds: float, every: float = 0.05) -> bool:
    """Wait for something to become true; answer whether it did in time."""
    deadline = time.monotonic() + seconds
    while not is_true():
        if time.monotonic() >= deadline:
            return False
        time.sleep(every)
    return True
