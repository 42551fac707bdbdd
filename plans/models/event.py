"""What live readers resume from."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import ClassVar
from uuid import UUID

from django.db import models
from django.db.models.functions import Now

from audit.db import CurrentXid
from plans.enums import EventType


class Event(models.Model):
    """One thing that happened to a plan, for whoever watches. Output lines are not events: they are read by seq.

    Readers take rows in (xid, id) order below the oldest running transaction, so a late commit is never missed. What one
    statement tells together is one row: `earlier` holds what happened before the row's own event, in order, each with an
    id of its own just below. `unfolded()` reads it back as the single events that it is to everybody else.
    """

    id = models.BigAutoField(primary_key=True)
    xid = models.BigIntegerField(db_default=CurrentXid(), editable=False)
    plan_id = models.UUIDField()
    type = models.CharField(max_length=24, choices=EventType.choices)
    step_key = models.CharField(max_length=64, default="")
    attempt_id = models.UUIDField(null=True)
    data = models.JSONField(default=dict)
    at = models.DateTimeField(db_default=Now())
    earlier = models.JSONField(null=True, help_text="Lists of type, step key, attempt, data and time (seconds).")

    class Meta:
        ordering: ClassVar = ["xid", "id"]
        indexes: ClassVar = [models.Index(fields=["plan_id", "xid", "id"], name="event_by_plan")]

    def __str__(self) -> str:
        return self.type

    def unfolded(self) -> list[Event]:
        """This row as single events, oldest first."""
        told = self.earlier or []
        first = self.pk - len(told)
        return [
            *(
                Event(
                    id=first + place,
                    xid=self.xid,
                    plan_id=self.plan_id,
                    type=type_,
                    step_key=step_key,
                    attempt_id=UUID(attempt) if attempt else None,
                    data=data,
                    at=datetime.fromtimestamp(at, UTC),
                )
                for place, (type_, step_key, attempt, data, at) in enumerate(told)
            ),
            self,
        ]


def events_of(plan_id: UUID) -> list[Event]:
    """All events of a plan as single events, oldest first."""
    rows = Event.objects.filter(plan_id=plan_id).order_by("xid", "id")
    return [event for row in rows for event in row.unfolded()]
