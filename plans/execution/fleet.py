"""The fleet as the router sees it: who is there, who is busy, and how well each did before."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

from django.db.models import Count, Max, Q
from django.db.models.functions import Now
from django.utils import timezone

from agents.models import Agent
from agents.routing.router import AgentRouter, Choice
from agents.routing.score import Candidate, Need
from plans.models import Attempt

RECENT = timedelta(days=90)
_LIVE = Q(status__in=["due", "sent", "running"])


def choose(attempts: Sequence[Attempt], *, excluded: frozenset[str]) -> list[tuple[Agent | None, Choice]]:
    """An agent for each attempt, or None with the reason, in the order given; a slot is given away only once."""
    agents = {agent.name: agent for agent in Agent.objects.exclude(status="terminated")}
    in_use = _in_use()
    records: dict[str, dict[str, dict[str, Any]]] = {}
    router = AgentRouter()
    chosen = []
    for attempt in attempts:
        step = attempt.step
        if step.work_type not in records:
            records[step.work_type] = _records(step.work_type)
        need = Need(step.tool, step.agent_type, step.work_type, _labels(step.resources), excluded)
        candidates = [_candidate(agent, in_use.get(name, 0), records[step.work_type]) for name, agent in agents.items()]
        choice = router.choose(need, candidates)
        if choice.chosen is None and excluded:  # better the same agent again than nobody
            choice = router.choose(replace(need, excluded=frozenset()), candidates)
        if choice.chosen:
            in_use[choice.chosen] = in_use.get(choice.chosen, 0) + 1
        chosen.append((agents[choice.chosen] if choice.chosen else None, choice))
    return chosen


def room() -> int:
    """How many slots are free on the agents that take work."""
    in_use = _in_use()
    awake = Agent.objects.filter(status__in=["ready", "busy"]).values_list("name", "slots")
    return sum(max(0, slots - in_use.get(name, 0)) for name, slots in awake)


def _in_use() -> dict[str, int]:
    """How many slots of each agent are taken, by what it runs and what is on its way to it."""
    taken = Attempt.objects.filter(_LIVE, agent__isnull=False).values_list("agent__name")
    return dict(taken.annotate(count=Count("pk")).order_by())


def _labels(resources: dict[str, Any]) -> frozenset[str]:
    return frozenset(resources.get("labels", ()))


def _candidate(agent: Agent, in_use: int, records: dict[str, dict[str, Any]]) -> Candidate:
    known = records.get(agent.name, {})
    last = known.get("last")
    return Candidate(
        name=agent.name,
        type=agent.type,
        status=agent.status,
        tools=frozenset(agent.tools),
        labels=frozenset(agent.labels),
        slots=agent.slots,
        in_use=in_use,
        succeeded=known.get("succeeded", 0),
        tried=known.get("tried", 0),
        hours_since_same=(timezone.now() - last).total_seconds() / 3600 if last else None,
    )


def _records(work_type: str) -> dict[str, dict[str, Any]]:
    """How each agent did on this kind of work lately: tries, successes, and when it last ended one."""
    ended = Attempt.objects.filter(
        step__work_type=work_type, finished_at__gt=Now() - RECENT, status__in=["completed", "failed", "interrupted"]
    )
    rows = (
        ended.values("agent__name")
        .annotate(tried=Count("pk"), succeeded=Count("pk", filter=Q(status="completed")), last=Max("finished_at"))
        .order_by()
    )
    return {row["agent__name"]: dict(row) for row in rows}
