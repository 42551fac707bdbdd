"""The table of tools: every tool an agent can offer, by name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from django.conf import settings
from pydantic import ValidationError

from agents.tools.base import Tool
from agents.tools.diagnostic import DIAGNOSTIC_TOOLS
from agents.tools.infra import PlaybookExecutor

_TOOLS: Final[Mapping[str, Tool]] = {tool.name: tool for tool in (PlaybookExecutor(), *DIAGNOSTIC_TOOLS)}


def all_tools() -> list[Tool]:
    """Every tool of this installation, by name. The diagnostic ones can be turned off by a setting."""
    shown = sorted(_TOOLS.values(), key=lambda tool: tool.name)
    if not settings.CHIFFON_DIAGNOSTICS:
        return [tool for tool in shown if not tool.name.startswith("diagnostic.")]
    return list(shown)


def find_tool(name: str) -> Tool | None:
    """The tool of that name, or None."""
    return next((tool for tool in all_tools() if tool.name == name), None)


def tools_for(agent_type: str) -> list[str]:
    """The names of the tools that an agent of this type offers."""
    return [tool.name for tool in all_tools() if not tool.agent_types or agent_type in tool.agent_types]


def input_errors(tool: Tool, value: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What is wrong with an input for this tool: {"loc": [...], "msg": …} for each place; empty if nothing is."""
    try:
        tool.input_model.model_validate(value, strict=True)
    except ValidationError as error:
        return [{"loc": list(item["loc"]), "msg": item["msg"]} for item in error.errors(include_url=False)]
    return []


def describe(tool: Tool) -> dict[str, Any]:
    """A tool as the API and its documentation page show it; `parameters` is a JSON Schema."""
    return {
        "name": tool.name,
        "version": tool.version,
        "description": tool.description,
        "work_type": tool.work_type,
        "agent_types": sorted(tool.agent_types),
        "idempotent": tool.idempotent,
        "parameters": tool.input_model.model_json_schema(),
    }
