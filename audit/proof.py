"""Is a record still what was written? Its stored bytes are hashed again, and its columns compared with those bytes."""

from __future__ import annotations

import json
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from audit.canonical import sha256_hex
from audit.models import DecisionRecord, subject_key


class ProofState(StrEnum):
    """What a look at one record found."""

    MATCHES = "matches"
    BROKEN = "broken"  # the bytes are not the ones that were hashed
    COLUMNS_DIFFER = "columns_differ"  # the bytes are right, a column beside them says something else


@dataclass(frozen=True, slots=True)
class Proof:
    """The hash that was stored, the hash of the bytes as they are now, and the columns that disagree with the bytes."""

    state: ProofState
    stored: str
    computed: str
    differences: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return self.state is ProofState.MATCHES


def check_record(record: DecisionRecord) -> Proof:
    """Hash the record's canonical bytes again and compare; then compare every column with what the bytes say.

    This finds what was changed by halves. Someone who may write anything could replace bytes, hash and columns
    together; only a seal outside the database finds that, and seals say so on their own.
    """
    computed = sha256_hex(record.canonical.encode())
    if computed != record.sha256:
        return Proof(ProofState.BROKEN, record.sha256, computed)
    try:
        content = json.loads(record.canonical)
    except ValueError:
        return Proof(ProofState.BROKEN, record.sha256, computed)
    columns = _columns(record)
    # What is empty is not written, or was written as it is in records of version 1.
    differences = tuple(name for name, value in columns.items() if (content.get(name) or "") != (value or ""))
    if record.subject != subject_key(record.subject_kind, record.subject_id):
        differences += ("subject",)
    state = ProofState.COLUMNS_DIFFER if differences else ProofState.MATCHES
    return Proof(state, record.sha256, computed, differences)


def _columns(record: DecisionRecord) -> dict[str, Any]:
    return {
        "trace_id": str(record.trace_id) if record.trace_id else None,
        "type": record.type,
        "actor": {"kind": record.actor_kind, "name": record.actor},
        "service": record.service,
        "at": record.at.isoformat(),
    }
