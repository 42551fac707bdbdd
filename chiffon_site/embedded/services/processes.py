"""Starting and ending a unit's processes so that none is ever left behind."""

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from chiffon_site.embedded.services.units import Unit

TAG: Final = "CHIFFON_SERVICE"
PR_SET_PDEATHSIG: Final = 1
LARGEST_LOG_BYTES: Final = 4 * 1024 * 1024

_libc: Final = ctypes.CDLL(None, use_errno=True)


def spawn(unit: Unit, *, root: Path, port: int | None) -> subprocess.Popen[bytes]:
    """Start a unit in a session of its own, with an environment built from nothing; raises OSError.

    The kernel kills it when the manager dies. That signal follows the thread that forked, so only the main thread may call this.
    """
    parent = os.getpid()

    def die_with_the_manager() -> None:
        _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(1)

    environment = {
        "PATH": "/usr/local/bin:/usr/bin:/bin",
        "HOME": str(unit.working_directory),
        "LANG": "C.UTF-8",
        "PYTHONUNBUFFERED": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
        **dict(unit.environment),
        TAG: tag(root, unit.name),
    }
    if port is not None:
        environment["PORT"] = str(port)
    if keeper := os.environ.get("CHIFFON_KEEPER"):
        environment["CHIFFON_KEEPER"] = keeper  # lets the keeper's own start-up sweep find a left-over unit
    log = root / "logs" / f"{unit.name}.log"
    shorten_log(log)
    with log.open("ab") as output:
        return subprocess.Popen(
            [sys.executable, str(unit.script), *unit.arguments],
            cwd=unit.working_directory,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=die_with_the_manager,  # noqa: PLW1509  the manager has one thread
        )


def end(
    processes: Sequence[tuple[subprocess.Popen[bytes], str]], *, grace_seconds: float, hurry: Callable[[], bool]
) -> None:
    """End each (process, tag) politely, and firmly after `grace_seconds` or as soon as `hurry()` says so."""
    for process, _ in processes:
        _signal_group(process.pid, signal.SIGTERM)
    deadline = time.monotonic() + grace_seconds
    while any(process.poll() is None for process, _ in processes) and time.monotonic() < deadline and not hurry():
        time.sleep(0.02)
    for process, _ in processes:
        _signal_group(process.pid, signal.SIGKILL)
        process.wait()
    for _, wanted in processes:
        sweep(wanted)


def sweep(wanted: str, *, prefix: bool = False) -> int:
    """Kill every process that carries the tag (or, with `prefix`, a tag that starts so); the number killed."""
    needle = f"{TAG}={wanted}".encode()
    killed = 0
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        try:
            variables = (entry / "environ").read_bytes().split(b"\0")
        except OSError:
            continue  # gone meanwhile, or another user's
        if any(variable == needle or (prefix and variable.startswith(needle)) for variable in variables):
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(int(entry.name), signal.SIGKILL)
                killed += 1
    return killed


def tag(root: Path, name: str) -> str:
    """What marks every process of a unit, its grandchildren included."""
    return f"{root}|{name}"


def shorten_log(log: Path) -> None:
    """Move a log that has grown large to `<name>.log.1`, keeping the file itself open for who writes to it."""
    try:
        if log.stat().st_size <= LARGEST_LOG_BYTES:
            return
        log.with_name(log.name + ".1").write_bytes(log.read_bytes()[-LARGEST_LOG_BYTES:])
        os.truncate(log, 0)
    except FileNotFoundError:
        return


def _signal_group(pid: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, number)
