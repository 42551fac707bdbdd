"""The fleet as the router sees it: who is there, who is busy, and how well each did lately."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID

from django.db import connection
from django.utils import timezone

from agents.routing.router import AgentRouter, Choice
from agents.routing.score import Candidate, Need
from audit.canonical import canonical
from audit.ids import uuid_of
from plans.execution.limits import Limits, limit_of
from plans.models import Attempt

_RECORDS_SECONDS = 20.0  # how old what is known of earlier work may be when a choice is made
_FULL_SECONDS = 0.25
_CHOICE_SECONDS = 1.0  # how long a choice to go on with the same agent holds
# How each agent did on each kind of work: of the latest attempts, so that a choice costs the same whatever the history.
_RECORDS = """
SELECT step.work_type, agent.name, count(*), count(*) FILTER (WHERE recent.status = 'completed'), max(recent.finished_at)
FROM (SELECT step_id, agent_id, status, finished_at FROM plans_attempt
      WHERE status IN ('completed', 'failed', 'interrupted') ORDER BY id DESC LIMIT 5000) recent
JOIN plans_step step ON step.id = recent.step_id JOIN agents_agent agent ON agent.id = recent.agent_id
GROUP BY step.work_type, agent.name
"""
# Everybody who is there, and how many of their slots are taken by what they run and what is on its way to them.
_FLEET = """
SELECT agent.id, agent.name, agent.type, agent.status, agent.tools, agent.labels, agent.slots, coalesce(taken.count, 0)
FROM agents_agent agent LEFT JOIN (
    SELECT agent_id, count(*) FROM plans_attempt WHERE status IN ('due', 'sent', 'running') AND agent_id IS NOT NULL GROUP BY agent_id
) taken ON taken.agent_id = agent.id
WHERE agent.status <> 'terminated' ORDER BY agent.name
"""
Records = Mapping[str, Mapping[str, Mapping[str, Any]]]  # by work type, by agent
_NEVER = float("-inf")
_records: tuple[float, Records] = (_NEVER, {})
_full_until = _NEVER
# By agent: when it asked, for which needs, and the choices that it was given.
_continuing: dict[str, tuple[float, set[str], dict[str, dict[str, Any]]]] = {}


@dataclass(slots=True)
class _Member:
    """An agent as its row and its live attempts say."""

    id: UUID
    name: str
    type: str
    status: str
    tools: frozenset[str]
    labels: frozenset[str]
    slots: int
    in_use: int


def forget() -> None:
    """Look anew at the next choice. What a process remembers of one database is not true of another."""
    global _records, _full_until
    _records = (_NEVER, {})
    _full_until = _NEVER
    _continuing.clear()


def choose(attempts: Sequence[Attempt], *, excluded: frozenset[str]) -> list[tuple[UUID | None, Choice]]:
    """The id of an agent for each attempt, or None with the reason, in the order given; a slot is given away only once."""
    fleet = {member.name: member for member in _fleet()}
    router = AgentRouter()
    limits = Limits(attempts)
    chosen: list[tuple[UUID | None, Choice]] = []
    for attempt in attempts:
        step, work = attempt.step, attempt.work
        if held := limits.why_not(attempt):
            chosen.append((None, Choice(None, 0.0, held, (), 0)))
            continue
        need = Need(work.tool, step.agent_type, work.work_type, _labels(step.resources), excluded)
        candidates = _candidates(fleet.values(), work.work_type)
        choice = router.choose(need, candidates)
        if choice.chosen is None and excluded:  # better the same agent again than nobody
            choice = router.choose(replace(need, excluded=frozenset()), candidates)
        if choice.chosen:
            fleet[choice.chosen].in_use += 1
            limits.take(attempt)
        chosen.append((fleet[choice.chosen].id if choice.chosen else None, choice))
    return chosen


def continuing(agent: str, needs: set[str]) -> dict[str, Any]:
    """The router's choices for an agent whose slot just became free: by need, those that it gives to this agent.

    A need is the text that chiffon_need (plans/sql/hot_path.sql) makes of a step; those asked for earlier are included. A
    choice holds for a second, so that hundreds of short steps do not ask for the fleet hundreds of times.
    """
    since, earlier, choices = _continuing.get(agent, (_NEVER, set(), {}))
    if needs <= earlier and time.monotonic() - since < _CHOICE_SECONDS:
        return choices
    asked = needs | earlier
    fleet = _fleet()
    for member in fleet:
        if member.name == agent:
            member.in_use = max(0, member.in_use - 1)  # the slot of the step that is ending
    found: dict[str, Choice] = {}
    for text in asked:
        tool, agent_type, work_type, labels = json.loads(text)
        if limit_of(tool) is not None:  # it is kept where agents are assigned, so nobody goes on past it
            continue
        need = Need(tool, agent_type, work_type, frozenset(labels))
        choice = AgentRouter().choose(need, _candidates(fleet, work_type), continuing=agent)
        if choice.chosen == agent:
            found[text] = choice
    kept = keep(list(found.values()))
    given = {text: _told(choice, pk) for (text, choice), pk in zip(found.items(), kept, strict=True)}
    _continuing[agent] = (time.monotonic(), asked, given)
    return given


def keep(choices: Sequence[Choice]) -> list[UUID]:
    """Store choices that attempts are about to name, each once, and answer their ids in the order given."""
    bodies = [canonical(choice.to_json()) for choice in choices]
    ids = [uuid_of(body) for body in bodies]
    # Sorted, so that two who keep the same at the same moment never wait for each other in a circle.
    if kept := dict(sorted((pk, body.decode()) for pk, body in zip(ids, bodies, strict=True))):
        with connection.cursor() as cursor:
            cursor.execute(
                "INSERT INTO plans_routingchoice (id, body) SELECT * FROM unnest(%s::uuid[], %s::jsonb[]) ON CONFLICT DO NOTHING",
                [list(kept), list(kept.values())],
            )
    return ids


def _told(choice: Choice, kept: UUID) -> dict[str, Any]:
    """A choice as the hot path takes it: where the whole is kept, and in canonical text what its record holds."""
    others = [
        {"agent": one["agent"], "score": one["score"]} for one in choice.candidates if one["agent"] != choice.chosen
    ]
    return {
        "choice": str(kept),
        "score": canonical(choice.score).decode(),
        "others": canonical(others).decode(),
    }


def _fleet() -> list[_Member]:
    with connection.cursor() as cursor:
        cursor.execute(_FLEET)
        rows = cursor.fetchall()
    return [
        _Member(pk, name, type_, status, frozenset(json.loads(tools)), frozenset(json.loads(labels)), slots, in_use)
        for pk, name, type_, status, tools, labels, slots, in_use in rows
    ]


def may_have_room() -> bool:
    """Whether it is worth looking for an agent now. That there was no room is remembered for a moment, a yes is not."""
    global _full_until
    if time.monotonic() < _full_until:
        return False
    awake = _awake()
    free = _free(awake)
    if not free:
        _full_until = time.monotonic() + _FULL_SECONDS
    return bool(free) or not awake


def room() -> int:
    """How many slots are free on the agents that take work."""
    return _free(_awake())


def _awake() -> list[_Member]:
    return [member for member in _fleet() if member.status in ("ready", "busy")]


def _free(awake: Iterable[_Member]) -> int:
    return sum(max(0, member.slots - member.in_use) for member in awake)


def _labels(resources: dict[str, Any]) -> frozenset[str]:
    return frozenset(resources.get("labels", ()))


def _candidates(fleet: Iterable[_Member], work_type: str) -> list[Candidate]:
    known = _recent().get(work_type, {})
    return [_candidate(member, known.get(member.name, {})) for member in fleet]


def _candidate(member: _Member, known: Mapping[str, Any]) -> Candidate:
    last = known.get("last")
    return Candidate(
        name=member.name,
        type=member.type,
        status=member.status,
        tools=member.tools,
        labels=member.labels,
        slots=member.slots,
        in_use=member.in_use,
        succeeded=known.get("succeeded", 0),
        tried=known.get("tried", 0),
        hours_since_same=(timezone.now() - last).total_seconds() / 3600 if last else None,
    )


def _recent() -> Records:
    global _records
    if time.monotonic() - _records[0] < _RECORDS_SECONDS:
        return _records[1]
    found: dict[str, dict[str, dict[str, Any]]] = {}
    with connection.cursor() as cursor:
        cursor.execute(_RECORDS)
        for work_type, agent, tried, succeeded, last in cursor.fetchall():
            found.setdefault(work_type, {})[agent] = {"tried": tried, "succeeded": succeeded, "last": last}
    _records = (time.monotonic(), found)
    return found
