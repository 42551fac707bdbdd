"""A context for tools outside the engine."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from agents.errors import StateRefused
from agents.protocol import WorkRequest
from agents.tools.base import Tool
from agents.tools.registry import find_tool


class Listener:
    """A context that remembers; `stops` says after how many looks it wants the tool to stop, `loses` likewise."""

    def __init__(self, stops: int | None = None, loses: int | None = None) -> None:
        self.lines: list[tuple[str, str]] = []
        self.events: list[tuple[str, dict[str, Any]]] = []
        self.looks, self.stops, self.loses = 0, stops, loses
        self.kept: dict[tuple[str, str], Any] = {}

    def line(self, stream: str, text: str) -> None:
        self.lines.append((stream, text))

    def event(self, type_: str, data: dict[str, Any]) -> None:
        self.events.append((type_, data))

    def checkpoint(self, reached: Callable[[], dict[str, Any]]) -> None:
        """How far a tool came is of no interest here."""

    def beat(self) -> bool:
        self.looks += 1
        return self.loses is None or self.looks < self.loses

    def cancelled(self) -> bool:
        self.looks += 1
        return self.stops is not None and self.looks >= self.stops

    def remember(self, scope: str, key: str, value: Any) -> None:
        if value == "refused":
            raise StateRefused("There is no room.")
        self.kept[scope, key] = value

    def recall(self, scope: str, key: str) -> tuple[bool, Any]:
        return (scope, key) in self.kept, self.kept.get((scope, key))

    def forget(self, scope: str, key: str) -> bool:
        return self.kept.pop((scope, key), self) is not self


def work(tool: str, given: dict[str, Any], *, number: int = 1, timeout: float = 60.0, **more: Any) -> WorkRequest:
    """A request for one try of a tool."""
    return WorkRequest(
        attempt_id="1", agent="infra-1", token=1, number=number, trace_id="1", plan_id="1", step_key="a", tool=tool,
        work_type="diagnostic", timeout_seconds=timeout, input=given, **more,
    )  # fmt: skip


def tool_named(name: str) -> Tool:
    """The tool of that name, which the test needs."""
    tool = find_tool(name)
    assert tool is not None
    return tool
