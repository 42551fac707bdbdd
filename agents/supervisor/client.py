"""The other end of the supervisor: start one, read what it says, keep it alive with beats, stop it."""

from __future__ import annotations

import contextlib
import json
import os
import select
import subprocess
import sys
import time
from collections import deque
from pathlib import Path
from typing import Any, Final, Self

import agents
from agents.supervisor.processes import TAG_VARIABLE
from agents.supervisor.spec import Spec
from agents.supervisor.sweep import sweep

Message = dict[str, Any]
READ_BYTES: Final = 262_144
LATE_SECONDS: Final = 60.0  # a supervisor that has not spoken this long after its own deadline is stuck
CODE_ROOT: Final = str(Path(agents.__path__[0]).resolve().parent)


class Supervised:
    """One running supervisor. Use as a context manager: leaving it ends the whole tree."""

    def __init__(self, spec: Spec, process: subprocess.Popen[bytes]) -> None:
        self.spec = spec
        self.exit: Message | None = None
        self._process = process
        self._messages: deque[Message] = deque()
        self._held = b""
        self._deadline = time.monotonic() + spec.timeout_seconds + spec.grace_seconds + LATE_SECONDS
        self._fd = _stream(process.stdout).fileno()
        self._poll = select.poll()
        self._poll.register(self._fd, select.POLLIN | select.POLLHUP)

    @classmethod
    def start(cls, spec: Spec) -> Self:
        """Start a supervisor and hand it the specification. Raises OSError if no process can be made."""
        process = subprocess.Popen(
            # -S: the supervisor needs the standard library only, and searching site-packages doubles its start.
            [sys.executable, "-S", "-m", "agents.supervisor"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            bufsize=0,
            cwd="/",
            env={"PYTHONPATH": CODE_ROOT, "PYTHONSAFEPATH": "1", "LC_ALL": "C.UTF-8", TAG_VARIABLE: spec.tag},
            start_new_session=True,
        )
        running = cls(spec, process)
        running._tell(spec.to_json())
        return running

    @property
    def pid(self) -> int:
        """The supervisor's process id."""
        return self._process.pid

    @property
    def ended(self) -> bool:
        """Whether the exit message was handed out; no other message follows it."""
        return self.exit is not None and not self._messages

    def next(self, timeout: float) -> Message | None:
        """The next message, or None if none came within `timeout` seconds or the run has ended.

        The last message is always an `exit`. Its reason is `lost` if the supervisor itself was killed or hung;
        the tree was then ended from here.
        """
        until = time.monotonic() + timeout
        while not self._messages and self.exit is None:
            left = until - time.monotonic()
            if self._poll.poll(max(0.0, left) * 1000):
                self._read()
            elif self.spec.timeout_seconds and time.monotonic() > self._deadline:
                self._lose("The supervisor did not end in time.")
            elif left <= 0:
                return None
        return self._messages.popleft() if self._messages else None

    def beat(self) -> None:
        """Say that the owner is alive and still holds its lease."""
        self._tell(b"beat\n")

    def cancel(self) -> None:
        """Ask for the tree to end, politely first. The exit message follows when nothing is left."""
        self._tell(b"cancel\n")

    def close(self) -> None:
        """Let go: a tree that still runs is ended at once. Safe to call twice."""
        if self._process.poll() is None:
            with contextlib.suppress(OSError):
                _stream(self._process.stdin).close()  # its end of input: "nobody owns this any more"
            if self.exit is None or self._process.poll() is None:
                self._wait_or_kill()
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                with contextlib.suppress(OSError):
                    stream.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _tell(self, data: bytes) -> None:
        # A supervisor that is gone is noticed where its messages are read, with the tree ended there.
        with contextlib.suppress(OSError, ValueError):
            view = memoryview(data)
            while view:
                view = view[_stream(self._process.stdin).write(view) :]

    def _read(self) -> None:
        try:
            chunk = os.read(self._fd, READ_BYTES)
        except OSError:
            chunk = b""
        if not chunk:
            self._lose("The supervisor was ended before it could say how the command went.")
            return
        *lines, self._held = (self._held + chunk).split(b"\n")
        for line in lines:
            message = _message(line)
            if message is None or self.exit is not None:
                continue
            self._messages.append(message)
            if message["t"] == "exit":
                self.exit = message

    def _lose(self, sentence: str) -> None:
        self._process.kill()
        self._process.wait()
        ended = sweep(tags=[self.spec.tag])
        self.exit = {"t": "exit", "code": None, "reason": "lost", "error": sentence, "swept": len(ended)}
        self._messages.append(self.exit)

    def _wait_or_kill(self) -> None:
        try:
            self._process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
            sweep(tags=[self.spec.tag])


def _stream(stream: Any) -> Any:
    if stream is None:  # both pipes are asked for at the start, so this can not happen
        raise OSError("The supervisor was started without a pipe.")
    return stream


def _message(line: bytes) -> Message | None:
    try:
        message = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return message if isinstance(message, dict) and isinstance(message.get("t"), str) else None
