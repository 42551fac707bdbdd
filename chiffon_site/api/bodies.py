"""JSON as it comes in: strict, bounded, and without the characters that no column can hold."""

from __future__ import annotations

import json
import re
from typing import Any, Final, NoReturn, cast

from django.http import HttpRequest
from ninja.parser import Parser
from ninja.types import DictStrAny

from audit.http import Problem

LARGEST_BODY: Final = 1024 * 1024  # bytes
DEEPEST: Final = 64
_UNSTORABLE: Final = re.compile("[\x00\ud800-\udfff]")


class StrictParser(Parser):
    """Reads a body as JSON of RFC 8259: no NaN, no Infinity, no name twice."""

    def parse_body(self, request: HttpRequest) -> DictStrAny:
        """The body as Python values. Raises Problem."""
        return cast(DictStrAny, read_json(request.body))


def read_json(body: bytes) -> Any:
    """The body as Python values. Raises Problem 400 if it is not JSON, 422 if it holds what no column can."""
    try:
        value = json.loads(body.decode(), parse_constant=_no_constant, object_pairs_hook=_once)
    except (ValueError, RecursionError) as error:
        raise Problem(400, "bad_json", "The body is not JSON.") from error
    check_value(value, ["body"])
    return value


def check_value(value: Any, loc: list[Any]) -> None:
    """Go on, or raise Problem 422 that names the place of a NUL, of half a character, or of a nesting too deep."""
    if len(loc) > DEEPEST:
        raise _unusable(loc[:3], "It is nested too deeply")
    if isinstance(value, str):
        if _UNSTORABLE.search(value):
            raise _unusable(loc, "It holds a NUL or half a character, which cannot be stored")
    elif isinstance(value, dict):
        for key, item in value.items():
            check_value(key, [*loc, "(a name)"])
            check_value(item, [*loc, key])
    elif isinstance(value, list):
        for number, item in enumerate(value):
            check_value(item, [*loc, number])


def _unusable(loc: list[Any], sentence: str) -> Problem:
    return Problem(422, "invalid", f"{sentence}.", errors=[{"loc": loc, "msg": sentence}])


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name appears twice")
    return found
