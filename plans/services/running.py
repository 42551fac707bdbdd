"""What a person may ask of a plan that runs or has failed."""

from __future__ import annotations

from uuid import UUID

from django.db import transaction
from django.db.models import QuerySet

from audit import trail
from audit.context import Actor, acting
from plans.enums import Stage, StepKind, StepStatus
from plans.errors import IllegalTransition, NotFound
from plans.execution import engine, stopping
from plans.models import Plan, Step
from plans.planning.validation import ROW_KEY
from plans.services.common import checked, not_undone, operable


def retry_step(*, actor: Actor, plan_id: UUID, key: str, reason: str = "") -> Plan:
    """Give a failed or unknown step another attempt; a failed plan goes on under the same digest.

    Raises NotFound, NotAllowed and IllegalTransition.
    """
    return _retry(actor, plan_id, key, reason)


def retry_plan(*, actor: Actor, plan_id: UUID, reason: str = "") -> Plan:
    """Go on from where a failed plan stopped: every failed or unknown step gets another attempt.

    Raises NotFound, NotAllowed and IllegalTransition.
    """
    return _retry(actor, plan_id, None, reason)


def _retry(actor: Actor, plan_id: UUID, key: str | None, reason: str) -> Plan:
    plan = operable(actor, plan_id)
    reason = checked(reason, "reason")
    with acting(actor, plan.trace_id), transaction.atomic():
        stopping.hold(plan_id)  # what ends at this moment may be an item of what is tried again
        plan = Plan.objects.select_for_update().get(pk=plan_id)
        steps = _stuck(plan, key)
        for step in steps:
            trail.record(
                "step.retried",
                subject=("step", step.pk),
                plan_id=plan.pk,
                service=step.service,
                reason=reason,
                step=step.key,
                was=step.status,
            )
        names = ", ".join(step.key for step in steps[:5])
        if plan.stage == Stage.FAILED:
            engine.reopen(plan, because=f"{actor.name} asked for another try of {names}.")
        Step.objects.filter(pk__in=[step.pk for step in steps]).update(finished_at=None, error="")
        because = reason or f"{actor.name} asked for another try."
        engine.make_due(plan, [step for step in steps if _is_single(step)], because=because)
        for step in steps:
            if step.kind == StepKind.ITEM and step.parent:
                engine.resume_items(plan, step.parent, only=step, because=because)
            elif step.for_each is not None:
                engine.resume_items(plan, step, because=because)
        engine.settle(plan)  # what was left of a fan-out may be nothing
    return plan


def _is_single(step: Step) -> bool:
    return step.kind != StepKind.ITEM and step.for_each is None


def _stuck(plan: Plan, key: str | None) -> list[Step]:
    """The step of that key, or all, that a person may give another try. Raises NotFound and IllegalTransition."""
    current = Step.objects.filter(revision__plan=plan, revision__number=plan.revision_number).order_by("index")
    current = current.select_related("parent")
    if key is not None:
        current = current.filter(key=key) if ROW_KEY.fullmatch(key) else current.none()
        if not current:
            raise NotFound(f"Plan {plan.number} has no step {key[:64]!r}.")
    else:
        current = current.exclude(kind=StepKind.ITEM)  # they go on with their steps
    if plan.rollback_reason:
        current = _of_rollback(plan, current, key)
    stuck = [step for step in current if step.status in (StepStatus.FAILED, StepStatus.UNKNOWN)]
    if not stuck or plan.stage not in (Stage.FAILED, Stage.EXECUTING) or plan.cancel_reason:
        what = f"Step {key} is {StepStatus(current[0].status).label.lower()}" if key else f"Plan {plan.number} has none"
        raise IllegalTransition(
            f"{what}; only failed or unknown steps of a plan that is not cancelled are tried again."
        )
    return stuck


def _of_rollback(plan: Plan, current: QuerySet[Step], key: str | None) -> QuerySet[Step]:
    """Of a plan that is or was rolled back, only what undoes its steps is tried again. Raises IllegalTransition."""
    undoing = current.filter(kind=StepKind.ROLLBACK)
    if not undoing and key is not None:
        raise not_undone(plan)
    if key is None and not undoing.filter(status__in=[StepStatus.FAILED, StepStatus.UNKNOWN]):
        raise not_undone(plan)
    return undoing
