"""Whether what a tool answered is a result, and the one it promised. Pure: no tool's answer can raise in here.

Junk becomes a failure that names the tool and the field, because nothing that follows could tell junk from an answer.
What is merely too large is cut, and the result says so. What a failed attempt leaves has to be storable, no more: it
tells of a failure, and the tool never promised its shape.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from typing import Any, Final

from pydantic import ValidationError

from agents.conf import LARGEST_RESULT, LONGEST_SUMMARY
from agents.protocol import Failure, FailureMode, Json, Outcome, ResourcesUsed, WorkResult
from agents.tools.base import Tool
from audit.canonical import storable

DEEPEST: Final = 50
MOST_SERVICES: Final = 200
_LARGEST_INTEGER: Final = 2**63 - 1
_FIGURES: Final = tuple(field.name for field in fields(ResourcesUsed))
_Place = tuple[str | int, ...]


class _Junk(Exception):
    """What is wrong, as the end of a sentence that begins with the tool's name."""


def checked(tool: Tool, answer: object) -> WorkResult:
    """The tool's answer if it is a result as promised, cut to size; else a terminal failure that says what is wrong."""
    try:
        return _sized(_promised(tool, _storable(answer)))
    except _Junk as junk:
        return WorkResult.failed(FailureMode.AGENT, f"The tool {tool.name} {junk}")
    except Exception as error:  # a third-party model may run code of its own, and so may any object it answers
        return WorkResult.failed(
            FailureMode.AGENT, f"What the tool {tool.name} answered could not be checked: {type(error).__name__}."
        )


def _storable(answer: object) -> WorkResult:
    """A result of which every field can be stored. Raises _Junk."""
    if not isinstance(answer, WorkResult):
        raise _Junk(f"answered {_kind(answer)} instead of a WorkResult.")
    try:
        outcome = Outcome(answer.outcome)
    except ValueError:
        raise _Junk(f"answered outcome {_shown(answer.outcome)}, which is none of {', '.join(Outcome)}.") from None
    failure = _failure(answer.failure)
    if outcome is Outcome.COMPLETED and failure:
        raise _Junk("answered that it completed, and a failure with it.")
    if not isinstance(answer.summary, str):
        raise _Junk(f"answered {_kind(answer.summary)} as its summary, which is text.")
    return WorkResult(
        outcome=outcome,
        output=_object(answer.output, "output"),
        summary=_line(answer.summary),
        failure=failure,
        resources=_resources(answer.resources),
        services_touched=_services(answer.services_touched),
        progress=_object(answer.progress, "progress"),
    )


def _promised(tool: Tool, result: WorkResult) -> WorkResult:
    """The result, if its output is what the tool's page says. What it took and touched stays known when it is not."""
    if result.outcome is not Outcome.COMPLETED:
        return result
    try:
        tool.output_model.model_validate(result.output, strict=True)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        place = _dotted(("output", *first["loc"]))
        why = _line(f"The tool {tool.name} answered what it does not promise at {place}: {first['msg']}.")
        return replace(result, outcome=Outcome.FAILED, output={}, summary=why, failure=Failure(FailureMode.AGENT, why))
    return result


def _sized(result: WorkResult) -> WorkResult:
    """The result, without the parts of it that are too large to keep."""
    output, left_out = _cut(result.output)
    progress = _cut(result.progress)[0]
    if output is result.output and progress is result.progress:
        return result
    summary = " ".join(part for part in (result.summary, left_out) if part)
    return replace(result, output=output, summary=summary, progress=progress)


def _object(value: object, name: str) -> Json:
    if not isinstance(value, dict):
        raise _Junk(f"answered {_kind(value)} as its {name}, which is an object.")
    if not value:
        return {}
    _check_json(value, (name,))
    plain: Json = json.loads(json.dumps(value))  # tuples and subclasses become what JSON has
    return plain


def _check_json(value: object, place: _Place) -> None:
    """Refuse what JSON or the database can not hold, at the first place where it is. Raises _Junk."""
    if value is None or isinstance(value, bool):
        return
    if isinstance(value, str):
        if storable(value) != value:
            raise _Junk(f"answered a character that can not be stored (NUL or half a pair) at {_dotted(place)}.")
    elif isinstance(value, int):
        if abs(value) > _LARGEST_INTEGER:
            raise _Junk(f"answered a whole number beyond 2^63 at {_dotted(place)}.")
    elif isinstance(value, float):
        if not math.isfinite(value):
            raise _Junk(f"answered {value}, which is no number, at {_dotted(place)}.")
    elif len(place) > DEEPEST:
        raise _Junk(f"answered something nested deeper than {DEEPEST} levels at {_dotted(place[:4])}.")
    elif isinstance(value, dict):
        for key, item in value.items():
            if not isinstance(key, str) or storable(key) != key:
                raise _Junk(
                    f"answered the key {_shown(key)}, which is no text that can be stored, at {_dotted(place)}."
                )
            _check_json(item, (*place, key))
    elif isinstance(value, list | tuple):
        for number, item in enumerate(value):
            _check_json(item, (*place, number))
    else:
        raise _Junk(f"answered {_kind(value)}, which is not JSON, at {_dotted(place)}.")


def _cut(value: Json) -> tuple[Json, str]:
    """The object with its largest fields left out until the rest can be kept, and what was left out in words."""
    size = len(json.dumps(value)) if value else 0
    if size <= LARGEST_RESULT:
        return value, ""
    told = {"cut": True, "reason": ""}
    left_out = [name for name in told if name in value]
    kept = {name: item for name, item in value.items() if name not in told}
    room = LARGEST_RESULT - 1_000  # for the words about the cut
    for name, length in sorted(
        ((n, len(json.dumps({n: item}))) for n, item in kept.items()), key=lambda pair: -pair[1]
    ):
        if size <= room:
            break
        size -= length
        left_out.append(name)
        del kept[name]
    names = ", ".join(name[:60] for name in left_out[:5]) + (f" and {len(left_out) - 5} more" if left_out[5:] else "")
    reason = f"The result is larger than the {LARGEST_RESULT // 1024} KiB that are kept; left out: {names}."
    return kept | told | {"reason": reason}, reason


def _failure(value: object) -> Failure | None:
    if value is None:
        return None
    if not isinstance(value, Failure):
        raise _Junk(f"answered {_kind(value)} as its failure, which is a Failure or nothing.")
    try:
        mode = FailureMode(value.mode)
    except ValueError:
        raise _Junk(f"answered failure.mode {_shown(value.mode)}, which is none of {', '.join(FailureMode)}.") from None
    if not isinstance(value.message, str) or not isinstance(value.transient, bool):
        raise _Junk("answered a failure whose message is no text, or whose transient is not yes or no.")
    return Failure(mode, _line(value.message), value.transient)


def _resources(value: object) -> ResourcesUsed:
    if not isinstance(value, ResourcesUsed):
        raise _Junk(f"answered {_kind(value)} as its resources, which are a ResourcesUsed.")
    for name in _FIGURES:
        figure = getattr(value, name)
        known = isinstance(figure, int | float) and not isinstance(figure, bool) and math.isfinite(figure)
        if figure is not None and not (known and 0 <= figure <= _LARGEST_INTEGER):
            raise _Junk(f"answered {_shown(figure)} as resources.{name}, which is a number from 0 or nothing.")
    return value


def _services(value: object) -> tuple[str, ...]:
    if not isinstance(value, tuple | list) or not all(isinstance(item, str) for item in value):
        raise _Junk("answered services_touched that are no list of names.")
    return tuple(storable(item)[:128] for item in value[:MOST_SERVICES])


def _line(text: str) -> str:
    text = storable(text)
    return text if len(text) <= LONGEST_SUMMARY else f"{text[: LONGEST_SUMMARY - 8]} … (cut)"


def _kind(value: object) -> str:
    return "nothing" if value is None else f"a value of type {type(value).__name__[:60]}"


def _shown(value: object) -> str:
    """A short sight of a small value; anything else by its type, because its own words are not to be trusted."""
    return storable(repr(value))[:60] if isinstance(value, str | int | float) else _kind(value)


def _dotted(place: Sequence[str | int]) -> str:
    return storable(".".join(str(part)[:60] for part in place[:12]))


def input_errors(tool: Tool, value: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What is wrong with an input for this tool: {"loc": [...], "msg": …} for each place; empty if nothing is."""
    try:
        tool.input_model.model_validate(value, strict=True)
    except ValidationError as error:
        found = error.errors(include_url=False, include_context=False, include_input=False)
        return [{"loc": list(item["loc"]), "msg": item["msg"]} for item in found]
    except Exception as error:  # a third-party model may run code of its own
        return [{"loc": [], "msg": f"The tool's own check of its input broke: {type(error).__name__}."}]
    return []
