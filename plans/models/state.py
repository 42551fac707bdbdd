"""What steps remember for later ones."""

from __future__ import annotations

from typing import ClassVar

from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from plans.enums import StateScope


class StateEntry(models.Model):
    """One value under a key of a scope. `owner` says whose scope it is, so that equal keys of two owners never meet."""

    id = models.BigAutoField(primary_key=True)
    scope = models.CharField(max_length=16, choices=StateScope.choices)
    owner = models.CharField(max_length=64, default="", help_text="The conversation, plan or step; empty: everybody's.")
    key = models.CharField(max_length=64)
    value = models.JSONField(null=True)
    size = models.PositiveIntegerField(help_text="Bytes of the value as JSON.")
    plan = models.ForeignKey("plans.Plan", on_delete=models.PROTECT, related_name="+", help_text="Who wrote it last.")
    step = models.ForeignKey("plans.Step", on_delete=models.PROTECT, related_name="+")
    attempt = models.ForeignKey("plans.Attempt", on_delete=models.PROTECT, related_name="+")
    written_at = models.DateTimeField(db_default=Now())
    expires_at = models.DateTimeField()

    class Meta:
        ordering: ClassVar = ["scope", "owner", "key"]
        verbose_name_plural = "state entries"
        indexes: ClassVar = [models.Index(fields=["expires_at"], name="state_by_expiry")]
        constraints: ClassVar = [
            models.UniqueConstraint(name="one_value_per_key", fields=["scope", "owner", "key"]),
            models.CheckConstraint(
                name="only_global_state_has_no_owner",
                condition=Q(scope="global", owner="") | (~Q(scope="global") & ~Q(owner="")),
            ),
        ]

    def __str__(self) -> str:
        return f"state.{self.scope}.{self.key}"
