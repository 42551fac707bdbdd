"""The one way a plan changes its stage, and a step its status: a table, a conditional update, a record, an event."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from django.db import connection, transaction
from django.db.models.functions import Now

from agents import jobs
from audit import trail
from audit.canonical import as_json, plain
from audit.trail import requires_transaction
from plans import live
from plans.enums import FINAL_STAGES, HOLDING_STAGES, EventType, RequestStatus, Stage, StepStatus
from plans.errors import IllegalTransition, StaleTransition
from plans.lifecycle_tables import REQUEST_TRANSITIONS, STAGE_TRANSITIONS, STEP_TRANSITIONS
from plans.models import Plan, Request, Step, TargetLock

# Written out like the records of the trail: one of these goes with every move of a plan or step.
_EMIT = (
    "INSERT INTO plans_event (xid, plan_id, type, step_key, attempt_id, data, at) "
    "VALUES (pg_current_xact_id()::text::bigint, %s, %s, %s, %s, %s::json, statement_timestamp())"
)
_TIMES: dict[Stage, dict[str, Any]] = {
    Stage.DRAFT: {"finished_at": None},  # a new revision of a plan that failed
    Stage.PENDING_APPROVAL: {"submitted_at": Now()},
    Stage.EXECUTING: {"finished_at": None},
}


@requires_transaction
def transition(plan: Plan, *, to: Stage, because: str) -> None:
    """Move a plan, or say why it may not move.

    Raises IllegalTransition for a move that is not in the table, StaleTransition if someone else was first.
    """
    was = Stage(plan.stage)
    if to not in STAGE_TRANSITIONS.get(was, frozenset()):
        raise IllegalTransition(f"Plan {plan.number} is {was.label.lower()}; it can not become {to.label.lower()}.")
    times = dict(_TIMES.get(to, {}))
    if to in FINAL_STAGES or to is Stage.FAILED:
        times["finished_at"] = Now()
    if to is Stage.EXECUTING and plan.started_at is None:
        times["started_at"] = Now()
    comes_to_rest = was in HOLDING_STAGES and to not in HOLDING_STAGES
    if comes_to_rest:
        times |= {"waits_since": None, "waiting_for": ""}
    if not Plan.objects.filter(pk=plan.pk, stage=was).update(stage=to, stage_reason=because, **times):
        raise StaleTransition(f"Plan {plan.number} was moved by someone else at the same moment.")
    plan.stage, plan.stage_reason = to, because
    if comes_to_rest and plan.targets and TargetLock.objects.filter(plan=plan).delete()[0]:
        jobs.ring()  # a plan that waits for one of these may go on
    trail.record(
        "plan.stage_changed",
        subject=("plan", plan.pk),
        trace_id=plan.trace_id,
        service=plan.service,
        reason=because,
        was=str(was),
        now=str(to),
    )
    emit(plan.pk, EventType.STAGE_CHANGED, {"was": str(was), "now": str(to), "reason": because})
    transaction.on_commit(live.announce_inbox)


def possible_stages(plan: Plan) -> frozenset[Stage]:
    """The stages a plan can move to from where it is."""
    return STAGE_TRANSITIONS.get(Stage(plan.stage), frozenset())


def emit_stopping(plan: Plan, because: str, running: int) -> None:
    """Tell the readers that a plan is being cancelled and still waits for its running steps."""
    data = {"was": str(plan.stage), "now": str(plan.stage), "reason": because, "stopping": running}
    emit(plan.pk, EventType.STAGE_CHANGED, data)


@requires_transaction
def move_step(step: Step, *, to: StepStatus, waiting_for: str = "", **fields: Any) -> None:
    """Move a step and tell the readers; `fields` are set with it.

    Raises IllegalTransition for a move that is not in the table, StaleTransition if someone else was first.
    """
    was = StepStatus(step.status)
    if to not in STEP_TRANSITIONS.get(was, frozenset()):
        raise IllegalTransition(f"Step {step.key} is {was.label.lower()}; it can not become {to.label.lower()}.")
    moved = Step.objects.filter(pk=step.pk, status=was).update(status=to, waiting_for=waiting_for, **fields)
    if not moved:
        raise StaleTransition(f"Step {step.key} was moved by someone else at the same moment.")
    step.status, step.waiting_for = to, waiting_for
    emit_step(step, was=was)


@requires_transaction
def keep_waiting(step: Step, reason: str) -> None:
    """Say what a step that can not start yet waits for; said twice, it is told once."""
    if step.status != StepStatus.WAITING:
        move_step(step, to=StepStatus.WAITING, waiting_for=reason)
    elif step.waiting_for != reason:
        Step.objects.filter(pk=step.pk, status=StepStatus.WAITING).update(waiting_for=reason)
        step.waiting_for = reason
        emit_step(step, was=StepStatus.WAITING)


def emit_step(step: Step, *, was: StepStatus, attempt_id: UUID | None = None, **more: Any) -> None:
    """Tell the readers what a step is now."""
    data = {"was": str(was), "now": str(step.status), "waiting_for": step.waiting_for, **more}
    emit(step.plan_id, EventType.STEP_CHANGED, data, step_key=step.key, attempt_id=attempt_id)


def emit(
    plan_id: UUID, type_: EventType, data: dict[str, Any], *, step_key: str = "", attempt_id: UUID | None = None
) -> None:
    """Write one event for live readers, and ring for them once it is committed."""
    with connection.cursor() as cursor:
        cursor.execute(_EMIT, [plan_id, str(type_), step_key, attempt_id, as_json(plain(data))])
    transaction.on_commit(lambda: live.announce(plan_id))


@requires_transaction
def emit_together(plan_id: UUID, told: Sequence[Any]) -> None:
    """Write events as one row. Each of `told` is [attempt or None, step key, [[type, data, milliseconds ago], …]]."""
    if told:
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT chiffon_tell(%s, statement_timestamp(), %s::jsonb)", [plan_id, as_json(plain(list(told)))]
            )
        transaction.on_commit(lambda: live.announce(plan_id))


@requires_transaction
def move_request(request: Request, *, to: RequestStatus) -> None:
    """Move a request; a move to where it already is does nothing.

    Raises IllegalTransition for a move that is not in the table, StaleTransition if someone else was first.
    """
    was = RequestStatus(request.status)
    if was is to:
        return
    if to not in REQUEST_TRANSITIONS.get(was, frozenset()):
        raise IllegalTransition(
            f"Request {request.number} is {was.label.lower()}; it can not become {to.label.lower()}."
        )
    if not Request.objects.filter(pk=request.pk, status=was).update(status=to):
        raise StaleTransition(f"Request {request.number} was moved by someone else at the same moment.")
    request.status = to
