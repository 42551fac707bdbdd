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
from typing import Any, Final
from uuid import UUID

from channels.layers import get_channel_layer

log = logging.getLogger(__name__)

INBOX_GROUP: Final = "inbox"
SPACING_SECONDS: Final = 0.2  # at most five rings a second for each group, the last one included
PUBLISH_SECONDS: Final = 2.0
COMPLAIN_SECONDS: Final = 60.0


def plan_group(plan_id: UUID | str) -> str:
    """The channel group of a plan's readers."""
    return f"plan.{plan_id}"


def announce(plan_id: UUID | str) -> None:
    """Say that a plan has news. Call it after commit; it returns at once and never raises."""
    _ring(plan_group(plan_id), {"type": "plan.ring", "plan_id": str(plan_id)})


def announce_inbox() -> None:
    """Say that somebody's inbox may have changed. Call it after commit; it returns at once and never raises."""
    _ring(INBOX_GROUP, {"type": "inbox.ring"})


class Bell:
    """The thread that rings. A group that is rung again too soon is rung once more at the end of its pause."""

    def __init__(self) -> None:
        self.process = os.getpid()
        self._loop = asyncio.new_event_loop()
        self._pausing: dict[str, bool] = {}  # group -> whether it must be rung when its pause ends
        self._messages: dict[str, dict[str, Any]] = {}
        self._ringing: set[asyncio.Task[None]] = set()
        self._complained_at = -COMPLAIN_SECONDS
        threading.Thread(target=self._run, name="live-bell", daemon=True).start()

    def ring(self, group: str, message: dict[str, Any]) -> None:
        """Leave a note for the thread; it is only woken for a group that does not pause."""
        if self._pausing.get(group):  # rung already, and rung again when its pause ends
            return
        self._loop.call_soon_threadsafe(self._note, group, message)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_forever()

    def _note(self, group: str, message: dict[str, Any]) -> None:
        if group in self._pausing:
            self._pausing[group] = True
            self._messages[group] = message
            return
        self._pausing[group] = False
        task = self._loop.create_task(self._publish(group, message))
        self._ringing.add(task)
        task.add_done_callback(self._ringing.discard)
        self._loop.call_later(SPACING_SECONDS, self._end_pause, group)

    def _end_pause(self, group: str) -> None:
        again = self._pausing.pop(group, False)
        message = self._messages.pop(group, None)
        if again and message is not None:
            self._note(group, message)

    async def _publish(self, group: str, message: dict[str, Any]) -> None:
        layer = get_channel_layer()
        if layer is None:
            return
        try:
            await asyncio.wait_for(layer.group_send(group, message), PUBLISH_SECONDS)
        except Exception as error:
            now = time.monotonic()
            if now - self._complained_at >= COMPLAIN_SECONDS:
                self._complained_at = now
                log.warning("Live readers could not be told of news and look by themselves meanwhile: %r", error)


_bell: Bell | None = None
_lock = threading.Lock()


def _ring(group: str, message: dict[str, Any]) -> None:
    global _bell
    with _lock:
        if _bell is None or _bell.process != os.getpid():  # threads do not survive a fork
            _bell = Bell()
        bell = _bell
    bell.ring(group, message)


def _after_fork() -> None:
    global _lock, _bell
    _lock = threading.Lock()
    _bell = None


os.register_at_fork(after_in_child=_after_fork)
