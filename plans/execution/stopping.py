"""How a plan is brought to a stop: what has not started is taken back, what runs is asked to stop by its agent."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from django.db import connection
from django.db.models.functions import Now

from audit.trail import requires_transaction
from plans import lifecycle, waiting
from plans.enums import AttemptStatus, Stage, StepStatus
from plans.execution import engine, fan_out, locks, rollback
from plans.models import Attempt, Plan, Step

_NOT_STARTED = (StepStatus.WAITING, StepStatus.READY)


@requires_transaction
def hold(plan_id: UUID) -> Plan:
    """The plan, locked, for whoever steers it: what ends or is claimed at this moment is waited for, and all else waits for us.

    First of all locks: an end that was decided by an older look at the plan would be lost, or would settle what goes on.
    """
    with connection.cursor() as cursor:
        cursor.execute("SELECT chiffon_stop(%s)", [plan_id])
    # Not the key: rows that only refer to the plan, such as those of its steps' events, do not wait and so never in a circle.
    return Plan.objects.select_for_update(no_key=True).get(pk=plan_id)


@requires_transaction
def call_back(plan: Plan) -> None:
    """Take what has not begun of a paused plan from its agents, whose slots others need meanwhile; the caller holds the plan."""
    unbegun = Attempt.objects.filter(plan=plan, status__in=[AttemptStatus.DUE, AttemptStatus.SENT])
    # All of them, so that a dispatcher that is just choosing an agent for one is waited for.
    attempts = list(unbegun.select_for_update(of=("self",), no_key=True).select_related("step").order_by("pk"))
    unbegun.update(status=AttemptStatus.DUE, agent=None, sent_at=None)
    for attempt in attempts:
        if attempt.step.status == StepStatus.READY:  # as many as there were slots for
            lifecycle.keep_waiting(attempt.step, waiting.PAUSED)
    locks.tell_steps(plan, waiting.PAUSED)
    engine.ring()


@requires_transaction
def cancel(plan: Plan, live: Sequence[Attempt], *, because: str) -> None:
    """Cancel a plan whose live attempts and row the caller holds.

    With nothing running it is cancelled at once; else as soon as the running attempts have ended, whatever their end.
    """
    running = [attempt.pk for attempt in live if attempt.status == AttemptStatus.RUNNING]
    unsent = [attempt.pk for attempt in live if attempt.status != AttemptStatus.RUNNING]
    Attempt.objects.filter(pk__in=unsent).update(status=AttemptStatus.CANCELLED, error=because, finished_at=Now())
    Attempt.objects.filter(pk__in=running).update(cancel_requested=True)
    Plan.objects.filter(pk=plan.pk).update(cancel_reason=because)
    plan.cancel_reason = because
    current = Step.objects.filter(revision__plan=plan, revision__number=plan.revision_number, status__in=_NOT_STARTED)
    for step in current.order_by("index"):
        lifecycle.move_step(step, to=StepStatus.CANCELLED, summary=because, finished_at=Now())
    if plan.stage in (Stage.EXECUTING, Stage.PAUSED) and running:
        lifecycle.emit_stopping(plan, because, len(running))
        return
    fan_out.rest(plan, to=StepStatus.CANCELLED, because=because)
    told = f"{because} {rollback.tale(plan)}" if plan.rollback_reason else because
    lifecycle.transition(plan, to=Stage.CANCELLED, because=told)
    engine.ring()
