"""One try at a step, and the lines it said."""

from __future__ import annotations

from typing import Any, ClassVar

import pgtrigger
from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Least, Now
from django.db.models.lookups import GreaterThanOrEqual

from audit.db import LegalMoves
from audit.ids import uuid7
from plans.enums import AttemptStatus
from plans.lifecycle_tables import ATTEMPT_TRANSITIONS
from plans.models.plan import Work


class RoutingChoice(models.Model):
    """A choice of the router with its working: every candidate with its score and factors, and the reason. Never changed.

    Kept once, however many steps went to the same agent for the same reasons: each names it.
    """

    id = models.UUIDField(primary_key=True, editable=False)  # made of the body: equal choices have the same
    body = models.JSONField()

    class Meta:
        triggers: ClassVar = [
            pgtrigger.Protect(name="a_choice_is_fixed", operation=pgtrigger.Update | pgtrigger.Delete)
        ]

    def __str__(self) -> str:
        return str(self.id)


class Attempt(models.Model):
    """One try at a step: the outbox entry, the lease and the result in one row."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    # The indexes below serve the foreign keys too: one of their own would cost every attempt another entry. Neither steps, plans,
    # choices nor agents are ever removed (triggers see to it), and to check a key locks its row: one that all agents would queue for.
    step = models.ForeignKey(
        "plans.Step", on_delete=models.PROTECT, related_name="attempts", db_index=False, db_constraint=False
    )
    plan = models.ForeignKey(
        "plans.Plan", on_delete=models.PROTECT, related_name="attempts", db_index=False, db_constraint=False
    )
    number = models.IntegerField(help_text="1 for the first try.")
    status = models.CharField(max_length=16, choices=AttemptStatus.choices, default=AttemptStatus.DUE)
    by_fallback = models.BooleanField(default=False, help_text="It uses the step's fallback instead of its own tool.")
    priority = models.SmallIntegerField(default=3, help_text="Its plan's, which is 1 to 5.")
    agent = models.ForeignKey(
        "agents.Agent",
        on_delete=models.PROTECT,
        null=True,
        related_name="attempts",
        db_index=False,
        db_constraint=False,
    )
    expects_token = models.IntegerField(default=0, help_text="The step's token that a claim must find.")
    token = models.IntegerField(null=True, help_text="The token this attempt drew when it was claimed.")
    next_at = models.DateTimeField(db_default=Now(), help_text="Not before this time, on the database's clock.")
    held_by = models.ForeignKey(
        "agents.Breaker",
        on_delete=models.PROTECT,
        null=True,
        db_index=False,
        related_name="held",
        help_text="The circuit breaker it waits for, or last waited for.",
    )
    sent_at = models.DateTimeField(null=True)
    lease_until = models.DateTimeField(null=True)
    cancel_requested = models.BooleanField(default=False)
    because = models.TextField(default="", help_text="Why this try was made.")
    input = models.JSONField(null=True, help_text="The input with its references resolved; empty: it has none.")
    failure_mode = models.CharField(max_length=16, default="")
    transient = models.BooleanField(default=False)
    error = models.TextField(default="")
    summary = models.TextField(default="")
    output = models.JSONField(null=True)
    progress = models.JSONField(default=dict, help_text="The last task and hosts reached.")
    resources_used = models.JSONField(default=dict)
    services_touched = models.JSONField(default=list)
    line_count = models.IntegerField(default=0, help_text="How many output lines are stored; the next is +1.")
    lines_sha256 = models.CharField(max_length=64, default="", help_text="Over all lines, once the output has ended.")
    created_at = models.DateTimeField(db_default=Now())
    started_at = models.DateTimeField(null=True)
    finished_at = models.DateTimeField(null=True)
    choice = models.ForeignKey(
        RoutingChoice,
        on_delete=models.PROTECT,
        null=True,
        related_name="attempts",
        db_index=False,
        db_constraint=False,
        help_text="Why this agent, or why nobody.",
    )
    only_hosts = models.JSONField(
        null=True, help_text="Only these of the step's hosts; empty: all it was approved for."
    )

    class Meta:
        ordering: ClassVar = ["step", "number"]
        indexes: ClassVar = [
            models.Index(F("priority").desc(), F("next_at"), name="attempt_due", condition=Q(status="due")),
            models.Index(fields=["sent_at"], name="attempt_sent", condition=Q(status="sent")),
            models.Index(fields=["held_by"], name="attempt_held_back", condition=Q(held_by__isnull=False)),
        ]
        constraints: ClassVar = [
            models.UniqueConstraint(name="one_attempt_per_number", fields=["step", "number"]),
            models.UniqueConstraint(  # also the index of what is live, by plan
                name="one_live_attempt_per_step",
                fields=["plan", "step"],
                include=["agent"],
                condition=Q(status__in=["due", "sent", "running"]),
            ),
            models.CheckConstraint(
                name="a_running_attempt_has_agent_and_token",
                condition=~Q(status="running") | Q(agent__isnull=False, token__isnull=False),
            ),
            models.CheckConstraint(  # one for all, as at Step
                name="no_number_of_an_attempt_is_negative",
                condition=GreaterThanOrEqual(Least("number", "expects_token", "token", "line_count"), 0),
            ),
            models.CheckConstraint(name="a_narrowed_attempt_has_hosts", condition=~Q(only_hosts=[])),
        ]
        triggers: ClassVar = [
            LegalMoves(name="legal_attempt_status", field="status", transitions=ATTEMPT_TRANSITIONS),
        ]

    def __str__(self) -> str:
        return f"try {self.number}"

    @property
    def routing(self) -> dict[str, Any]:
        """Every candidate with its score and factors, and the reason; empty if nobody was asked yet."""
        return dict(self.choice.body) if self.choice else {}

    @property
    def work(self) -> Work:
        """What this try does: the step's own tool, or its fallback."""
        return self.step.work_of(by_fallback=self.by_fallback)


class UnwrittenTask(models.Model):
    """An attempt that has ended and is not in the audit repository yet. The row is gone once it is.

    The database has no index on it, not even for the key: the rows are few, and are read and removed together.
    """

    attempt = models.OneToOneField(
        Attempt, on_delete=models.PROTECT, primary_key=True, related_name="+", db_constraint=False
    )

    def __str__(self) -> str:
        return str(self.attempt_id)


class OutputLine(models.Model):
    """One stored line of an attempt's output. `seq` runs 1, 2, 3 … without a gap; partitioned by month."""

    pk = models.CompositePrimaryKey("attempt_id", "seq")
    attempt_id = models.UUIDField()  # no foreign key: partitions come and go on their own
    seq = models.PositiveIntegerField()
    stream = models.CharField(max_length=8)
    text = models.TextField()
    at = models.DateTimeField(db_default=Now())

    class Meta:
        ordering: ClassVar = ["attempt_id", "seq"]

    def __str__(self) -> str:
        return self.text
