"""Ring for open readers, after commit: merged, never blocking, never failing.

The layer speaks asyncio and its callers do not. A call per ring through a new event loop costs milliseconds, so one daemon
thread with one loop does the talking and callers only leave a note.
"""

from __future__ import annotations

import asyncio
import logging
import os
import threading
import time
from typing import Final
from uuid import UUID

from channels.layers import get_channel_layer

log = logging.getLogger(__name__)

GROUP: Final = "news"  # of the channel layer: all readers hear all rings, and each ring says whom it is for
INBOX: Final = "inbox"
SPACING_SECONDS: Final = 0.2  # a process rings five times a second at most, the last one included
PUBLISH_SECONDS: Final = 2.0
COMPLAIN_SECONDS: Final = 60.0


def readers_of(plan_id: UUID | str) -> str:
    """What the readers of a plan are called in a ring."""
    return f"plan.{plan_id}"


def announce(plan_id: UUID | str) -> None:
    """Say that a plan has news. Call it after commit; it returns at once and never raises."""
    _ring(readers_of(plan_id))


def announce_inbox() -> None:
    """Say that somebody's inbox may have changed. Call it after commit; it returns at once and never raises."""
    _ring(INBOX)


class Bell:
    """The thread that rings. What has news during the pause after a ring is rung together at its end."""

    def __init__(self) -> None:
        self.process = os.getpid()
        self._loop = asyncio.new_event_loop()
        self._pausing = False
        self._news: set[str] = set()
        self._writing = threading.Lock()
        self._publishing: asyncio.Task[None] | None = None
        self._complained_at = -COMPLAIN_SECONDS
        threading.Thread(target=self._run, name="live-bell", daemon=True).start()

    def ring(self, readers: str) -> None:
        """Leave a note for the thread; it is only woken if it does not pause."""
        with self._writing:
            self._news.add(readers)
        if not self._pausing:
            self._loop.call_soon_threadsafe(self._begin)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_forever()

    def _begin(self) -> None:
        if self._pausing or not self._news:
            return
        self._pausing = True
        with self._writing:
            news, self._news = self._news, set()
        self._publishing = self._loop.create_task(self._publish(sorted(news)))
        self._loop.call_later(SPACING_SECONDS, self._end_pause)

    def _end_pause(self) -> None:
        self._pausing = False
        self._begin()

    async def _publish(self, news: list[str]) -> None:
        layer = get_channel_layer()
        if layer is None:
            return
        try:
            await asyncio.wait_for(layer.group_send(GROUP, {"type": "news.ring", "for": news}), PUBLISH_SECONDS)
        except Exception as error:
            now = time.monotonic()
            if now - self._complained_at >= COMPLAIN_SECONDS:
                self._complained_at = now
                log.warning("Live readers could not be told of news and look by themselves meanwhile: %r", error)


_bell: Bell | None = None
_lock = threading.Lock()


def _ring(readers: str) -> None:
    global _bell
    with _lock:
        if _bell is None or _bell.process != os.getpid():  # threads do not survive a fork
            _bell = Bell()
        bell = _bell
    bell.ring(readers)


def _after_fork() -> None:
    global _lock, _bell
    _lock = threading.Lock()
    _bell = None


os.register_at_fork(after_in_child=_after_fork)
