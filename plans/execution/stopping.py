"""How a plan is brought to a stop: what has not started is taken back, what runs is asked to stop by its agent."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from django.db import connection
from django.db.models.functions import Now

from audit.trail import requires_transaction
from plans import lifecycle
from plans.enums import AttemptStatus, Stage, StepStatus
from plans.execution import engine, fan_out, rollback
from plans.models import Attempt, Plan, Step

_NOT_STARTED = (StepStatus.WAITING, StepStatus.READY)


@requires_transaction
def hold(plan_id: UUID) -> None:
    """Wait for the steps that are ending or being claimed at this moment, and let no other be until this transaction ends."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT chiffon_stop(%s)", [plan_id])


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
