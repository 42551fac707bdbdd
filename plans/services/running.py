"""What a person may ask of a plan that runs or has failed."""

from __future__ import annotations

from uuid import UUID

from django.db import transaction

from audit import trail
from audit.context import Actor, acting
from plans.enums import Stage, StepStatus
from plans.errors import IllegalTransition, NotFound
from plans.execution import engine
from plans.models import Plan, Step
from plans.planning.validation import KEY
from plans.services.common import checked, operable


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
        engine.make_due(plan, steps, because=reason or f"{actor.name} asked for another try.")
    return plan


def _stuck(plan: Plan, key: str | None) -> list[Step]:
    """The step of that key, or all, that a person may give another try. Raises NotFound and IllegalTransition."""
    current = Step.objects.filter(revision__plan=plan, revision__number=plan.revision_number).order_by("index")
    if key is not None:
        current = current.filter(key=key) if KEY.fullmatch(key) else current.none()
        if not current:
            raise NotFound(f"Plan {plan.number} has no step {key[:64]!r}.")
    stuck = [step for step in current if step.status in (StepStatus.FAILED, StepStatus.UNKNOWN)]
    if not stuck or plan.stage not in (Stage.FAILED, Stage.EXECUTING) or plan.cancel_reason:
        what = f"Step {key} is {StepStatus(current[0].status).label.lower()}" if key else f"Plan {plan.number} has none"
        raise IllegalTransition(
            f"{what}; only failed or unknown steps of a plan that is not cancelled are tried again."
        )
    return stuck
