"""The keeper: starts children in order, restarts what dies, gives up when that does not help, and leaves nothing behind.

(The *supervisor* is something else: it owns the process tree of one step, see `agents/supervisor`.)

One thread, no polling: the keeper sleeps until a signal says that a child ended or that somebody wants the end.
"""

import os
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from chiffon_site.embedded.errors import CannotStart, Interrupted
from chiffon_site.embedded.processes import TAG, adopt_orphans, before_exec, descendants, end, tagged

FIRST_WAIT_SECONDS: Final = 0.2
LONGEST_WAIT_SECONDS: Final = 5.0
DEATHS: Final = 5
DEATHS_WITHIN_SECONDS: Final = 60.0
POLITE_SECONDS: Final = 5.0
SERVERS_SECONDS: Final = 2.5
KEPT_LOGS: Final = 3
SHOWN_LINES: Final = 15
_SIGNALS: Final = frozenset({signal.SIGCHLD, signal.SIGINT, signal.SIGTERM, signal.SIGHUP})


@dataclass(frozen=True, slots=True)
class Child:
    """What the keeper has to know about one program."""

    name: str
    command: Sequence[str]
    environment: Mapping[str, str] = field(default_factory=dict)
    is_ready: Callable[[], bool] | None = None
    ready_within_seconds: float = 30.0
    # Servers are stopped last, when nobody needs them any more.
    is_server: bool = False
    stop_signal: signal.Signals = signal.SIGTERM
    # What the child gets when the keeper itself is killed.
    death_signal: signal.Signals = signal.SIGKILL
    folder: Path = Path("/")


@dataclass(slots=True)
class _Watched:
    child: Child
    process: subprocess.Popen[bytes] | None = None
    deaths: deque[float] = field(default_factory=lambda: deque(maxlen=DEATHS))
    wait: float = FIRST_WAIT_SECONDS
    due: float | None = None  # when to start it again
    last_end: str = ""


class Keeper:
    """Runs the children of one installation; use it as a context, whose end stops them all."""

    def __init__(self, *, logs: Path, tag: str) -> None:
        self._logs = logs
        self._tag = tag
        self._watched: dict[str, _Watched] = {}
        self._old_mask: set[signal.Signals] = set()
        self._running: set[int] = set()
        self._wants_end = False

    def __enter__(self) -> "Keeper":
        """Take over the signals, adopt orphans, and end what an earlier keeper left behind when it was killed."""
        self._old_mask = {signal.Signals(number) for number in signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)}
        adopt_orphans()
        end(tagged(self._tag), patience_seconds=3)
        return self

    def __exit__(self, *_: object) -> None:
        """Stop every child."""
        try:
            self.stop()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, self._old_mask)

    def start(self, child: Child) -> None:
        """Start a child and go on; a death is noticed in `watch` or `wait_ready`."""
        _rotate(self._logs / f"{child.name}.log")
        self._watched[child.name] = watched = _Watched(child)
        self._launch(watched)

    def wait_ready(self, child: Child) -> None:
        """Wait until a child says it is ready, restarting it meanwhile if it dies.

        Raises CannotStart if it is not ready in time, and Interrupted if somebody wants the end.
        """
        deadline = time.monotonic() + child.ready_within_seconds
        while child.is_ready is not None and not child.is_ready():
            if time.monotonic() > deadline:
                raise CannotStart(
                    self._complaint(child.name, f"was not ready within {child.ready_within_seconds:.0f} s")
                )
            self._attend(0.05)

    def run(self, name: str, command: Sequence[str], environment: Mapping[str, str], *, within_seconds: float) -> None:
        """Run a program to its end while watching the children.

        Raises CannotStart if it fails or takes too long, and Interrupted if somebody wants the end.
        """
        path = self._logs / f"{name}.log"
        _rotate(path)
        process = self._spawn(Child(name, command, environment))
        self._running = {process.pid}
        deadline = time.monotonic() + within_seconds
        while process.poll() is None:
            if time.monotonic() > deadline:
                raise CannotStart(self._complaint(name, f"did not finish within {within_seconds:.0f} s"))
            self._attend(0.2)
        self._running = set()
        if process.returncode:
            raise CannotStart(self._complaint(name, f"failed with exit code {process.returncode}"))

    def watch(self) -> None:
        """Keep everything running until somebody wants the end.

        Raises CannotStart when a child dies five times in a minute.
        """
        while not self._wants_end:
            waits = [watched.due - time.monotonic() for watched in self._watched.values() if watched.due is not None]
            try:
                self._attend(max(0.0, min(waits)) if waits else 3600.0)
            except Interrupted:
                return

    def process_ids(self) -> dict[str, int]:
        """Return the process id of each running child."""
        return {name: watched.process.pid for name, watched in self._watched.items() if watched.process}

    def stop(self) -> None:
        """End every child: programs first, servers after them, and whatever is left by force; within ten seconds."""
        for watched in self._watched.values():
            watched.due = None
        programs = [watched for watched in self._watched.values() if not watched.child.is_server]
        servers = [watched for watched in self._watched.values() if watched.child.is_server]
        self._stop_group(programs, POLITE_SECONDS)
        self._stop_group(servers, SERVERS_SECONDS)
        # Also what left its process group: children of children are ours, because the keeper adopts orphans.
        end([*descendants(), *tagged(self._tag)], patience_seconds=0.5)
        self._reap_orphans()
        self._watched.clear()

    def _stop_group(self, group: list[_Watched], patience: float) -> None:
        for watched in group:
            if watched.process and watched.process.poll() is None:
                _send(watched.process, watched.child.stop_signal)
                _send(watched.process, signal.SIGCONT)
        deadline = time.monotonic() + patience
        while (
            any(watched.process and watched.process.poll() is None for watched in group) and time.monotonic() < deadline
        ):
            got = signal.sigtimedwait(_SIGNALS, max(0.0, min(0.2, deadline - time.monotonic())))
            if got and got.si_signo in {signal.SIGINT, signal.SIGTERM}:
                break  # asked twice: no more patience
        for watched in group:
            if watched.process:
                _kill_group(watched.process)
                watched.process.wait()
                watched.process = None

    def _attend(self, seconds: float) -> None:
        """Sleep until something happens, at most so long, and deal with it."""
        got = signal.sigtimedwait(_SIGNALS, seconds)
        if got and got.si_signo in {signal.SIGINT, signal.SIGTERM, signal.SIGHUP}:
            self._wants_end = True
            raise Interrupted("Stopped while starting.")
        now = time.monotonic()
        for watched in self._watched.values():
            if watched.process is not None and watched.process.poll() is not None:
                self._mourn(watched, now)
            if watched.due is not None and watched.due <= now:
                self._launch(watched)
        self._reap_orphans()

    def _mourn(self, watched: _Watched, now: float) -> None:
        assert watched.process is not None
        code = watched.process.returncode
        watched.last_end = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
        _kill_group(watched.process)  # its helpers must not live on beside those of its successor
        watched.process = None
        watched.deaths.append(now)
        if len(watched.deaths) == DEATHS and now - watched.deaths[0] <= DEATHS_WITHIN_SECONDS:
            raise CannotStart(
                self._complaint(watched.child.name, f"died {DEATHS} times within a minute and {watched.last_end}")
            )
        if len(watched.deaths) > 1 and now - watched.deaths[-2] > DEATHS_WITHIN_SECONDS:
            watched.wait = FIRST_WAIT_SECONDS
        print(
            f"{watched.child.name} {watched.last_end}; it is started again in {watched.wait:.1f} s.",
            file=sys.stderr,
            flush=True,
        )
        watched.due = now + watched.wait
        watched.wait = min(watched.wait * 2, LONGEST_WAIT_SECONDS)

    def _launch(self, watched: _Watched) -> None:
        watched.due = None
        watched.process = self._spawn(watched.child)

    def _spawn(self, child: Child) -> subprocess.Popen[bytes]:
        with (self._logs / f"{child.name}.log").open("ab") as log:
            try:
                return subprocess.Popen(
                    list(child.command),
                    env={**child.environment, TAG: self._tag},
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    cwd=child.folder,
                    start_new_session=True,
                    preexec_fn=before_exec(death_signal=child.death_signal, parent=os.getpid()),  # noqa: PLW1509 - one thread only
                )
            except OSError as error:
                raise CannotStart(
                    f"The program of {child.name} cannot be started ({error.strerror}: {child.command[0]})."
                ) from error

    def _reap_orphans(self) -> None:
        """Collect adopted processes that have ended; the children are left to their Popen objects."""
        known = self._running | {watched.process.pid for watched in self._watched.values() if watched.process}
        while True:
            try:
                ended = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            except ChildProcessError:
                return
            if ended is None or ended.si_pid in known:
                return
            os.waitpid(ended.si_pid, 0)

    def _complaint(self, name: str, what: str) -> str:
        path = self._logs / f"{name}.log"
        try:
            lines = path.read_bytes()[-20_000:].decode(errors="replace").splitlines()[-SHOWN_LINES:]
        except OSError:
            lines = []
        tail = "".join(f"\n    {line}" for line in lines)
        return f"{name} {what}. The end of {path}:{tail}" if lines else f"{name} {what}; it wrote nothing to {path}."


def _send(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    try:
        process.send_signal(number)
    except ProcessLookupError:
        return


def _kill_group(process: subprocess.Popen[bytes]) -> None:
    try:
        os.killpg(process.pid, signal.SIGKILL)  # each child leads a group of its own
    except (ProcessLookupError, PermissionError):
        return


def _rotate(path: Path) -> None:
    """Keep the logs of the last few starts."""
    if not path.exists() or not path.stat().st_size:
        return
    for number in range(KEPT_LOGS - 1, 0, -1):
        older = path.with_name(f"{path.name}.{number}")
        if older.exists():
            older.replace(path.with_name(f"{path.name}.{number + 1}"))
    path.replace(path.with_name(f"{path.name}.1"))
