"""Small database expressions that several apps use."""

from __future__ import annotations

from typing import Any

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
