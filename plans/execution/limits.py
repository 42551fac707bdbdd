"""How much may run at once besides the agents' slots: of one plan, and of one tool. Asked where agents are assigned."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from django.db import connection
from django.db.models import Count, Q

from agents.tools.registry import all_tools, find_tool
from plans.enums import LIVE_ATTEMPTS
from plans.models import Attempt

_FULL_PLANS = """
SELECT plan.id FROM plans_plan plan WHERE NOT plan.ended AND plan.stage IN ('approved', 'executing') AND plan.max_parallel <= (
    SELECT count(*) FROM plans_attempt taken WHERE taken.plan_id = plan.id AND taken.status IN ('due', 'sent', 'running') AND taken.agent_id IS NOT NULL)
"""
_TAKEN = Q(status__in=LIVE_ATTEMPTS, agent__isnull=False)


class Limits:
    """What is left of the limits that concern some attempts, for one round of assigning agents.

    Two that assign agents at once wait for each other, plan by plan and tool by tool, until the first has committed:
    else both would give away the same last place. Attempts without limits take no lock.
    """

    def __init__(self, attempts: Sequence[Attempt]) -> None:
        self._plans = {one.plan_id: one.plan.max_parallel for one in attempts if one.plan.max_parallel}
        self._tools = {name: limit for one in attempts if (limit := limit_of(name := one.work.tool))}
        _lock([*(f"plan:{pk}" for pk in self._plans), *(f"tool:{name}" for name in self._tools)])
        self._in_plan = _count_plans(list(self._plans)) if self._plans else {}
        self._of_tool = {name: _count_tool(name) for name in self._tools}

    def why_not(self, attempt: Attempt) -> str:
        """Why an attempt waits although an agent may be free; empty if it does not."""
        most = self._plans.get(attempt.plan_id)
        if most and self._in_plan.get(attempt.plan_id, 0) >= most:
            return f"Waits for another step of this plan to end: it runs at most {most} at once."
        tool = attempt.work.tool
        if (most := self._tools.get(tool)) and self._of_tool[tool] >= most:
            return f"Waits for another {tool} to end: at most {most} run at once."
        return ""

    def take(self, attempt: Attempt) -> None:
        """An agent was found for it: it takes a place."""
        self._in_plan[attempt.plan_id] = self._in_plan.get(attempt.plan_id, 0) + 1
        tool = attempt.work.tool
        self._of_tool[tool] = self._of_tool.get(tool, 0) + 1


def limit_of(tool: str) -> int | None:
    """How many steps of a tool run at once, in all plans together; None: no limit."""
    limit: Any = getattr(find_tool(tool), "parallel_limit", None)
    return limit if isinstance(limit, int) else None


def full() -> Q:
    """The attempts that need not be looked at now, because their plan or tool is at its limit."""
    with connection.cursor() as cursor:
        cursor.execute(_FULL_PLANS)
        plans = [pk for (pk,) in cursor.fetchall()]
    names = [tool.name for tool in all_tools() if (most := limit_of(tool.name)) and _count_tool(tool.name) >= most]
    return Q(plan__in=plans) | _uses(names)


def _uses(names: Sequence[str]) -> Q:
    return Q(by_fallback=False, step__tool__in=names) | Q(by_fallback=True, step__fallback__tool__in=names)


def _count_plans(ids: Sequence[UUID]) -> dict[UUID, int]:
    taken = Attempt.objects.filter(_TAKEN, plan__in=ids).values_list("plan_id")
    return dict(taken.annotate(count=Count("pk")).order_by())


def _count_tool(name: str) -> int:
    return Attempt.objects.filter(_TAKEN & _uses([name])).count()


def _lock(names: Sequence[str]) -> None:
    """Hold these names until the transaction ends, always in the same order."""
    if names:
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT pg_advisory_xact_lock(hashtextextended(name, 0)) FROM unnest(%s::text[]) AS name",
                [sorted(names)],
            )
