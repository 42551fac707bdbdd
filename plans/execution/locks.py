"""Locks between plans: two that touch the same host or service work one after the other.

A plan takes everything it touches at once before its first step starts, or nothing and waits in the queue; it gives all
of it back when it comes to rest (`lifecycle.transition`). The rows belong to the plan and not to a process, so there is
nothing that a crash could leave behind. While a plan waits, its attempts stay due and are not routed.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from uuid import UUID

from django.db import transaction
from django.db.models.functions import Now
from django.utils import timezone

from agents import jobs
from audit import trail
from audit.context import SYSTEM, acting
from audit.trail import requires_transaction
from plans import lifecycle
from plans.enums import GOING_STAGES, HOLDING_STAGES, AttemptStatus, StepStatus
from plans.models import Attempt, Plan, Step, TargetLock
from plans.selectors import waits
from plans.targets import Aimed, targets_of

_TRIES = 3
_TOLD_TOGETHER = 500  # events in one row


@requires_transaction
def take(plan: Plan, steps: Iterable[Aimed]) -> bool:
    """Have all that these steps touch for the plan alone, or nothing of it and wait. Whether the plan may go on."""
    targets = targets_of(steps)
    if targets != plan.targets:
        Plan.objects.filter(pk=plan.pk).update(targets=targets)
        plan.targets = targets
    if not targets:
        return True
    blocked = None
    for _ in range(_TRIES):  # whoever was first may be gone again by the time one looks who it was
        blocked = waits.in_the_way(plan, targets)
        if blocked is None and _insert(plan):
            return True
        if blocked is not None:
            break
    sentence = blocked.sentence if blocked else "Waits for another plan that works on the same hosts."
    Plan.objects.filter(pk=plan.pk).update(waits_since=Now(), waiting_for=sentence)
    plan.waits_since, plan.waiting_for = timezone.now(), sentence
    trail.record(
        "plan.waits_for_lock",
        subject=("plan", plan.pk),
        trace_id=plan.trace_id,
        service=plan.service,
        reason=sentence,
        behind=blocked.plan.number if blocked else None,
        target=blocked.target if blocked else "",
        targets=targets,
    )
    jobs.ring()  # the holder may come to rest before this is committed: whoever commits last is heard
    return False


def let_through(attempts: Sequence[Attempt]) -> list[Attempt]:
    """Those whose plan does not wait; the steps of the others say for what it waits."""
    for attempt in attempts:
        if attempt.plan.waits_since:
            lifecycle.keep_waiting(attempt.step, attempt.plan.waiting_for)
    return [attempt for attempt in attempts if not attempt.plan.waits_since]


def grant() -> int:
    """Let every plan go on that has waited and may, in the order of the queue; tell the others whom they wait for now."""
    granted = 0
    for wait in waits.queue():
        if wait.behind is None:
            granted += _go_on(wait.plan.pk)
        elif wait.behind.sentence != wait.plan.waiting_for:
            _tell(wait.plan.pk, wait.behind.sentence)
    return granted


def free_stale() -> int:
    """Give back what plans at rest still have. Nothing should; it keeps a defect from locking a host forever."""
    with transaction.atomic():
        freed, _ = TargetLock.objects.exclude(plan__stage__in=HOLDING_STAGES).delete()
        idle = Plan.objects.filter(waits_since__isnull=False).exclude(stage__in=HOLDING_STAGES)
        idle.update(waits_since=None, waiting_for="")
        if freed:
            jobs.ring()
    return freed


def _insert(plan: Plan) -> bool:
    """Take all targets or none. Sorted, so that two that take at the same moment never wait for each other in a circle."""
    TargetLock.objects.bulk_create(
        [TargetLock(target=target, plan=plan) for target in sorted(plan.targets)], ignore_conflicts=True
    )
    mine = TargetLock.objects.filter(plan=plan)
    if mine.count() == len(plan.targets):
        return True
    mine.delete()
    return False


def _waiting(plan_id: UUID) -> Plan | None:
    """A plan that waits, locked; None if it is just being steered by somebody, who rings afterwards."""
    rows = Plan.objects.select_for_update(no_key=True, skip_locked=True)
    return rows.filter(pk=plan_id, waits_since__isnull=False, stage__in=GOING_STAGES).first()


def _go_on(plan_id: UUID) -> bool:
    with transaction.atomic():
        plan = _waiting(plan_id)
        if plan is None or plan.waits_since is None or not _insert(plan):
            return False
        with acting(SYSTEM, plan.trace_id):
            Plan.objects.filter(pk=plan.pk).update(waits_since=None, waiting_for="")
            trail.record(
                "plan.lock_taken",
                subject=("plan", plan.pk),
                trace_id=plan.trace_id,
                service=plan.service,
                targets=plan.targets,
                seconds=round((timezone.now() - plan.waits_since).total_seconds(), 1),
            )
            tell_steps(plan, "Waits for an agent.")
    return True


def _tell(plan_id: UUID, sentence: str) -> None:
    with transaction.atomic():
        plan = _waiting(plan_id)
        if plan is not None:
            Plan.objects.filter(pk=plan.pk).update(waiting_for=sentence)
            tell_steps(plan, sentence)


def tell_steps(plan: Plan, sentence: str) -> None:
    """Set the sentence of all steps that are due now and held back, in one statement, and tell it in one row of events."""
    due = Attempt.objects.filter(plan=plan, status=AttemptStatus.DUE, agent__isnull=True, next_at__lte=Now())
    held_back = due.values("step")
    steps = Step.objects.filter(pk__in=held_back, status=StepStatus.WAITING).exclude(waiting_for=sentence)
    keys = list(steps.order_by("index").values_list("key", flat=True))
    steps.update(waiting_for=sentence)
    told = [["step_changed", {"was": StepStatus.WAITING, "now": StepStatus.WAITING, "waiting_for": sentence}, 0]]
    for begin in range(0, len(keys), _TOLD_TOGETHER):
        lifecycle.emit_together(plan.pk, [[None, key, told] for key in keys[begin : begin + _TOLD_TOGETHER]])
