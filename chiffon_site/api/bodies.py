"""JSON as it comes in: strict, bounded, and without the characters that no column can hold."""

from __future__ import annotations

import json
import re
import sys
from collections import Counter
from collections.abc import Sequence
from typing import Any, Final, NoReturn, cast

from django.http import HttpRequest
from ninja.parser import Parser
from ninja.types import DictStrAny

from audit.http import Problem
from plans.errors import brief

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
        raise Problem(400, "bad_json", f"The body is not JSON: {_why(error)}.") from error
    check_value(value, ["body"])
    return value


def check_value(value: Any, loc: Sequence[Any]) -> None:
    """Go on, or raise Problem 422 that names the place of a NUL, of half a character, or of a nesting too deep."""
    _check(value, list(loc))


def _check(value: Any, loc: list[Any]) -> None:
    """As check_value(); one list is the place of each value in turn, because there may be a third of a million."""
    if len(loc) > DEEPEST:
        raise _unusable(loc[:3], "It is nested too deeply")
    if isinstance(value, str):
        if _UNSTORABLE.search(value):
            raise _unusable(loc, "It holds a NUL or half a character, which cannot be stored")
    elif isinstance(value, dict):
        for key, item in value.items():
            loc.append("(a name)")
            _check(key, loc)
            loc[-1] = key
            _check(item, loc)
            loc.pop()
    elif isinstance(value, list):
        for number, item in enumerate(value):
            loc.append(number)
            _check(item, loc)
            loc.pop()


def _unusable(loc: list[Any], sentence: str) -> Problem:
    return Problem(422, "invalid", f"{sentence}.", errors=[{"loc": loc, "msg": sentence}])


class _Strict(ValueError):
    """What Python's reader takes, and RFC 8259 does not."""


def _no_constant(name: str) -> NoReturn:
    raise _Strict(f"{name} is no number in it")


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        twice = next(name for name, times in Counter(name for name, _ in pairs).items() if times > 1)
        raise _Strict(f"the name {brief(twice)!r} appears twice in one object")
    return found


def _why(error: Exception) -> str:
    """Why a body is not JSON, with the place where the reader knows it."""
    match error:
        case _Strict():
            return str(error)
        case UnicodeDecodeError():
            return f"byte {error.start} is not UTF-8"
        case json.JSONDecodeError():
            return f"{error.msg.removesuffix('.')} at line {error.lineno}, column {error.colno}"
        case RecursionError():
            return "it is nested too deeply"
    return f"a number has more than {sys.get_int_max_str_digits()} digits"
