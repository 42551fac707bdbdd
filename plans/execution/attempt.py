"""One attempt after another: claim it, run the tool, record how it ended, and go on with the next that is due.

Called by the agent's worker with an id and a token. A step that succeeds and whose successors need no decision ends in the
statement that claims the next attempt (hot_path); everything else is recorded by finish.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any
from uuid import UUID

from django.db import DatabaseError, connection, transaction

from agents.playbooks.catalogue import Variable
from agents.playbooks.filling import UnusableValue, check_type
from agents.protocol import Failure, FailureMode, Outcome, WorkRequest, WorkResult
from agents.tools.base import Tool
from agents.tools.calling import call
from agents.tools.registry import find_tool, input_errors
from audit.canonical import plain, storable
from audit.context import SYSTEM, Actor, acting
from audit.redaction import redact, redact_value
from plans import live, references
from plans.approval import gate
from plans.conf import CONTINUE_SECONDS, LEASE_SECONDS
from plans.enums import EventType, Stage
from plans.errors import StaleTransition
from plans.execution import breakers, engine, fleet, hot_path, narrowing, rollback, spending
from plans.execution.claims import Claimed
from plans.execution.finish import capped, finish, hold_plan_of, never_began, refuse
from plans.execution.hot_path import Ending, NeedsDecision, ToBegin
from plans.execution.output import StepContext
from plans.models import Attempt, Plan
from plans.phrases import COMPARES

logger = logging.getLogger(__name__)
_PAUSE_BEFORE_NEXT_TRY = 1.0  # seconds between two tries to record a result while the database is away


def run(attempt_id: UUID, *, token: int, go_on_for: float = CONTINUE_SECONDS) -> bool:
    """Try a step once, then what else is due for the same agent, for so many seconds.

    False if there was nothing to do: someone else has the attempt, or it is not to run any more.
    """
    claimed = claim(attempt_id, expects=token)
    if claimed is None:
        return False
    until = time.monotonic() + go_on_for
    while claimed is not None:
        claimed = _try(claimed, go_on=time.monotonic() < until)
    return True


def claim(
    attempt_id: UUID, *, expects: int, agent_id: UUID | None = None, choice: Mapping[str, Any] | None = None
) -> Claimed | None:
    """Take an attempt if its step still has the token that the message expects; None if somebody was first.

    The first claim of a plan compares all of it with what was approved, in the same transaction; if it differs, execution is
    refused instead. `agent_id` and `choice` are for an attempt that nobody was chosen for yet.
    """
    answer = hot_path.claim(attempt_id, expects=expects, agent_id=agent_id, choice=choice)
    if isinstance(answer, ToBegin):
        return begin(attempt_id, expects=expects, agent_id=agent_id, choice=choice)
    return answer


def begin(
    attempt_id: UUID, *, expects: int, agent_id: UUID | None = None, choice: Mapping[str, Any] | None = None
) -> Claimed | None:
    """Take the first attempt of a plan, as claim() does, once all of the plan was compared with what was approved."""
    with transaction.atomic(), acting(SYSTEM):
        facts = hot_path.facts(attempt_id)
        if facts is None:
            return None
        plan_id, stage = UUID(facts["plan"]["id"]), facts["plan"]["stage"]
        with acting(SYSTEM, UUID(facts["plan"]["trace_id"])):
            if facts["plan"]["rollback_reason"]:
                plan = Plan.objects.get(pk=plan_id)
                rollback.take_back(plan, attempt_id)
                engine.settle(plan)
                return None
            if stage != Stage.APPROVED:  # somebody was first
                answer = hot_path.claim(attempt_id, expects=expects, agent_id=agent_id, choice=choice, begun=True)
                return answer if isinstance(answer, Claimed) else None
            if refusal := gate.refusal_to_begin(facts):
                refuse(Attempt.objects.select_related("step", "plan").get(pk=attempt_id), refusal)
                return None
            transaction.on_commit(live.announce_inbox)
            return hot_path.begin(
                attempt_id, expects=expects, agent_id=agent_id, choice=choice, because="The first step began."
            )


def _try(claimed: Claimed, *, go_on: bool) -> Claimed | None:
    """Run a claimed attempt and record how it ended; the next one, already claimed, if there is one to go on with."""
    live.announce(claimed.plan_id)
    tool = find_tool(claimed.step.tool)
    with acting(Actor.agent(claimed.agent), claimed.trace_id):
        if refusal := gate.refusal_to_run(claimed):
            with transaction.atomic():
                hold_plan_of(claimed.attempt_id)
                refuse(Attempt.objects.select_related("step", "plan").get(pk=claimed.attempt_id), refusal)
            return None
        context = StepContext(
            claimed.attempt_id,
            claimed.token,
            claimed.plan_id,
            claimed.step.key,
            number=claimed.number,
            quick=bool(getattr(tool, "quick", False)),
            seconds=claimed.step.timeout_seconds,
        )
        result = _work(claimed, context, tool)
        context.flush()
        if context.lost:
            logger.warning("attempt %s lost its lease; its result is not recorded", claimed.attempt_id)
            return None
        # Before its end is recorded: what that sets free must meet the breaker as it is by then.
        breakers.note(claimed.step, claimed.attempt_id, result)
        following = _record(claimed, context, result, go_on=go_on)
    if isinstance(following, ToBegin):
        choice = fleet.continuing(claimed.agent, {following.need}).get(following.need)
        return begin(following.attempt_id, expects=following.expects, agent_id=claimed.agent_id, choice=choice)
    return following


def _work(claimed: Claimed, context: StepContext, tool: Tool | None) -> WorkResult:
    """Run the tool, or say why it can not be run."""
    step = claimed.step
    if tool is None:
        return WorkResult.failed(FailureMode.AGENT, f"This agent has no tool {step.tool}.")
    context.event("agent_thinking", {"text": COMPARES})
    try:
        value = _resolved(claimed, tool)
    except references.Unresolvable as error:
        return WorkResult.failed(FailureMode.USER, str(error))
    request = WorkRequest(
        attempt_id=str(claimed.attempt_id),
        agent=claimed.agent,
        token=claimed.token,
        number=claimed.number,
        trace_id=str(claimed.trace_id),
        plan_id=str(claimed.plan_id),
        step_key=step.key,
        tool=step.tool,
        work_type=step.work_type,
        timeout_seconds=step.timeout_seconds,
        input=value,
        playbook=narrowing.playbook_of(claimed),
    )
    counted = partial(spending.reserve, claimed, tool, value) if claimed.budget else None
    # By id: a name may be given to somebody else later.
    result = call(tool, request, context, user=str(claimed.requester_id), forbidden=counted)
    if result.outcome is Outcome.CANCELLED and context.overdue and not context.asked:
        late = Failure(FailureMode.RESOURCE, f"Took longer than its {step.timeout_seconds:g} s.")
        return replace(result, outcome=Outcome.FAILED, failure=late)
    return result


def _resolved(claimed: Claimed, tool: Tool) -> dict[str, Any]:
    """The step's input with its references resolved, kept with the attempt. Raises Unresolvable, also for a wrong type."""
    step = claimed.step
    if not references.has_any(step.input):
        return dict(step.input)
    value: dict[str, Any] = references.resolve(
        step.input, engine.scope_of(claimed.revision_id, claimed.plan_id, step.id, step.input) | step.scope
    )
    checked = {"playbook": step.playbook["path"], "variables": value} if step.playbook else value
    if wrong := input_errors(tool, checked):
        place = ".".join(map(str, wrong[0]["loc"]))
        raise references.Unresolvable(f"What {place} refers to does not fit {step.tool}: {wrong[0]['msg']}.")
    for name, kind in (step.playbook or {}).get("types", {}).items():  # absent from plans of before they were kept
        try:
            check_type(Variable(name, kind), value[name])
        except UnusableValue as error:
            raise references.Unresolvable(
                f"What variables.{name} refers to does not fit {step.tool}: {error.sentence}"
            ) from error
    Attempt.objects.filter(pk=claimed.attempt_id).update(input=redact_value(plain(value)))
    return value


def _record(claimed: Claimed, context: StepContext, result: WorkResult, *, go_on: bool) -> Claimed | ToBegin | None:
    """Record the result, also if the database is away for a moment; after the lease's end it is the reaper's."""
    deadline = time.monotonic() + LEASE_SECONDS
    again = False
    while True:
        try:
            return _end(claimed, context, result, go_on=go_on, again=again)
        except (DatabaseError, StaleTransition):  # the latter: somebody was first, and the next look sees what they did
            if time.monotonic() > deadline:
                raise
            logger.warning("the result of attempt %s could not be recorded yet", claimed.attempt_id)
            time.sleep(_PAUSE_BEFORE_NEXT_TRY)
            connection.close()
            again = True


def _end(
    claimed: Claimed, context: StepContext, result: WorkResult, *, go_on: bool, again: bool
) -> Claimed | ToBegin | None:
    """The short way if the step succeeded, else the long way; then what comes next."""
    choices = fleet.continuing(claimed.agent, {claimed.need}) if go_on else {}
    if result.outcome is Outcome.COMPLETED:
        try:
            finished = hot_path.finish(claimed, _ending(context, result), choices)
        except NeedsDecision:
            pass
        else:
            if finished is None:
                if again:  # it may be recorded already, and only the answer was lost with the connection
                    never_began(claimed.attempt_id)
                return None
            live.announce(claimed.plan_id)
            if finished.completed:
                live.announce_inbox()
            elif finished.left:
                _leave(claimed.plan_id)
            # Before this slot is idle, a look after the commit: what became due at that moment saw it busy and rang in vain.
            return finished.next or hot_path.next_due(claimed.agent_id, choices)
    if finish(claimed.attempt_id, token=claimed.token, result=result, lines=context.ended(), told=context.ending()):
        _leave(claimed.plan_id)
    return hot_path.next_due(claimed.agent_id, choices)


def _leave(plan_id: UUID) -> None:
    """After the commit: steps that ended at the same time each saw the other still running, and neither that the plan was over."""
    with transaction.atomic():
        engine.settle_if_idle(plan_id, patiently=True)


def _ending(context: StepContext, result: WorkResult) -> Ending:
    lines, lines_sha256 = context.ended()
    summary = redact(storable(result.summary))
    return Ending(
        summary=summary,
        output=capped(redact_value(plain(result.output))),
        progress=redact_value(plain(result.progress)),
        resources=result.resources.to_json(),
        services=plain(list(result.services_touched)),
        lines=lines,
        lines_sha256=lines_sha256 if lines else "",
        told=context.ending(
            (EventType.OUTPUT_END, {"count": lines} | ({"sha256": lines_sha256} if lines else {})),
            (
                EventType.AGENT_COMPLETED,
                {"outcome": str(result.outcome), "summary": summary, "attempt": context.number},
            ),
            (EventType.STEP_CHANGED, {"was": "running", "now": "completed", "waiting_for": ""}),
        ),
    )
