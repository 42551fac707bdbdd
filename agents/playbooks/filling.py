"""Values for a playbook's variables: where each comes from, and whether it has the type the playbook wants.

Pure. A value is checked, never converted by guesswork: `no`, `0777` and `1e3` stay the text they are or are refused.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from agents.playbooks.catalogue import Variable, VariableType
from agents.playbooks.facts import Facts
from agents.playbooks.words import join_names, stem

TEMPLATE_MARKS: Final = ("{{", "{%", "{#")
LONGEST_VALUE: Final = 2_000
LARGEST_INTEGER: Final = 2**63 - 1
NO_SECRETS: Final = "playbooks can not be given secrets yet"

_INTEGER: Final = re.compile(r"-?(?:0|[1-9][0-9]{0,18})")
_NUMBER: Final = re.compile(r"-?(?:0|[1-9][0-9]{0,14})(?:\.[0-9]{1,15})?")
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
        elif variable.type == "secret":  # what the inventory or the playbook has is used by the run, unseen
            if is_needed(variable, facts):
                missing.append(variable)
        elif known := _from_facts(variable, facts, service):
            if not is_template(known.value):  # a template is the inventory's own affair: the run computes it
                values[variable.name] = Filled(typed(variable, known.value), known.origin)
        elif variable.default is not None:
            if _fits(variable, variable.default):  # else the playbook keeps its own default, unseen
                values[variable.name] = Filled(typed(variable, variable.default), "playbook default")
        elif variable.required:
            missing.append(variable)
    return values, tuple(missing)


def is_needed(variable: Variable, facts: Facts) -> bool:
    """Whether a playbook can not do without being given this variable: neither it nor the inventory has a value."""
    known = variable.name in facts.variables or variable.name in facts.rivals
    return variable.required and variable.default is None and not known


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


def variable_of(name: str, takes: Iterable[Variable], playbook: str) -> Variable:
    """The variable of that name. Raises UnusableValue, which says what the playbook takes."""
    known = {variable.name: variable for variable in takes}
    if name not in known:
        there_are = join_names(sorted(known), word="and") or "none"
        raise UnusableValue(name, f"{playbook} takes no variable “{described(name)}”; it takes {there_are}.")
    return known[name]


def typed(variable: Variable, value: Any) -> Any:
    """The value in the variable's type, read from text if need be. Raises UnusableValue when it does not have that type."""
    if is_template(value):
        raise UnusableValue(
            variable.name,
            f"The value for {variable.name} holds “{{{{” or “{{%”, which Ansible would evaluate; give a plain value.",
        )
    if isinstance(value, str) and len(value) > LONGEST_VALUE:
        raise UnusableValue(variable.name, f"The value for {variable.name} is longer than {LONGEST_VALUE} characters.")
    if isinstance(value, str):
        value = _read(variable.type, value)
    check_type(variable, value)
    return value


def check_type(variable: Variable, value: Any) -> None:
    """Raise UnusableValue for a value that does not have the variable's type, and for any that a secret is given."""
    match variable.type:
        case "secret":
            if value != "":
                raise UnusableValue(variable.name, f"{variable.name} is a secret, and {NO_SECRETS}; leave it out.")
            good = True
        case "string":
            good = isinstance(value, str)
        case "integer":
            good = isinstance(value, int) and not isinstance(value, bool) and abs(value) <= LARGEST_INTEGER
            if good and _is_port(variable.name) and not 0 <= value <= 65535:
                raise UnusableValue(variable.name, f"{value} is no port for {variable.name}; ports are 0 to 65535.")
        case "number":
            good = isinstance(value, (int, float)) and not isinstance(value, bool)
        case "boolean":
            good = isinstance(value, bool)
        case "list":
            good = isinstance(value, list)
        case "object":
            good = isinstance(value, dict)
    if not good:
        raise UnusableValue(variable.name, f"{_shown(value)} does not fit {variable.name}, {_ACCEPTS[variable.type]}.")


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
    "integer": "which takes a whole number without leading zeros or an exponent",
    "number": "which takes a decimal number without an exponent",
    "boolean": "which takes yes or no",
    "list": "which takes a list",
    "object": "which takes name=value pairs",
}


def _read(kind: VariableType, text: str) -> Any:
    """A text as a value of that type if it can be read as one, else as it is."""
    plain = text.strip()
    match kind:
        case "integer" if _INTEGER.fullmatch(plain):
            return int(plain)
        case "number" if _NUMBER.fullmatch(plain):
            return float(plain) if "." in plain else int(plain)
        case "boolean" if plain.lower() in _TRUE | _FALSE:
            return plain.lower() in _TRUE
        case "list":
            return _listed(text)
        case "object" if pairs := _pairs(text):
            return dict(pairs)
    return text


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
