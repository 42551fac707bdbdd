"""Everything wrong with a plan that can be found before anyone is asked. Each error names its place and says what."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

from agents.enums import AgentType
from agents.playbooks.asked import Refused, check_variables
from agents.playbooks.filling import UnusableValue, check_type, variable_of
from agents.tools.registry import find_tool, input_errors
from audit.canonical import storable
from plans import budget, references
from plans.conf import LONGEST_TIMEOUT, MOST_DEPENDENCIES, MOST_REFERENCES, MOST_STEPS, MOST_VALUES
from plans.dag import find_cycle
from plans.enums import OnFailure
from plans.errors import brief
from plans.planning.drafts import ActionDraft, PlanDraft, StepDraft
from plans.planning.vocabulary import agent_errors, limit_errors, step_errors, values_of, vocabulary_errors

KEY: Final = re.compile(r"[a-z][a-z0-9_-]{0,62}")
ROW_KEY: Final = re.compile(KEY.pattern + r"(\.[0-9]{1,4}|\.rollback)?")  # an item's, or that of what undoes a step
DEEPEST: Final = 20
LARGEST_INPUT: Final = 256 * 1024
_LONGEST: Final = {"name": 500, "reason": 5_000, "work_type": 255}  # characters of what people read about a step
_UNSTORABLE: Final = "It holds a character that can not be stored (NUL or half of a surrogate pair)."
# What a step may say it needs, and the most of each.
_AMOUNTS: Final = ("cpu", "memory_mb", "gpu_memory_mb")
_LARGEST_AMOUNT: Final = 1_000_000_000
Error = dict[str, Any]


def errors_in(draft: PlanDraft) -> list[Error]:
    """Every error of a draft, in the order of the steps: {"loc": [...], "msg": …}. Empty if the plan can be asked for."""
    if not draft.steps:
        return [_error(["steps"], "A plan needs at least one step.")]
    if len(draft.steps) > MOST_STEPS:
        return [_error(["steps"], f"A plan has at most {MOST_STEPS} steps; this one has {len(draft.steps)}.")]
    if too_much := _amount_errors(draft.steps):
        return too_much
    found = _budget_errors(draft.budget) + limit_errors(draft)
    if not 1 <= draft.priority <= 5:
        found.append(_error(["priority"], "The priority is a whole number from 1 to 5."))
    keys: set[str] = set()
    for place, step in enumerate(draft.steps):
        if step.key in keys:
            found.append(_error(["steps", place, "key"], f"Two steps have the key {brief(step.key)}."))
        keys.add(step.key)
        found += [_error(["steps", place, *item["loc"]], item["msg"]) for item in _step_errors(step)]
    return found or _shape_errors(draft.steps) or vocabulary_errors(draft.steps)


def _amount_errors(steps: Sequence[StepDraft]) -> list[Error]:
    """The place at which a plan holds more than can be looked through while somebody waits."""
    values = marks = 0
    for place, step in enumerate(steps):
        for loc, value in (*values_of(step), (("resources",), step.resources)):
            for part in references.parts_of(value):
                values += 1
                marks += part.count("{{") if isinstance(part, str) else 0
                if values > MOST_VALUES or marks > MOST_REFERENCES:
                    most = f"at most {MOST_VALUES} values and {MOST_REFERENCES} references"
                    return [_error(["steps", place, *loc], f"The inputs of a plan hold {most}; here it is more.")]
    return []


def _step_errors(step: StepDraft) -> list[Error]:
    found: list[Error] = []
    if not KEY.fullmatch(step.key):
        found.append(
            _error(["key"], f"{brief(step.key)!r} is no key: lower case letters, digits, - and _, at most 63.")
        )
    if step.agent_type not in AgentType.values:
        found.append(
            _error(
                ["agent_type"], f"There is no agent type {brief(step.agent_type)}; there are {_list(AgentType.values)}."
            )
        )
    elif not found:
        found += [_error(loc, message) for loc, message in agent_errors(step)]
    if not 1 <= step.timeout_seconds <= LONGEST_TIMEOUT:
        found.append(_error(["timeout_seconds"], f"The timeout is from 1 to {LONGEST_TIMEOUT} seconds."))
    found += text_errors(step.input, ["input"])
    found += text_errors(step.resources, ["resources"]) or _resource_errors(step.resources)
    for name in ("fallback", "rollback"):
        if action := getattr(step, name):
            found += text_errors(action.input, [name, "input"])
    found += text_errors(step.for_each, ["for_each"])
    if step.on_failure not in OnFailure.values:
        found.append(_error(["on_failure"], f"on_failure is one of {_list(OnFailure.values)}."))
    for name, longest in _LONGEST.items():
        found += _prose_errors(getattr(step, name), name, longest)
    means = [(step, []), *((action, [name]) for name in ("fallback", "rollback") if (action := getattr(step, name)))]
    ready = not found
    for work, loc in means:
        tool = find_tool(work.tool)
        if tool is None:
            found.append(_error([*loc, "tool"], f"There is no tool called {brief(work.tool)}."))
        elif ready:
            wrong = input_errors(tool, tool_input(work))
            found += [
                _error([*loc, "input", *item["loc"]], item["msg"])
                for item in wrong
                if not _awaits(tool_input(work), item["loc"])
            ] or [_error([*loc, "input", "variables", *at], message) for at, message in _variable_errors(work)]
    return found or [_error(loc, message) for loc, message in step_errors(step)]


def _variable_errors(work: StepDraft | ActionDraft) -> list[tuple[list[str], str]]:
    """What a playbook can not be given: by its name, its type, or because it belongs to Ansible itself.

    The type of a value that holds a reference is checked when the step starts; no reference is good for a secret.
    """
    if work.playbook is None:
        return []
    found: list[tuple[list[str], str]] = []
    for name, value in work.input.items():
        try:
            variable = variable_of(name, work.takes, work.playbook["path"])
            if variable.type == "secret" or not references.has_any(value):
                check_type(variable, value)
        except UnusableValue as error:
            found.append(([name], error.sentence))
    if not found:
        try:
            check_variables(work.input)
        except Refused as error:
            found.append(([], str(error)))
    return found


def _awaits(value: Any, loc: Sequence[Any]) -> bool:
    """Whether a place is filled by a reference: its type is only known, and checked, when the step starts."""
    for part in loc:
        if (isinstance(value, dict) and part in value) or (
            isinstance(value, list) and isinstance(part, int) and part < len(value)
        ):
            value = value[part]
    return references.is_template(value)


def tool_input(step: StepDraft | ActionDraft) -> dict[str, Any]:
    """What the tool's schema checks: the step's input, and for a playbook step the playbook beside its variables."""
    return {"playbook": step.playbook["path"], "variables": step.input} if step.playbook else step.input


def _shape_errors(steps: Sequence[StepDraft]) -> list[Error]:
    keys = {step.key for step in steps}
    edges = sum(len(step.depends_on) for step in steps)
    if edges > MOST_DEPENDENCIES:
        return [_error(["steps"], f"A plan has at most {MOST_DEPENDENCIES} dependencies; this one has {edges}.")]
    found = []
    for place, step in enumerate(steps):
        for upstream in step.depends_on:
            if upstream == step.key:
                found.append(_error(["steps", place, "depends_on"], f"{step.key} waits for itself."))
            elif upstream not in keys:
                found.append(
                    _error(
                        ["steps", place, "depends_on"],
                        f"{step.key} waits for {brief(upstream)}, which is not in the plan.",
                    )
                )
    if not found and (cycle := find_cycle({step.key: step.depends_on for step in steps})):
        found.append(_error(["steps"], f"These steps wait for each other: {' → '.join(cycle)}."))
    return found


def _budget_errors(told: Mapping[str, Any]) -> list[Error]:
    return [_error(["budget", name] if name else ["budget"], message) for name, message in budget.errors_in(told)]


def text_errors(value: Any, loc: list[Any], depth: int = 0) -> list[Error]:
    """What an input may not hold: characters no database stores, numbers no hash covers, endless depth."""
    if depth > DEEPEST:
        return [_error(loc, f"It is nested deeper than {DEEPEST} levels.")]
    if isinstance(value, str):
        return _string_errors(value, loc)
    if isinstance(value, float) and not math.isfinite(value):
        return [_error(loc, "It is no finite number.")]
    # A float as well: the database writes 1e17 as 100000000000000000.
    if isinstance(value, int | float) and abs(value) >= 2**53:
        return [_error(loc, "The number is too large; only up to 2^53 is exact.")]
    if isinstance(value, list):
        return [error for place, item in enumerate(value) for error in text_errors(item, [*loc, place], depth + 1)]
    if isinstance(value, dict):
        found = [error for key in value for error in _string_errors(str(key), [*loc, str(key)])]
        return found + [error for key, item in value.items() for error in text_errors(item, [*loc, key], depth + 1)]
    return []


def _resource_errors(resources: Mapping[str, Any]) -> list[Error]:
    """What is wrong with what a step says it needs: amounts, and the labels that its agent has to have."""
    found = []
    for name, value in resources.items():
        if name == "labels":
            if not isinstance(value, list) or not all(isinstance(label, str) for label in value):
                found.append(_error(["resources", name], "The labels are a list of texts."))
        elif name not in _AMOUNTS:
            found.append(_error(["resources", name], f"A step says of its resources {', '.join(_AMOUNTS)} or labels."))
        elif isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= _LARGEST_AMOUNT:
            found.append(_error(["resources", name], f"It is a number from 0 to {_LARGEST_AMOUNT}."))
    return found


def _prose_errors(value: str, name: str, longest: int) -> list[Error]:
    if len(value) > longest:
        return [_error([name], f"The {name} has at most {longest} characters.")]
    return [_error([name], _UNSTORABLE)] if storable(value) != value else []


def _string_errors(value: str, loc: list[Any]) -> list[Error]:
    if len(value) > LARGEST_INPUT:
        return [_error(loc, f"It is longer than {LARGEST_INPUT} characters.")]
    if storable(value) != value:
        return [_error(loc, _UNSTORABLE)]
    return []


def _error(loc: list[Any], msg: str) -> Error:
    return {"loc": loc, "msg": msg}


def _list(values: Sequence[str]) -> str:
    return ", ".join(values)
