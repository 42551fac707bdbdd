"""The table of tools: every tool an agent can offer, by name; ours, and those that installed packages bring."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from django.conf import settings

from agents.tools.base import Tool
from agents.tools.diagnostic import DIAGNOSTIC_TOOLS
from agents.tools.infra import PlaybookExecutor
from agents.tools.inspector import PlaybookInspector
from agents.tools.plugins import LeftOut, ThirdParty, third_party
from agents.tools.results import input_errors
from agents.tools.state import STATE_TOOLS

__all__ = ["all_tools", "describe", "find_tool", "input_errors", "left_out", "source_of", "tools_for"]

OUR_NAME: Final = "Chiffon"
_OURS: Final[tuple[Tool, ...]] = (PlaybookExecutor(), PlaybookInspector(), *STATE_TOOLS, *DIAGNOSTIC_TOOLS)
_TOOLS: Final[Mapping[str, Tool]] = {tool.name: tool for tool in _OURS}


def all_tools() -> list[Tool]:
    """Every tool of this installation, by name. The diagnostic ones can be turned off by a setting."""
    offered = filter(_offered, (*_TOOLS.values(), *_third_party().tools))
    return sorted(offered, key=lambda tool: tool.name)


def find_tool(name: str) -> Tool | None:
    """The tool of that name, or None."""
    found = _TOOLS.get(name) or next((tool for tool in _third_party().tools if tool.name == name), None)
    return found if found and _offered(found) else None


def tools_for(agent_type: str) -> list[str]:
    """The names of the tools that an agent of this type offers."""
    return [tool.name for tool in all_tools() if not tool.agent_types or agent_type in tool.agent_types]


def left_out() -> tuple[LeftOut, ...]:
    """The third-party tools that are not offered, and why."""
    return _third_party().left_out


def source_of(tool: Tool) -> str:
    """Where a tool comes from: Chiffon, or an installed package and its version."""
    return dict(_third_party().sources).get(tool.name, OUR_NAME)


def describe(tool: Tool) -> dict[str, Any]:
    """A tool as the API and its documentation page show it; `parameters` and `result` are JSON Schemas."""
    return {
        "name": tool.name,
        "version": tool.version,
        "description": tool.description,
        "source": source_of(tool),
        "work_type": tool.work_type,
        "agent_types": sorted(tool.agent_types),
        "idempotent": tool.idempotent,
        "cost": format(tool.cost, "f"),
        "cacheable": tool.cacheable,
        "cache_seconds": tool.cache_seconds if tool.cacheable else 0,
        "cache_scope": tool.cache_scope if tool.cacheable else "",
        "quick": tool.quick,
        "parallel_limit": tool.parallel_limit,
        "parameters": tool.input_model.model_json_schema(),
        "result": tool.output_model.model_json_schema(),
        "example": dict(tool.example),
    }


def _offered(tool: Tool) -> bool:
    return bool(settings.CHIFFON_DIAGNOSTICS) or not tool.name.startswith("diagnostic.")


def _third_party() -> ThirdParty:
    return third_party(frozenset(_TOOLS))
