"""What a plan with a budget has spent, and what is held for calls under way. A plan without a budget has no such rows."""

from __future__ import annotations

from decimal import Decimal
from typing import ClassVar

from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from plans.budget import Amounts


def _cost(**more: object) -> models.DecimalField[Decimal, Decimal]:
    return models.DecimalField(max_digits=30, decimal_places=9, default=0, **more)  # type: ignore[arg-type]


class BudgetLedger(models.Model):
    """The sums of one plan over all its revisions. The ceilings are those of the approved revision, kept there alone.

    Each claim of the plan changes this one row, so that spent and held together can not pass a ceiling.
    """

    plan = models.OneToOneField("plans.Plan", on_delete=models.PROTECT, primary_key=True, related_name="ledger")
    cost_spent = _cost()
    calls_spent = models.BigIntegerField(default=0)
    tokens_spent = models.BigIntegerField(default=0)
    cost_held = _cost(help_text="Reserved for calls under way, at their worst.")
    calls_held = models.BigIntegerField(default=0)
    tokens_held = models.BigIntegerField(default=0)
    warned_revision = models.PositiveIntegerField(default=0, help_text="For which revision people were warned last.")
    exceeded_revision = models.PositiveIntegerField(default=0, help_text="At which one a ceiling was met last.")

    class Meta:
        constraints: ClassVar = [
            models.CheckConstraint(
                name="nothing_is_spent_or_held_below_zero",
                condition=Q(cost_spent__gte=0, calls_spent__gte=0, tokens_spent__gte=0)
                & Q(cost_held__gte=0, calls_held__gte=0, tokens_held__gte=0),
            ),
        ]

    def __str__(self) -> str:
        return f"ledger of {self.plan}"

    @property
    def spent(self) -> Amounts:
        """What was used up."""
        return Amounts(self.cost_spent, self.calls_spent, self.tokens_spent)

    @property
    def held(self) -> Amounts:
        """What is reserved for calls under way."""
        return Amounts(self.cost_held, self.calls_held, self.tokens_held)


class BudgetReservation(models.Model):
    """What one attempt may use at most, and, once it has ended, what it used."""

    attempt = models.OneToOneField(
        "plans.Attempt", on_delete=models.PROTECT, primary_key=True, related_name="reservation"
    )
    ledger = models.ForeignKey(BudgetLedger, on_delete=models.PROTECT, related_name="reservations")
    cost = _cost()
    calls = models.BigIntegerField(default=0)
    tokens = models.BigIntegerField(default=0)
    cost_used = models.DecimalField(max_digits=30, decimal_places=9, null=True)
    tokens_used = models.BigIntegerField(null=True)
    in_full = models.BooleanField(default=False, help_text="What it used is not known, so all of it was charged.")
    made_at = models.DateTimeField(db_default=Now())
    settled_at = models.DateTimeField(null=True)

    class Meta:
        ordering: ClassVar = ["made_at"]
        indexes: ClassVar = [
            models.Index(fields=["ledger"], name="reservation_unsettled", condition=Q(settled_at__isnull=True)),
        ]
        constraints: ClassVar = [
            models.CheckConstraint(
                name="a_settled_reservation_says_what_was_used",
                condition=Q(settled_at__isnull=True) | Q(cost_used__isnull=False, tokens_used__isnull=False),
            ),
        ]

    def __str__(self) -> str:
        return f"reservation of {self.attempt_id}"
