"""Small pieces of database that several apps use: expressions, and the guard of a lifecycle."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import pgtrigger
from django.db import models


class NextVal(models.Func):
    """The next value of a named sequence, as a column's default."""

    template = "nextval('%(sequence)s')"
    output_field = models.BigIntegerField()

    def __init__(self, sequence: str) -> None:
        super().__init__(sequence=sequence)

    def deconstruct(self) -> tuple[str, tuple[Any, ...], dict[str, Any]]:
        return "audit.db.NextVal", (self.extra["sequence"],), {}


class CurrentXid(models.Func):
    """The identifier of the transaction that writes the row, so that readers can wait for slower neighbours."""

    template = "pg_current_xact_id()::text::bigint"
    output_field = models.BigIntegerField()

    def deconstruct(self) -> tuple[str, tuple[Any, ...], dict[str, Any]]:
        return "audit.db.CurrentXid", (), {}


class LegalMoves(pgtrigger.Trigger):
    """Refuse each change of a status that its table of transitions does not list, whoever makes it.

    The condition decides, so PostgreSQL calls the function only to refuse. After the change, because a trigger before it
    would lock every row that is changed once more, which is written to the WAL.
    """

    def __init__(self, *, name: str, field: str, transitions: Mapping[Any, Collection[Any]]) -> None:
        """`field` is the status' column; `transitions` says where each status may go."""
        legal = ",".join(f"{was}:{now}" for was, to in transitions.items() for now in sorted(map(str, to)))
        super().__init__(
            name=name,
            when=pgtrigger.After,
            operation=pgtrigger.UpdateOf(field),  # type: ignore[no-untyped-call]
            condition=pgtrigger.Condition(
                f'OLD."{field}" IS DISTINCT FROM NEW."{field}" AND '
                f"NOT (OLD.\"{field}\" || ':' || NEW.\"{field}\") = ANY ('{{{legal}}}'::text[])"
            ),
            func=(
                f'RAISE EXCEPTION \'pgtrigger: Invalid transition of field "{field}" from "%" to "%" on table %\', '
                f'OLD."{field}", NEW."{field}", TG_TABLE_NAME;'
            ),
        )
