"""What live readers resume from."""

from __future__ import annotations

from typing import ClassVar

from django.db import models
from django.db.models.functions import Now

from audit.db import CurrentXid
from plans.enums import EventType


class Event(models.Model):
    """One thing that happened to a plan, for whoever watches. Output lines are not events: they are read by seq.

    Readers take rows in (xid, id) order below the oldest running transaction, so a late commit is never missed.
    """

    id = models.BigAutoField(primary_key=True)
    xid = models.BigIntegerField(db_default=CurrentXid(), editable=False)
    plan_id = models.UUIDField()
    type = models.CharField(max_length=24, choices=EventType.choices)
    step_key = models.CharField(max_length=64, default="")
    attempt_id = models.UUIDField(null=True)
    data = models.JSONField(default=dict)
    at = models.DateTimeField(db_default=Now())

    class Meta:
        ordering: ClassVar = ["xid", "id"]
        indexes: ClassVar = [models.Index(fields=["plan_id", "xid", "id"], name="event_by_plan")]

    def __str__(self) -> str:
        return self.type
