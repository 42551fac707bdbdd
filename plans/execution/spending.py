"""A plan's budget while it runs: reserve the worst case before a call, settle what was really used after it.

Only plans with a budget pay for this. A reservation is made once an attempt is claimed and its input known, right before its
tool is called; its transaction is its own, so a ledger's one row is locked for a moment only. What was reserved and not
settled is charged in full. The ledger is locked after all else.

Each call of a tool counts: every try, each item of a list, a fallback, and what undoes a step. What the cache answers does not.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

from django.db import DatabaseError, connection, transaction

from agents.protocol import ResourcesUsed
from agents.tools.base import Tool
from audit import trail
from audit.context import SYSTEM, acting
from audit.trail import requires_transaction
from plans import budget, lifecycle
from plans.budget import Amounts, Budget
from plans.conf import LEASE_SECONDS
from plans.enums import AttemptStatus, EventType
from plans.execution.claims import Claimed
from plans.models import Attempt, BudgetLedger, BudgetReservation, Plan

logger = logging.getLogger(__name__)
_BATCH: Final = 200
_PAUSE_WHILE_AWAY: Final = 0.5  # seconds between two tries while the database is away
_TOTALS: Final = "cost_spent, calls_spent, tokens_spent, cost_held, calls_held, tokens_held"
# One conditional update decides: of fifty calls at once, each sees what the ones before it hold.
_RESERVE: Final = f"""
WITH taken AS (
  UPDATE plans_budgetledger SET
    cost_held = cost_held + %(cost)s, calls_held = calls_held + %(calls)s, tokens_held = tokens_held + %(tokens)s
  WHERE plan_id = %(plan)s AND (%(goes_on)s OR (
    (%(most_cost)s::numeric IS NULL OR cost_spent + cost_held + %(cost)s <= %(most_cost)s::numeric)
    AND (%(most_calls)s::numeric IS NULL OR calls_spent + calls_held + %(calls)s <= %(most_calls)s::numeric)
    AND (%(most_tokens)s::numeric IS NULL OR tokens_spent + tokens_held + %(tokens)s <= %(most_tokens)s::numeric)))
  RETURNING {_TOTALS}
), held AS (
  INSERT INTO plans_budgetreservation (attempt_id, ledger_id, cost, calls, tokens, in_full)
  SELECT %(attempt)s, %(plan)s, %(cost)s, %(calls)s, %(tokens)s, false FROM taken
)
SELECT {_TOTALS} FROM taken
"""  # noqa: S608 - names of columns
_SETTLE: Final = f"""
WITH over AS (
  UPDATE plans_budgetreservation SET settled_at = now(), in_full = %(cost)s::numeric IS NULL AND %(tokens)s::bigint IS NULL,
    cost_used = coalesce(%(cost)s::numeric, cost), tokens_used = coalesce(%(tokens)s::bigint, tokens)
  WHERE attempt_id = %(attempt)s AND settled_at IS NULL
  RETURNING ledger_id, cost, calls, tokens, cost_used, tokens_used
)
UPDATE plans_budgetledger SET
  cost_held = cost_held - over.cost, calls_held = calls_held - over.calls, tokens_held = tokens_held - over.tokens,
  cost_spent = cost_spent + over.cost_used, calls_spent = calls_spent + over.calls,
  tokens_spent = tokens_spent + over.tokens_used
FROM over WHERE plan_id = over.ledger_id
RETURNING {_TOTALS}
"""  # noqa: S608 - names of columns


def reserve(claimed: Claimed, tool: Tool, value: Mapping[str, Any]) -> str:
    """Hold the most that a call of this tool with this input may use. Why the call is not to be made, or nothing if it is.

    Under the attempt's token: one that lost its step reserves nothing. Also if the database is away for a moment.
    """
    allowed = Budget.from_json(claimed.budget)
    if not allowed.ceilings:
        return ""
    wanted = worst_case(tool, value)
    until = time.monotonic() + LEASE_SECONDS
    while True:
        try:
            with transaction.atomic():
                return _hold(claimed, allowed, wanted)
        except DatabaseError as error:
            if time.monotonic() > until:
                raise
            logger.warning("nothing could be reserved for attempt %s yet: %s", claimed.attempt_id, type(error).__name__)
            time.sleep(_PAUSE_WHILE_AWAY)
            connection.close()


@requires_transaction
def settle(attempt: Attempt, used: ResourcesUsed | None) -> None:
    """Turn what an ended attempt held into what it used; what it does not say, or can not have used, is charged in full.

    Safe to repeat: only the first settlement counts.
    """
    cost = budget.amount(used.cost) if used else None
    tokens = budget.whole(used.tokens) if used else None
    with connection.cursor() as cursor:
        cursor.execute(_SETTLE, {"attempt": attempt.pk, "cost": cost, "tokens": tokens})
        row = cursor.fetchone()
    if row is not None:
        said = attempt.step.revision.budget
        _tell(attempt.plan, said, Budget.from_json(said), *_totals(row))


def settle_ended() -> int:
    """Settle reservations whose attempts ended without it, interrupted ones above all: in full. How many.

    A plan at a time and the ledger before anything else, so that two of these never wait for each other.
    """
    left = BudgetReservation.objects.filter(settled_at__isnull=True).exclude(
        attempt__status__in=[AttemptStatus.DUE, AttemptStatus.SENT, AttemptStatus.RUNNING]
    )
    plans = list(left.order_by("ledger").values_list("ledger_id", flat=True).distinct()[:_BATCH])
    return sum(_settle_plan(plan_id) for plan_id in plans)


def worst_case(tool: Tool, value: Mapping[str, Any]) -> Amounts:
    """The most that one call uses: one call, and what the tool says of itself or of this input."""
    cost, tokens = getattr(tool, "cost", 0), getattr(tool, "most_tokens", 0)
    if announce := getattr(tool, "announce", None):
        try:
            cost, tokens = announce(value)
        except Exception:
            logger.exception("tool %s could not announce what it may use", tool.name)
    return Amounts(budget.amount(cost) or Decimal(0), 1, budget.whole(tokens) or 0)


def _settle_plan(plan_id: UUID) -> int:
    with transaction.atomic(), acting(SYSTEM):
        if not BudgetLedger.objects.select_for_update().filter(plan=plan_id).exists():
            return 0
        held = Attempt.objects.filter(reservation__ledger=plan_id, reservation__settled_at__isnull=True)
        ended = held.filter(
            status__in=[
                AttemptStatus.COMPLETED,
                AttemptStatus.FAILED,
                AttemptStatus.CANCELLED,
                AttemptStatus.INTERRUPTED,
            ]
        )
        attempts = list(ended.select_related("plan", "step__revision"))
        for attempt in attempts:
            known = attempt.resources_used if attempt.status != AttemptStatus.INTERRUPTED else {}
            settle(attempt, ResourcesUsed(cost=known.get("cost"), tokens=known.get("tokens")))
    return len(attempts)


def _hold(claimed: Claimed, allowed: Budget, wanted: Amounts) -> str:
    with connection.cursor() as cursor:
        cursor.execute("SELECT chiffon_hold(%s)", [claimed.plan_id])
    plan = Plan.objects.get(pk=claimed.plan_id)
    held = Attempt.objects.select_for_update(no_key=True).filter(pk=claimed.attempt_id, token=claimed.token)
    if not held.filter(status=AttemptStatus.RUNNING):
        return "This try is over; nothing is reserved for it."
    if BudgetReservation.objects.filter(pk=claimed.attempt_id).exists():
        return ""  # made before, and only the answer was lost
    totals = _reserve(claimed, allowed, wanted)
    if totals is None and not BudgetLedger.objects.filter(plan=plan).exists():
        BudgetLedger.objects.bulk_create([BudgetLedger(plan=plan)], ignore_conflicts=True)
        totals = _reserve(claimed, allowed, wanted)
    if totals is not None:
        _tell(plan, claimed.budget, allowed, *totals)
        return ""
    ledger = BudgetLedger.objects.select_for_update().get(plan=plan)
    why = budget.refusal(allowed, spent=ledger.spent, held=ledger.held, wanted=wanted)
    _tell_once(plan, claimed.budget, "exceeded", why, ledger.spent, ledger.held)
    return why


def _reserve(claimed: Claimed, allowed: Budget, wanted: Amounts) -> tuple[Amounts, Amounts] | None:
    values: dict[str, Any] = {f"most_{measure}": allowed.ceilings.get(measure) for measure in budget.CEILINGS}
    values |= {"attempt": claimed.attempt_id, "plan": claimed.plan_id, "goes_on": not allowed.blocks}
    values |= {measure: getattr(wanted, measure) for measure in budget.CEILINGS}
    with connection.cursor() as cursor:
        cursor.execute(_RESERVE, values)
        row = cursor.fetchone()
    return _totals(row) if row else None


def _totals(row: Any) -> tuple[Amounts, Amounts]:
    return Amounts(*row[:3]), Amounts(*row[3:])


def _tell(plan: Plan, told: Mapping[str, Any], allowed: Budget, spent: Amounts, held: Amounts) -> None:
    """Say once for a revision that the warning level is reached, and once that a ceiling was passed."""
    committed = spent + held
    level = budget.reached(allowed, committed)
    if not level:
        return
    said = "; ".join(meter.words for meter in budget.meters(allowed, committed) if meter.tone != "ok")
    _tell_once(plan, told, "warned", f"{said}.", spent, held)
    if level == "exceeded":
        how = "its policy is to go on" if not allowed.blocks else "a call used more than it had announced"
        _tell_once(plan, told, "exceeded", f"{said}; {how}.", spent, held)


def _tell_once(plan: Plan, told: Mapping[str, Any], level: str, why: str, spent: Amounts, held: Amounts) -> None:
    column = f"{level}_revision"
    untold = BudgetLedger.objects.filter(plan=plan).exclude(**{column: plan.revision_number})
    if not untold.update(**{column: plan.revision_number}):
        return
    trail.record(
        f"budget.{level}",
        subject=("plan", plan.pk),
        trace_id=plan.trace_id,
        service=plan.service,
        reason=why,
        spent=spent.to_json(),
        held=held.to_json(),
        ceilings={name: value for name, value in told.items() if name in budget.CEILINGS.values()},
        policy=told.get("policy", "block"),
    )
    data = {"was": str(plan.stage), "now": str(plan.stage), "reason": why, "budget": level}
    lifecycle.emit(plan.pk, EventType.STAGE_CHANGED, data)
