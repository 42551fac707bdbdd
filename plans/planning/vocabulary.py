"""What a plan may say beyond order: fan-out, conditions, references, fallback, rollback and limits, found before approval."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from agents.tools.registry import find_tool, input_errors
from plans import references
from plans.conf import MOST_ITEMS, MOST_STEPS
from plans.dag import ancestors
from plans.enums import OnFailure
from plans.planning.drafts import PlanDraft, StepDraft

LARGEST_LIST: Final = 256 * 1024  # characters of a list as JSON
_ITEM_ROOTS: Final = {"item", "index"}
Placed = tuple[list[Any], str]  # a place in the step, and what is wrong there
Error = dict[str, Any]


def limit_errors(draft: PlanDraft) -> list[Error]:
    """Limits that are none, and more work than a plan may hold."""
    found: list[Error] = []
    limit = draft.max_parallel
    if limit is not None and (isinstance(limit, bool) or not isinstance(limit, int) or not 1 <= limit <= MOST_STEPS):
        found.append(_error(["max_parallel"], f"max_parallel is a whole number from 1 to {MOST_STEPS}."))
    items = sum(len(step.for_each) for step in draft.steps if isinstance(step.for_each, list))
    if items and len(draft.steps) + items > MOST_STEPS:
        most = f"A plan has at most {MOST_STEPS} steps, the items of its lists included"
        found.append(_error(["steps"], f"{most}; this one has {len(draft.steps)} and {items} items."))
    return found


def agent_errors(step: StepDraft) -> Iterator[Placed]:
    """Tools that no agent of the step's type offers."""
    for loc, name in _tools(step):
        tool = find_tool(name)
        if tool is not None and tool.agent_types and step.agent_type not in tool.agent_types:
            yield [*loc, "tool"], f"Agents of type {step.agent_type} do not offer {name}."


def step_errors(step: StepDraft) -> list[Placed]:
    """What is wrong with one step by itself: its list, and what it says about its failure."""
    found = list(_list_errors(step))
    if step.on_failure == OnFailure.FALLBACK and step.fallback is None:
        found.append((["fallback"], "on_failure is fallback, and the step has none: fallback is {tool, input}."))
    if step.fallback is not None and step.on_failure != OnFailure.FALLBACK:
        found.append(
            (["fallback"], f"A fallback is only tried with on_failure fallback; here it is {step.on_failure}.")
        )
    return found


def vocabulary_errors(steps: Sequence[StepDraft]) -> list[Error]:
    """References that lead nowhere or may find nothing, and a rollback that would undo nothing. The shape is right."""
    before = ancestors({step.key: step.depends_on for step in steps})
    doubtful = {step.key: _doubt(step) for step in steps if _doubt(step)}
    found: list[Error] = []
    for place, step in enumerate(steps):
        mine = before[step.key]
        fan_out = step.for_each is not None
        wrong: list[tuple[tuple[Any, ...], str]] = []
        for loc, value in values_of(step):
            upstream = mine.also(step.key) if loc[0] == "rollback" else mine
            with_item = fan_out and loc[0] in ("input", "fallback")
            if loc[0] in ("when", "for_each", "rollback") and fan_out and (at := _item_misuse(loc[0], value)):
                wrong.append((loc, at))
            elif loc[0] == "when":
                wrong += [(loc, said) for said in references.condition_errors(step.when, upstream=upstream)]
            else:
                wrong += references.errors_in(value, upstream=upstream, fan_out=with_item, loc=loc)
        found += [_error(["steps", place, *loc], said) for loc, said in wrong]
        if not wrong:
            found += [_error(["steps", place, *loc], said) for loc, said in _unguarded(step, doubtful)]
    if not any(step.rollback for step in steps):
        found += [
            _error(["steps", place, "on_failure"], "on_failure is rollback, and no step says how it is undone.")
            for place, step in enumerate(steps)
            if step.on_failure == OnFailure.ROLLBACK
        ]
    return found


def vocabulary_facts(steps: Sequence[StepDraft]) -> list[dict[str, Any]]:
    """What people should know about a plan before they agree, as facts for its page."""
    facts = []
    for step in steps:
        if isinstance(step.for_each, str):
            facts.append(
                _fact("warn", "unknown", f"{step.key} runs once for each item of a list that is found on the way",
                      f"at most {MOST_ITEMS} times; which items is not known yet")
            )  # fmt: skip
        if step.fallback:
            facts.append(
                _fact("idle", "retry", f"{step.key} falls back on {step.fallback.tool}", "if it fails for good")
            )
    if starters := [step.key for step in steps if step.on_failure == OnFailure.ROLLBACK]:
        undone = [step.key for step in steps if step.rollback]
        facts.append(
            _fact("ok", "undo", f"If {' or '.join(starters[:3])} fails, what was done is undone",
                  f"{len(undone)} of {len(steps)} steps say how: {', '.join(undone[:5])}")
        )  # fmt: skip
    return facts


def _fact(tone: str, icon: str, text: str, detail: str) -> dict[str, Any]:
    return {"tone": tone, "icon": icon, "text": text, "detail": detail}


def _tools(step: StepDraft) -> Iterator[tuple[list[Any], str]]:
    yield [], step.tool
    for name, action in (("fallback", step.fallback), ("rollback", step.rollback)):
        if action:
            yield [name], action.tool


def values_of(step: StepDraft) -> Iterator[tuple[tuple[Any, ...], Any]]:
    """Everything of a step that may hold references, with its place."""
    yield ("input",), step.input
    if step.for_each is not None:
        yield ("for_each",), step.for_each
    if step.when:
        yield ("when",), references.as_template(step.when)
    for name, action in (("fallback", step.fallback), ("rollback", step.rollback)):
        if action:
            yield (name, "input"), action.input


def _item_misuse(field: str, value: Any) -> str:
    """Where a fan-out step reads its item before or after there is one."""
    if not references.roots_in(value) & _ITEM_ROOTS:
        return ""
    return {
        "for_each": "for_each can not be nested: item and index are only known in the input.",
        "when": "A condition is decided once for the whole step; item and index are only known in its input.",
        "rollback": "A step is undone once as a whole; its rollback reads steps.KEY.output.items instead of item.",
    }[field]


def _doubt(step: StepDraft) -> str:
    """Why a step may have no output although the plan goes on; empty if it always has."""
    if step.when:
        return "may be skipped by its condition"
    return "may fail while the plan goes on" if step.on_failure == OnFailure.CONTINUE else ""


def _unguarded(step: StepDraft, doubtful: Mapping[str, str]) -> Iterator[Placed]:
    """Outputs that may not be there. Whoever reads one looks at that step's status in its own condition first."""
    guards = {key for key, part in references.reads(references.as_template(step.when)) if part == "status"}
    for loc, value in values_of(step):
        for key, part in sorted(references.reads(value)):
            if part == "output" and key in doubtful and key not in guards and key != step.key:
                name = f"steps.{key}" if "-" not in key else f"steps['{key}']"
                yield (
                    list(loc),
                    f"{key} {doubtful[key]}, and then has no output: "
                    f"look at {name}.status in this step's condition, such as when: {name}.status == 'completed'.",
                )


def _list_errors(step: StepDraft) -> Iterator[Placed]:
    """A list that is none, is too long, or holds items that the step can not take."""
    each = step.for_each
    if each is None:
        return
    if isinstance(each, str):
        if not references.is_one(each):
            yield ["for_each"], "for_each is a list, or one reference to one such as {{ steps.find.output.hosts }}."
        return
    if len(each) > MOST_ITEMS:
        yield ["for_each"], f"A list has at most {MOST_ITEMS} items; this one has {len(each)}."
    elif references.has_any(each):
        yield ["for_each"], "The items of a list are values; a list that a step finds is one reference."
    elif len(json.dumps(each)) > LARGEST_LIST:
        yield ["for_each"], f"The list is longer than {LARGEST_LIST} characters."
    else:
        yield from _item_errors(step, each)


def _item_errors(step: StepDraft, items: Sequence[Any]) -> Iterator[Placed]:
    """The first item with which the input does not fit the tool, if only the item decides that."""
    tool, roots = find_tool(step.tool), references.roots_in(step.input)
    if tool is None or step.playbook or not roots or not roots <= _ITEM_ROOTS:
        return
    for index, item in enumerate(items):
        try:
            wrong = input_errors(tool, references.resolve(step.input, {"item": item, "index": index}))
        except references.Unresolvable as error:
            yield ["for_each", index], str(error)
            return
        if wrong:
            place = ".".join(map(str, wrong[0]["loc"]))
            yield ["for_each", index], f"With this item, {place} does not fit {step.tool}: {wrong[0]['msg']}."
            return


def _error(loc: list[Any], msg: str) -> Error:
    return {"loc": loc, "msg": msg}
