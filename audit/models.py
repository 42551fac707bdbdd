"""Decision records: insert only, partitioned by month, each with its canonical bytes and their SHA-256."""

from __future__ import annotations

from typing import ClassVar

import pgtrigger
from django.db import models
from django.db.models.functions import Now

from audit.conf import SEQUENCE
from audit.db import NextVal


class DecisionRecord(models.Model):
    """One fact: who decided what about which subject, why, and what else could have been."""

    sequence = models.BigIntegerField(primary_key=True, db_default=NextVal(SEQUENCE), editable=False)
    at = models.DateTimeField(db_default=Now())
    trace_id = models.UUIDField(null=True)
    type = models.TextField()
    actor_kind = models.TextField()
    actor = models.TextField()
    subject_kind = models.TextField()
    subject_id = models.TextField()
    service = models.TextField(default="", help_text="The service the subject belongs to, such as kuma.")
    plan_id = models.UUIDField(null=True, help_text="The plan this belongs to, if it belongs to one.")
    reason = models.TextField(default="")
    alternatives = models.JSONField(default=list)
    metadata = models.JSONField(default=dict)
    canonical = models.TextField(help_text="What is hashed: these bytes, never the columns beside them.")
    sha256 = models.CharField(max_length=64)

    class Meta:
        ordering: ClassVar = ["-sequence"]
        verbose_name = "decision record"
        indexes: ClassVar = [
            models.Index(fields=["trace_id", "sequence"], name="record_by_trace"),
            models.Index(fields=["type", "sequence"], name="record_by_type"),
            models.Index(fields=["actor", "sequence"], name="record_by_actor"),
            models.Index(fields=["subject_kind", "subject_id", "sequence"], name="record_by_subject"),
            models.Index(fields=["service", "sequence"], name="record_by_service"),
            models.Index(fields=["plan_id", "sequence"], name="record_by_plan"),
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
