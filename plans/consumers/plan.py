"""A plan's events for programs: JSON, exactly once, never more than the reader asked for."""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final
from uuid import UUID

from audit.authority import Action, may
from audit.context import Actor
from plans.api_schemas import PlanTold
from plans.api_tell import tell_plan
from plans.consumers.base import LiveSocket
from plans.live.bell import readers_of
from plans.live.cursor import BadCursor
from plans.live.hub import LOOK_SECONDS, Hub, as_text, following, heard
from plans.live.reading import cursor_now, events_after
from plans.models import Plan

MOST_AHEAD: Final = 1_000
AT_ONCE: Final = 250


@dataclass(frozen=True, slots=True)
class Frames:
    """One reading, ready for the wire: the frames with the cursor that each leads to."""

    frames: list[tuple[str, str]]
    cursor: str
    more: bool

    @property
    def settled(self) -> bool:
        """Whether the next readers at the same place would read the same."""
        return bool(self.frames)


class Credit:
    """How far ahead of its reader the server is, and the wait when it is far enough."""

    def __init__(self) -> None:
        self._sent: deque[str] = deque()
        self._places: dict[str, int] = {}
        self._first = 0
        self._room = asyncio.Event()

    @property
    def left(self) -> int:
        """How many events may be sent now."""
        return MOST_AHEAD - len(self._sent)

    def spend(self, cursor: str) -> None:
        """One event was sent."""
        self._places[cursor] = self._first + len(self._sent)
        self._sent.append(cursor)

    def acknowledge(self, cursor: str) -> bool:
        """The reader has everything up to this cursor. False if it was never sent or is acknowledged already."""
        place = self._places.get(cursor)
        if place is None:
            return False
        while self._first <= place:
            gone = self._sent.popleft()
            if self._places.get(gone) == self._first:
                del self._places[gone]
            self._first += 1
        self._room.set()
        return True

    async def wait(self, seconds: float) -> None:
        """Wait until there may be room, or for so long."""
        self._room.clear()
        if self.left <= 0:
            await heard(self._room, seconds)


class PlanConsumer(LiveSocket):
    """`/ws/plans/{id}/?after=CURSOR`."""

    def __init__(self, **timing: float) -> None:
        super().__init__(**timing)
        self._credit = Credit()

    def permitted(self, actor: Actor) -> bool:
        plan = find_plan(self.scope["url_route"]["kwargs"]["plan_id"])
        return plan is not None and bool(may(actor, Action.SEE_PLAN, plan))

    async def hear(self, said: dict[str, Any]) -> bool:
        return isinstance(said.get("ack"), str) and self._credit.acknowledge(said["ack"])

    async def follow(self) -> None:
        plan_id = UUID(self.scope["url_route"]["kwargs"]["plan_id"])
        async with following(readers_of(plan_id)) as (hub, bell):
            cursor = self.parameter("after") or await self._snapshot(hub, plan_id)
            while True:
                await self._wait_for_room()
                try:
                    found = await hub.read(("events", cursor), read_frames, plan_id, cursor)
                except BadCursor:  # of another database, or never ours: what is now is all that can be said
                    cursor = await self._snapshot(hub, plan_id)
                    continue
                if found.frames:
                    await self.ask_again()
                for reached, text in found.frames:
                    await self._wait_for_room()
                    self._credit.spend(reached)
                    await self.send(text_data=text)
                cursor = found.cursor
                await asyncio.sleep(0)  # other readers of this process are waiting too
                while not found.more and not await heard(bell, LOOK_SECONDS * 2):
                    await self.ask_again(busy=False)
                await self.ask_again(busy=False)

    async def _wait_for_room(self) -> None:
        while self._credit.left <= 0:
            await self._credit.wait(LOOK_SECONDS)
            await self.ask_again(busy=False)

    async def _snapshot(self, hub: Hub, plan_id: UUID) -> str:
        await self._wait_for_room()
        cursor, text = await hub.read(("snapshot", hub.generation), read_snapshot, plan_id)
        self._credit.spend(cursor)
        await self.send(text_data=text)
        return str(cursor)


def find_plan(text: str) -> Plan | None:
    """The plan with this id; None if there is none or the text is no id."""
    try:
        return Plan.objects.filter(pk=UUID(text)).first()
    except ValueError:
        return None


def read_frames(plan_id: UUID, cursor: str) -> Frames:
    """What came after a cursor. Raises BadCursor."""
    batch = events_after(plan_id, cursor, AT_ONCE)
    return Frames([(item["cursor"], as_text(item)) for item in batch.events], batch.cursor, batch.more)


def read_snapshot(plan_id: UUID) -> tuple[str, str]:
    """The plan as it is now, as a frame, and the cursor from which on there is news."""
    cursor = cursor_now(plan_id)  # first: what happens while the plan is read is told once more, never missed
    plan = Plan.objects.select_related("requester").get(pk=plan_id)
    item = {
        "cursor": cursor,
        "type": "snapshot",
        "plan_id": str(plan_id),
        "step": None,
        "attempt": None,
        "at": datetime.now(UTC).isoformat().replace("+00:00", "Z"),
        "data": PlanTold.model_validate(tell_plan(plan)).model_dump(mode="json"),
    }
    return cursor, as_text(item)
