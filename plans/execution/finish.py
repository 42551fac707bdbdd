"""How an attempt ends: result, step, records and successors in one transaction, under the attempt's token."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from dataclasses import replace
from typing import Any
from uuid import UUID

from django.db import connection, transaction
from django.db.models.functions import Now

from agents.protocol import Failure, FailureMode, Outcome, WorkResult
from audit import trail
from audit.canonical import plain, storable
from audit.redaction import redact, redact_value
from audit.trail import requires_transaction
from plans import lifecycle, waiting
from plans.conf import LONGEST_OUTPUT
from plans.enums import AttemptStatus, EventType, Stage, StepKind, StepStatus
from plans.execution import clock, engine, fallback, narrowing, rollback, spending
from plans.execution.output import aged, end_facts, lines_sha256
from plans.models import Attempt, Step, UnwrittenTask
from plans.retry import RetryPolicy

_STATUS = {
    Outcome.COMPLETED: AttemptStatus.COMPLETED,
    Outcome.FAILED: AttemptStatus.FAILED,
    Outcome.CANCELLED: AttemptStatus.CANCELLED,
}


def finish(
    attempt_id: UUID, *, token: int, result: WorkResult, lines: tuple[int, str], told: Sequence[Any] = ()
) -> bool:
    """Record how an attempt ended and go on with its plan. False if the token is no longer the holder's.

    `told` are events of the attempt that readers were not told yet, as StepContext.ending() has them.
    """
    with transaction.atomic():
        hold_plan_of(attempt_id)
        if result.outcome is Outcome.INTERRUPTED:
            return _lost(attempt_id, token, result)
        result = _as_asked(attempt_id, result)
        ended = Attempt.objects.filter(pk=attempt_id, token=token, status=AttemptStatus.RUNNING)
        failure, output = result.failure, capped(redact_value(plain(result.output)))
        if not ended.update(
            status=_STATUS[result.outcome],
            finished_at=Now(),
            lease_until=None,
            failure_mode=str(failure.mode) if failure else "",
            transient=bool(failure and failure.transient),
            error=redact(storable(failure.message)) if failure else "",
            summary=redact(storable(result.summary)),
            output=output,
            progress=redact_value(plain(result.progress)),
            resources_used=result.resources.to_json(),
            services_touched=plain(list(result.services_touched)),
            lines_sha256=lines[1],
        ):
            return False
        UnwrittenTask(pk=attempt_id).save(force_insert=True)
        attempt = Attempt.objects.select_related("step__revision", "plan").get(pk=attempt_id)
        if told:
            lifecycle.emit_together(attempt.plan_id, [[attempt.pk, attempt.step.key, aged(told, clock.now())]])
        _tell(attempt, result, lines)
        if result.outcome is Outcome.COMPLETED:
            _completed(attempt, output)
        elif result.outcome is Outcome.CANCELLED:
            lifecycle.move_step(attempt.step, to=StepStatus.CANCELLED, summary=attempt.summary, finished_at=Now())
        else:
            failed(attempt, failure or Failure(FailureMode.AGENT, "It failed without saying why."))
        engine.settle(attempt.plan)
        if attempt.step.revision.budget:  # last, because all steps of the plan wait for this row
            spending.settle(attempt, result.resources)
        engine.ring()
    return True


def _as_asked(attempt_id: UUID, result: WorkResult) -> WorkResult:
    """The result; but a tool that stops although nobody asked it to has failed, or what waits for its step would wait for ever."""
    if result.outcome is not Outcome.CANCELLED or Attempt.objects.get(pk=attempt_id).cancel_requested:
        return result
    said = f" It said: {result.summary}" if result.summary else ""
    failure = Failure(FailureMode.AGENT, f"The tool stopped by itself, though nobody had asked it to.{said}")
    return replace(result, outcome=Outcome.FAILED, failure=failure)


@requires_transaction
def hold_plan_of(attempt_id: UUID) -> None:
    """Hold the plan before its attempt, in the order of all; only who stops a plan waits for this, other steps do not."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT chiffon_hold((SELECT plan_id FROM plans_attempt WHERE id = %s))", [attempt_id])


def never_began(ended_id: UUID) -> bool:
    """Give another try to the attempt that was claimed by the very transaction that ended `ended_id`, if there is one.

    Its agent lost the connection before it heard of the claim, so it never began and trying again is safe whatever it does.
    The two rows carry the same transaction's number as long as nobody wrote to either.
    """
    with transaction.atomic():
        hold_plan_of(ended_id)
        twin = Attempt.objects.raw(
            "SELECT twin.* FROM plans_attempt ended JOIN plans_attempt twin ON twin.agent_id = ended.agent_id AND twin.xmin = ended.xmin "
            "WHERE ended.id = %s AND ended.status = 'completed' AND twin.status = 'running'",
            [ended_id],
        )
        for attempt in twin:
            interrupted(attempt, "Its agent lost the database before it began.", harmless=True)
        return bool(twin)


def _lost(attempt_id: UUID, token: int, result: WorkResult) -> bool:
    hold_plan_of(attempt_id)
    held = Attempt.objects.select_for_update(of=("self",)).select_related("step", "plan", "agent")
    attempt = held.filter(pk=attempt_id, token=token, status=AttemptStatus.RUNNING).first()
    if attempt:
        interrupted(attempt, result.failure.message if result.failure else "Its processes are gone.")
    return attempt is not None


def _tell(attempt: Attempt, result: WorkResult, lines: tuple[int, str]) -> None:
    """The attempt's last events, and its record."""
    plan, step = attempt.plan, attempt.step
    where: dict[str, Any] = {"step_key": step.key, "attempt_id": attempt.pk}
    lifecycle.emit(plan.pk, EventType.OUTPUT_END, {"count": lines[0], "sha256": lines[1]}, **where)
    done = {"outcome": str(result.outcome), "summary": attempt.summary, "attempt": attempt.number}
    lifecycle.emit(plan.pk, EventType.AGENT_COMPLETED, done, **where)
    facts: dict[str, Any] = {"step": step.key, "number": attempt.number}
    if result.failure:
        facts |= {"failure_mode": str(result.failure.mode), "transient": result.failure.transient}
    trail.record(
        f"attempt.{attempt.status}",
        subject=("attempt", attempt.pk),
        trace_id=plan.trace_id,
        service=step.service,
        reason=attempt.error or attempt.summary,
        **end_facts(*lines, attempt.resources_used),
        **facts,
    )


def _completed(attempt: Attempt, output: dict[str, Any]) -> None:
    step = attempt.step
    lifecycle.move_step(
        step, to=StepStatus.COMPLETED, output=output, summary=attempt.summary, error="", finished_at=Now()
    )
    engine.release_successors(attempt.plan, step)


@requires_transaction
def failed(attempt: Attempt, failure: Failure) -> None:
    """A step's attempt failed: try again if the policy says that it can help, else the step has failed."""
    step, plan, why = attempt.step, attempt.plan, redact(storable(failure.message))
    policy, stops = RetryPolicy.from_json(attempt.work.retry), plan.cancel_reason or rollback.holds_back(plan, step)
    tried = fallback.tries_with_this_tool(attempt)
    wait = policy.wait_after(failure, attempt=tried, jitter=random.random())  # noqa: S311 - spreads load only
    if wait is None or stops:
        if not stops and fallback.can_take_over(attempt):
            engine.make_due(plan, [step], because=fallback.take_over(attempt, why), by_fallback=True)
            return
        lifecycle.move_step(step, to=StepStatus.FAILED, error=why, finished_at=Now())
        step.error = why
        engine.give_way(plan, step)
        return
    because = f"Try {attempt.number} failed: {why}"
    made = engine.make_due(plan, [step], because=because, after=wait, by_fallback=attempt.by_fallback)
    narrowing.carry_over(attempt, made)
    trail.record(
        "attempt.retry_scheduled",
        subject=("step", step.pk),
        trace_id=plan.trace_id,
        service=step.service,
        reason=why,
        step=step.key,
        number=attempt.number + 1,
        seconds=round(wait.total_seconds(), 1),
    )


@requires_transaction
def interrupted(attempt: Attempt, because: str, *, harmless: bool = False) -> None:
    """The outcome of a running attempt is unknown: try an idempotent step again, ask a person about any other.

    `harmless` says that it surely did nothing: then it is tried again whatever it is.
    """
    Attempt.objects.filter(pk=attempt.pk).update(
        status=AttemptStatus.INTERRUPTED,
        failure_mode=str(FailureMode.AGENT),
        transient=True,
        error=because,
        lease_until=None,
        finished_at=Now(),
    )
    UnwrittenTask(pk=attempt.pk).save(force_insert=True)
    step, plan = attempt.step, attempt.plan
    where: dict[str, Any] = {"step_key": step.key, "attempt_id": attempt.pk}
    stored = lines_sha256(attempt.pk)
    Attempt.objects.filter(pk=attempt.pk).update(lines_sha256=stored)
    lifecycle.emit(plan.pk, EventType.OUTPUT_END, {"count": attempt.line_count, "sha256": stored}, **where)
    trail.record(
        "attempt.interrupted",
        subject=("attempt", attempt.pk),
        trace_id=plan.trace_id,
        service=step.service,
        reason=because,
        step=step.key,
        number=attempt.number,
        agent=attempt.agent.name if attempt.agent else "",
        output_lines=attempt.line_count,
    )
    work, tried = attempt.work, fallback.tries_with_this_tool(attempt)
    if harmless and not plan.cancel_reason:
        again = engine.make_due(plan, [step], because=because, by_fallback=attempt.by_fallback)
        narrowing.carry_over(attempt, again)
    elif work.idempotent and tried < RetryPolicy.from_json(work.retry).attempts and not plan.cancel_reason:
        failed(attempt, Failure(FailureMode.AGENT, because, transient=True))
    else:
        why = f"{because} What it had changed by then is not known; a person decides whether to try again."
        lifecycle.move_step(step, to=StepStatus.UNKNOWN, error=why)
        step.error = why
        if step.kind == StepKind.ITEM:
            engine.item_ended(plan, step)
    engine.settle(plan)
    engine.ring()


@requires_transaction
def refuse(attempt: Attempt, because: str) -> None:
    """What would run is not what was approved: nothing runs, the refusal is recorded, people are asked again."""
    plan, step = attempt.plan, attempt.step
    trail.record(
        "plan.start_refused",
        subject=("plan", plan.pk),
        trace_id=plan.trace_id,
        service=plan.service,
        reason=because,
        code="not_what_was_approved",
        step=step.key,
    )
    if plan.stage == Stage.APPROVED:
        live = Attempt.objects.filter(plan=plan, status__in=[AttemptStatus.DUE, AttemptStatus.SENT])
        live.update(status=AttemptStatus.CANCELLED, error=because, finished_at=Now())
        routed = Step.objects.filter(
            revision=step.revision_id, unmet=0, status__in=[StepStatus.READY, StepStatus.WAITING]
        )
        for first in routed.exclude(kind=StepKind.ROLLBACK).order_by("index"):
            lifecycle.keep_waiting(first, waiting.TURN)
        lifecycle.transition(plan, to=Stage.PENDING_APPROVAL, because=because)
        return
    Attempt.objects.filter(pk=attempt.pk).update(status=AttemptStatus.CANCELLED, error=because, finished_at=Now())
    UnwrittenTask(pk=attempt.pk).save(force_insert=True)
    lifecycle.move_step(step, to=StepStatus.FAILED, error=because, finished_at=Now())
    step.error = because
    if step.kind == StepKind.ITEM:
        engine.item_ended(plan, step)
    engine.settle(plan)


def capped(output: dict[str, Any]) -> dict[str, Any]:
    """The output, or what is said of it if it is too large to keep."""
    size = len(json.dumps(output))
    if size <= LONGEST_OUTPUT:
        return output
    return {"cut": True, "reason": f"The result of {size} bytes is larger than the {LONGEST_OUTPUT} that are kept."}
