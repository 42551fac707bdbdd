"""What a person asked, in words, and the conversation around it."""

from __future__ import annotations

from typing import ClassVar

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from audit.db import LegalMoves, NextVal
from audit.ids import uuid7
from plans.enums import RequestStatus
from plans.lifecycle_tables import REQUEST_TRANSITIONS


class Session(models.Model):
    """One conversation of one person."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    owner = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="sessions")
    created_at = models.DateTimeField(db_default=Now())

    def __str__(self) -> str:
        return str(self.id)


class Request(models.Model):
    """What a person asked for, in their words, and what was understood."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    number = models.BigIntegerField(unique=True, db_default=NextVal("plans_request_number"), editable=False)
    session = models.ForeignKey(Session, on_delete=models.PROTECT, related_name="requests")
    requester = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="requests")
    trace_id = models.UUIDField(default=uuid7, unique=True, editable=False)
    text = models.TextField()
    status = models.CharField(max_length=24, choices=RequestStatus.choices, default=RequestStatus.RECEIVED)
    decomposition = models.JSONField(null=True)
    answers = models.JSONField(default=dict, help_text="Answers given so far, by the key of their question.")
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        ordering: ClassVar = ["-number"]
        indexes: ClassVar = [models.Index(fields=["requester", "number"], name="request_by_requester")]
        constraints: ClassVar = [
            models.CheckConstraint(name="a_request_has_words", condition=~Q(text="")),
        ]
        triggers: ClassVar = [
            LegalMoves(name="legal_request_status", field="status", transitions=REQUEST_TRANSITIONS),
        ]

    def __str__(self) -> str:
        return f"Request {self.number}"


class Message(models.Model):
    """One thing said in a conversation, by a person or by Chiffon."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    session = models.ForeignKey(Session, on_delete=models.PROTECT, related_name="messages")
    request = models.ForeignKey(Request, on_delete=models.PROTECT, related_name="messages")
    author = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, null=True, related_name="+", help_text="Empty: Chiffon."
    )
    kind = models.CharField(max_length=16, help_text="said, understood, question, planned, refused")
    text = models.TextField()
    data = models.JSONField(default=dict)
    at = models.DateTimeField(db_default=Now())

    class Meta:
        ordering: ClassVar = ["id"]

    def __str__(self) -> str:
        return self.text[:60]
