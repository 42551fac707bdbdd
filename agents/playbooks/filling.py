"""Values for a playbook's variables: where each comes from, and whether it has the type the playbook wants.

Pure. A value is checked, never converted by guesswork: `no`, `0777` and `1e3` stay the text they are or are refused.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from agents.playbooks.catalogue import Variable
from agents.playbooks.facts import Facts
from agents.playbooks.words import stem

TEMPLATE_MARKS: Final = ("{{", "{%", "{#")
LONGEST_VALUE: Final = 2_000
LARGEST_INTEGER: Final = 2**63 - 1

_INTEGER: Final = re.compile(r"-?(?:0|[1-9][0-9]{0,18})")
_NUMBER: Final = re.compile(r"-?(?:0|[1-9][0-9]{0,14})(?:\.[0-9]{1,15})?")
_REFERENCE: Final = re.compile(r"(?:env:[A-Za-z_][A-Za-z0-9_]*|file:/[^\s\0]+|vault:[\w./-]+)")
_NEVER_IN_A_NAME: Final = re.compile(r"[^\w .-]")
_TRUE: Final = frozenset({"true", "yes", "on"})
_FALSE: Final = frozenset({"false", "no", "off"})


class UnusableValue(ValueError):
    """A value that may not or cannot fill a variable; the message says which and what would be accepted."""

    code = "unusable_value"

    def __init__(self, name: str, sentence: str) -> None:
        super().__init__(sentence)
        self.name = name
        self.sentence = sentence


@dataclass(frozen=True, slots=True)
class Filled:
    """A value for a variable, and in words where it comes from."""

    value: Any
    origin: str

    def to_json(self) -> dict[str, Any]:
        """The value with its origin as a JSON object."""
        return {"value": self.value, "origin": self.origin}


def fill(
    variables: Iterable[Variable],
    *,
    said: Mapping[str, Filled],
    earlier: Mapping[str, Filled],
    facts: Facts,
    service: str = "",
) -> tuple[dict[str, Filled], tuple[Variable, ...]]:
    """Fill variables from words, earlier answers, the inventory and defaults, in this order.

    Returns the values, and the required variables that nothing fills. Raises UnusableValue for a value of the wrong
    type or one that holds a template.
    """
    values: dict[str, Filled] = {}
    missing: list[Variable] = []
    for variable in variables:
        if found := said.get(variable.name) or earlier.get(variable.name):
            values[variable.name] = Filled(typed(variable, found.value), found.origin)
        elif known := _from_facts(variable, facts, service):
            if not is_template(known.value):  # a template is the inventory's own affair: the run computes it
                values[variable.name] = Filled(typed(variable, known.value), known.origin)
        elif variable.default is not None:
            if _fits(variable, variable.default):  # else the playbook keeps its own default, unseen
                values[variable.name] = Filled(typed(variable, variable.default), "playbook default")
        elif variable.required:
            missing.append(variable)
    return values, tuple(missing)


def candidates(variable: Variable, facts: Facts, service: str = "") -> tuple[Filled, ...]:
    """What the inventory knows under the variable's own or a similar name; the exact name comes first and alone."""
    exact = facts.variables.get(variable.name)
    if exact is not None:
        return (_known(exact),)
    rivals = facts.rivals.get(variable.name, ())
    if rivals:
        return tuple(_known(pair) for pair in rivals)
    wanted = _meaning(variable.name, service)
    if not wanted or variable.type == "secret":
        return ()
    return tuple(
        _known(pair)
        for name, pair in facts.variables.items()
        if _meaning(name, service) == wanted and _fits(variable, pair[0])
    )


def typed(variable: Variable, value: Any) -> Any:
    """The value in the variable's type. Raises UnusableValue when it does not have that type."""
    if is_template(value):
        raise UnusableValue(
            variable.name,
            f"The value for {variable.name} holds “{{{{” or “{{%”, which Ansible would evaluate; give a plain value.",
        )
    if isinstance(value, str) and len(value) > LONGEST_VALUE:
        raise UnusableValue(variable.name, f"The value for {variable.name} is longer than {LONGEST_VALUE} characters.")
    match variable.type:
        case "string":
            good = isinstance(value, str)
        case "secret":
            good = isinstance(value, str) and bool(_REFERENCE.fullmatch(value))
        case "integer":
            if isinstance(value, str) and _INTEGER.fullmatch(value.strip()):
                value = int(value)
            good = isinstance(value, int) and not isinstance(value, bool) and abs(value) <= LARGEST_INTEGER
            if good and _is_port(variable.name) and not 0 <= value <= 65535:
                raise UnusableValue(variable.name, f"{value} is no port for {variable.name}; ports are 0 to 65535.")
        case "number":
            if isinstance(value, str) and _NUMBER.fullmatch(value.strip()):
                value = float(value) if "." in value else int(value)
            good = isinstance(value, (int, float)) and not isinstance(value, bool)
        case "boolean":
            if isinstance(value, str) and value.strip().lower() in _TRUE | _FALSE:
                value = value.strip().lower() in _TRUE
            good = isinstance(value, bool)
        case "list":
            if isinstance(value, str):
                value = _listed(value)
            good = isinstance(value, (list, tuple))
            value = list(value) if good else value
        case "object":
            if isinstance(value, str) and (pairs := _pairs(value)):
                value = dict(pairs)
            good = isinstance(value, dict)
    if not good:
        raise UnusableValue(variable.name, f"{_shown(value)} does not fit {variable.name}, {_ACCEPTS[variable.type]}.")
    return value


def is_template(value: Any) -> bool:
    """Whether a value, or anything inside it, keys included, would be evaluated by Ansible."""
    if isinstance(value, str):
        return any(mark in value for mark in TEMPLATE_MARKS)
    if isinstance(value, dict):
        return any(is_template(key) or is_template(item) for key, item in value.items())
    if isinstance(value, (list, tuple)):
        return any(is_template(item) for item in value)
    return False


def described(value: Any) -> str:
    """A value in a few words, for questions: lists say how many and which."""
    if isinstance(value, list):
        names = [str(item.get("name", "")) if isinstance(item, dict) else str(item) for item in value]
        shown = ", ".join(name for name in names[:8] if name)
        return f"{len(value)}: {shown}{', …' if len(names) > 8 else ''}" if shown else str(len(value))
    text = str(value)
    return text if len(text) <= 80 else f"{text[:79]}…"


_ACCEPTS: Final = {
    "string": "which takes text; write it in quotes where YAML would read something else",
    "secret": "which takes a reference such as env:NAME or file:/path, never the secret itself",
    "integer": "which takes a whole number without leading zeros or an exponent",
    "number": "which takes a decimal number without an exponent",
    "boolean": "which takes yes or no",
    "list": "which takes a list",
    "object": "which takes name=value pairs",
}


def _from_facts(variable: Variable, facts: Facts, service: str) -> Filled | None:
    if variable.name in facts.variables:
        return _known(facts.variables[variable.name])
    if not variable.required or variable.default is not None:
        return None  # a similar name is a guess worth making only where nothing better exists
    found = candidates(variable, facts, service)
    return found[0] if len(found) == 1 else None


def _known(pair: tuple[Any, str]) -> Filled:
    value, origin = pair
    count = f" ({len(value)})" if isinstance(value, (list, dict)) else ""
    return Filled(value, f"{origin}{count}")


def _meaning(name: str, service: str) -> frozenset[str]:
    noise = {"existing", "current", "default", "my", "our", "all", "list", "of", "the", service.lower()}
    return frozenset(stem(part) for part in name.lower().split("_") if part and part not in noise)


def _fits(variable: Variable, value: Any) -> bool:
    if is_template(value):
        return False
    try:
        typed(variable, value)
    except UnusableValue:
        return False
    return not (variable.type == "list" and isinstance(value, str))


def _pairs(text: str) -> list[tuple[str, str]]:
    """Each name=value in a text: the name goes back as far as a name can, the value ends at white space."""
    pairs = []
    while "=" in text:
        before, _, text = text.partition("=")
        name = _NEVER_IN_A_NAME.split(before.rstrip())[-1].lstrip("_ .-")
        words = text.split(maxsplit=1)
        if name and words:
            pairs.append((name, words[0]))
            text = "".join(words[1:])
    return pairs


def _listed(text: str) -> list[Any]:
    pairs = [pair for part in re.split(r"[,;\n]|\s+(?:and|und)\s+", text) for pair in _pairs(part)]
    if pairs:
        return [{"name": name.strip(), "url": value.strip("\"'")} for name, value in pairs]
    return [part.strip(" \"'“”") for part in re.split(r"[,;\n]|\s+(?:and|und)\s+", text) if part.strip(" \"'“”")]


def _is_port(name: str) -> bool:
    return name == "port" or name.endswith("_port")


def _shown(value: Any) -> str:
    return f"“{described(value)}”" if isinstance(value, str) else f"{described(value)} ({type(value).__name__})"
