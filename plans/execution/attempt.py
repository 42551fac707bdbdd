"""One attempt: claim it, run the tool, record how it ended. Called by the agent's worker with an id and a token."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.db import DatabaseError, connection, transaction
from django.db.models import F
from django.db.models.functions import Coalesce, Now

from agents.protocol import FailureMode, PlaybookRef, WorkRequest, WorkResult
from agents.tools.base import Tool
from agents.tools.registry import find_tool, input_errors
from audit import trail
from audit.canonical import plain
from audit.context import Actor, acting
from audit.redaction import redact_value
from plans import lifecycle, references
from plans.approval import gate
from plans.conf import LEASE_SECONDS
from plans.enums import AttemptStatus, EventType, Stage, StepStatus
from plans.errors import StaleTransition
from plans.execution import engine
from plans.execution.finish import finish, refuse
from plans.execution.leases import lease_end
from plans.execution.output import StepContext
from plans.models import Attempt, Plan, Revision, Step

logger = logging.getLogger(__name__)
_CLAIMABLE = (AttemptStatus.DUE, AttemptStatus.SENT)
_STARTABLE = (StepStatus.READY, StepStatus.WAITING)
_PAUSE_BEFORE_NEXT_TRY = 1.0  # seconds between two tries to record a result while the database is away


@dataclass(frozen=True, slots=True)
class Claimed:
    """An attempt that is ours until its lease ends."""

    attempt: Attempt
    step: Step
    plan: Plan
    revision: Revision
    token: int


def run(attempt_id: UUID, *, token: int) -> bool:
    """Try a step once. False if there was nothing to do: someone else has it, or it is not to run any more."""
    claimed = claim(attempt_id, expects=token)
    if claimed is None:
        return False
    actor = Actor.agent(claimed.attempt.agent.name if claimed.attempt.agent else "nobody")
    with acting(actor, claimed.plan.trace_id):
        context = StepContext(claimed.attempt.pk, claimed.token, claimed.plan.pk, claimed.step.key)
        result = _work(claimed, context)
        context.flush()
        if context.lost:
            logger.warning("attempt %s lost its lease; its result is not recorded", attempt_id)
            return True
        _record(claimed, context, result)
    return True


def claim(attempt_id: UUID, *, expects: int) -> Claimed | None:
    """Take an attempt if its step still has the token that the message expects; None if somebody was first.

    In the same transaction the plan is compared with what was approved. If it differs, execution is refused instead.
    """
    with transaction.atomic():
        attempt = (
            Attempt.objects.select_for_update(of=("self", "step"))
            .select_related("agent", "step__revision__repository", "plan")
            .filter(pk=attempt_id, status__in=_CLAIMABLE, agent__isnull=False)
            .first()
        )
        if attempt is None or attempt.step.token != expects or attempt.step.status not in _STARTABLE:
            return None
        step, plan, agent = attempt.step, attempt.plan, attempt.agent
        if plan.stage not in (Stage.APPROVED, Stage.EXECUTING) or agent is None:
            return None
        with acting(Actor.agent(agent.name), plan.trace_id):
            if refusal := gate.refusal_to_start(plan, step):
                refuse(attempt, refusal)
                return None
            return _take(attempt, step, plan, agent.name)


def _take(attempt: Attempt, step: Step, plan: Plan, agent: str) -> Claimed:
    """The step and the attempt are ours; say so in the same transaction."""
    token = step.token + 1
    Attempt.objects.filter(pk=attempt.pk).update(
        status=AttemptStatus.RUNNING, token=token, lease_until=lease_end(), started_at=Now()
    )
    attempt.status, attempt.token = AttemptStatus.RUNNING, token
    if plan.stage == Stage.APPROVED:
        _begin(plan)
    was = StepStatus(step.status)
    Step.objects.filter(pk=step.pk).update(
        status=StepStatus.RUNNING, waiting_for="", token=token, started_at=Coalesce(F("started_at"), Now())
    )
    step.status, step.waiting_for, step.token = StepStatus.RUNNING, "", token
    lifecycle.emit_step(step, was=was, attempt_id=attempt.pk, attempt=attempt.number, agent=agent)
    started = {"agent": agent, "attempt": attempt.number}
    lifecycle.emit(plan.pk, EventType.AGENT_STARTED, started, step_key=step.key, attempt_id=attempt.pk)
    trail.record(
        "attempt.started",
        subject=("attempt", attempt.pk),
        plan_id=plan.pk,
        service=step.service,
        reason=attempt.because,
        step=step.key,
        number=attempt.number,
        agent=agent,
        token=token,
    )
    return Claimed(attempt, step, plan, step.revision, token)


def _begin(plan: Plan) -> None:
    try:
        lifecycle.transition(plan, to=Stage.EXECUTING, because="The first step began.")
    except StaleTransition:  # a step beside this one began first
        plan.refresh_from_db(fields=["stage"])
        if plan.stage != Stage.EXECUTING:
            raise


def _work(claimed: Claimed, context: StepContext) -> WorkResult:
    """Run the tool. An exception of a tool is a bug in it: a terminal failure, never a lost attempt."""
    step, attempt = claimed.step, claimed.attempt
    tool = find_tool(step.tool)
    if tool is None:
        return WorkResult.failed(FailureMode.AGENT, f"This agent has no tool {step.tool}.")
    context.event("agent_thinking", {"text": f"Checks the input of {step.tool} and that it is what was approved."})
    try:
        value = _resolved(claimed, tool)
    except references.Unresolvable as error:
        return WorkResult.failed(FailureMode.USER, str(error))
    request = WorkRequest(
        attempt_id=str(attempt.pk),
        agent=attempt.agent.name if attempt.agent else "",
        token=claimed.token,
        number=attempt.number,
        trace_id=str(claimed.plan.trace_id),
        plan_id=str(claimed.plan.pk),
        step_key=step.key,
        tool=step.tool,
        work_type=step.work_type,
        timeout_seconds=step.timeout_seconds,
        input=value,
        playbook=_playbook(claimed),
    )
    context.event("tool_executing", {"tool": step.tool, "playbook": request.playbook.path if request.playbook else ""})
    try:
        result = tool.run(request, context)
    except Exception as error:
        logger.exception("tool %s raised", step.tool)
        result = WorkResult.failed(FailureMode.AGENT, f"The tool {step.tool} broke: {type(error).__name__}.")
    context.event("tool_completed", {"tool": step.tool, "outcome": str(result.outcome), "summary": result.summary})
    return result


def _resolved(claimed: Claimed, tool: Tool) -> dict[str, Any]:
    """The step's input with its references resolved, kept with the attempt. Raises Unresolvable, also for a wrong type."""
    step = claimed.step
    if not references.has_any(step.input):
        return dict(step.input)
    value: dict[str, Any] = references.resolve(step.input, engine.scope_of(step))
    checked = {"playbook": step.playbook["path"], "variables": value} if step.playbook else value
    if wrong := input_errors(tool, checked):
        place = ".".join(map(str, wrong[0]["loc"]))
        raise references.Unresolvable(f"What {place} refers to does not fit {step.tool}: {wrong[0]['msg']}.")
    Attempt.objects.filter(pk=claimed.attempt.pk).update(input=redact_value(plain(value)))
    return value


def _playbook(claimed: Claimed) -> PlaybookRef | None:
    wanted, revision = claimed.step.playbook, claimed.revision
    if not wanted or revision.repository is None:
        return None
    return PlaybookRef(
        repository=revision.repository.location,
        commit=revision.commit,
        tree=revision.tree,
        path=wanted["path"],
        inventory=wanted.get("inventory", ""),
        limit=wanted.get("limit", ""),
        tags=tuple(wanted.get("tags", ())),
    )


def _record(claimed: Claimed, context: StepContext, result: WorkResult) -> None:
    """Record the result, also if the database is away for a moment; after the lease's end it is the reaper's."""
    deadline = time.monotonic() + LEASE_SECONDS
    while True:
        try:
            finish(claimed.attempt.pk, token=claimed.token, result=result, lines=context.ended())
        except DatabaseError:
            if time.monotonic() > deadline:
                raise
            logger.warning("the result of attempt %s could not be recorded yet", claimed.attempt.pk)
            time.sleep(_PAUSE_BEFORE_NEXT_TRY)
            connection.close()
        else:
            return
