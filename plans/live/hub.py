"""Readers of one process: they share one ear for the bell, and one reading serves all who stand at the same place."""

from __future__ import annotations

import asyncio
import json
import logging
import random
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final
from weakref import WeakKeyDictionary

from asgiref.sync import sync_to_async
from channels.layers import get_channel_layer
from django.db import close_old_connections

from plans.live.bell import GROUP

log = logging.getLogger(__name__)

LOOK_SECONDS: Final = 5.0  # how long news waits when its ring was lost
KEPT_READINGS: Final = 8
CONNECT_SECONDS: Final = 3.0
DATABASE_THREADS: Final = 4

# Bounds the connections that all live readers of this process may hold together.
_threads = ThreadPoolExecutor(DATABASE_THREADS, thread_name_prefix="live")


async def in_thread[T](function: Callable[..., T], *args: Any, **kwargs: Any) -> T:
    """Run what asks the database, on one of the few threads that live readers have."""

    def call() -> T:
        close_old_connections()
        try:
            return function(*args, **kwargs)
        finally:
            close_old_connections()  # back to the pool: a reader that only waits holds none

    return await sync_to_async(call, thread_sensitive=False, executor=_threads)()


@dataclass(slots=True)
class _Reading:
    generation: int
    task: asyncio.Task[Any]


class Hub:
    """All readers of one plan, or of the inbox, in this process."""

    def __init__(self) -> None:
        self.readings_made = 0
        self.generation = 0
        self._bells: set[asyncio.Event] = set()
        self._readings: OrderedDict[object, _Reading] = OrderedDict()
        self._looking: asyncio.Task[None] | None = None

    def join(self) -> asyncio.Event:
        """One more reader, and the event that is set whenever it is worth looking."""
        bell = asyncio.Event()
        self._bells.add(bell)
        if self._looking is None:
            self._looking = asyncio.create_task(self._look_now_and_then())
        return bell

    async def leave(self, bell: asyncio.Event) -> bool:
        """One reader less; True if it was the last."""
        self._bells.discard(bell)
        if self._bells:
            return False
        looking, self._looking = self._looking, None
        for reading in self._readings.values():
            reading.task.cancel()
        await _ended(looking)
        self._readings.clear()
        return not self._bells

    def wake(self) -> None:
        """Let every reader look."""
        self.generation += 1
        for bell in self._bells:
            bell.set()

    async def read[T](self, key: object, function: Callable[..., T], *args: Any) -> T:
        """The answer of `function(*args)`, which is asked once for all readers with the same key since the last ring.

        An answer with something in it stays good after a ring, as long as it is among the last few.
        """
        known = self._readings.get(key)
        if known is None or _failed(known.task) or (known.generation < self.generation and not _is_settled(known.task)):
            self.readings_made += 1
            known = _Reading(self.generation, asyncio.create_task(in_thread(function, *args)))
            known.task.add_done_callback(_note_error)
            self._readings[key] = known
            while len(self._readings) > KEPT_READINGS:
                self._readings.popitem(last=False)
        answer: T = await asyncio.shield(known.task)  # one reader that leaves must not take it from the others
        return answer

    async def _look_now_and_then(self) -> None:
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            self.wake()


class _Ear:
    """The one ear for the bell that the hubs of an event loop share. Without a broker it hears nothing, and readers look now and then."""

    def __init__(self) -> None:
        self.hubs: dict[str, Hub] = {}
        self._task: asyncio.Task[None] | None = None

    def hub(self, readers: str) -> Hub:
        """The hub of these readers; the ear listens from the first one on."""
        if self._task is None:
            self._task = asyncio.create_task(self._listen())
        return self.hubs.get(readers) or self.hubs.setdefault(readers, Hub())

    async def forget(self, readers: str, hub: Hub) -> None:
        """A hub that nobody reads through any more; with the last one the ear closes."""
        if self.hubs.get(readers) is hub:
            del self.hubs[readers]
        if not self.hubs:
            task, self._task = self._task, None
            await _ended(task)

    def _wake(self, readers: Iterable[str]) -> None:
        for name in readers:
            if hub := self.hubs.get(name):
                hub.wake()

    async def _listen(self) -> None:
        pause = 0.5
        while True:
            layer = get_channel_layer()
            if layer is None:
                return
            try:
                channel = await asyncio.wait_for(layer.new_channel(), CONNECT_SECONDS)
                await asyncio.wait_for(layer.group_add(GROUP, channel), CONNECT_SECONDS)
                self._wake(list(self.hubs))  # what rang before the ear was open
                pause = 0.5
                try:
                    while True:
                        self._wake((await layer.receive(channel))["for"])
                finally:
                    await asyncio.shield(asyncio.wait_for(layer.group_discard(GROUP, channel), CONNECT_SECONDS))
            except asyncio.CancelledError:
                raise
            except Exception as error:
                log.warning("Live readers hear no bell and look every %g s: %r", LOOK_SECONDS, error)
                await asyncio.sleep(pause + random.random())  # noqa: S311 - spreads reconnects, decides nothing
                pause = min(pause * 2, 10)


async def _ended(task: asyncio.Task[None] | None) -> None:
    if task is not None:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def _is_settled(task: asyncio.Task[Any]) -> bool:
    """Whether the answer can only be the same when it is asked again."""
    return task.done() and not _failed(task) and bool(getattr(task.result(), "settled", False))


def _failed(task: asyncio.Task[Any]) -> bool:
    return task.done() and (task.cancelled() or task.exception() is not None)


def _note_error(task: asyncio.Task[Any]) -> None:
    if not task.cancelled():
        task.exception()  # its readers raise it; nobody may be left to do so


_ears: WeakKeyDictionary[asyncio.AbstractEventLoop, _Ear] = WeakKeyDictionary()


@asynccontextmanager
async def following(readers: str) -> AsyncIterator[tuple[Hub, asyncio.Event]]:
    """Be one of these readers, as the bell calls them: the hub to read through, and the event to wait for."""
    ear = _ears.setdefault(asyncio.get_running_loop(), _Ear())
    hub = ear.hub(readers)
    bell = hub.join()
    bell.set()
    try:
        yield hub, bell
    finally:
        if await hub.leave(bell):
            await ear.forget(readers, hub)


async def heard(bell: asyncio.Event, seconds: float) -> bool:
    """Wait for the bell; False if it did not ring in time. The bell is quiet again afterwards."""
    try:
        await asyncio.wait_for(bell.wait(), seconds)
    except TimeoutError:
        return False
    bell.clear()
    return True


def as_text(item: dict[str, Any]) -> str:
    """One event as it goes over the wire."""
    return json.dumps(item, ensure_ascii=False, separators=(",", ":"))
