"""Events of a run as sentences."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from plans.enums import EventType, Stage, StepStatus
from plans.looks import LOOKS
from plans.models import Event

_ENDINGS: Final = (EventType.TOOL_COMPLETED, EventType.OUTPUT_END, EventType.AGENT_COMPLETED)
# What no step "is".
_ENDED_BADLY: Final[dict[str, str]] = {
    StepStatus.FAILED: "{} failed",
    StepStatus.UNKNOWN: "The outcome of {} is unknown",
}


@dataclass(frozen=True, slots=True)
class EventView:
    """One event: its icon and tone, and what happened in words."""

    event: Event
    icon: str
    tone: str
    text: str
    detail: str = ""


def event_views(events: Sequence[Event]) -> list[EventView]:
    """Events as people read them, the newest first as they were given.

    That a step is ready, runs and was begun by an agent is one row, and so is everything that is said when it ends:
    the row of the last of them, with what the others knew.
    """
    views: list[EventView] = []
    heads: dict[str, int] = {}  # by step, the row that may tell what came just before as well
    for event in events:
        row = heads.get(event.step_key)
        if row is not None and _tells(views[row].event, event):
            views[row] = replace(views[row], detail=views[row].detail or _text(event.data, "summary"))
            continue
        if event.step_key:
            heads[event.step_key] = len(views)
        views.append(_view(event))
    return views


def _tells(head: Event, event: Event) -> bool:
    """Whether a newer row of the same step says this too: how it ended, or that it began."""
    if head.type == EventType.AGENT_STARTED:
        return event.type == EventType.STEP_CHANGED and event.data.get("now") in (StepStatus.READY, StepStatus.RUNNING)
    left = head.type == EventType.STEP_CHANGED and head.data.get("was") == StepStatus.RUNNING
    return left and event.type in _ENDINGS


def _view(event: Event) -> EventView:
    data: dict[str, Any] = event.data
    key = event.step_key
    match event.type:
        case EventType.STAGE_CHANGED if data.get("budget"):
            met = data["budget"] == "exceeded"
            text = "The budget has met its end" if met else "The budget comes to its end"
            return EventView(event, "warning", "bad" if met else "warn", text, _text(data, "reason"))
        case EventType.STAGE_CHANGED if data.get("stopping"):
            return EventView(event, "cancelled", "warn", "Plan: Being cancelled", _text(data, "reason"))
        case EventType.STAGE_CHANGED:
            look = LOOKS.get((Stage, str(data.get("now", ""))))
            word = look.word if look else str(data.get("now", ""))
            return EventView(
                event,
                look.icon if look else "plan",
                look.tone if look else "idle",
                f"Plan: {word}",
                _text(data, "reason"),
            )
        case EventType.STEP_CHANGED:
            look = LOOKS.get((StepStatus, str(data.get("now", ""))))
            word = look.word.lower() if look else str(data.get("now", ""))
            detail = _text(data, "summary") or _text(data, "waiting_for")
            text = _ENDED_BADLY.get(str(data.get("now", "")), f"{{}} is {word}").format(key)
            return EventView(event, look.icon if look else "plan", look.tone if look else "idle", text, detail)
        case EventType.AGENT_STARTED:
            number = data.get("attempt")
            return EventView(
                event, "agent", "run", f"{data.get('agent', 'An agent')} began {key}", f"try {number}" if number else ""
            )
        case EventType.AGENT_THINKING:
            return EventView(event, "bulb", "idle", _text(data, "text") or f"The agent prepares {key}")
        case EventType.TOOL_EXECUTING:
            return EventView(event, "play", "run", f"{key} runs {_text(data, 'playbook') or _text(data, 'tool')}")
        case EventType.TOOL_COMPLETED:
            return EventView(event, "check", "idle", f"{_text(data, 'tool')} ended", _text(data, "summary"))
        case EventType.AGENT_COMPLETED:
            good = str(data.get("outcome", "")) in {"completed", "succeeded", "success"}
            return EventView(
                event, "agent", "ok" if good else "warn", f"The agent is done with {key}", _text(data, "summary")
            )
        case EventType.OUTPUT_END:
            count = data.get("count", 0)
            return EventView(event, "download", "idle", f"The output of {key} ended", f"{count} lines, none missing")
        case _:
            return EventView(event, "plan", "idle", str(event.type))


def _text(data: dict[str, Any], name: str) -> str:
    value = data.get(name, "")
    return value if isinstance(value, str) else ""
