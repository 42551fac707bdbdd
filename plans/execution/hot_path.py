"""The statements that every ordinary step needs, as calls of the functions in plans/sql/hot_path.sql.

They are prepared once per connection and commit by themselves, so a claim is one statement and so is the end of a step together
with the claim of the next one. The same functions may be called inside a transaction of the caller.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from audit import trail
from audit.canonical import as_json
from audit.context import Actor, current_actor
from audit.db import call_json
from plans.conf import LEASE_SECONDS
from plans.execution import clock
from plans.execution.claims import Claimed
from plans.execution.output import aged, end_facts
from plans.phrases import shortened

Choices = Mapping[str, Mapping[str, Any]]  # by need: {"choice": id, "score": …, "others": canonical text}
_CLAIM = "SELECT chiffon_claim(%s, %s, %s, %s::jsonb, %s, %s)"
_FACTS = "SELECT chiffon_facts(%s)"
_BEGIN = "SELECT chiffon_begin(%s, %s, %s, %s::jsonb, %s, %s, %s, %s)"
_NEXT = "SELECT claimed FROM chiffon_next(%s, %s::jsonb, %s)"
_FINISH = "SELECT chiffon_finish(%s, %s, %s, %s, %s::jsonb, %s::jsonb, %s::jsonb, %s::jsonb, %s, %s, %s, %s::json, %s::jsonb, %s)"


@dataclass(frozen=True, slots=True)
class ToBegin:
    """An attempt of a plan whose first step it is: what was approved is compared before it is claimed."""

    attempt_id: UUID
    expects: int
    need: str


@dataclass(frozen=True, slots=True)
class Finished:
    """What the end of a step led to."""

    next: Claimed | ToBegin | None
    completed: bool  # its plan was completed by it
    left: bool  # its agent goes on with nothing of that plan, so the plan may have come to rest


@dataclass(frozen=True, slots=True)
class Ending:
    """How an attempt succeeded, ready to be stored: redacted and plain."""

    summary: str
    output: Any
    progress: Any
    resources: Any
    services: Any
    lines: int
    lines_sha256: str
    told: Sequence[Any]  # events that were not told yet


def claim(
    attempt_id: UUID,
    *,
    expects: int,
    agent_id: UUID | None = None,
    choice: Mapping[str, Any] | None = None,
    begun: bool = False,
) -> Claimed | ToBegin | None:
    """Take an attempt if its step still has the token that is expected; None if somebody was first or it is not to run."""
    wanted = as_json(choice) if choice is not None else None
    answer = call_json(_CLAIM, [attempt_id, expects, agent_id, wanted, LEASE_SECONDS, begun])
    if answer is not None and "begin" in answer:
        return ToBegin(attempt_id, expects, "")
    return _claimed(answer)


def facts(attempt_id: UUID) -> Any:
    """What is compared before a plan begins with an attempt, as gate.refusal_to_begin() takes it; its plan is locked.

    None if there is no such attempt.
    """
    return call_json(_FACTS, [attempt_id])


def begin(
    attempt_id: UUID, *, expects: int, agent_id: UUID | None, choice: Mapping[str, Any] | None, because: str
) -> Claimed | None:
    """Move a plan that was just compared to executing and take its first attempt, as claim() does."""
    wanted, actor = as_json(choice) if choice is not None else None, current_actor()
    answer = call_json(_BEGIN, [attempt_id, expects, agent_id, wanted, LEASE_SECONDS, because, actor.kind, actor.name])
    claimed = _claimed(answer)
    return claimed if isinstance(claimed, Claimed) else None


def next_due(agent_id: UUID, choices: Choices) -> Claimed | ToBegin | None:
    """Claim the most urgent due attempt that the router gives to this agent."""
    return _claimed(call_json(_NEXT, [agent_id, as_json(choices), LEASE_SECONDS])) if choices else None


def finish(claimed: Claimed, ending: Ending, choices: Choices) -> Finished | None:
    """End an attempt that succeeded and claim the next. None if the token is no longer the holder's.

    Raises NeedsDecision, with nothing done, if what comes after the step is not plain, or what it used is charged to its plan.
    """
    if claimed.budget:
        raise NeedsDecision
    now = clock.now()
    at = datetime.fromtimestamp(now, UTC)
    canonical = trail.written(
        "attempt.completed",
        subject=("attempt", claimed.attempt_id),
        trace_id=claimed.trace_id,
        service=claimed.step.service,
        reason=ending.summary,
        actor=Actor.agent(claimed.agent),
        at=at,
        facts={
            "step": claimed.step.key,
            "number": claimed.number,
            **end_facts(ending.lines, ending.lines_sha256, ending.resources),
        },
    )
    answer = call_json(
        _FINISH,
        [
            claimed.plan_id,
            claimed.attempt_id,
            claimed.token,
            ending.summary,
            as_json(ending.output),
            as_json(ending.progress),
            as_json(ending.resources),
            as_json(ending.services),
            ending.lines_sha256,
            canonical,
            at,
            as_json([[str(claimed.attempt_id), claimed.step.key, shortened(aged(ending.told, now))]]),
            as_json(choices),
            LEASE_SECONDS,
        ],
    )
    if "slow" in answer:
        raise NeedsDecision
    return (
        None if "lost" in answer else Finished(_claimed(answer["next"], claimed), answer["completed"], answer["left"])
    )


class NeedsDecision(Exception):
    """A condition, a person or a failure is involved: the end of this step takes the long way."""


def _claimed(answer: Mapping[str, Any] | None, before: Claimed | None = None) -> Claimed | ToBegin | None:
    if answer is None:
        return None
    if "begin" in answer:
        return ToBegin(UUID(answer["begin"]), answer["expects"], answer["need"])
    clock.heard(answer["now"])
    return Claimed.from_row(answer, before)
