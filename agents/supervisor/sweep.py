"""Remove processes of attempts that nobody owns any more, found by the tag in their environment."""

from __future__ import annotations

import os
import signal
import time
from typing import TYPE_CHECKING

from agents.supervisor.processes import all_pids, is_alive, send, tag_of

if TYPE_CHECKING:
    from collections.abc import Collection


def tagged(*, tags: Collection[str] = (), prefix: str | None = None, keep: Collection[str] = ()) -> dict[int, str]:
    """The processes whose tag is one of `tags` or begins with `prefix`, except those in `keep`: id to tag."""
    found: dict[int, str] = {}
    for pid in all_pids():
        if pid == os.getpid():
            continue
        tag = tag_of(pid)
        if tag is None or tag in keep:
            continue
        if (tag in tags or (prefix is not None and tag.startswith(prefix))) and is_alive(pid):
            found[pid] = tag
    return found


def sweep(
    *, tags: Collection[str] = (), prefix: str | None = None, keep: Collection[str] = (), within_seconds: float = 5.0
) -> list[int]:
    """Kill every process that carries one of these tags, and answer the ids of those that were found.

    `prefix` takes every tag that begins so; give agents that share a host different prefixes, or one will end
    the other's work. The search is repeated until nothing is found, at most for `within_seconds`.

    Raises ValueError if neither tags nor a prefix is given.
    """
    if not tags and not prefix:
        raise ValueError("A sweep needs tags or a prefix, so that it never ends processes it was not asked about.")
    killed: dict[int, str] = {}
    deadline = time.monotonic() + within_seconds
    while found := tagged(tags=tags, prefix=prefix, keep=keep):
        killed.update(found)
        send(found, signal.SIGKILL)
        if time.monotonic() > deadline:
            break
        time.sleep(0.02)
    return sorted(killed)
