"""Cancel, pause and resume a plan, and skip a step: politely first, and each with its record."""

from __future__ import annotations

from uuid import UUID

from django.db import transaction
from django.db.models import Q
from django.db.models.functions import Now

from audit import trail
from audit.authority import Action, check
from audit.context import Actor, acting
from plans import lifecycle, waiting
from plans.enums import LIVE_ATTEMPTS, OPEN_STAGES, AttemptStatus, Stage, StepKind, StepStatus
from plans.errors import IllegalTransition, NotFound, SelfApproval
from plans.execution import engine, fan_out, locks, stopping
from plans.models import Attempt, Plan, Step
from plans.planning.validation import ROW_KEY
from plans.selectors.policy import NOT_ONES_OWN, is_own
from plans.services.common import check_not_overtaken, checked, not_undone, operable, reason_of, visible

_SKIPPABLE = (StepStatus.WAITING, StepStatus.READY, StepStatus.FAILED, StepStatus.UNKNOWN)


def cancel_plan(*, actor: Actor, plan_id: UUID, reason: str) -> Plan:
    """End a plan: nothing new starts, what runs is asked to stop and then made to. What is done stays done.

    Raises NotFound, NotAllowed, Refused without a reason, and IllegalTransition for a plan that has ended.
    """
    plan = operable(actor, plan_id)
    reason = reason_of(reason, "Say why it is cancelled: the people who asked and approved read this.")
    with acting(actor, plan.trace_id), transaction.atomic():
        # Before its attempts, as every end of an attempt does it: whoever has stopped a plan sees all that are live.
        plan = stopping.hold(plan_id)
        live = Attempt.objects.select_for_update().filter(plan=plan, status__in=LIVE_ATTEMPTS).order_by("pk")
        attempts = list(live)
        if Stage.CANCELLED not in lifecycle.possible_stages(plan):
            raise IllegalTransition(
                f"Plan {plan.number} is {Stage(plan.stage).label.lower()}; nothing is left to cancel."
            )
        if plan.cancel_reason:
            return plan  # it ends already, for the first reason
        trail.record("plan.cancel_requested", subject=("plan", plan.pk), service=plan.service, reason=reason)
        stopping.cancel(plan, attempts, because=f"Cancelled by {actor.called}: {reason}")
    return plan


def pause_plan(*, actor: Actor, plan_id: UUID, reason: str = "") -> Plan:
    """Start nothing new until somebody resumes it; what runs now runs to its end.

    Raises NotFound, NotAllowed and IllegalTransition.
    """
    plan = operable(actor, plan_id)
    because = f"Paused by {actor.called}" + (f": {said}" if (said := checked(reason, "reason")) else ".")
    with acting(actor, plan.trace_id), transaction.atomic():
        plan = stopping.hold(plan_id)
        lifecycle.transition(plan, to=Stage.PAUSED, because=because)
        stopping.call_back(plan)
    return plan


def resume_plan(*, actor: Actor, plan_id: UUID, reason: str = "") -> Plan:
    """Let a paused plan go on. Raises NotFound, NotAllowed and IllegalTransition."""
    plan = operable(actor, plan_id)
    because = f"Resumed by {actor.called}" + (f": {said}" if (said := checked(reason, "reason")) else ".")
    with acting(actor, plan.trace_id), transaction.atomic():
        plan = stopping.hold(plan_id)
        if plan.stage != Stage.PAUSED:
            raise IllegalTransition(f"Plan {plan.number} is {Stage(plan.stage).label.lower()}, not paused.")
        if plan.cancel_reason:
            raise IllegalTransition(f"Plan {plan.number} is being cancelled, so it is not resumed.")
        lifecycle.transition(plan, to=Stage.EXECUTING, because=because)
        locks.tell_steps(plan, waiting.TURN)
        engine.settle(plan)  # what ran when it was paused may have been the last
        engine.ring()
    return plan


def skip_step(*, actor: Actor, plan_id: UUID, key: str, reason: str) -> Plan:
    """Leave a step out, with a reason; what depends on it goes on without its result.

    It changes what was approved, so it needs the right to approve just this plan. Raises NotFound, NotAllowed, SelfApproval,
    Refused without a reason, and IllegalTransition for a step that runs or has ended.
    """
    plan = visible(actor, plan_id)
    check(actor, Action.DECIDE_PLAN, plan)
    if is_own(plan, actor.user):
        raise SelfApproval(NOT_ONES_OWN)
    reason = reason_of(reason, "Say why it is left out: it changes what was approved.")
    with acting(actor, plan.trace_id), transaction.atomic():
        plan = stopping.hold(plan_id)
        found = Step.objects.filter(revision__plan=plan, revision__number=plan.revision_number, key=key)
        step = found.first() if ROW_KEY.fullmatch(key) else None
        if step is None:
            raise NotFound(f"Plan {plan.number} has no step {key[:64]!r}.")
        of_step = Q(step=step) | Q(step__parent=step, step__kind=StepKind.ITEM)
        list(Attempt.objects.select_for_update(of=("self",)).filter(of_step, status__in=LIVE_ATTEMPTS).order_by("pk"))
        if plan.rollback_reason and step.kind != StepKind.ROLLBACK:
            raise not_undone(plan)
        if plan.stage not in OPEN_STAGES:
            raise IllegalTransition(
                f"Plan {plan.number} is {Stage(plan.stage).label.lower()}; only steps of a plan that executes, is paused or "
                "has failed can be skipped."
            )
        if step.status not in _SKIPPABLE:
            is_now = StepStatus(step.status).label.lower()
            raise IllegalTransition(
                f"Step {key} is {is_now}; only a step that waits, failed or is unknown can be skipped."
            )
        check_not_overtaken(plan)
        trail.record(
            "step.skipped",
            subject=("step", step.pk),
            service=step.service,
            reason=reason,
            step=key,
            was=step.status,
        )
        unsent = Attempt.objects.filter(step=step, status__in=[AttemptStatus.DUE, AttemptStatus.SENT])
        unsent.update(status=AttemptStatus.CANCELLED, error="Its step was skipped.", finished_at=Now())
        summary = f"Skipped by {actor.called}: {reason}"
        lifecycle.move_step(step, to=StepStatus.SKIPPED, summary=summary, error="", finished_at=Now())
        if plan.stage == Stage.FAILED:
            engine.reopen(plan, because=f"{actor.called} skipped {key}.")
        if step.for_each is not None:
            fan_out.drop(step, because=f"{step.key} was skipped.")
        if step.kind == StepKind.ITEM and step.parent and step.parent.error:
            engine.resume_items(plan, step.parent, only=step, because=f"{step.key} was skipped.")
        engine.release_successors(plan, step)
        engine.settle(plan)
        engine.ring()
    return plan
