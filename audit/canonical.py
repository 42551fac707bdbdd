"""The one byte form of a value that hashes are made of: JSON Canonicalization Scheme (RFC 8785)."""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Iterable
from datetime import datetime
from typing import Any, Final
from uuid import UUID

import orjson
import rfc8785

LARGEST_INTEGER: Final = 2**53 - 1  # RFC 8785 holds no larger one exactly
_NOT_STORABLE: Final = re.compile("[\x00\ud800-\udfff]")


def storable(text: str) -> str:
    """The text with U+FFFD in place of what no database stores: NUL and halves of surrogate pairs."""
    return _NOT_STORABLE.sub("\ufffd", text)


def plain(value: Any, *, exact: bool = False) -> Any:
    """A value as JSON and the database know it: UUIDs and times become strings, tuples become lists.

    What no database stores is replaced, and a number that is not finite becomes its name, so that no program's answer
    can block the record of it; with `exact`, integers beyond RFC 8785 become text. Raises TypeError for the rest.
    """
    try:
        return _stored(value, exact)
    except _Rare:
        return _stored(json.loads(json.dumps(value, default=_plain_leaf)), exact)


def _stored(value: Any, exact: bool) -> Any:
    """The value as it is stored, if it is made of the usual types only; else raises _Rare."""
    kind = type(value)
    if kind is str:
        return storable(value)
    if value is None or kind is bool:
        return value
    if kind is int:
        return str(value) if exact and abs(value) > LARGEST_INTEGER else value
    if kind is float:
        return value if math.isfinite(value) else str(value)
    if kind is list or kind is tuple:
        return [_stored(item, exact) for item in value]
    if kind is dict:
        if _NOT_STORABLE.search(_joined(value)):
            return {storable(key): _stored(item, exact) for key, item in value.items()}
        return {key: _stored(item, exact) for key, item in value.items()}
    raise _Rare


def _joined(keys: Iterable[Any]) -> str:
    """The keys of an object as one text, to look at all of them at once. Raises _Rare for a key that is no text."""
    try:
        return "".join(keys)
    except TypeError:
        raise _Rare from None


def _plain_leaf(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, UUID):
        return str(value)
    if isinstance(value, (set, frozenset)):
        return sorted(value)
    raise TypeError(f"{type(value).__name__} has no canonical form")


def as_json(value: Any) -> str:
    """A plain value as JSON text. Raises TypeError for what is not JSON."""
    try:
        return orjson.dumps(value).decode()
    except orjson.JSONEncodeError:  # it knows no integer beyond 64 bits
        return json.dumps(value)


def canonical(value: Any) -> bytes:
    """The canonical bytes of a JSON value. Raises ValueError for what RFC 8785 cannot hold (NaN, integers over 2^53)."""
    try:
        return orjson.dumps(_common(value), option=orjson.OPT_SORT_KEYS)
    except (_Rare, orjson.JSONEncodeError):
        return rfc8785.dumps(value)


class _Rare(Exception):
    """A value that the short way does not know."""


def _common(value: Any) -> Any:
    """The value, if orjson (fifty times faster) writes its canonical form; else raises _Rare.

    They agree on texts, on ASCII keys (whose order is the same in UTF-16) and on numbers that need no exponent.
    """
    kind = type(value)
    if kind is str or value is None or kind is bool:
        return value
    if kind is int and -LARGEST_INTEGER <= value <= LARGEST_INTEGER:
        return value
    if kind is float and (value == 0 or 1e-4 <= abs(value) < 1e15):
        return int(value) if value.is_integer() else value
    if kind is dict and _joined(value).isascii():
        return {key: item if type(item) is str else _common(item) for key, item in value.items()}
    if kind is list or kind is tuple:
        return [_common(item) for item in value]
    raise _Rare


def sha256_hex(data: bytes) -> str:
    """SHA-256 as 64 lowercase hexadecimal digits."""
    return hashlib.sha256(data).hexdigest()
