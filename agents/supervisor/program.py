"""The supervisor itself: start one command, relay what it says, keep the clock, end its whole tree.

Standard input: one line of JSON with the specification, then control lines `beat` and `cancel`.
Standard output: one JSON object per line, `line`, `event` and last `exit`.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import resource
import selectors
import signal
import sys
import time
from typing import TYPE_CHECKING, Any, Final

from agents.supervisor import processes
from agents.supervisor.lines import LineCutter
from agents.supervisor.spec import Spec, SpecError

if TYPE_CHECKING:
    from collections.abc import Callable

PR_SET_PDEATHSIG: Final = 1
PR_SET_CHILD_SUBREAPER: Final = 36
EVENT_FD: Final = 3
READ_BYTES: Final = 65536
BACKLOG_BYTES: Final = 1 << 20  # more unread output than this, and the command has to wait
EVENT_LIMIT_BYTES: Final = 4 << 20
TICK_SECONDS: Final = 0.25
SAMPLE_SECONDS: Final = 0.5
FIRST_SAMPLE_SECONDS: Final = 0.1
KILL_SECONDS: Final = 30.0  # a process stuck in the kernel can not be ended; say so instead of waiting for ever
ORPHAN_SECONDS: Final = 1.0


class Supervisor:
    """Owns the child command from start to the last descendant."""

    def __init__(self, spec: Spec, *, leftover: bytes, parent: int) -> None:
        self.spec = spec
        self.parent = parent
        self.selector = selectors.DefaultSelector()
        self.control = leftover
        self.cutters = {"stdout": LineCutter(), "stderr": LineCutter(), "event": LineCutter(EVENT_LIMIT_BYTES)}
        self.sources: dict[int, str] = {}
        self.outbox = bytearray()
        self.deaf = False  # nobody reads us any more
        self.orphaned = False  # nobody owns us any more
        self.paused = False
        self.status: int | None = None
        self.reason: str | None = None
        self.kill_at: float | None = None
        self.peak = 0
        self.started = self.beaten = time.monotonic()
        self.next_sample = self.started + FIRST_SAMPLE_SECONDS
        self.child = 0

    def run(self) -> int:
        """Supervise to the end; 0 once the last word was said."""
        prctl(PR_SET_CHILD_SUBREAPER, 1)
        wake = wake_on_signals()
        os.set_blocking(0, False)
        os.set_blocking(1, False)
        problem = self.start()
        if problem:
            self.say({"t": "exit", "code": 127, "reason": "exited", "error": problem, **self.resources()})
            self.last_words(lambda: bool(self.outbox))
            return 0
        self.selector.register(wake, selectors.EVENT_READ, "wake")
        self.selector.register(0, selectors.EVENT_READ, "control")
        self.read_control(b"")
        while not self.finished():
            self.wait(self.until_next())
            self.reap()
            self.judge()
        left = self.end_tree()
        self.last_words(lambda: bool(self.sources))
        self.say_exit(left)
        self.last_words(lambda: bool(self.outbox))
        return 0

    def start(self) -> str:
        """Start the child; one sentence if that is impossible."""
        pipes = {name: os.pipe() for name in ("stdout", "stderr", "event", "failure")}
        environment = {**self.spec.env, processes.TAG_VARIABLE: self.spec.tag, "CHIFFON_EVENT_FD": str(EVENT_FD)}
        me = os.getpid()
        self.child = os.fork()
        if self.child == 0:
            become_child(self.spec, environment, pipes, me)
        for name, (read, write) in pipes.items():
            os.close(write)
            if name != "failure":
                os.set_blocking(read, False)
                self.sources[read] = name
                self.selector.register(read, selectors.EVENT_READ, name)
        failure = os.read(pipes["failure"][0], 4096)
        os.close(pipes["failure"][0])
        if failure:
            os.waitpid(self.child, 0)
            return failure.decode("utf-8", "replace")
        return ""

    def wait(self, seconds: float) -> None:
        """Sleep until something happens, at most so many seconds, and take in what came."""
        for key, _ in self.selector.select(seconds):
            if key.data == "wake":
                with contextlib.suppress(BlockingIOError):
                    self.heed(os.read(key.fd, 4096))
            elif key.data == "control":
                self.read_control(None)
            elif key.data == "out":
                self.flush()
            else:
                self.take_in(key.fd)
        self.flush()

    def until_next(self) -> float:
        now = time.monotonic()
        moments = [now + TICK_SECONDS, self.next_sample]
        if self.reason is None and self.spec.timeout_seconds:
            moments.append(self.started + self.spec.timeout_seconds)
        if self.kill_at is not None:
            moments.append(self.kill_at)
        return max(0.0, min(moments) - now)

    def heed(self, numbers: bytes) -> None:
        """Signals that reached us: to be told to go means that nobody owns the tree any more."""
        if {signal.SIGTERM, signal.SIGINT, signal.SIGHUP} & set(numbers):
            self.stop("abandoned", politely=True)

    def read_control(self, data: bytes | None) -> None:
        """Act on control lines; the end of standard input means that our owner is gone."""
        if data is None:
            try:
                data = os.read(0, READ_BYTES)
            except BlockingIOError:
                return
            if not data:
                self.selector.unregister(0)
                self.abandon()
                return
        *lines, self.control = (self.control + data).split(b"\n")
        if lines:
            self.beaten = time.monotonic()
        if b"cancel" in (line.strip() for line in lines):
            self.stop("cancelled", politely=True)

    def take_in(self, fd: int) -> None:
        """Read one chunk of the child's output and pass its whole lines on."""
        name = self.sources[fd]
        try:
            chunk = os.read(fd, READ_BYTES)
        except BlockingIOError:
            return
        cutter = self.cutters[name]
        lines = cutter.feed(chunk) if chunk else cutter.finish()
        if not chunk:
            if not self.paused:
                self.selector.unregister(fd)
            del self.sources[fd]
            os.close(fd)
        for text in lines:
            self.say(event_message(text) if name == "event" else {"t": "line", "stream": name, "text": text})

    def say(self, message: dict[str, Any]) -> None:
        if not self.deaf:
            self.outbox += json.dumps(message, ensure_ascii=True, separators=(",", ":")).encode() + b"\n"

    def flush(self) -> None:
        """Write what fits; hold the command back while its reader is slow."""
        try:
            while self.outbox and not self.deaf:
                del self.outbox[: os.write(1, self.outbox[:READ_BYTES])]
        except BlockingIOError:
            pass
        except OSError:
            self.deaf = True
            self.outbox.clear()
            self.abandon()
        listening = 1 in self.selector.get_map()
        if self.outbox and not listening:
            self.selector.register(1, selectors.EVENT_WRITE, "out")
        elif not self.outbox and listening:
            self.selector.unregister(1)
        self.hold_back(len(self.outbox) > BACKLOG_BYTES)

    def hold_back(self, paused: bool) -> None:
        if paused == self.paused:
            return
        self.paused = paused
        for fd, name in self.sources.items():
            if paused:
                self.selector.unregister(fd)
            else:
                self.selector.register(fd, selectors.EVENT_READ, name)

    def reap(self) -> None:
        """Collect the dead, those that were handed to us by the kernel included."""
        with contextlib.suppress(ChildProcessError):
            while True:
                pid, status = os.waitpid(-1, os.WNOHANG)
                if pid == 0:
                    return
                if pid == self.child:
                    self.status = status

    def judge(self) -> None:
        """Look at the clock, the owner and the beats."""
        now = time.monotonic()
        self.look_for_owner(now)
        if self.spec.timeout_seconds and now - self.started >= self.spec.timeout_seconds:
            self.stop("timeout", politely=True)
        if now >= self.next_sample:
            self.next_sample = now + SAMPLE_SECONDS
            self.peak = max(self.peak, processes.resident_bytes(processes.descendants(os.getpid())))

    def look_for_owner(self, now: float) -> None:
        silent = self.spec.beat_seconds and now - self.beaten > self.spec.beat_seconds
        if silent or os.getppid() != self.parent:
            self.abandon()

    def abandon(self) -> None:
        """Nobody will use what the command does from here on: end it without ceremony."""
        self.orphaned = True
        self.stop("abandoned", politely=False)

    def stop(self, reason: str, *, politely: bool) -> None:
        """Ask the tree to end, or order it to; the first reason stands, firmness may only grow."""
        now = time.monotonic()
        first = self.reason is None and self.status is None
        if first:
            self.reason = reason
        if not politely:
            self.kill_at = now
        elif first:
            self.kill_at = now + self.spec.grace_seconds
            below = processes.descendants(os.getpid())
            processes.send(below, signal.SIGTERM)
            processes.send(below, signal.SIGCONT)

    def finished(self) -> bool:
        """Whether the main child is gone, or the time for politeness is over."""
        return self.status is not None or (self.kill_at is not None and time.monotonic() >= self.kill_at)

    def end_tree(self) -> list[int]:
        """Kill every descendant until none remains; answers those that would not die."""
        deadline = time.monotonic() + KILL_SECONDS
        pause = 0.001
        while True:
            below = processes.descendants(os.getpid())
            processes.send(below, signal.SIGKILL)
            self.reap()
            if self.childless() or (below and time.monotonic() > deadline):
                return processes.descendants(os.getpid())
            time.sleep(pause)
            pause = min(pause * 2, 0.05)

    def childless(self) -> bool:
        # As child-subreaper every orphan below us becomes our child, so "no children" means "no descendants".
        try:
            os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        except ChildProcessError:
            return True
        return False

    def last_words(self, unfinished: Callable[[], bool]) -> None:
        """Relay what is left for as long as somebody owns us; a slow reader is waited for, a lost one only shortly."""
        started = time.monotonic()
        self.flush()
        while unfinished() and not self.deaf:
            self.wait(TICK_SECONDS)
            now = time.monotonic()
            self.look_for_owner(now)
            if self.orphaned and now - started > ORPHAN_SECONDS:
                return

    def resources(self) -> dict[str, float | int]:
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        return {
            "wall_seconds": round(time.monotonic() - self.started, 4),
            "cpu_seconds": round(used.ru_utime + used.ru_stime, 4),
            "peak_rss_bytes": max(self.peak, used.ru_maxrss * 1024),
        }

    def say_exit(self, left: list[int]) -> None:
        code = None if self.status is None else processes.exit_code(self.status)
        reason = self.reason or ("signal" if code is not None and code < 0 else "exited")
        message: dict[str, Any] = {"t": "exit", "code": code, "reason": reason, **self.resources()}
        if reason == "signal" and code is not None:
            message["error"] = f"The command was ended by {processes.signal_name(-code)}."
        if left:
            message["left"] = left
        self.say(message)


def event_message(text: str) -> dict[str, Any]:
    """A structured event, or the honest remark that what came was none."""
    try:
        data = json.loads(text)
    except (ValueError, RecursionError):
        data = None
    if not isinstance(data, dict):
        return {"t": "junk", "text": text[:200]}
    return {"t": "event", "data": data}


def prctl(option: int, value: int) -> None:
    """Set one attribute of this process; raises OSError if the kernel refuses."""
    library = ctypes.CDLL(None, use_errno=True)
    if library.prctl(option, ctypes.c_ulong(value), 0, 0, 0) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"prctl({option}) failed: {os.strerror(number)}")


def wake_on_signals() -> int:
    """Make every signal that matters wake the selector; answers the descriptor to watch."""
    read, write = os.pipe()
    os.set_blocking(read, False)
    os.set_blocking(write, False)
    for number in (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1):
        signal.signal(number, lambda *_: None)
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    signal.set_wakeup_fd(write, warn_on_full_buffer=False)
    return read


def become_child(spec: Spec, environment: dict[str, str], pipes: dict[str, tuple[int, int]], supervisor: int) -> None:
    """In the new process: leave the old session, take the limits, become the command. Never returns."""
    failure = pipes["failure"][1]
    try:
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGPIPE):
            signal.signal(number, signal.SIG_DFL)
        os.setsid()
        prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != supervisor:
            os._exit(125)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.dup2(pipes["stdout"][1], 1)
        os.dup2(pipes["stderr"][1], 2)
        os.dup2(pipes["event"][1], EVENT_FD)  # number 3 was the selector's, so nothing that is still needed goes
        os.umask(0o077)
        os.chdir(spec.cwd)
        for name, (soft, hard) in spec.rlimits.items():
            resource.setrlimit(getattr(resource, name), (soft, hard))
        os.execvpe(spec.argv[0], spec.argv, environment)
    except BaseException as error:  # whatever it is, it must be told through the pipe, not by a second supervisor
        what = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        os.write(failure, f"The command {spec.argv[0]!r} could not be started: {what}.".encode())
    os._exit(127)


def main() -> int:
    """Read the specification, supervise, and go; 2 if there was nothing usable to read."""
    parent = os.getppid()
    prctl(PR_SET_PDEATHSIG, signal.SIGUSR1)  # only a nudge: a parent's thread may end while the parent lives
    data = b""
    while b"\n" not in data:
        chunk = os.read(0, READ_BYTES)
        if not chunk:
            return 2
        data += chunk
    line, _, leftover = data.partition(b"\n")
    try:
        spec = Spec.from_json(line)
    except SpecError as error:
        sys.stdout.write(json.dumps({"t": "exit", "code": None, "reason": "refused", "error": str(error)}) + "\n")
        return 2
    return Supervisor(spec, leftover=leftover, parent=parent).run()
