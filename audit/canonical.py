"""The one byte form of a value that hashes are made of: JSON Canonicalization Scheme (RFC 8785)."""

from __future__ import annotations

import hashlib
import json
from datetime import datetime
from typing import Any
from uuid import UUID

import rfc8785


def plain(value: Any) -> Any:
    """A value as JSON knows it: UUIDs and times become strings, tuples become lists. Raises TypeError for the rest."""
    return json.loads(json.dumps(value, default=_plain_leaf))


def _plain_leaf(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, UUID):
        return str(value)
    if isinstance(value, (set, frozenset)):
        return sorted(value)
    raise TypeError(f"{type(value).__name__} has no canonical form")


def canonical(value: Any) -> bytes:
    """The canonical bytes of a JSON value. Raises ValueError for what RFC 8785 cannot hold (NaN, integers over 2^53)."""
    return rfc8785.dumps(value)


def sha256_hex(data: bytes) -> str:
    """SHA-256 as 64 lowercase hexadecimal digits."""
    return hashlib.sha256(data).hexdigest()
