"""A plan's budget as its pages show it: a meter for each ceiling, and what happens at the end of it."""

from __future__ import annotations

from dataclasses import dataclass

from plans import budget
from plans.budget import Amounts, Budget, Meter
from plans.models import BudgetLedger, Revision


@dataclass(frozen=True, slots=True)
class BudgetView:
    """Ceilings, meters and the policy in words."""

    meters: list[Meter]
    limits: str
    policy: str
    used: bool  # anything is spent or held


def budget_view(revision: Revision) -> BudgetView | None:
    """What a revision may spend and its plan has spent; None without a budget."""
    allowed = Budget.from_json(revision.budget)
    if not allowed.ceilings:
        return None
    ledger = BudgetLedger.objects.filter(plan=revision.plan_id).first()
    committed = ledger.spent + ledger.held if ledger else Amounts()
    policy = "the call that would pass it is not made" if allowed.blocks else "people are told, and it goes on"
    return BudgetView(budget.meters(allowed, committed), budget.limits(allowed), policy, committed != Amounts())
