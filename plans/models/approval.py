"""Who must agree, and who did."""

from __future__ import annotations

from typing import ClassVar

import pgtrigger
from django.conf import settings
from django.contrib.auth import get_user_model
from django.db import models
from django.db.models import Exists, F, OuterRef, Q
from django.db.models.functions import Now

from audit.authority import Role
from audit.ids import uuid7
from plans.enums import Decision


class ApprovalPolicy(models.Model):
    """How many must approve and who may. A change is a new version; old versions stay for what they decided."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    name = models.CharField(max_length=64)
    version = models.PositiveIntegerField(default=1)
    approvals_needed = models.PositiveSmallIntegerField(default=1)
    four_eyes = models.BooleanField(default=True, help_text="Nobody approves what they asked for.")
    active = models.BooleanField(default=True)
    because = models.TextField(default="")
    author = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, null=True, related_name="+")
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        ordering: ClassVar = ["name", "-version"]
        verbose_name_plural = "approval policies"
        constraints: ClassVar = [
            models.UniqueConstraint(name="one_policy_per_version", fields=["name", "version"]),
            models.UniqueConstraint(name="one_active_policy", fields=["active"], condition=Q(active=True)),
            models.CheckConstraint(name="someone_must_approve", condition=Q(approvals_needed__gte=1)),
        ]

    def __str__(self) -> str:
        return f"{self.name} v{self.version}"


class ApprovalQuerySet(models.QuerySet["Approval"]):
    """Chainable filters of answers."""

    def weighed(self, policy: ApprovalPolicy | None) -> ApprovalQuerySet:
        """Each with `counts`: whether it is an approval of somebody who might give it today, as chiffon_standing counts them."""
        person = get_user_model().objects.filter(
            pk=OuterRef("approver"), is_active=True, groups__name=Role.APPROVER.value
        )
        counts = Q(Exists(person), decision=Decision.APPROVED)
        if policy is None or policy.four_eyes:
            counts &= ~Q(approver=F("requester")) & (Q(author=None) | ~Q(approver=F("author")))
        return self.annotate(counts=counts)  # type: ignore[no-redef]  # declared on the model, for who reads it


class Approval(models.Model):
    """A recorded answer to one digest. Never changed, never removed."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    plan = models.ForeignKey("plans.Plan", on_delete=models.PROTECT, related_name="approvals")
    # Found by the constraint's index, or by the plan; the last two are never looked for.
    revision = models.ForeignKey("plans.Revision", on_delete=models.PROTECT, related_name="approvals", db_index=False)
    digest = models.CharField(max_length=64)
    decision = models.CharField(max_length=16, choices=Decision.choices)
    approver = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="approvals")
    requester = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+", db_index=False)
    author = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=models.PROTECT,
        null=True,
        related_name="+",
        db_index=False,
        help_text="Who wrote the revision that was answered.",
    )
    comment = models.TextField(default="")
    policy = models.ForeignKey(ApprovalPolicy, on_delete=models.PROTECT, related_name="+", db_index=False)
    four_eyes = models.BooleanField(help_text="What the policy said when the answer was given.")
    at = models.DateTimeField(db_default=Now())

    counts: bool  # of one that was weighed
    objects = ApprovalQuerySet.as_manager()

    class Meta:
        ordering: ClassVar = ["id"]
        constraints: ClassVar = [
            models.CheckConstraint(name="approval_names_the_digest_it_answers", condition=~Q(digest="")),
            models.CheckConstraint(
                name="four_eyes_forbids_approving_ones_own_request",
                condition=Q(four_eyes=False) | Q(decision="rejected") | ~Q(approver=F("requester")),
            ),
            models.CheckConstraint(
                name="four_eyes_forbids_approving_ones_own_revision",
                condition=Q(four_eyes=False)
                | Q(decision="rejected")
                | Q(author__isnull=True)
                | ~Q(approver=F("author")),
            ),
            models.UniqueConstraint(
                name="one_answer_of_a_kind_per_person_and_revision", fields=["revision", "approver", "decision"]
            ),
        ]
        triggers: ClassVar = [
            pgtrigger.Protect(name="approval_is_final", operation=pgtrigger.Update | pgtrigger.Delete),
        ]

    def __str__(self) -> str:
        return f"{self.decision} by {self.approver_id}"
