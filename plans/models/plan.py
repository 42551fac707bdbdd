"""A plan, its revisions, and the steps and dependencies of a revision."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, ClassVar, Final

import pgtrigger
from django.conf import settings
from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Least, Now
from django.db.models.lookups import GreaterThanOrEqual

from audit.db import CheckOnce, Derived, LegalMoves, NextVal
from audit.ids import uuid7
from plans.digest import STEP_FIELDS, step_content
from plans.enums import FINAL_STAGES, UNAPPROVED_STAGES, Complexity, OnFailure, Risk, Stage, StepKind, StepStatus
from plans.lifecycle_tables import STAGE_TRANSITIONS, STEP_TRANSITIONS

# The order of work, each item after the step it belongs to.
IN_ORDER: Final = ("index", F("item_index").asc(nulls_first=True))


@dataclass(frozen=True, slots=True)
class Work:
    """What one try does: the tool, its input, and how a failure of it is treated."""

    tool: str
    input: dict[str, Any]
    playbook: dict[str, Any] | None = None
    work_type: str = ""
    idempotent: bool = False
    retry: dict[str, Any] = field(default_factory=dict)
    by_fallback: bool = False


class PlanQuerySet(models.QuerySet["Plan"]):
    """Plans, as they are asked for."""

    def in_stages(self, *stages: Stage) -> PlanQuerySet:
        """Those in one of these stages: by an index unless one of them is final."""
        found = self.filter(stage__in=stages)
        return found if FINAL_STAGES.intersection(stages) else found.filter(ended=False)


class Plan(models.Model):
    """What is intended, from the first draft to the last result."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    number = models.BigIntegerField(unique=True, db_default=NextVal("plans_plan_number"), editable=False)
    request = models.OneToOneField("plans.Request", on_delete=models.PROTECT, null=True, related_name="plan")
    requester = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="plans", db_index=False
    )
    trace_id = models.UUIDField(default=uuid7, db_index=True, editable=False)
    undoes = models.ForeignKey(
        "self",
        on_delete=models.PROTECT,
        null=True,
        related_name="undos",
        db_index=False,
        help_text="The plan that it was written to undo.",
    )
    goal = models.TextField()
    summary = models.TextField(default="")
    service = models.CharField(max_length=128, default="")
    complexity = models.CharField(max_length=8, choices=Complexity.choices, default=Complexity.SIMPLE)
    stage = models.CharField(max_length=20, choices=Stage.choices, default=Stage.DRAFT)
    stage_reason = models.TextField(default="")
    cancel_reason = models.TextField(default="", help_text="It is being cancelled, or was, and why.")
    rollback_reason = models.TextField(default="", help_text="It is being rolled back, or was, and why.")
    priority = models.PositiveSmallIntegerField(default=3, help_text="1 to 5; 5 goes first.")
    max_parallel = models.PositiveIntegerField(
        null=True, help_text="How many of its steps run at once; null: no limit."
    )
    revision_number = models.PositiveIntegerField(default=1, help_text="The number of the current revision.")
    targets = models.JSONField(default=list, help_text="What it needs for itself while it works; known at its start.")
    waits_since = models.DateTimeField(null=True, help_text="Since when it waits for its targets; null: it does not.")
    waiting_for = models.TextField(default="", help_text="Which plan it waits for, as a sentence.")
    created_at = models.DateTimeField(db_default=Now())
    submitted_at = models.DateTimeField(null=True, help_text="When it began to wait for approval.")
    started_at = models.DateTimeField(null=True)
    finished_at = models.DateTimeField(null=True)
    ended = Derived(
        expression=Q(stage__in=sorted(FINAL_STAGES)),  # type: ignore[arg-type]
        output_field=models.BooleanField(),
        db_persist=True,
        help_text="It is in a stage that it can not leave.",
    )

    objects = PlanQuerySet.as_manager()

    class Meta:
        ordering: ClassVar = ["-number"]
        indexes: ClassVar = [
            # Not by stage: an index on what changes makes each change of a plan write to all of its indexes.
            models.Index(fields=["number"], name="plan_not_ended", condition=Q(ended=False)),
            models.Index(fields=["requester", "number"], name="plan_by_requester"),
            models.Index(fields=["waits_since"], name="plan_that_waits", condition=Q(waits_since__isnull=False)),
            models.Index(fields=["undoes"], name="plan_that_undoes", condition=Q(undoes__isnull=False)),
        ]
        constraints: ClassVar = [
            models.CheckConstraint(name="priority_is_one_to_five", condition=Q(priority__range=(1, 5))),
            models.CheckConstraint(
                name="a_limit_lets_one_run", condition=Q(max_parallel__isnull=True) | Q(max_parallel__gte=1)
            ),
        ]
        triggers: ClassVar = [
            LegalMoves(name="legal_stage", field="stage", transitions=STAGE_TRANSITIONS),
            pgtrigger.Protect(
                name="approved_limit_is_fixed",
                when=pgtrigger.After,
                operation=pgtrigger.UpdateOf("max_parallel"),  # type: ignore[no-untyped-call]
                condition=~pgtrigger.Q(old__stage=Stage.DRAFT),
            ),
        ]

    def __str__(self) -> str:
        return f"Plan {self.number}"

    def shown(self, status: str) -> str:
        """The status of one of its current steps as it is read: a step waits from the start, but before approval it is pending."""
        return StepStatus.PENDING if status == StepStatus.WAITING and self.stage in UNAPPROVED_STAGES else status

    def show(self, step: Step) -> Step:
        """The step, read as shown() says."""
        step.status = self.shown(step.status)
        if step.status == StepStatus.PENDING:
            step.waiting_for = ""
        return step


class Revision(models.Model):
    """One exact version of a plan. Fixed once it has a digest."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    plan = models.ForeignKey(Plan, on_delete=models.PROTECT, related_name="revisions")
    number = models.PositiveIntegerField()
    digest = models.CharField(max_length=64, default="", help_text="Empty while it is a draft.")
    header = models.JSONField(default=dict, help_text="What the digest covers besides the steps.")
    repository = models.ForeignKey("agents.PlaybookRepository", on_delete=models.PROTECT, null=True, related_name="+")
    commit = models.CharField(max_length=64, default="")
    tree = models.CharField(max_length=64, default="")
    risk = models.CharField(max_length=8, choices=Risk.choices, default=Risk.MEDIUM)
    risk_facts = models.JSONField(default=list, help_text="What could go wrong, as facts: {tone, text, detail}.")
    estimated_seconds = models.PositiveIntegerField(null=True, help_text="Null: not known.")
    budget = models.JSONField(default=dict)
    because = models.TextField(default="", help_text="Why this revision was made.")
    author = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, null=True, related_name="+")
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        ordering: ClassVar = ["plan", "number"]
        constraints: ClassVar = [
            models.UniqueConstraint(name="one_revision_per_number", fields=["plan", "number"]),
        ]
        triggers: ClassVar = [
            pgtrigger.Protect(
                name="fixed_once_digested", operation=pgtrigger.Update, condition=pgtrigger.Q(old__digest__gt="")
            ),
            pgtrigger.Protect(name="never_deleted", operation=pgtrigger.Delete),
        ]

    def __str__(self) -> str:
        return f"revision {self.number}"


class Step(models.Model):
    """One piece of work of a revision: what is approved about it, and how it went."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)  # the task_id of contract and audit files
    revision = models.ForeignKey(Revision, on_delete=models.PROTECT, related_name="steps", db_index=False)
    plan = models.ForeignKey(Plan, on_delete=models.PROTECT, related_name="steps")
    index = models.IntegerField(help_text="Its place in the order of work, from 1; an item has its step's.")
    key = models.CharField(
        max_length=80, help_text="An item's ends in .0, .1 …; that of what undoes a step in .rollback."
    )
    kind = models.CharField(max_length=8, choices=StepKind.choices, default=StepKind.STEP)
    parent = models.ForeignKey(
        "self",
        on_delete=models.PROTECT,
        null=True,
        db_index=False,
        related_name="children",
        help_text="What it is an item of, or undoes.",
    )
    carried_from = models.ForeignKey(
        "self",
        on_delete=models.PROTECT,
        null=True,
        db_index=False,
        related_name="carried_into",
        help_text="The step of an earlier revision that did this work; its result is kept, and it does not run again.",
    )
    # What is approved
    name = models.TextField()
    tool = models.CharField(max_length=128)
    input = models.JSONField(default=dict)
    playbook = models.JSONField(null=True, help_text="Path, inventory, limit and tags of a playbook step.")
    agent_type = models.CharField(max_length=16, default="infra")
    work_type = models.CharField(max_length=255, default="")
    resources = models.JSONField(default=dict)
    risk = models.CharField(max_length=8, choices=Risk.choices, default=Risk.MEDIUM)
    timeout_seconds = models.IntegerField(default=600)
    retry = models.JSONField(default=dict)
    idempotent = models.BooleanField(default=False)
    when = models.TextField(default="")
    on_failure = models.CharField(max_length=16, choices=OnFailure.choices, default=OnFailure.STOP)
    for_each = models.JSONField(null=True, help_text="A list, or one reference to a list: it runs once for each item.")
    fallback = models.JSONField(null=True, help_text="The tool and input it goes on with once it has failed for good.")
    hosts = models.JSONField(default=list)
    leaf = models.CharField(max_length=64, default="", help_text="The hash of what is approved about this step.")
    proof = models.JSONField(default=list, help_text="The hashes from the leaf to the plan's digest.")
    # Told to people, outside the digest
    reason = models.TextField(default="", help_text="Why this step is in the plan.")
    service = models.CharField(max_length=128, default="")
    origins = models.JSONField(default=dict, help_text="Where each input comes from.")
    estimated_seconds = models.IntegerField(null=True)
    reversible_by = models.TextField(default="")
    preview = models.JSONField(null=True)
    span = models.JSONField(null=True, help_text="Starts and ends of the words it answers, in the request's text.")
    # A fan-out: of the step, and of each of its items
    items = models.JSONField(null=True, help_text="The list that was found when it became due; fixed from then on.")
    items_open = models.IntegerField(default=0, help_text="How many of its items are not completed or skipped.")
    item = models.JSONField(null=True, help_text="What {{ item }} stands for.")
    item_index = models.IntegerField(null=True, help_text="What {{ index }} stands for, from 0.")
    # How it went
    status = models.CharField(max_length=16, choices=StepStatus.choices, default=StepStatus.WAITING)
    waiting_for = models.TextField(default="", help_text="What a waiting step waits for, as a sentence.")
    unmet = models.IntegerField(default=0, help_text="How many steps it depends on are not completed yet.")
    token = models.IntegerField(default=0, help_text="Grows with each claim; older holders may not write.")
    released = models.BooleanField(
        default=False, help_text="The steps after it went on although it is not completed, and do not count it again."
    )
    attempts_made = models.IntegerField(default=0)
    output = models.JSONField(null=True)
    summary = models.TextField(default="")
    error = models.TextField(default="")
    started_at = models.DateTimeField(null=True)
    finished_at = models.DateTimeField(null=True)

    class Meta:
        # No index on what changes while a step runs, so that its updates stay within their page.
        ordering: ClassVar = ["revision", *IN_ORDER]
        indexes: ClassVar = [
            models.Index(fields=["parent"], name="step_by_parent", condition=Q(parent__isnull=False)),
        ]
        constraints: ClassVar = [
            models.UniqueConstraint(name="one_step_per_key", fields=["revision", "key"]),
            models.UniqueConstraint(
                name="one_step_per_index", fields=["revision", "index"], condition=~Q(kind=StepKind.ITEM)
            ),
            models.UniqueConstraint(
                name="one_row_per_item", fields=["parent", "item_index"], condition=Q(kind=StepKind.ITEM)
            ),
            models.UniqueConstraint(
                name="one_rollback_per_step", fields=["parent"], condition=Q(kind=StepKind.ROLLBACK)
            ),
            # One for all of them, and no PositiveIntegerField: PostgreSQL reads every check anew for each statement.
            models.CheckConstraint(
                name="no_number_of_a_step_is_negative",
                condition=GreaterThanOrEqual(Least("items_open", "unmet", "token", "attempts_made"), 0),
            ),
        ]
        triggers: ClassVar = [
            CheckOnce(
                name="an_item_or_rollback_has_a_parent",
                fields=["kind", "parent_id", "item_index"],
                condition="NEW.kind IN ('step', 'item', 'rollback') AND (NEW.kind = 'step') = (NEW.parent_id IS NULL) "
                "AND (NEW.kind = 'item') = (NEW.item_index IS NOT NULL)",
            ),
            CheckOnce(
                name="no_size_of_a_step_is_negative",
                fields=["timeout_seconds", "index", "estimated_seconds", "item_index"],
                condition="NEW.timeout_seconds >= 1 AND least(NEW.index, NEW.estimated_seconds, NEW.item_index) >= 0",
            ),
            LegalMoves(name="legal_step_status", field="status", transitions=STEP_TRANSITIONS),
            pgtrigger.Protect(
                name="what_was_approved_is_fixed",
                when=pgtrigger.After,
                operation=pgtrigger.UpdateOf(  # type: ignore[no-untyped-call]
                    "key",
                    "tool",
                    "input",
                    "playbook",
                    "agent_type",
                    "work_type",
                    "resources",
                    "risk",
                    "timeout_seconds",
                    "retry",
                    "idempotent",
                    "when",
                    "on_failure",
                    "for_each",
                    "fallback",
                    "kind",
                    "parent_id",
                    "carried_from_id",
                    "item",
                    "item_index",
                    "hosts",
                    "leaf",
                    "proof",
                    "index",
                ),
                condition=pgtrigger.Q(old__leaf__gt=""),
            ),
            pgtrigger.Protect(
                name="a_found_list_is_fixed",
                when=pgtrigger.After,
                operation=pgtrigger.UpdateOf("items"),  # type: ignore[no-untyped-call]
                condition=pgtrigger.Q(old__items__isnull=False),
            ),
            pgtrigger.Protect(name="step_never_deleted", operation=pgtrigger.Delete),
        ]

    def __str__(self) -> str:
        return self.key

    def approved_content(self, depends_on: Iterable[str]) -> dict[str, Any]:
        """What the digest covers of this step, given the keys of the steps it depends on."""
        fields = {name: getattr(self, name) for name in STEP_FIELDS if name != "depends_on"}
        words = {"on_failure": str(self.on_failure), "kind": str(self.kind)}
        return step_content({**fields, **words, "depends_on": sorted(depends_on)})

    @property
    def parent_key(self) -> str:
        """The key of the step that it is an item of, or undoes; empty for a step of the plan."""
        return self.key.rpartition(".")[0]

    @property
    def undoes(self) -> str:
        """The key of the step that this one undoes; empty for any other."""
        return self.parent.key if self.kind == StepKind.ROLLBACK and self.parent else ""

    @property
    def work(self) -> Work:
        """What it does itself."""
        return Work(self.tool, self.input, self.playbook, self.work_type, self.idempotent, self.retry)

    @property
    def fallback_work(self) -> Work | None:
        """What it goes on with once it has failed for good, if it says so."""
        found: dict[str, Any] | None = self.fallback
        return Work(**found, by_fallback=True) if found else None

    def work_of(self, *, by_fallback: bool) -> Work:
        """What a try of it does: its own work, or its fallback's."""
        return (self.fallback_work if by_fallback else None) or self.work

    @property
    def retry_attempts(self) -> int:
        """How many tries the retry policy allows in all."""
        attempts: Any = self.retry.get("attempts", 1)
        return int(attempts)


class Dependency(models.Model):
    """Downstream starts only after upstream completed."""

    revision = models.ForeignKey(Revision, on_delete=models.PROTECT, related_name="dependencies")
    upstream = models.ForeignKey(Step, on_delete=models.PROTECT, related_name="downstream_edges")
    downstream = models.ForeignKey(Step, on_delete=models.PROTECT, related_name="upstream_edges")

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(name="one_edge_per_pair", fields=["upstream", "downstream"]),
            models.CheckConstraint(name="no_step_waits_for_itself", condition=~Q(upstream=F("downstream"))),
        ]

    def __str__(self) -> str:
        return f"{self.upstream_id} → {self.downstream_id}"
