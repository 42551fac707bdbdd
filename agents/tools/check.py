"""Whether an object is a tool that Chiffon can offer: everything that can be found without running it. Pure."""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Iterator
from decimal import Decimal
from typing import Final

from pydantic import BaseModel, ConfigDict, ValidationError

from agents.conf import LONGEST_CACHED
from agents.enums import AgentType
from agents.tools.base import ATTRIBUTES, Tool
from agents.tools.results import input_errors
from audit.canonical import storable

NAME: Final = re.compile(r"[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)+")
VERSION: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9.+_-]{0,31}")
WORK_TYPE: Final = re.compile(r"[a-z][a-z0-9_.:/-]{0,63}")
LONGEST_NAME: Final = 64
LARGEST_SCHEMA: Final = 64 * 1024  # bytes of JSON
_FLAGS: Final = ("idempotent", "cacheable", "quick")


def faults(tool: object) -> list[str]:
    """Why this object can not be offered as a tool, one sentence each; empty if it can."""
    missing = [name for name in (*ATTRIBUTES, "run") if not hasattr(tool, name)]
    if missing:
        return [f"It has no {', '.join(missing)}."]
    assert isinstance(tool, Tool)
    try:
        return [*_words(tool), *_claims(tool), *_run(tool), *(_schemas(tool) or _example(tool))]
    except Exception as error:  # properties of a third-party tool may run code of its own
        return [f"It could not be looked at: {type(error).__name__}: {error}"]


def _words(tool: Tool) -> Iterator[str]:
    if not isinstance(tool.name, str) or not NAME.fullmatch(tool.name) or len(tool.name) > LONGEST_NAME:
        yield f"Its name is no two or more lower case words joined by dots, of at most {LONGEST_NAME} characters."
    if not isinstance(tool.version, str) or not VERSION.fullmatch(tool.version):
        yield "Its version is not 1 to 32 letters, digits, dots, dashes or plus signs."
    if not isinstance(tool.work_type, str) or not WORK_TYPE.fullmatch(tool.work_type):
        yield "Its work_type is no short lower case word."
    if not _readable(tool.description):
        yield "Its description is not one line of 10 to 500 characters that ends with a full stop."


def _readable(text: object) -> bool:
    if not isinstance(text, str) or not 10 <= len(text) <= 500 or storable(text) != text:
        return False
    return text.isprintable() and text.strip() == text and text.endswith(".")


def _claims(tool: Tool) -> Iterator[str]:
    for name in _FLAGS:
        if not isinstance(getattr(tool, name), bool):
            yield f"Its {name} is neither True nor False."
    if not isinstance(tool.agent_types, frozenset) or not tool.agent_types <= set(AgentType.values):
        yield f"Its agent_types are no frozenset out of {', '.join(AgentType.values)}."
    if not isinstance(tool.cost, Decimal) or not tool.cost.is_finite() or not 0 <= tool.cost <= 10**9:
        yield "Its cost is no Decimal from 0."
    if tool.parallel_limit is not None and not _whole(tool.parallel_limit, 1, 1_000_000):
        yield "Its parallel_limit is neither None nor a whole number from 1."
    if tool.cache_scope not in ("shared", "user"):
        yield 'Its cache_scope is neither "shared" nor "user".'
    if tool.cacheable and not _whole(tool.cache_seconds, 1, LONGEST_CACHED):
        yield f"It is cacheable, and its cache_seconds is no whole number from 1 to {LONGEST_CACHED}."
    if tool.cacheable and not tool.idempotent:
        yield "It is cacheable and not idempotent: what changes something can not be answered from a cache."
    if not tool.cacheable and tool.cache_seconds:
        yield "It names cache_seconds and is not cacheable."


def _whole(value: object, least: int, most: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and least <= value <= most


def _run(tool: Tool) -> Iterator[str]:
    try:
        inspect.signature(tool.run).bind(None, None)
    except (TypeError, ValueError):
        yield "Its run() does not take a request and a context."
    else:
        if inspect.iscoroutinefunction(tool.run):
            yield "Its run() is asynchronous."


def _schemas(tool: Tool) -> list[str]:
    found = []
    for name in ("input_model", "output_model"):
        model = getattr(tool, name)
        if not isinstance(model, type) or not issubclass(model, BaseModel):
            found.append(f"Its {name} is no pydantic model.")
        else:
            found += [f"Its {name} {fault}" for fault in _schema(model, closed=name == "input_model")]
    return found


def _schema(model: type[BaseModel], *, closed: bool) -> Iterator[str]:
    try:
        schema = model.model_json_schema()
        size = len(json.dumps(schema, allow_nan=False))
    except Exception as error:
        yield f"has no JSON Schema: {type(error).__name__}."
        return
    properties = schema.get("properties", {})
    if schema.get("type") != "object" or not isinstance(properties, dict):
        yield "is no object with fields."
    elif not all(isinstance(part, dict | bool) for part in properties.values()):
        yield "has a field whose schema is none."
    if size > LARGEST_SCHEMA:
        yield f"has a schema of more than {LARGEST_SCHEMA} bytes."
    if closed and schema.get("additionalProperties") is not False:
        yield 'ignores fields that it does not know; its config needs extra="forbid".'
    yield from (f"has a default that it refuses at {place}." for place in wrong_defaults(model))


def wrong_defaults(model: type[BaseModel]) -> list[str]:
    """The fields whose default the model itself would refuse."""
    strict = type(model.__name__, (model,), {"__module__": __name__, "model_config": ConfigDict(validate_default=True)})
    try:
        strict.model_validate({}, strict=True)  # type: ignore[attr-defined]
    except ValidationError as error:
        wrong = error.errors(include_url=False, include_context=False, include_input=False)
        return [".".join(map(str, item["loc"])) for item in wrong if item["type"] != "missing" and item["loc"]]
    return []


def _example(tool: Tool) -> Iterator[str]:
    try:
        json.dumps(dict(tool.example), allow_nan=False)
    except (TypeError, ValueError):
        yield "Its example is no JSON object."
        return
    if wrong := input_errors(tool, tool.example):
        place = ".".join(map(str, wrong[0]["loc"])) or "as a whole"
        yield f"Its own input_model refuses its example at {place}: {wrong[0]['msg']}."
