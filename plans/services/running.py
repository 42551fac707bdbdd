"""What a person may ask of a plan that runs or has failed."""

from __future__ import annotations

from uuid import UUID

from django.db import transaction

from audit import trail
from audit.authority import Action, may
from audit.context import Actor, acting
from audit.errors import NotAllowed
from plans import lifecycle
from plans.enums import Stage, StepStatus
from plans.errors import IllegalTransition, NotFound
from plans.execution import engine
from plans.models import Plan, Step
from plans.planning.validation import KEY
from plans.services.common import checked, visible


def retry_step(*, actor: Actor, plan_id: UUID, key: str, reason: str = "") -> Plan:
    """Give a failed or unknown step another attempt; a failed plan goes on under the same digest.

    Raises NotFound, NotAllowed and IllegalTransition.
    """
    plan = visible(actor, plan_id)
    if not (answer := may(actor, Action.OPERATE_PLAN, plan)):
        raise NotFound(answer.sentence) if answer.hidden else NotAllowed(answer.code, answer.sentence)
    reason = checked(reason, "reason")
    with acting(actor, plan.trace_id), transaction.atomic():
        plan = Plan.objects.select_for_update().get(pk=plan_id)
        current = Step.objects.filter(revision__plan=plan, revision__number=plan.revision_number)
        step = current.filter(key=key).first() if KEY.fullmatch(key) else None
        if step is None:
            raise NotFound(f"Plan {plan.number} has no step {key[:64]!r}.")
        if step.status not in (StepStatus.FAILED, StepStatus.UNKNOWN) or plan.stage not in (
            Stage.FAILED,
            Stage.EXECUTING,
        ):
            raise IllegalTransition(
                f"Step {key} is {StepStatus(step.status).label.lower()}; only failed or unknown steps are tried again."
            )
        trail.record(
            "step.retried",
            subject=("step", step.pk),
            plan_id=plan.pk,
            service=step.service,
            reason=reason,
            step=step.key,
            was=step.status,
        )
        if plan.stage == Stage.FAILED:
            lifecycle.transition(plan, to=Stage.EXECUTING, because=f"{actor.name} asked for another try of {key}.")
        Step.objects.filter(pk=step.pk).update(finished_at=None, error="")
        engine.make_due(plan, [step], because=reason or f"{actor.name} asked for another try.")
    return plan
