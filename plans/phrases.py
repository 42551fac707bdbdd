"""Events that are always told together in the same words, stored as one short phrase. Pure.

A step that went well without a line of output says six things at its end, of which only its tool, summary and number are its own;
to store all of it for each of thousands of steps would be a sixth of what the database writes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from plans.enums import EventType, StepStatus

COMPARES: Final = "Compares the step with what was approved."
WENT_WELL: Final = "went_well"
Told = Sequence[Any]  # [type, data, milliseconds before its row's time]


def shortened(told: Sequence[Told]) -> list[Told]:
    """The same events, as a phrase if they are one."""
    try:
        (_, (_, tool, _), *_, (_, end, _), _) = told
        phrase = [tool["tool"], tool["playbook"], end["summary"], end["attempt"]]
    except (ValueError, KeyError):
        return list(told)
    ages = [age for _, _, age in told]
    if [[type_, data] for type_, data, _ in told] != _went_well(*phrase):
        return list(told)
    return [[WENT_WELL, phrase if not any(ages) else [*phrase, ages], 0]]


def spelled_out(told: Sequence[Told]) -> Iterator[Told]:
    """The single events again."""
    for type_, data, age in told:
        if type_ != WENT_WELL:
            yield type_, data, age
            continue
        said = _went_well(*data[:4])
        ages = data[4] if len(data) > 4 else [0] * len(said)
        yield from ([*event, before] for event, before in zip(said, ages, strict=True))


def started(data: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """What a row that tells of a start says: the data of the step's change, and of the start itself."""
    said = dict(data)
    was = said.pop("was")
    return {"was": was, "now": str(StepStatus.RUNNING), "waiting_for": "", **said}, said


def _went_well(tool: str, playbook: str, summary: str, number: int) -> list[list[Any]]:
    return [
        [EventType.AGENT_THINKING, {"text": COMPARES}],
        [EventType.TOOL_EXECUTING, {"tool": tool, "playbook": playbook}],
        [EventType.TOOL_COMPLETED, {"tool": tool, "outcome": "completed", "summary": summary}],
        [EventType.OUTPUT_END, {"count": 0}],
        [EventType.AGENT_COMPLETED, {"outcome": "completed", "summary": summary, "attempt": number}],
        [EventType.STEP_CHANGED, {"was": "running", "now": "completed", "waiting_for": ""}],
    ]
