"""Small pieces of database that several apps use: a prepared call, expressions, and the guard of a lifecycle."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import orjson
import pgtrigger
import psycopg
from django.db import DEFAULT_DB_ALIAS, connection, connections, models

from audit.canonical import sha256_hex


def call(statement: str, arguments: Sequence[Any] | Mapping[str, Any]) -> Any:
    """The first value that a statement answers; None for no row. Otherwise as first_row()."""
    row = first_row(statement, arguments)
    return row[0] if row else None


def call_json(statement: str, arguments: Sequence[Any]) -> Any:
    """The value that a statement answers as JSON text; None for no row. An integer beyond 64 bits comes as a float."""
    text = call(statement, arguments)
    return orjson.loads(text) if text is not None else None


def first_row(statement: str, arguments: Sequence[Any] | Mapping[str, Any]) -> tuple[Any, ...] | None:
    """The first row that a statement answers, prepared once per connection: one that is needed for each step or plan.

    It commits by itself unless the caller has a transaction. Raises django.db.DatabaseError.
    """
    wrapper = connections[DEFAULT_DB_ALIAS]
    wrapper.close_if_health_check_failed()  # as Django's own cursors do it; once for each request or task
    wrapper.ensure_connection()
    cursor: psycopg.Cursor[Any] | None = getattr(wrapper, "prepared_cursor", None)
    if cursor is None or cursor.connection is not wrapper.connection:
        # Kept, because to make one takes as long as what it does: it knows how to write the types of the arguments then.
        cursor = wrapper.prepared_cursor = psycopg.Cursor(wrapper.connection)  # type: ignore[attr-defined]
    with wrapper.wrap_database_errors:
        return cursor.execute(statement, arguments, prepare=True).fetchone()


def find[M: models.Model](model: type[M], key: Any, *, lock: bool = False) -> M | None:
    """The object with this key, or None; locked against changes if asked for. As first_row(): the ORM takes twice as long."""
    fields = model._meta.concrete_fields
    columns = ", ".join(f'"{field.column}"' for field in fields)
    statement = f'SELECT {columns} FROM {model._meta.db_table} WHERE "{model._meta.pk.column}" = %s'  # noqa: S608 - names of ours
    row = first_row(f"{statement} FOR NO KEY UPDATE" if lock else statement, [key])
    if row is None:
        return None
    values = [
        field.from_db_value(value, None, connection) if hasattr(field, "from_db_value") else value
        for field, value in zip(fields, row, strict=True)
    ]
    return model.from_db(connection.alias, [field.attname for field in fields], values)


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


class JsonTextField(models.JSONField):
    """JSON kept as the text it was written as: for small values, which are read as a whole, two thirds of what jsonb takes."""

    def db_type(self, connection: Any) -> str:
        """PostgreSQL's textual type."""
        return "json"

    def from_db_value(self, value: Any, expression: Any, connection: Any) -> Any:
        """The value; psycopg reads this type by itself, unless Django asked for a part of it."""
        return super().from_db_value(value, expression, connection) if isinstance(value, str) else value


class Derived(models.GeneratedField):
    """A column that the database derives from others of its row."""

    def check(self, **_: Any) -> list[Any]:
        """Nothing to complain of: every PostgreSQL can do it, and Django would have to be connected to ask."""
        return []


class LegalMoves(pgtrigger.Trigger):
    """Refuse each change of a status that its table of transitions does not list, whoever makes it.

    The condition decides, so PostgreSQL calls the trigger only to refuse. It asks a function, because a condition is parsed anew
    for each statement, and a table of transitions is long. The trigger comes after the change: one before it would lock every
    row that is changed once more, which is written to the WAL.
    """

    def __init__(self, *, name: str, field: str, transitions: Mapping[Any, Collection[Any]]) -> None:
        """`field` is the status' column; `transitions` says where each status may go.

        The function's name ends with a digest of the table: a new table makes a migration, which has to run define() first.
        """
        legal = ",".join(f"{was}:{now}" for was, to in transitions.items() for now in sorted(map(str, to)))
        function = f"{name}_{sha256_hex(legal.encode())[:8]}"
        self._definition = (
            f"CREATE OR REPLACE FUNCTION {function}(was text, now text) RETURNS boolean LANGUAGE plpgsql IMMUTABLE AS $$\n"
            f"BEGIN RETURN was = now OR was || ':' || now = ANY ('{{{legal}}}'::text[]); END $$;"
        )
        super().__init__(
            name=name,
            when=pgtrigger.After,
            operation=pgtrigger.UpdateOf(field),  # type: ignore[no-untyped-call]
            condition=pgtrigger.Condition(f'NOT {function}(OLD."{field}", NEW."{field}")'),
            func=(
                f'RAISE EXCEPTION \'pgtrigger: Invalid transition of field "{field}" from "%" to "%" on table %\', '
                f'OLD."{field}", NEW."{field}", TG_TABLE_NAME;'
            ),
        )

    def define(self) -> str:
        """The statement that makes the function."""
        return self._definition


class CheckOnce(pgtrigger.Trigger):
    """A check of columns that are written once: not made again, as PostgreSQL makes one, with every change of the row."""

    def __init__(self, *, name: str, fields: Sequence[str], condition: str) -> None:
        """`condition` is what must hold, in SQL over NEW; `fields` are the columns that it reads."""
        super().__init__(
            name=name,
            when=pgtrigger.After,
            operation=pgtrigger.Insert | pgtrigger.UpdateOf(*fields),  # type: ignore[no-untyped-call]
            condition=pgtrigger.Condition(f"NOT ({condition})"),
            func=(
                f"RAISE EXCEPTION 'a row of % violates check \"{name}\"', TG_TABLE_NAME "
                f"USING ERRCODE = 'check_violation', CONSTRAINT = '{name}';"
            ),
        )
