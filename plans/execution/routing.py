"""Due attempts get their agents: breakers, locks and limits are asked, the router chooses, and each choice has its record.

In the caller's transaction, and set by set: a few statements, however many attempts there are.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any
from uuid import UUID

from django.db import connection

from agents.routing.router import Choice
from audit import trail
from audit.trail import requires_transaction
from plans import lifecycle, waiting
from plans.enums import GOING_STAGES, EventType, Stage, StepStatus
from plans.errors import StaleTransition
from plans.execution import breakers, fleet, locks
from plans.models import Attempt

_ASSIGN = """
WITH chosen AS (
    SELECT * FROM jsonb_to_recordset(%s::jsonb) AS chosen(attempt uuid, step uuid, was text, agent uuid, choice uuid)
), assigned AS (
    UPDATE plans_attempt attempt SET agent_id = chosen.agent, choice_id = chosen.choice FROM chosen
    WHERE attempt.id = chosen.attempt AND attempt.status = 'due' RETURNING attempt.id, chosen.step, chosen.was
), ready AS (
    UPDATE plans_step step SET status = 'ready', waiting_for = '' FROM assigned
    WHERE step.id = assigned.step AND step.status = assigned.was AND assigned.was <> 'ready' RETURNING step.id
)
SELECT assigned.id, EXISTS (SELECT FROM ready WHERE ready.id = assigned.step) FROM assigned
"""


@requires_transaction
def route(attempts: Sequence[Attempt], *, excluded: Iterable[str] = ()) -> int:
    """Choose an agent for each due attempt; what nobody can take now waits and says for what. How many were routed."""
    gate = breakers.Gate(locks.let_through(_of_going(attempts)))
    if not gate.through:
        return 0
    choices = fleet.choose(gate.through, excluded=frozenset(excluded))
    chosen: dict[UUID, tuple[Attempt, UUID, Choice]] = {}
    for attempt, (agent, choice) in zip(gate.through, choices, strict=True):
        step = attempt.step
        if agent is not None and gate.admits(attempt):
            chosen[attempt.pk] = attempt, agent, choice
        elif agent is None and (step.waiting_for != choice.reason or step.status != StepStatus.WAITING):
            Attempt.objects.filter(pk=attempt.pk).update(choice=fleet.keep([choice])[0])
            lifecycle.keep_waiting(step, choice.reason)
    return _assign(chosen)


def _of_going(attempts: Sequence[Attempt]) -> list[Attempt]:
    """Those whose plan goes on: what waits in a paused one must not keep an agent from the others."""
    for attempt in attempts:
        if attempt.plan.stage == Stage.PAUSED:
            lifecycle.keep_waiting(attempt.step, waiting.PAUSED)
    return [attempt for attempt in attempts if attempt.plan.stage in GOING_STAGES]


def _assign(chosen: dict[UUID, tuple[Attempt, UUID, Choice]]) -> int:
    """Give attempts to the agents that were chosen for them, with a record for each. How many were still due."""
    if not chosen:
        return 0
    kept = fleet.keep([choice for _, _, choice in chosen.values()])
    rows = [
        {"attempt": pk, "step": attempt.step_id, "was": attempt.step.status, "agent": agent, "choice": choice}
        for (pk, (attempt, agent, _)), choice in zip(chosen.items(), kept, strict=True)
    ]
    with connection.cursor() as cursor:
        cursor.execute(_ASSIGN, [json.dumps(rows, default=str)])
        assigned = dict(cursor.fetchall())
    records, told = [], dict[UUID, list[Any]]()
    for pk, (attempt, agent, choice) in chosen.items():
        if pk not in assigned:
            continue
        step, was = attempt.step, attempt.step.status
        attempt.agent_id = agent
        if was != StepStatus.READY:
            if not assigned[pk]:
                raise StaleTransition(f"Step {step.key} was moved by someone else at the same moment.")
            step.status, step.waiting_for = StepStatus.READY, ""
            moved = {"was": str(was), "now": str(step.status), "waiting_for": ""}
            told.setdefault(attempt.plan_id, []).append([None, step.key, [[EventType.STEP_CHANGED, moved, 0]]])
        records.append(
            trail.prepare(
                "step.routed",
                subject=("step", step.pk),
                trace_id=attempt.plan.trace_id,
                service=step.service,
                reason=choice.reason,
                alternatives=choice.candidates,
                facts={"step": step.key, "agent": choice.chosen, "score": choice.score, "attempt": attempt.number},
            )
        )
    trail.record_all(records)
    for plan_id, of_plan in told.items():
        lifecycle.emit_together(plan_id, of_plan)
    return len(records)
