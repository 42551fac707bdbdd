"""Lists that are paged by key: a page is named by its last row, so nothing shifts while new rows arrive."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any, Final

from django.contrib.auth import get_user_model
from django.db.models import Count, F, Q, QuerySet, Sum, TextField
from django.db.models.functions import Cast, Coalesce, Length

from audit.context import Actor
from plans.enums import OPEN_STAGES, RequestStatus, Stage, StepKind, StepStatus
from plans.models import Plan, Request, Revision, Step
from plans.permissions import visible_plans, visible_requests

PAGE = 25
LARGEST_PAGE: Final = 1_000_000  # characters of what steps take and give


@dataclass(frozen=True, slots=True)
class Page[Item]:
    """One page of a list. `older` is the key of the next page, or None on the last."""

    items: list[Item]
    newer: bool
    older: int | None
    says: str
    older_says: str = ""


@dataclass(frozen=True, slots=True)
class PlanRow:
    """One plan of the list: its risk, and how far its steps are."""

    plan: Plan
    risk: str
    steps: int
    done: int
    stuck: int


@dataclass(frozen=True, slots=True)
class PlanList:
    """The page of plans: its rows, and how many that have not ended are in each stage."""

    page: Page[PlanRow]
    counts: Mapping[str, int]
    people: list[Any]
    filtered: bool


def page_of[Item: (Plan, Request)](
    found: QuerySet[Item], before: int | None, says: Callable[[int], str], size: int = PAGE
) -> Page[Item]:
    """The rows below the number `before`, newest first, and whether there are more."""
    rows = list((found.filter(number__lt=before) if before else found).order_by("-number")[: size + 1])
    items = rows[:size]
    older = items[-1].number if len(rows) > size else None
    return Page(items, bool(before), older, says(len(items)), f"Older than {older}")


def plan_list(
    actor: Actor,
    *,
    stage: str = "",
    requester: str = "",
    words: str = "",
    before: int | None = None,
) -> PlanList:
    """The plans this person may see, newest first. `requester` is a user name, or "me"."""
    seen = visible_plans(actor)
    unfinished = seen.filter(ended=False).values("stage").annotate(n=Count("pk")).order_by()
    counts = {row["stage"]: row["n"] for row in unfinished}
    found = seen
    if stage:
        found = found.in_stages(Stage(stage))
    if requester == "me":
        found = found.filter(requester=actor.user)
    elif requester:
        found = found.filter(requester__username=requester)
    if words:
        found = found.filter(_matches(words))
    plans = page_of(
        found.select_related("requester"), before, lambda n: f"{n} plan{'' if n == 1 else 's'} on this page"
    )
    page = Page(_rows(plans.items), plans.newer, plans.older, plans.says, plans.older_says)
    people = list(
        get_user_model().objects.filter(pk__in=seen.order_by().values("requester").distinct()).order_by("username")[:50]
    )
    return PlanList(page, counts, people, filtered=bool(stage or requester or words))


def _rows(plans: list[Plan]) -> list[PlanRow]:
    """Add risk and progress to each plan, in two queries for all of them."""
    current = {"plan__in": plans, "number": F("plan__revision_number")}
    risks = dict(Revision.objects.filter(**current).values_list("plan_id", "risk"))
    counted: dict[Any, dict[str, int]] = {}
    found = (
        Step.objects.filter(plan__in=plans, revision__number=F("plan__revision_number"))
        .exclude(kind=StepKind.ITEM)
        .order_by()
        .values_list("plan_id", "kind", "status")
        .annotate(n=Count("pk"))
    )
    undoing: dict[Any, dict[str, int]] = {}
    for plan_id, kind, status, n in found:
        (counted if kind == StepKind.STEP else undoing).setdefault(plan_id, {})[status] = n
    rows = []
    for plan in plans:
        by_status = counted.get(plan.pk, {})
        asks = undoing.get(plan.pk, {}) if plan.rollback_reason else by_status  # what can go on
        rows.append(
            PlanRow(
                plan=plan,
                risk=risks.get(plan.pk, ""),
                steps=sum(by_status.values()),
                done=by_status.get(StepStatus.COMPLETED, 0),
                stuck=asks.get(StepStatus.FAILED, 0) + asks.get(StepStatus.UNKNOWN, 0)
                if plan.stage in OPEN_STAGES
                else 0,
            )
        )
    return rows


def _matches(words: str) -> Q:
    """A plan's number, or text in its goal, service or in a step's playbook or hosts."""
    if words.isascii() and words.isdigit() and len(words) < 18:
        return Q(number=int(words))
    in_steps = Q(steps__playbook__path__icontains=words) | Q(steps__hosts__contains=[words])
    matching = Plan.objects.filter(Q(goal__icontains=words) | Q(service__icontains=words) | in_steps)
    return Q(pk__in=matching.order_by().values("pk").distinct())


def heading(counts: Mapping[str, int]) -> str:
    """The answer of the page of plans, from how many that have not ended are in each stage."""
    running = counts.get(Stage.EXECUTING, 0)
    failed = counts.get(Stage.FAILED, 0)
    waiting = counts.get(Stage.PENDING_APPROVAL, 0)
    parts = []
    if running:
        parts.append(f"{running} {'plan runs' if running == 1 else 'plans run'}")
    if failed:
        parts.append(f"{failed} stopped with a failure")
    if waiting:
        parts.append(f"{waiting} {'awaits' if waiting == 1 else 'await'} approval")
    return ", ".join(parts) if parts else "Nothing runs and nothing waits"


def request_list(actor: Actor, *, status: str = "", before: int | None = None) -> Page[Request]:
    """The requests this person may see, newest first."""
    found = visible_requests(actor).select_related("requester", "plan")
    if status in RequestStatus.values:
        found = found.filter(status=status)
    return page_of(found, before, lambda n: f"{n} request{'' if n == 1 else 's'} on this page")


def that_fit(plans: Sequence[Plan]) -> Sequence[Plan]:
    """The first of these plans, as many as do not hold too much for one answer together; at least one if there is any."""
    texts = [Coalesce(Length(Cast(name, TextField())), 0) for name in ("input", "output", "items", "preview")]
    steps = Step.objects.filter(plan__in=plans, revision__number=F("plan__revision_number")).order_by()
    sizes = dict(steps.values_list("plan").annotate(size=Sum(sum(texts[1:], texts[0]))))
    fitting = sum(total <= LARGEST_PAGE for total in accumulate(sizes.get(plan.pk, 0) for plan in plans))
    return plans[: max(1, fitting)]
