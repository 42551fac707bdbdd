"""The form in which a person changes a plan: a plan's program as fields, and the fields as a program again.

Values keep their types: a text is a text, a number a number; a list, an object or nothing is JSON. A field that nobody touched keeps its
value exactly, and a step that is not on the page stays as it is.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from agents.models import Playbook
from agents.tools.registry import find_tool
from plans.budget import CEILINGS
from plans.enums import OnFailure
from plans.planning.programs import PLAYBOOK_TOOL

Json = dict[str, Any]
SHOWN: Final = 40  # steps on one page
MOST_FIELDS: Final = 600  # on one page: Django takes a thousand
_ONE_LINE: Final = 90  # characters of a text that fit one line
_WHOLE: Final = re.compile(r"[-+]?[0-9]{1,16}")
_LONGEST: Final = 300_000  # characters of one field; what a plan may hold is told by its validation


@dataclass(slots=True)
class Entry:
    """One field: what it shows, and what is wrong with it."""

    name: str  # in the form
    label: str
    kind: str  # text, lines, number, choice, json
    value: str
    was: str
    path: tuple[str, ...]  # in the step, or in the plan
    old: Any = None
    absent: bool = False  # the step does not say it yet
    needed: bool = False
    schema: str = ""  # of one that is absent: the type it wants
    choices: tuple[tuple[str, str], ...] = ()
    hint: str = ""
    errors: list[str] = field(default_factory=list)

    def parsed(self) -> Any:
        """What was typed, as a value; `_ABSENT` for none. Raises ValueError with a sentence."""
        if self.value == self.was:
            return _ABSENT if self.absent else self.old
        if self.kind in ("text", "lines") and not self.absent:
            return self.value
        text = self.value.strip()
        if not text and self.needed:
            raise ValueError("This can not be empty.")
        if not text:
            return _ABSENT
        if self.kind == "choice":
            if text not in dict(self.choices):
                raise ValueError("This is none of the choices.")
            return text == "true" if isinstance(self.old, bool) else text
        if text.startswith("{{") and text.endswith("}}"):
            return text  # a reference stands for a value of any type
        if self.kind == "number":
            return _number(text)
        if self.schema == "string":
            return self.value
        return _json(text)


_ABSENT: Final = object()


@dataclass(slots=True)
class StepFields:
    """One step as fields."""

    key: str
    title: str
    what: str
    index: int
    inputs: list[Entry]
    more: list[Entry]  # what its tool or playbook takes besides
    course: list[Entry]
    row: Any = None
    done_in: int | None = None
    left_out: bool = False
    after: Sequence[str] = ()
    errors: list[str] = field(default_factory=list)

    @property
    def entries(self) -> Iterator[Entry]:
        """All fields of it."""
        yield from (*self.inputs, *self.more, *self.course)

    @property
    def opened(self) -> bool:
        """Whether its values are shown at once: it is not done, or something of it was typed or is wrong."""
        touched = any(one.errors or one.value != one.was for one in self.entries)
        return self.done_in is None or touched or bool(self.errors) or self.left_out

    @property
    def more_opened(self) -> bool:
        """Whether something of what it takes besides was typed or is wrong."""
        return any(one.errors or one.value != one.was for one in self.more)


@dataclass(slots=True)
class ReviseForm:
    """A plan's program as fields. Filled from what was posted, it knows what was typed and what is wrong with it."""

    program: Sequence[Json]
    steps: list[StepFields]
    whole: list[Entry]
    budget: Mapping[str, Any]
    errors: list[str] = field(default_factory=list)

    def fill(self, posted: Mapping[str, str]) -> None:
        """Take what was typed."""
        for entry in self._entries():
            if entry.name in posted and (typed := _lines(posted[entry.name])) != entry.was:
                entry.value = typed[:_LONGEST]
        for step in self.steps:
            step.left_out = f"{step.key}.leave_out" in posted

    def read(self) -> tuple[list[Json], Json] | None:
        """The steps as a program and what holds for the plan as a whole; None if something typed is no value."""
        by_key = {step.key: step for step in self.steps}
        out = {step.key for step in self.steps if step.left_out}
        before = {step["key"]: step.get("depends_on", []) for step in self.program}
        steps = []
        for told in self.program:
            if told["key"] in out:
                continue
            step: Json = json.loads(json.dumps(told))  # a copy of its own
            if told["key"] in by_key:
                for entry in by_key[told["key"]].entries:
                    if entry.value != entry.was:
                        _put(step, entry.path, _read(entry))
                if step.get("on_failure") != OnFailure.FALLBACK:
                    step.pop("fallback", None)
            if depends := list(dict.fromkeys(_without(before[told["key"]], out, before))):
                step["depends_on"] = depends
            else:
                step.pop("depends_on", None)
            steps.append(step)
        whole: Json = {}
        for entry in self.whole:
            _put(whole, entry.path, _read(entry))
        if ceilings := {name: value for name, value in whole.pop("budget", {}).items() if value is not None}:
            whole["budget"] = {
                **{name: self.budget[name] for name in ("policy", "warn_at") if name in self.budget},
                **ceilings,
            }
        else:
            whole["budget"] = {}
        return None if any(entry.errors for entry in self._entries()) else (steps, {"max_parallel": None, **whole})

    def refuse(self, steps: Sequence[Json], errors: Iterable[Mapping[str, Any]]) -> None:
        """Put what validation found wrong with these steps to the fields it is about."""
        fields = {(step.key, entry.path): entry for step in self.steps for entry in step.entries}
        whole = {entry.path: entry for entry in self.whole}
        cards = {step.key: step for step in self.steps}
        for error in errors:
            loc, said = [*error["loc"]], str(error["msg"])
            key = ""
            if len(loc) > 1 and loc[0] == "steps" and isinstance(loc[1], int) and loc[1] < len(steps):
                key, loc = str(steps[loc[1]].get("key", "")), loc[2:]
            if entry := _nearest(fields, key, loc) if key else whole.get(tuple(map(str, loc[:2]))):
                entry.errors.append(said)
            elif key in cards:
                cards[key].errors.append(f"{'.'.join(map(str, loc))}: {said}" if loc else said)
            else:
                place = ".".join(map(str, ([key] if key else []) + loc))
                self.errors.append(f"{place}: {said}" if place else said)

    def wrong(self) -> list[str]:
        """Where something typed does not fit."""
        found = [f"{step.key}, {one.label}" for step in self.steps for one in step.entries if one.errors]
        return found + [one.label for one in self.whole if one.errors]

    def typed(self) -> list[tuple[str, str]]:
        """What differs from the plan as it is now: where, and what was typed."""
        found = [
            (f"{step.key}, {one.label}", one.value)
            for step in self.steps
            for one in step.entries
            if one.value != one.was
        ]
        found += [(one.label, one.value) for one in self.whole if one.value != one.was]
        return found + [(step.key, "left out") for step in self.steps if step.left_out]

    def forget(self) -> None:
        """Show the plan as it is again."""
        for entry in self._entries():
            entry.value, entry.errors = entry.was, []
        for step in self.steps:
            step.left_out = False

    def _entries(self) -> Iterator[Entry]:
        yield from self.whole
        for step in self.steps:
            yield from step.entries


def revise_form(program: Sequence[Json], shown: Sequence[Json], plan: Mapping[str, Any]) -> ReviseForm:
    """The form for a program, with the steps that are `shown` as fields, or as many of them as one page may hold.

    `plan` says goal, budget and max_parallel.
    """
    places = {step["key"]: place for place, step in enumerate(program, start=1)}
    variables = _variables(shown)
    budget = plan["budget"]
    whole = [_entry("plan.goal", "What it is for", plan["goal"], ("goal",))]
    whole.append(_limit("plan.max_parallel", "Steps at once", plan["max_parallel"], ("max_parallel",)))
    for measure, name in CEILINGS.items():
        words = {"calls": "Calls at most", "cost": "Cost at most", "tokens": "Tokens at most"}[measure]
        whole.append(_limit(f"plan.{name}", words, budget.get(name), ("budget", name)))
    cards: list[StepFields] = []
    room = MOST_FIELDS
    for card in (_fields(step, places[step["key"]], variables) for step in shown):
        room -= len(list(card.entries)) + 1
        if cards and room < 0:
            break
        cards.append(card)
    return ReviseForm(program, cards, whole, budget)


def _fields(step: Json, index: int, variables: Mapping[str, Mapping[str, str]]) -> StepFields:
    key, value = step["key"], step["input"]
    path: tuple[str, ...] = ("input",)
    what = step["tool"]
    known: Mapping[str, str] = _schema_of(what)
    if step["tool"] == PLAYBOOK_TOOL:
        what, value, path = value["playbook"], value.get("variables", {}), ("input", "variables")
        known = variables.get(what, {})
    course = [
        _entry(f"{key}.name", "Name", step["name"], ("name",)),
        _limit(f"{key}.timeout_seconds", "Timeout, in seconds", step["timeout_seconds"], ("timeout_seconds",)),
        _entry(f"{key}.when", "Only if", step.get("when", ""), ("when",), hint="a condition; empty: always"),
        _failure(step),
    ]
    if "for_each" in step:
        course.append(_entry(f"{key}.for_each", "Once for each of", step["for_each"], ("for_each",)))
    return StepFields(
        key=key,
        title=step["name"] if step["name"] not in ("", step["tool"]) else key,
        what=what,
        index=index,
        inputs=[_entry(f"{key}.input.{name}", name, one, (*path, name)) for name, one in value.items()],
        more=[
            _absent(f"{key}.input.{name}", name, (*path, name), type_)
            for name, type_ in known.items()
            if name not in value
        ],
        course=course,
        after=step.get("depends_on", ()),
    )


def _failure(step: Json) -> Entry:
    now = step.get("on_failure", str(OnFailure.STOP))
    offered = [(str(one), str(one.label)) for one in OnFailure if one != OnFailure.FALLBACK or "fallback" in step]
    name = f"{step['key']}.on_failure"
    return Entry(name, "If it fails", "choice", now, now, ("on_failure",), now, choices=tuple(offered))


def _limit(name: str, label: str, value: Any, path: tuple[str, ...]) -> Entry:
    """A number, or nothing for none."""
    shown = "" if value is None else json.dumps(value)
    needed = path == ("timeout_seconds",)
    hint = "" if needed else "empty: no limit"
    return Entry(name, label, "number", shown, shown, path, value, absent=value is None, needed=needed, hint=hint)


def _entry(name: str, label: str, value: Any, path: tuple[str, ...], hint: str = "") -> Entry:
    if isinstance(value, bool):
        shown = "true" if value else "false"
        return Entry(name, label, "choice", shown, shown, path, value, choices=(("true", "true"), ("false", "false")))
    if isinstance(value, str):
        shown = _lines(value)
        long = len(value) > _ONE_LINE or "\n" in shown
        return Entry(name, label, "lines" if long else "text", shown, shown, path, value, hint=hint)
    if isinstance(value, int | float):
        shown = json.dumps(value)
        return Entry(name, label, "number", shown, shown, path, value, hint=hint)
    shown = _spread(value)
    return Entry(name, label, "json", shown, shown, path, value, hint="JSON")


def _lines(text: str) -> str:
    """A text with one kind of line ends: a browser sends its own."""
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _spread(value: Any) -> str:
    """A list or an object as JSON: on one line if that is short, else a line for each part, or as many as its parts need."""
    short = json.dumps(value, ensure_ascii=False)
    if len(short) <= _ONE_LINE or not isinstance(value, list | dict):
        return short
    inner = value if isinstance(value, list) else value.values()
    parts = [json.dumps(one, ensure_ascii=False) for one in inner]
    if any(len(part) > _ONE_LINE + 30 for part in parts):
        return json.dumps(value, ensure_ascii=False, indent=2)
    if isinstance(value, list):
        return "[\n" + ",\n".join(f"  {part}" for part in parts) + "\n]"
    named = (f"  {json.dumps(name, ensure_ascii=False)}: {part}" for name, part in zip(value, parts, strict=True))
    return "{\n" + ",\n".join(named) + "\n}"


def _absent(name: str, label: str, path: tuple[str, ...], type_: str) -> Entry:
    hint = {"string": "text", "": "JSON"}.get(type_, type_)
    kind = "number" if type_ in ("integer", "number") else "text"
    return Entry(name, label, kind, "", "", path, absent=True, schema=type_, hint=f"{hint}; empty: not set")


def _schema_of(tool: str) -> dict[str, str]:
    """What a tool takes, each with its type."""
    found = find_tool(tool)
    properties = found.input_model.model_json_schema().get("properties", {}) if found else {}
    return {name: str(one.get("type", "")) for name, one in properties.items()}


def _variables(shown: Sequence[Json]) -> dict[str, dict[str, str]]:
    """What each playbook of these steps takes, each with its type."""
    paths = {step["input"]["playbook"] for step in shown if step["tool"] == PLAYBOOK_TOOL}
    rows = Playbook.objects.filter(path__in=paths, missing=False) if paths else ()
    return {
        row.path: {str(one.get("name")): str(one.get("type", "")) for one in row.details.get("variables", ())}
        for row in rows
    }


def _read(entry: Entry) -> Any:
    try:
        return entry.parsed()
    except ValueError as error:
        entry.errors.append(str(error))
        return _ABSENT


def _put(target: Json, path: Sequence[str], value: Any) -> None:
    *way, last = path
    for name in way:
        target = target.setdefault(name, {})
    if value is _ABSENT:
        target.pop(last, None)
    else:
        target[last] = value


def _without(keys: Iterable[str], out: set[str], before: Mapping[str, Sequence[str]]) -> Iterator[str]:
    """The keys that a step depends on without those left out: what came before them comes before it, so that the order stays."""
    waiting, seen = list(keys), set()
    while waiting:
        key = waiting.pop(0)
        if key in out and key not in seen:
            seen.add(key)
            waiting = [*before.get(key, ()), *waiting]
        elif key not in out:
            yield key


def _nearest(fields: Mapping[tuple[str, tuple[str, ...]], Entry], key: str, loc: Sequence[Any]) -> Entry | None:
    """The field that a place lies in; a playbook's variables are told with and without that word."""
    place = tuple(map(str, loc))
    for way in (place, ("input", "variables", *place[1:]) if place[:1] == ("input",) else ()):
        for length in range(len(way), 0, -1):
            if entry := fields.get((key, way[:length])):
                return entry
    return None


def _number(text: str) -> int | float:
    if _WHOLE.fullmatch(text):
        return int(text)
    try:
        number = float(text)
    except ValueError:
        raise ValueError(f"“{text[:40]}” is no number.") from None
    if not math.isfinite(number):
        raise ValueError(f"“{text[:40]}” is no finite number.")
    return number


def _json(text: str) -> Any:
    def refuse(word: str) -> None:
        raise ValueError(f"{word} is no value of JSON.")

    try:
        return json.loads(text, parse_constant=refuse)
    except json.JSONDecodeError as error:
        raise ValueError(f"This is no JSON: {error.msg}, in line {error.lineno}, column {error.colno}.") from None
    except RecursionError:
        raise ValueError("This is nested too deeply.") from None
