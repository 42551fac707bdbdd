"""The only writer of decision records. It inserts in the caller's transaction: no record, no action."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from functools import wraps
from typing import Any
from uuid import UUID

from django.db import connection

from audit.canonical import canonical, plain, sha256_hex, storable
from audit.context import Actor, current_actor, current_trace
from audit.db import call
from audit.decisions import DECISIONS
from audit.errors import NoTransaction, UnknownDecision
from audit.models import DecisionRecord, subject_key
from audit.redaction import redact, redact_value


def requires_transaction[**P, R](function: Callable[P, R]) -> Callable[P, R]:
    """Mark a function that only makes sense inside the caller's transaction. Raises NoTransaction outside one."""

    @wraps(function)
    def checked(*args: P.args, **kwargs: P.kwargs) -> R:
        if not connection.in_atomic_block:
            raise NoTransaction(f"{function.__qualname__} needs an open transaction")
        return function(*args, **kwargs)

    return checked


_COLUMNS = (
    "at",
    "trace_id",
    "type",
    "actor_kind",
    "actor",
    "subject",
    "service",
    "canonical",
    "sha256",
)
_INSERT = f"INSERT INTO {DecisionRecord._meta.db_table} ({', '.join(_COLUMNS)}) VALUES "  # noqa: S608 - names of ours
_ROW = f"({', '.join(['%s'] * len(_COLUMNS))})"


@requires_transaction
def record(
    type_: str,
    *,
    subject: tuple[str, object],
    reason: str = "",
    alternatives: Sequence[Any] = (),
    service: str = "",
    trace_id: UUID | None = None,
    **facts: Any,
) -> DecisionRecord:
    """Write one decision: its type, the subject's kind and id, the reason, what else could have been, and facts.

    Who acted and on which trace comes from the audit context. Text is redacted on the way in. Raises UnknownDecision
    for a type that is not in the table or that lacks a fact it asks for.
    """
    row = prepare(
        type_,
        subject=subject,
        reason=reason,
        alternatives=alternatives,
        service=service,
        trace_id=trace_id,
        facts=facts,
    )
    record_all([row])
    return row


@requires_transaction
def record_all(rows: Sequence[DecisionRecord]) -> None:
    """Write prepared decisions in one statement, in this order."""
    if not rows:
        return
    # Written out, because every decision there is comes through here and the ORM takes longer over it than the database.
    statement = f"{_INSERT}{', '.join([_ROW] * len(rows))} RETURNING sequence"
    values = [
        bytes.fromhex(row.sha256) if column == "sha256" else getattr(row, column) for row in rows for column in _COLUMNS
    ]
    if len(rows) == 1:
        sequences = [call(statement, values)]
    else:
        with connection.cursor() as cursor:
            cursor.execute(statement, values)
            sequences = sorted(sequence for (sequence,) in cursor.fetchall())
    for row, sequence in zip(rows, sequences, strict=True):
        row.sequence = sequence
        row._state.adding, row._state.db = False, connection.alias


def prepare(
    type_: str,
    *,
    subject: tuple[str, object],
    reason: str = "",
    alternatives: Sequence[Any] = (),
    service: str = "",
    trace_id: UUID | None = None,
    facts: Mapping[str, Any],
    actor: Actor | None = None,
    at: datetime | None = None,
) -> DecisionRecord:
    """A record ready for record_all(), in one transaction. Raises as record()."""
    actor = actor or current_actor()
    at = at or datetime.now(UTC)
    trace_id = trace_id or current_trace()
    text = written(
        type_,
        subject=subject,
        reason=reason,
        alternatives=alternatives,
        service=service,
        trace_id=trace_id,
        facts=facts,
        actor=actor,
        at=at,
    )
    return DecisionRecord(
        at=at,
        trace_id=trace_id,
        type=type_,
        actor_kind=actor.kind,
        actor=actor.name,
        subject=subject_key(*subject),
        service=service,
        canonical=text,
        sha256=sha256_hex(text.encode()),
    )


def written(
    type_: str,
    *,
    subject: tuple[str, object],
    reason: str,
    alternatives: Sequence[Any] = (),
    service: str,
    trace_id: UUID | None,
    facts: Mapping[str, Any],
    actor: Actor,
    at: datetime,
) -> str:
    """The canonical text of a record, for a statement of the caller's that writes it. Raises UnknownDecision as record().

    What is empty is left out; `v` is 2 since that is so.
    """
    decision = DECISIONS.get(type_)
    if decision is None:
        raise UnknownDecision(f"no decision type is called {type_!r}")
    if missing := decision.facts - facts.keys():
        raise UnknownDecision(f"{type_} needs {', '.join(sorted(missing))}")
    content = {
        "trace_id": _text(trace_id),
        "type": type_,
        "actor": {"kind": actor.kind, "name": actor.name},
        "subject": {"kind": subject[0], "id": str(subject[1])},
        "service": service,
        "reason": redact(storable(reason)),
        "alternatives": redact_value(plain(list(alternatives), exact=True)) if alternatives else [],
        "metadata": redact_value(plain(dict(facts), exact=True)),
        "at": at.isoformat(),
    }
    return canonical({"v": 2} | {name: value for name, value in content.items() if value}).decode()


def _text(value: UUID | None) -> str | None:
    return str(value) if value else None
