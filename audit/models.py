"""Decision records: insert only, partitioned by month, each with its canonical bytes and their SHA-256."""

from __future__ import annotations

import json
from functools import cached_property
from typing import Any, ClassVar, Final

import pgtrigger
from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from audit.conf import SEQUENCE
from audit.db import NextVal

# The types that every attempt and every plan writes are most of the table: who asks for one of them finds it on the way
# back through time without an index, and every other type is rare enough for one.
_COMMON: Final = ("attempt.started", "attempt.completed", "plan.stage_changed")
# The kinds of subject that most records are about. Each belongs to one trace, through which its records are found.
BY_TRACE: Final = ("attempt", "plan", "step")


def subject_key(kind: str, id_: object) -> str:
    """How a record's subject stands in its column; empty for the kinds that are found through their trace."""
    return "" if kind in BY_TRACE else f"{kind}:{id_}"


class Sha256Field(models.BinaryField):  # type: ignore[type-arg]
    """A SHA-256: 32 bytes in the database, 64 lowercase hexadecimal digits here."""

    def from_db_value(self, value: Any, _expression: Any, _connection: Any) -> str | None:
        """The digits of what is stored."""
        return None if value is None else bytes(value).hex()

    def get_db_prep_value(self, value: Any, connection: Any, prepared: bool = False) -> Any:
        """The bytes of what is written here."""
        return super().get_db_prep_value(
            bytes.fromhex(value) if isinstance(value, str) else value, connection, prepared
        )


class DecisionRecord(models.Model):
    """One fact: who decided what about which subject, why, and what else could have been.

    What is only read and never searched for (reason, alternatives, facts) is kept once, in the canonical bytes; so is the
    subject of most records, which are found through their trace. Which plan a record belongs to follows from its trace too.
    """

    sequence = models.BigIntegerField(primary_key=True, db_default=NextVal(SEQUENCE), editable=False)
    at = models.DateTimeField(db_default=Now())
    trace_id = models.UUIDField(null=True)
    type = models.TextField()
    actor_kind = models.TextField()
    actor = models.TextField()
    subject = models.TextField(default="", help_text="What it is about as kind:id; empty: found through its trace.")
    service = models.TextField(default="", help_text="The service the subject belongs to, such as kuma.")
    canonical = models.TextField(help_text="What is hashed: these bytes, never the columns beside them.")
    sha256 = Sha256Field()

    class Meta:
        ordering: ClassVar = ["-sequence"]
        verbose_name = "decision record"
        indexes: ClassVar = [
            # Without the sequence its entries of one trace are kept together, which is a third of what is written for them.
            models.Index(fields=["trace_id"], name="record_by_trace"),
            models.Index(fields=["type", "sequence"], name="record_by_rare_type", condition=~Q(type__in=_COMMON)),
            models.Index(fields=["actor", "sequence"], name="record_by_person", condition=Q(actor_kind="person")),
            models.Index(fields=["subject", "sequence"], name="record_by_subject", condition=~Q(subject="")),
            models.Index(fields=["service", "sequence"], name="record_by_service", condition=~Q(service="")),
        ]
        triggers: ClassVar = [
            pgtrigger.Protect(name="append_only", operation=pgtrigger.Update | pgtrigger.Delete),
            pgtrigger.Trigger(
                name="never_truncated",
                operation=pgtrigger.Truncate,
                level=pgtrigger.Statement,
                when=pgtrigger.Before,
                func="RAISE EXCEPTION 'pgtrigger: Cannot truncate rows from % table', TG_TABLE_NAME;",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.sequence} {self.type}"

    @cached_property
    def content(self) -> dict[str, Any]:
        """What was written, read from the bytes that were hashed; empty if they are no longer readable."""
        try:
            found = json.loads(self.canonical)
        except ValueError:
            return {}
        return found if isinstance(found, dict) else {}

    @property
    def subject_kind(self) -> str:
        """What kind of thing it is about, such as plan."""
        return self._about[0]

    @property
    def subject_id(self) -> str:
        """Which one it is about."""
        return self._about[1]

    @property
    def _about(self) -> tuple[str, str]:
        said = self.content.get("subject")
        if isinstance(said, dict):
            return str(said.get("kind", "")), str(said.get("id", ""))
        kind, _, id_ = self.subject.partition(":")
        return kind, id_

    @property
    def reason(self) -> str:
        """Why it was decided so; empty if nobody said."""
        return str(self.content.get("reason", ""))

    @property
    def alternatives(self) -> list[Any]:
        """What else could have been."""
        return list(self.content.get("alternatives", ()))

    @property
    def metadata(self) -> dict[str, Any]:
        """The facts of the decision, by name."""
        return dict(self.content.get("metadata", {}))
