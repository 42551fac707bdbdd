"""Tokens for programs, and the answers kept for idempotency keys."""

from __future__ import annotations

from typing import ClassVar

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from audit.ids import uuid7


class ApiToken(models.Model):
    """A token by which a program acts for a person. Only its SHA-256 is kept."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="api_tokens")
    name = models.CharField(max_length=100)
    start = models.CharField(max_length=12, help_text="Its first letters, so that its owner can tell it from others.")
    sha256 = models.CharField(max_length=64, unique=True)
    scopes = models.JSONField(default=list)
    created_at = models.DateTimeField(db_default=Now())
    expires_at = models.DateTimeField(null=True, help_text="Empty: it does not expire.")
    last_used_at = models.DateTimeField(null=True, help_text="To the minute.")
    revoked_at = models.DateTimeField(null=True)

    class Meta:
        ordering: ClassVar = ["-created_at"]
        verbose_name = "API token"
        constraints: ClassVar = [
            models.CheckConstraint(name="a_token_is_kept_as_its_hash", condition=Q(sha256__regex="^[0-9a-f]{64}$")),
        ]

    def __str__(self) -> str:
        return self.name


class IdempotencyKey(models.Model):
    """The answer that a POST with this key got, so that the same call again gets the same answer."""

    id = models.BigAutoField(primary_key=True)
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+")
    key = models.CharField(max_length=255)
    target = models.TextField(help_text="Method and path of the first call.")
    sha256 = models.CharField(max_length=64, help_text="Of the first call's target and body.")
    status = models.PositiveSmallIntegerField(null=True, help_text="Empty while the first call runs.")
    content_type = models.CharField(max_length=100, default="")
    body = models.TextField(default="")
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(name="one_answer_per_person_and_key", fields=["user", "key"]),
        ]
        indexes: ClassVar = [models.Index(fields=["created_at"], name="idempotency_key_by_age")]

    def __str__(self) -> str:
        return self.key
