"""Which plans wait for the hosts and services they work on, in which order, and for which plan each of them waits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from audit.context import full_name
from plans.enums import GOING_STAGES
from plans.models import Plan, TargetLock
from plans.targets import told


@dataclass(frozen=True, slots=True)
class InTheWay:
    """A plan that has a target now, or that gets it first (`next`), and since when it has it or waits for it."""

    plan: Plan
    target: str
    since: datetime
    next: bool = False

    @property
    def sentence(self) -> str:
        """What the plan behind it waits for."""
        does = "is next to work on" if self.next else "works on"
        who = full_name(self.plan.requester)
        return f"Waits for plan {self.plan.number}, which {does} {told(self.target)} (asked by {who}, {_since(self)})."


@dataclass(frozen=True, slots=True)
class Wait:
    """A plan that waits, and what is in its way; nothing if it may go on."""

    plan: Plan
    behind: InTheWay | None


def queue() -> list[Wait]:
    """Every plan that waits and could go on, in the order in which they get what they wait for."""
    order = ("-priority", "waits_since", "number")
    waiting = Plan.objects.filter(waits_since__isnull=False, stage__in=GOING_STAGES).order_by(*order)
    plans = list(waiting.select_related("requester"))
    if not plans:
        return []
    return _in_turn(plans, _held([target for plan in plans for target in plan.targets]))


def in_the_way(plan: Plan, targets: Sequence[str]) -> InTheWay | None:
    """What keeps a plan from having these targets now: who has one, or waits for one with the right to be first."""
    held = _held(targets)
    for target in targets:
        if target in held and held[target].plan.pk != plan.pk:
            return held[target]
    before = Plan.objects.filter(
        waits_since__isnull=False, stage__in=GOING_STAGES, priority__gte=plan.priority, targets__has_any_keys=targets
    )
    before = before.exclude(pk=plan.pk).order_by("-priority", "waits_since", "number").select_related("requester")
    first = before.first()
    if first is None or first.waits_since is None:
        return None
    return InTheWay(first, next(target for target in targets if target in first.targets), first.waits_since, next=True)


def behind(plan: Plan) -> Plan | None:
    """The plan that this one waits for now, or None."""
    if plan.waits_since is None or plan.stage not in GOING_STAGES:
        return None
    wait = next((wait for wait in queue() if wait.plan.pk == plan.pk), None)
    return wait.behind.plan if wait and wait.behind else None


def _held(targets: Sequence[str]) -> dict[str, InTheWay]:
    locks = TargetLock.objects.filter(target__in=set(targets)).select_related("plan__requester")
    return {lock.target: InTheWay(lock.plan, lock.target, lock.since) for lock in locks}


def _in_turn(plans: Sequence[Plan], held: Mapping[str, InTheWay]) -> list[Wait]:
    """Who waits for whom: for the plan that has a target, else for the first one in the queue that needs it too.

    Nobody passes a plan that stands before it and needs the same, so none waits forever for two targets at once.
    """
    first: dict[str, Plan] = {}
    waits = []
    for plan in plans:
        blocked = next((held[target] for target in plan.targets if target in held), None)
        if blocked is None:
            target = next((target for target in plan.targets if target in first), None)
            before = first[target] if target else None
            if target and before and before.waits_since:
                blocked = InTheWay(before, target, before.waits_since, next=True)
        for target in plan.targets:
            first.setdefault(target, plan)
        waits.append(Wait(plan, blocked))
    return waits


def _since(seen: InTheWay) -> str:
    at, now = seen.since.astimezone(UTC), datetime.now(UTC)
    return f"since {at:%H:%M} UTC" if at.date() == now.date() else f"since {at.day} {at:%B %H:%M} UTC"
