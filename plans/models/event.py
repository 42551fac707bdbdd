"""What live readers resume from."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any, ClassVar, Final
from uuid import UUID

from django.db import models
from django.db.models.functions import Now

from audit.db import CurrentXid, JsonTextField
from plans import phrases
from plans.enums import EventType

NO_LINES_SHA256: Final = hashlib.sha256().hexdigest()


class Event(models.Model):
    """One thing that happened to a plan, for whoever watches. Output lines are not events: they are read by seq.

    Readers take rows in (xid, id) order below the oldest running transaction, so a late commit is never missed. What one
    statement tells together is one row: `earlier` holds what happened before the row's own event, in order; a row without a
    type is only that. `unfolded()` reads it back as the single events that it is to everybody else.
    """

    id = models.BigAutoField(primary_key=True)
    xid = models.BigIntegerField(db_default=CurrentXid(), editable=False)
    plan_id = models.UUIDField()
    type = models.CharField(max_length=24, choices=EventType.choices)
    step_key = models.CharField(max_length=80, default="")
    attempt_id = models.UUIDField(null=True)
    data = JsonTextField(default=dict)
    at = models.DateTimeField(db_default=Now())
    earlier = JsonTextField(null=True, help_text="[attempt, step key, [[type, data, ms before this], …]], …")

    class Meta:
        ordering: ClassVar = ["xid", "id"]
        indexes: ClassVar = [models.Index(fields=["plan_id", "xid"], name="event_by_plan")]

    def __str__(self) -> str:
        return self.type

    def unfolded(self) -> list[Event]:
        """This row as single events, oldest first. They share its key."""
        row = {"id": self.pk, "xid": self.xid, "plan_id": self.plan_id}
        own = (self.type, self.step_key, self.attempt_id, self.data)
        return [Event(**row, **told) for told in unfold(self.earlier, self.at, *own)]


def unfold(
    earlier: Sequence[Any] | None,
    at: datetime,
    type_: str,
    step_key: str,
    attempt_id: UUID | None,
    data: dict[str, Any],
) -> Iterator[dict[str, Any]]:
    """The single events of a row, oldest first, as fields of Event: those in `earlier`, then the row's own."""
    for attempt, key, told in earlier or ():
        whose = UUID(attempt) if attempt else None
        for kind, said, before in phrases.spelled_out(told):
            if kind == EventType.OUTPUT_END and not said["count"]:  # not worth a row's room: it is always the same
                said["sha256"] = NO_LINES_SHA256
            when = at - timedelta(milliseconds=before)
            yield {"type": kind, "step_key": key, "attempt_id": whose, "data": said, "at": when}
    own = {"step_key": step_key, "attempt_id": attempt_id, "at": at}
    if type_ == EventType.AGENT_STARTED and "was" in data:  # one word for two that are always told together
        moved, data = phrases.started(data)
        yield {"type": EventType.STEP_CHANGED, "data": moved, **own}
    if type_:
        yield {"type": type_, "data": data, **own}


def events_of(plan_id: UUID) -> list[Event]:
    """All events of a plan as single events, oldest first."""
    rows = Event.objects.filter(plan_id=plan_id).order_by("xid", "id")
    return [event for row in rows for event in row.unfolded()]
