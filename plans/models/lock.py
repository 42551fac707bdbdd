"""The hosts and services that plans have for themselves while they work."""

from __future__ import annotations

from typing import ClassVar

from django.db import models
from django.db.models.functions import Now


class TargetLock(models.Model):
    """One target that one plan works on. Another plan that needs it waits until this one has come to rest."""

    target = models.TextField(primary_key=True, help_text="Such as host:atlas or service:kuma.")
    plan = models.ForeignKey("plans.Plan", on_delete=models.CASCADE, related_name="locks")
    since = models.DateTimeField(db_default=Now())

    class Meta:
        ordering: ClassVar = ["target"]

    def __str__(self) -> str:
        return self.target
