"""A JSON Schema read for people: one row per field, its type and limits in words. Pure.

The table on a tool's page and the schema below it are made of the same value, so they can not disagree.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

DEEPEST: Final = 4
_TYPES: Final = {
    "string": "text",
    "integer": "whole number",
    "number": "number",
    "boolean": "yes or no",
    "null": "nothing",
    "array": "list",
    "object": "object",
}
_LIMITS: Final = (
    ("minimum", "from {}"),
    ("exclusiveMinimum", "above {}"),
    ("maximum", "up to {}"),
    ("exclusiveMaximum", "below {}"),
    ("minLength", "at least {} characters"),
    ("maxLength", "at most {} characters"),
    ("minItems", "at least {} entries"),
    ("maxItems", "at most {} entries"),
    ("pattern", "like {}"),
)


@dataclass(frozen=True, slots=True)
class Field:
    """One field of an object. A nested one has its whole place as its name, such as tasks[].host."""

    name: str
    type: str
    required: bool
    default: str  # as JSON; empty: there is none
    limits: str
    description: str


def fields_of(schema: Mapping[str, Any]) -> list[Field]:
    """Every field of an object's schema, nested ones after their parent, in the order of the schema."""
    definitions = schema.get("$defs", {})
    return list(_fields(schema, definitions, "", 0))


def _fields(schema: Mapping[str, Any], definitions: Mapping[str, Any], prefix: str, depth: int) -> Iterator[Field]:
    if depth > DEEPEST:
        return
    required = schema.get("required", ())
    for name, part in schema.get("properties", {}).items():
        part = _resolved(part if isinstance(part, Mapping) else {}, definitions)
        yield Field(
            name=f"{prefix}{name}",
            type=type_in_words(part, definitions),
            required=name in required,
            default=json.dumps(part["default"], ensure_ascii=False) if "default" in part else "",
            limits=", ".join(words.format(_number(part[limit])) for limit, words in _LIMITS if limit in part),
            description=str(part.get("description", "")),
        )
        inner = _resolved(part.get("items") or {}, definitions) if part.get("type") == "array" else part
        if inner.get("properties"):
            many = "[]" if part.get("type") == "array" else ""
            yield from _fields(inner, definitions, f"{prefix}{name}{many}.", depth + 1)


def type_in_words(part: Mapping[str, Any], definitions: Mapping[str, Any] | None = None, depth: int = 0) -> str:
    """What a value is, in words: "whole number", "list of text", "one of a, b", "any value"."""
    definitions = definitions or {}
    part = _resolved(part, definitions)
    if depth > DEEPEST:
        return "value"
    if "const" in part:
        return f"always {json.dumps(part['const'], ensure_ascii=False)}"
    if "enum" in part:
        return f"one of {', '.join(str(value) for value in part['enum'])}"
    for several in ("anyOf", "oneOf"):
        if several in part:
            kinds = [type_in_words(one, definitions, depth + 1) for one in part[several]]
            return " or ".join(dict.fromkeys(kinds))
    kind = part.get("type")
    if isinstance(kind, list):
        return " or ".join(_TYPES.get(str(one), str(one)) for one in kind)
    if kind == "array" and part.get("items"):
        return f"list of {_plural(type_in_words(part['items'], definitions, depth + 1))}"
    if kind == "object" and isinstance(part.get("additionalProperties"), Mapping):
        return f"object of {_plural(type_in_words(part['additionalProperties'], definitions, depth + 1))}"
    return _TYPES.get(str(kind), "any value") if kind else "any value"


def _resolved(part: Mapping[str, Any], definitions: Mapping[str, Any]) -> Mapping[str, Any]:
    """The schema behind a local reference, with what is said beside the reference; followed a few times at most."""
    for _ in range(DEEPEST):
        reference = part.get("$ref")
        if not isinstance(reference, str):
            break
        found = definitions.get(reference.rpartition("/")[2], {})
        part = {**found, **{key: value for key, value in part.items() if key != "$ref"}}
    return part


def _plural(words: str) -> str:
    for one in ("whole number", "number", "object", "list"):
        if words == one or words.startswith(f"{one} of "):
            return f"{one}s{words.removeprefix(one)}"
    return words


def _number(value: Any) -> str:
    return f"{value:,}".replace(",", " ") if isinstance(value, int) and not isinstance(value, bool) else str(value)
