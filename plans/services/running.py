"""What a person may ask of steps that failed, whose outcome is unknown, or that wait for their next try."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal
from uuid import UUID

from django.db import transaction
from django.db.models import QuerySet
from django.db.models.functions import Now

from audit import trail
from audit.context import Actor, acting
from plans import lifecycle, recovery
from plans.enums import AttemptStatus, Stage, StepKind, StepStatus
from plans.errors import HostsUnknown, IllegalTransition, NotFound
from plans.execution import engine, fallback, narrowing, routing, stopping
from plans.models import Attempt, Dependency, Plan, Step
from plans.planning.validation import ROW_KEY
from plans.services.common import check_not_overtaken, checked, not_undone, operable, reason_of

Hosts = Literal["", "unfinished"]


def retry_step(*, actor: Actor, plan_id: UUID, key: str, reason: str = "", hosts: Hosts = "") -> Plan:
    """Give a failed or unknown step another attempt; a failed plan goes on under the same digest.

    With hosts="unfinished" a playbook runs again on the hosts that are not finished, and on no other. A step that waits
    for its next try begins it now. Raises NotFound, NotAllowed, IllegalTransition and HostsUnknown.
    """
    plan = operable(actor, plan_id)
    reason = checked(reason, "reason")
    with acting(actor, plan.trace_id), transaction.atomic():
        plan = stopping.hold(plan_id)  # what ends at this moment may be an item of what is tried again
        if waiting := _waiting(plan, key):
            return _bring_forward(waiting, plan, reason, hosts)
        return _retry(actor, plan, key, reason, hosts)


def retry_plan(*, actor: Actor, plan_id: UUID, reason: str = "", hosts: Hosts = "") -> Plan:
    """Go on from where a failed plan stopped: every failed or unknown step gets another attempt.

    With hosts="unfinished" each playbook among them runs again on its unfinished hosts only. Raises NotFound,
    NotAllowed, IllegalTransition, and HostsUnknown if one of them can not be narrowed; then nothing is tried.
    """
    plan = operable(actor, plan_id)
    reason = checked(reason, "reason")
    with acting(actor, plan.trace_id), transaction.atomic():
        return _retry(actor, stopping.hold(plan_id), None, reason, hosts)


def give_up_step(*, actor: Actor, plan_id: UUID, key: str, reason: str) -> Plan:
    """Fail a step that waits for its next try, without that try; the plan goes on as after any failure, with its fallback if it has one.

    Raises NotFound, NotAllowed, Refused without a reason, and IllegalTransition for a step that does not wait for a try.
    """
    plan = operable(actor, plan_id)
    reason = reason_of(reason, "Say why it is not tried again: the people who asked and approved read this.")
    with acting(actor, plan.trace_id), transaction.atomic():
        plan = stopping.hold(plan_id)
        attempt = _waiting(plan, key)
        if attempt is None:
            raise IllegalTransition(_not_waiting(plan, key))
        if plan.stage != Stage.EXECUTING or plan.cancel_reason:
            raise IllegalTransition(f"Plan {plan.number} {_stands(plan)}, so nothing of it is given up now.")
        step = attempt.step
        trail.record(
            "step.given_up",
            subject=("step", step.pk),
            service=step.service,
            reason=reason,
            step=step.key,
            number=attempt.number,
        )
        said = f"Given up by {actor.called}: {reason}"
        Attempt.objects.filter(pk=attempt.pk).update(status=AttemptStatus.CANCELLED, error=said, finished_at=Now())
        if fallback.can_take_over(attempt) and not plan.rollback_reason:
            because = fallback.take_over(attempt, said, what="is not tried again")
            engine.make_due(plan, [step], because=because, by_fallback=True)
        else:
            step.error = f"{attempt.because} {said}"
            lifecycle.move_step(step, to=StepStatus.FAILED, error=step.error, finished_at=Now())
            engine.give_way(plan, step)
        engine.settle(plan)
        engine.ring()
    return plan


def _retry(actor: Actor, plan: Plan, key: str | None, reason: str, hosts: Hosts) -> Plan:
    steps = _stuck(plan, key)
    check_not_overtaken(plan)
    left = _left(steps) if hosts else {}
    for step in steps:
        only = left.get(step.pk)
        facts: dict[str, Any] = {"hosts": ", ".join(only)} if only else {}
        trail.record(
            "step.narrowed" if only else "step.retried",
            subject=("step", step.pk),
            service=step.service,
            reason=reason,
            step=step.key,
            was=step.status,
            **facts,
        )
    names = ", ".join(step.key for step in steps[:5])
    if plan.stage == Stage.FAILED:
        engine.reopen(plan, because=f"{actor.called} asked for another try of {names}.")
    Step.objects.filter(pk__in=[step.pk for step in steps]).update(finished_at=None, error="")
    because = reason or f"{actor.called} asked for another try."
    behind = {} if hosts else _behind(steps)  # a step that waits can not be narrowed
    undecided = [step for step in steps if _is_undecided(step)]
    for step in {*undecided, *behind}:
        lifecycle.move_step(step, to=StepStatus.WAITING, waiting_for="")
    for upstream in {before.pk: before for found in behind.values() for before in found}.values():
        engine.put_behind(upstream, [step for step, found in behind.items() if upstream in found])
    now = [step for step in steps if step not in behind]
    made = engine.make_due(plan, [step for step in now if _is_single(step) and step not in undecided], because=because)
    narrowing.narrow(made, left)
    engine.make_due(plan, engine.wanted(plan, [step for step in now if step in undecided]), because=because)
    for step in now:
        if step.kind == StepKind.ITEM and step.parent:
            engine.resume_items(plan, step.parent, only=step, because=because)
        elif step.for_each is not None and step not in undecided:
            engine.resume_items(plan, step, because=because)
    engine.settle(plan)  # what was left of a fan-out may be nothing
    return plan


def _behind(steps: Sequence[Step]) -> dict[Step, list[Step]]:
    """Those of these steps that depend on others of them, with these: they are tried after them."""
    by_id = {step.pk: step for step in steps}
    edges = Dependency.objects.filter(upstream__in=by_id, downstream__in=by_id).order_by("upstream_id")
    found: dict[Step, list[Step]] = {}
    for upstream, downstream in edges.values_list("upstream_id", "downstream_id"):
        found.setdefault(by_id[downstream], []).append(by_id[upstream])
    return found


def _is_undecided(step: Step) -> bool:
    """Whether a step failed before it was tried, because its condition or its list could not be read."""
    return step.kind == StepKind.STEP and not step.attempts_made and step.items is None


def _is_single(step: Step) -> bool:
    return step.kind != StepKind.ITEM and step.for_each is None


def _left(steps: list[Step]) -> dict[UUID, list[str]]:
    """The unfinished hosts of those steps that run playbooks; the others have no hosts to choose from.

    Raises HostsUnknown for one that can not be narrowed, and if there is nothing to narrow at all.
    """
    left = {}
    for step in steps:
        if not _is_single(step):
            raise HostsUnknown(f"{step.key} works on a list; only as a whole it goes on with the items that are left.")
        if step.playbook:
            left[step.pk], reason = recovery.unfinished(narrowing.hosts_of(step))
            if reason:
                raise HostsUnknown(f"{step.key} can not go on with its unfinished hosts: {reason}. Try it as a whole.")
    if not left:
        raise HostsUnknown(f"{steps[0].key} names no hosts, so there are none to go on with. Try it as a whole.")
    return left


def _waiting(plan: Plan, key: str) -> Attempt | None:
    """The attempt that a step waits for, held; None if it does not wait for a time."""
    if not ROW_KEY.fullmatch(key):
        return None
    due = Attempt.objects.select_for_update(of=("self",)).select_related("step", "plan")
    return due.filter(
        plan=plan,
        step__revision__number=plan.revision_number,
        step__key=key,
        step__status=StepStatus.WAITING,
        status=AttemptStatus.DUE,
        agent__isnull=True,
        held_by__isnull=True,  # a breaker's wait is not a person's to end here
        next_at__gt=Now(),
    ).first()


def _bring_forward(attempt: Attempt, plan: Plan, reason: str, hosts: Hosts) -> Plan:
    """Begin the next try of a waiting step now."""
    step = attempt.step
    if hosts:
        raise IllegalTransition(
            f"Step {step.key} waits for try {attempt.number} already; it can only be brought forward."
        )
    if plan.stage != Stage.EXECUTING or plan.cancel_reason:
        raise IllegalTransition(f"Plan {plan.number} {_stands(plan)}, so nothing of it begins now.")
    trail.record(
        "step.brought_forward",
        subject=("step", step.pk),
        service=step.service,
        reason=reason,
        step=step.key,
        number=attempt.number,
    )
    Attempt.objects.filter(pk=attempt.pk).update(next_at=Now())
    routing.route([attempt])
    engine.ring()
    return plan


def _not_waiting(plan: Plan, key: str) -> str:
    """What stands against giving up on a step. Raises NotFound if there is no such step."""
    current = Step.objects.filter(plan=plan, revision__number=plan.revision_number, key=key)
    step = current.first() if ROW_KEY.fullmatch(key) else None
    if step is None:
        raise NotFound(f"Plan {plan.number} has no step {key[:64]!r}.")
    return (
        f"Step {key} is {StepStatus(step.status).label.lower()} and does not wait for another try, so there is none to "
        "give up."
    )


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
    if plan.stage not in (Stage.FAILED, Stage.EXECUTING) or plan.cancel_reason:
        raise IllegalTransition(
            f"Plan {plan.number} {_stands(plan)}; only steps of a plan that executes or has failed are tried again."
        )
    if not stuck and key:
        is_now = StepStatus(current[0].status).label.lower()
        raise IllegalTransition(f"Step {key} is {is_now}; only failed or unknown steps are tried again.")
    if not stuck:
        raise IllegalTransition(f"No step of plan {plan.number} is failed or unknown, so none is tried again.")
    return stuck


def _stands(plan: Plan) -> str:
    ending = plan.cancel_reason and plan.stage != Stage.CANCELLED
    return "is being cancelled" if ending else f"is {Stage(plan.stage).label.lower()}"


def _of_rollback(plan: Plan, current: QuerySet[Step], key: str | None) -> QuerySet[Step]:
    """Of a plan that is or was rolled back, only what undoes its steps is tried again. Raises IllegalTransition."""
    undoing = current.filter(kind=StepKind.ROLLBACK)
    if not undoing and key is not None:
        raise not_undone(plan)
    if key is None and not undoing.filter(status__in=[StepStatus.FAILED, StepStatus.UNKNOWN]):
        raise not_undone(plan)
    return undoing
