"""The inbox's counts for programs."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from audit.authority import Action, may
from audit.context import Actor
from plans.consumers.base import LiveSocket
from plans.live.bell import INBOX
from plans.live.hub import LOOK_SECONDS, as_text, following, heard, in_thread
from plans.selectors import inbox_page


class InboxConsumer(LiveSocket):
    """`/ws/inbox/`: the counts at once, and again whenever they change."""

    def permitted(self, actor: Actor) -> bool:
        return bool(may(actor, Action.SEE_PLANS))

    async def follow(self) -> None:
        told: dict[str, Any] | None = None
        async with following(INBOX) as (_hub, bell):
            while True:
                await heard(bell, LOOK_SECONDS * 2)
                await self.ask_again()
                counts = await in_thread(read_counts, self.actor)
                if counts != told:
                    await self.send(text_data=as_text({"type": "counts", "at": _now(), "data": counts}))
                    told = counts


def read_counts(actor: Actor) -> dict[str, int]:
    """How many things wait: for this person, for anybody, and as runs that stopped."""
    counts = inbox_page(actor).counts
    return {"waiting_for_me": counts["me"], "awaiting_approval": counts["all"], "stuck_runs": counts["runs"]}


def _now() -> str:
    return datetime.now(UTC).isoformat().replace("+00:00", "Z")
