"""What the kernel knows about processes: who descends from whom, who carries a tag, how much memory they hold."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

TAG_VARIABLE: Final = "CHIFFON_RUN"
PAGE_BYTES: Final = os.sysconf("SC_PAGE_SIZE")


def all_pids() -> Iterator[int]:
    """Every process id that is visible now."""
    for name in os.listdir("/proc"):
        if name.isdigit():
            yield int(name)


def state_and_parent(pid: int) -> tuple[str, int] | None:
    """A process's one-letter state and its parent's id; None if it is gone."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            # The name in parentheses may itself hold parentheses and spaces, so cut at the last one.
            fields = file.read().rpartition(b")")[2].split()
        return fields[0].decode(), int(fields[1])
    except (OSError, ValueError, IndexError):
        return None


def descendants(root: int) -> list[int]:
    """Every living process below `root`, parents before children; zombies are walked through but not named."""
    children: dict[int, list[tuple[int, str]]] = {}
    for pid in all_pids():
        found = state_and_parent(pid)
        if found is not None:
            children.setdefault(found[1], []).append((pid, found[0]))
    living: list[int] = []
    waiting = [root]
    while waiting:
        for pid, state in children.get(waiting.pop(), ()):
            waiting.append(pid)
            if state not in "ZX":
                living.append(pid)
    return living


def resident_bytes(pids: Iterable[int]) -> int:
    """The resident memory of these processes together, in bytes; pages they share count once for each."""
    total = 0
    for pid in pids:
        try:
            with open(f"/proc/{pid}/statm", "rb") as file:
                total += int(file.read().split()[1]) * PAGE_BYTES
        except (OSError, ValueError, IndexError):
            continue
    return total


def tag_of(pid: int) -> str | None:
    """The tag that a process was started with; None if it has none, is gone, or is not ours to read."""
    try:
        with open(f"/proc/{pid}/environ", "rb") as file:
            environment = file.read()
    except OSError:
        return None
    mark = TAG_VARIABLE.encode() + b"="
    for entry in environment.split(b"\0"):
        if entry.startswith(mark):
            return entry[len(mark) :].decode("utf-8", "replace")
    return None


def send(pids: Iterable[int], number: int) -> None:
    """Send a signal to each of these processes; those that are gone or not ours are passed over."""
    for pid in pids:
        try:
            os.kill(pid, number)
        except (ProcessLookupError, PermissionError):
            continue


def is_alive(pid: int) -> bool:
    """Whether a process still runs; a zombie does not."""
    found = state_and_parent(pid)
    return found is not None and found[0] not in "ZX"


def exit_code(status: int) -> int:
    """A wait status as an exit code; a death by signal is the negative signal number."""
    if os.WIFSIGNALED(status):
        return -os.WTERMSIG(status)
    return os.WEXITSTATUS(status)


def signal_name(number: int) -> str:
    """The name of a signal, or its number where it has none."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
