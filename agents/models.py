"""Agents, the playbooks they can run, what can be asked for, and background jobs."""

from __future__ import annotations

from typing import ClassVar

from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Now
from django.utils import timezone

from agents.enums import AgentStatus, AgentType, BreakerState, JobStatus
from agents.lifecycle_tables import AGENT_TRANSITIONS, JOB_TRANSITIONS
from audit.db import LegalMoves
from audit.ids import uuid7


class Agent(models.Model):
    """A worker with identity: it registers, beats, drains and leaves."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    name = models.SlugField(unique=True, max_length=63)
    type = models.CharField(max_length=16, choices=AgentType.choices)
    status = models.CharField(max_length=16, choices=AgentStatus.choices, default=AgentStatus.STARTING)
    tools = models.JSONField(default=list, help_text="Names of the tools it offers.")
    labels = models.JSONField(default=list)
    slots = models.PositiveSmallIntegerField(default=1, help_text="How many steps it runs at once.")
    version = models.CharField(max_length=32, default="")
    protocol = models.PositiveSmallIntegerField(default=1)
    host = models.CharField(max_length=255, default="")
    pid = models.PositiveIntegerField(null=True)
    load = models.JSONField(default=dict, help_text="Cores, load over 1, 5 and 15 minutes, memory in bytes.")
    status_reason = models.TextField(default="")
    started_at = models.DateTimeField(null=True)
    heard_at = models.DateTimeField(null=True, help_text="The last heartbeat, on the database's clock.")
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        ordering: ClassVar = ["name"]
        constraints: ClassVar = [
            models.CheckConstraint(name="agent_has_at_least_one_slot", condition=Q(slots__gte=1)),
        ]
        triggers: ClassVar = [
            LegalMoves(name="legal_agent_status", field="status", transitions=AGENT_TRANSITIONS),
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def queue(self) -> str:
        """The broker queue that only this agent consumes."""
        return f"agent.{self.name}"


class PlaybookRepository(models.Model):
    """A git repository of playbooks, and what the last look at it found."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    name = models.SlugField(unique=True, max_length=63)
    origin = models.TextField(default="", help_text="Where it is copied from at each refresh; empty for a folder.")
    location = models.TextField(help_text="The folder of a git repository on this machine.")
    inventory = models.TextField(default="", help_text="The inventory's path inside the repository.")
    commit = models.CharField(max_length=64, default="")
    tree = models.CharField(max_length=64, default="")
    facts = models.JSONField(default=dict, help_text="Hosts, groups and variables, as the planner reads them.")
    problem = models.TextField(default="")
    scanned_at = models.DateTimeField(null=True)

    class Meta:
        ordering: ClassVar = ["name"]
        verbose_name_plural = "playbook repositories"

    def __str__(self) -> str:
        return self.name


class Playbook(models.Model):
    """One playbook file of a repository, as it was at the commit of the last scan."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    repository = models.ForeignKey(PlaybookRepository, on_delete=models.CASCADE, related_name="playbooks")
    path = models.TextField()
    service = models.CharField(max_length=128, default="")
    description = models.TextField(default="")
    risk = models.CharField(max_length=8, default="medium")
    reversible_by = models.TextField(default="")
    task_count = models.PositiveIntegerField(default=0)
    details = models.JSONField(default=dict, help_text="The whole finding of the scan: variables, tags, hosts, roles.")
    problems = models.JSONField(default=list, help_text="Why it cannot be offered, one sentence each.")
    missing = models.BooleanField(default=False, help_text="It was there once and the last scan did not find it.")
    scanned_at = models.DateTimeField(db_default=Now())

    class Meta:
        ordering: ClassVar = ["path"]
        constraints: ClassVar = [
            models.UniqueConstraint(name="one_playbook_per_path", fields=["repository", "path"]),
        ]

    def __str__(self) -> str:
        return self.path


class Offering(models.Model):
    """What can be asked for: a playbook with tags and variables, under a verb."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    playbook = models.ForeignKey(Playbook, on_delete=models.CASCADE, related_name="offerings")
    key = models.TextField()
    verb = models.CharField(max_length=32)
    service = models.CharField(max_length=128, default="")
    title = models.TextField()
    tags = models.JSONField(default=list)
    variables = models.JSONField(default=list)
    details = models.JSONField(default=dict)
    available = models.BooleanField(default=True)

    class Meta:
        ordering: ClassVar = ["key"]
        constraints: ClassVar = [
            models.UniqueConstraint(name="one_offering_per_key", fields=["playbook", "key"]),
        ]

    def __str__(self) -> str:
        return self.title


class Job(models.Model):
    """Background work as a row: claimed with a token, held by a lease, repeated if it recurs."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    kind = models.CharField(max_length=64)
    key = models.CharField(max_length=200, default="", help_text="At most one job of a kind waits per key.")
    payload = models.JSONField(default=dict)
    status = models.CharField(max_length=16, choices=JobStatus.choices, default=JobStatus.DUE)
    priority = models.SmallIntegerField(default=3)
    tries = models.PositiveSmallIntegerField(default=0)
    token = models.PositiveIntegerField(default=0)
    next_at = models.DateTimeField(db_default=Now())
    sent_at = models.DateTimeField(null=True)
    lease_until = models.DateTimeField(null=True)
    holder = models.CharField(max_length=120, default="", help_text="Host and process that do it, or did it last.")
    every = models.DurationField(null=True, help_text="A recurring job is due again this long after its end.")
    error = models.TextField(default="")
    result = models.JSONField(default=dict)
    trace_id = models.UUIDField(null=True)
    created_at = models.DateTimeField(db_default=Now())
    finished_at = models.DateTimeField(null=True)

    class Meta:
        ordering: ClassVar = ["-created_at"]
        indexes: ClassVar = [
            models.Index(F("priority").desc(), F("next_at"), name="job_due", condition=Q(status=JobStatus.DUE)),
            models.Index(fields=["status"], name="job_unfinished", condition=Q(status__in=["sent", "running"])),
        ]
        constraints: ClassVar = [
            models.UniqueConstraint(
                name="one_waiting_job_per_key",
                fields=["kind", "key"],
                condition=Q(status__in=["due", "sent"]) & ~Q(key=""),
            ),
        ]
        triggers: ClassVar = [
            LegalMoves(name="legal_job_status", field="status", transitions=JOB_TRANSITIONS),
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.key}".strip()


class Breaker(models.Model):
    """The circuit breaker of one tool on one target, as it was at its last change. What counts now is kept in Redis."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    tool = models.CharField(max_length=128)
    target = models.TextField(help_text="Such as host:atlas or service:kuma.")
    state = models.CharField(max_length=16, choices=BreakerState.choices, default=BreakerState.CLOSED)
    failures = models.PositiveIntegerField(default=0, help_text="How many tries in a row had failed when it opened.")
    wait_seconds = models.FloatField(default=0, help_text="How long it is open; longer each time a probe fails.")
    since = models.DateTimeField(db_default=Now())
    until = models.DateTimeField(null=True, help_text="When an open breaker lets one try through.")
    last_error = models.TextField(default="")
    version = models.BigIntegerField(default=0, help_text="The moment of its last change on the clock of Redis, in µs.")

    class Meta:
        ordering: ClassVar = ["tool", "target"]
        indexes: ClassVar = [
            models.Index(fields=["state"], name="breaker_not_closed", condition=~Q(state=BreakerState.CLOSED)),
        ]
        constraints: ClassVar = [
            models.UniqueConstraint(name="one_breaker_per_tool_and_target", fields=["tool", "target"]),
            models.CheckConstraint(
                name="an_open_breaker_has_an_end", condition=~Q(state=BreakerState.OPEN) | Q(until__isnull=False)
            ),
        ]

    def __str__(self) -> str:
        return f"{self.tool} on {self.where}"

    @property
    def where(self) -> str:
        """Its target for people: "host atlas"."""
        return self.target.replace(":", " ", 1)

    @property
    def may_be_probed(self) -> bool:
        """Whether it has been open long enough: the next try is let through."""
        return self.until is not None and self.until <= timezone.now()


class ToolRecord(models.Model):
    """How one version of a tool fared in the last attempts. Figures are measured now and then, not kept up to date."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    name = models.CharField(max_length=64)
    version = models.CharField(max_length=32)
    seen_at = models.DateTimeField(db_default=Now(), help_text="Calls from here on are those of this version.")
    calls = models.PositiveIntegerField(default=0, help_text="Attempts that ended, without cancelled and cached ones.")
    succeeded = models.PositiveIntegerField(default=0)
    from_cache = models.PositiveIntegerField(default=0, help_text="Answered from the cache instead of by a call.")
    median_seconds = models.FloatField(null=True, help_text="Of the calls that succeeded.")
    last_called_at = models.DateTimeField(null=True)
    measured_at = models.DateTimeField(null=True)

    class Meta:
        ordering: ClassVar = ["name", "-seen_at"]
        constraints: ClassVar = [
            models.UniqueConstraint(name="one_record_per_tool_and_version", fields=["name", "version"]),
            models.CheckConstraint(
                name="a_tool_succeeds_at_most_as_often_as_it_is_called", condition=Q(succeeded__lte=F("calls"))
            ),
        ]

    def __str__(self) -> str:
        return f"{self.name} {self.version}"

    @property
    def success_rate(self) -> float | None:
        """From 0 to 1; None if nothing was called, because then it is not known."""
        return self.succeeded / self.calls if self.calls else None
