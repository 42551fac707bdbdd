"""What waits for a person: plans to decide, questions to answer, runs that stopped."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from django.db.models import Case, Exists, F, IntegerField, OuterRef, Q, QuerySet, Value, When

from audit.authority import Action, may
from audit.context import Actor
from plans.enums import OPEN_STAGES, RequestStatus, Risk, Stage, StepKind, StepStatus
from plans.models import Approval, ApprovalPolicy, Plan, Request, Revision, Step
from plans.permissions import visible_plans
from plans.selectors.policy import active_policy

SHOWN = 100
TABS = ("me", "all", "runs", "decided")
_NEEDS_A_PERSON = (StepStatus.FAILED, StepStatus.UNKNOWN)


@dataclass(frozen=True, slots=True)
class Row:
    """One plan of a list: its current revision, and what is worth knowing before opening it."""

    revision: Revision
    hosts: list[str]
    steps: int
    reversible: int
    approvals: int
    votes: list[Approval]

    @property
    def plan(self) -> Plan:
        return self.revision.plan


@dataclass(frozen=True, slots=True)
class StuckRun:
    """A run that needs a decision: its first stuck step, and how many more there are."""

    step: Step
    more: int


@dataclass(frozen=True, slots=True)
class InboxPage:
    """The inbox of one person, under one of its tabs."""

    tab: str
    rows: list[Row]
    questions: list[Request]
    stuck: list[StuckRun]
    decided: list[Approval]
    counts: dict[str, int]
    needed: int
    glance: Row | None = None
    glance_facts: list[dict[str, Any]] = field(default_factory=list)

    @property
    def waiting(self) -> int:
        """How many things wait for this person."""
        return self.counts["me"]


def _pending(actor: Actor) -> QuerySet[Revision]:
    """The current revisions that await approval and that this person may see: riskiest first, then oldest."""
    weight = Case(
        When(risk=Risk.HIGH, then=Value(0)),
        When(risk=Risk.MEDIUM, then=Value(1)),
        default=Value(2),
        output_field=IntegerField(),
    )
    return (
        Revision.objects.filter(
            plan__in=visible_plans(actor).in_stages(Stage.PENDING_APPROVAL), number=F("plan__revision_number")
        )
        .select_related("plan__requester", "plan__request")
        .order_by(weight, "plan__submitted_at", "plan__number")
    )


def for_me(actor: Actor) -> QuerySet[Revision]:
    """The current revisions that await approval and that this person may decide and has not."""
    pending = _pending(actor)
    if not may(actor, Action.DECIDE_PLAN):
        return pending.none()
    policy = active_policy()
    if policy is None or policy.four_eyes:
        pending = pending.exclude(plan__requester=actor.user).exclude(author=actor.user)
    return pending.exclude(Exists(Approval.objects.filter(revision=OuterRef("pk"), approver=actor.user)))


def _questions(actor: Actor) -> QuerySet[Request]:
    return Request.objects.filter(requester=actor.user, status=RequestStatus.NEEDS_CLARIFICATION)


def _stuck(actor: Actor) -> QuerySet[Step]:
    """Steps that failed or whose outcome is unknown, in runs that this person may carry on."""
    if not may(actor, Action.OPERATE_PLAN):
        return Step.objects.none()
    return (
        Step.objects.filter(
            plan__in=visible_plans(actor).in_stages(*OPEN_STAGES),
            revision__number=F("plan__revision_number"),
            status__in=_NEEDS_A_PERSON,
        )
        .filter(Q(kind=StepKind.STEP, plan__rollback_reason="") | Q(kind=StepKind.ROLLBACK))
        .select_related("plan__requester", "revision")
        .order_by("-plan__number", "index")
    )


def waiting_count(actor: Actor) -> int:
    """How many things wait for this person: plans to decide and questions to answer."""
    return for_me(actor).count() + _questions(actor).count()


def inbox_page(actor: Actor, tab: str = "me", glance: int | None = None) -> InboxPage:
    """The inbox of this person. `glance` is the number of the plan shown beside the list."""
    decided = Approval.objects.filter(approver=actor.user).select_related("plan__requester", "revision")
    mine, pending, stuck = for_me(actor), _pending(actor), _stuck(actor)
    questions = list(_questions(actor).order_by("created_at")[:SHOWN])
    policy = active_policy()
    counts = {
        "me": mine.count() + len(questions),
        "all": pending.count(),
        "runs": stuck.values("plan").distinct().count(),
        "decided": decided.count(),
    }
    rows = _rows(list((mine if tab == "me" else pending)[:SHOWN]), policy) if tab in ("me", "all") else []
    chosen = next((row for row in rows if row.plan.number == glance), rows[0] if rows else None)
    return InboxPage(
        tab=tab,
        rows=rows,
        questions=questions if tab == "me" else [],
        stuck=_by_run(stuck) if tab == "runs" else [],
        decided=list(decided.order_by("-at")[:SHOWN]) if tab == "decided" else [],
        counts=counts,
        needed=policy.approvals_needed if policy else 1,
        glance=chosen,
        glance_facts=list(chosen.revision.risk_facts) if chosen else [],
    )


def _by_run(stuck: QuerySet[Step]) -> list[StuckRun]:
    """The runs that these steps belong to, each with its first stuck step."""
    first = {step.plan_id: step for step in reversed(stuck[: SHOWN * 4])}
    counts = Counter(stuck.order_by().values_list("plan_id", flat=True))
    runs = [StuckRun(step, counts[plan_id] - 1) for plan_id, step in first.items()]
    return sorted(runs, key=lambda run: -run.step.plan.number)[:SHOWN]


def _rows(revisions: list[Revision], policy: ApprovalPolicy | None) -> list[Row]:
    """Add to each revision its hosts, steps and approvals, in three queries for all of them."""
    ids = [revision.pk for revision in revisions]
    hosts: dict[Any, list[str]] = {pk: [] for pk in ids}
    steps = dict.fromkeys(ids, 0)
    undo = dict.fromkeys(ids, 0)
    found = Step.objects.filter(revision__in=ids).exclude(kind=StepKind.ITEM).order_by("index")
    undone = set(found.filter(kind=StepKind.ROLLBACK).values_list("parent_id", flat=True))
    rows = found.filter(kind=StepKind.STEP).values_list("revision_id", "pk", "hosts", "reversible_by")
    for pk, step, names, reversible_by in rows:
        steps[pk] += 1
        undo[pk] += bool(reversible_by) or step in undone
        hosts[pk] += [name for name in names if name not in hosts[pk]]
    votes: dict[Any, list[Approval]] = {pk: [] for pk in ids}
    for vote in Approval.objects.filter(revision__in=ids).select_related("approver").weighed(policy):
        votes[vote.revision_id].append(vote)
    return [
        Row(
            revision=revision,
            hosts=hosts[revision.pk],
            steps=steps[revision.pk],
            reversible=undo[revision.pk],
            approvals=sum(vote.counts for vote in votes[revision.pk]),
            votes=votes[revision.pk],
        )
        for revision in revisions
    ]
