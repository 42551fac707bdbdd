"""What is known of each tool: its own words, how it fared, who offers it. Pages and the API tell the same of it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from agents.enums import AgentStatus
from agents.models import Agent, ToolRecord
from agents.tools.base import Tool
from agents.tools.plugins import LeftOut
from agents.tools.registry import OUR_NAME, all_tools, describe, find_tool, left_out
from agents.tools.schema import Field, fields_of

_GONE = (AgentStatus.TERMINATED,)
_TAKES_WORK = (AgentStatus.READY, AgentStatus.BUSY)


@dataclass(frozen=True, slots=True)
class ToolFacts:
    """One tool: what it says of itself, what was measured, and the agents that offer it."""

    told: Mapping[str, Any]
    record: ToolRecord | None
    agents: Sequence[Agent]

    @property
    def is_ours(self) -> bool:
        """Whether it comes with Chiffon."""
        return bool(self.told["source"] == OUR_NAME)

    @property
    def is_measured(self) -> bool:
        """Whether anything is known of its reliability."""
        return bool(self.record and self.record.calls)

    @property
    def success_percent(self) -> int | None:
        """How many of a hundred calls succeeded, rounded down so that 100 means all; None if it is not known."""
        rate = self.record.success_rate if self.record else None
        return None if rate is None else int(rate * 100)

    @property
    def ready_agents(self) -> list[Agent]:
        """Those of its agents that take work now."""
        return [agent for agent in self.agents if agent.status in _TAKES_WORK]

    @property
    def costs_nothing(self) -> bool:
        """Whether a call is free of charge."""
        return not float(self.told["cost"])

    def to_json(self) -> dict[str, Any]:
        """All of it as the API tells it."""
        record = self.record
        return {
            **self.told,
            "agents": [agent.name for agent in self.agents],
            "reliability": {
                "calls": record.calls if record else 0,
                "succeeded": record.succeeded if record else 0,
                "success_rate": record.success_rate if record else None,
                "from_cache": record.from_cache if record else 0,
                "median_seconds": record.median_seconds if record else None,
                "last_called_at": record.last_called_at if record else None,
                "measured_at": record.measured_at if record else None,
            },
        }


@dataclass(frozen=True, slots=True)
class ToolList:
    """Every tool, and the third-party ones that are not offered."""

    tools: list[ToolFacts]
    left_out: Sequence[LeftOut]

    @property
    def offered(self) -> int:
        """How many tools an agent that takes work now offers."""
        return sum(bool(facts.ready_agents) for facts in self.tools)


@dataclass(frozen=True, slots=True)
class ToolPage:
    """The documentation of one tool."""

    facts: ToolFacts
    parameters: list[Field]
    result: list[Field]
    earlier: Sequence[ToolRecord]

    @property
    def parameters_schema(self) -> str:
        """The JSON Schema of its input, as text."""
        return _pretty(self.facts.told["parameters"])

    @property
    def result_schema(self) -> str:
        """The JSON Schema of its output, as text."""
        return _pretty(self.facts.told["result"])

    @property
    def step(self) -> str:
        """A step of a plan that uses it, as a program would write it."""
        told = self.facts.told
        return _pretty({"key": "try", "tool": told["name"], "input": told["example"]})


def tool_list() -> ToolList:
    """Every tool that can be used, by name, in two queries."""
    return ToolList(_facts(all_tools()), left_out())


def tool_page(name: str) -> ToolPage | None:
    """The documentation of a tool by its name, or None."""
    tool = find_tool(name)
    if tool is None:
        return None
    (facts,) = _facts([tool])
    earlier = ToolRecord.objects.filter(name=tool.name, calls__gt=0).exclude(version=tool.version)[:5]
    return ToolPage(facts, fields_of(facts.told["parameters"]), fields_of(facts.told["result"]), list(earlier))


def _facts(tools: Sequence[Tool]) -> list[ToolFacts]:
    records = {
        (row.name, row.version): row for row in ToolRecord.objects.filter(name__in=[tool.name for tool in tools])
    }
    agents = list(Agent.objects.exclude(status__in=_GONE).order_by("name"))
    return [
        ToolFacts(
            describe(tool),
            records.get((tool.name, tool.version)),
            [agent for agent in agents if tool.name in agent.tools],
        )
        for tool in tools
    ]


def _pretty(value: object) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False)
