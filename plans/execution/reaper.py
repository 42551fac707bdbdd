"""Expired leases and messages nobody heard: by the database's clock only, and by any number of reapers at once."""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from uuid import UUID

from django.db import connection, transaction
from django.db.models import Q, QuerySet
from django.db.models.functions import Now

from audit.context import SYSTEM, acting
from plans.conf import UNCLAIMED_SECONDS
from plans.enums import AttemptStatus, Stage
from plans.execution import engine, locks, routing, spending
from plans.execution.finish import hold_plan_of, interrupted
from plans.models import Attempt, Plan

logger = logging.getLogger(__name__)
_BATCH = 100
_RUNS = (Stage.APPROVED, Stage.EXECUTING)


def sweep() -> int:
    """Free what dead holders left, send again what nobody took, and settle plans in which nothing is left. How many.

    Budgets last: what was interrupted just now is charged in full.
    """
    parts = (interrupt_expired, resend_unclaimed, settle_finished, locks.free_stale, spending.settle_ended)
    return sum(by_itself(part) for part in parts)


def by_itself(part: Callable[[], object]) -> int:
    """Do a part of a sweep: what it can not do must not keep the others from theirs. How many rows it mended."""
    try:
        done = part()
    except Exception:
        if not connection.is_usable():  # nor are the others then
            raise
        logger.exception("a part of a sweep failed")
        return 0
    return done if isinstance(done, int) else 0


def interrupt_expired(*, agent_id: object = None) -> int:
    """Interrupt attempts whose lease has ended; with an agent, all it held (its process is known to be dead)."""
    over = Q(agent_id=agent_id) if agent_id else Q(lease_until__lt=Now()) | Q(lease_until__isnull=True)
    because = "Its agent was restarted." if agent_id else "Its agent fell silent and the lease ended."
    lost = Attempt.objects.filter(over, status=AttemptStatus.RUNNING)
    found = lost.order_by("pk").values_list("pk", flat=True)[:_BATCH]
    return sum(by_itself(partial(_interrupt, pk, lost, because)) for pk in found)


def _interrupt(pk: UUID, lost: QuerySet[Attempt], because: str) -> bool:
    """Interrupt one attempt, if it is still lost, in a transaction of its own. Whether it was."""
    with transaction.atomic(), acting(SYSTEM):
        hold_plan_of(pk)
        held = lost.select_for_update(of=("self",), skip_locked=True).select_related("step", "plan", "agent")
        attempt = held.filter(pk=pk).first()
        if attempt is not None:
            interrupted(attempt, because)
    return attempt is not None


def take_over(agent_id: UUID) -> int:
    """An agent's process started: what its predecessor held is interrupted, and what was on the way to it is sent again. How many.

    The messages may have died with the predecessor; whichever is still in the queue is heard first and the other one dropped.
    """
    held = interrupt_expired(agent_id=agent_id)
    sent = Attempt.objects.filter(agent_id=agent_id, status=AttemptStatus.SENT).update(
        status=AttemptStatus.DUE, sent_at=None
    )
    if sent:
        engine.ring()
    return held + sent


def resend_unclaimed() -> int:
    """Attempts that were sent and not taken in time are routed anew, without that agent if there is another."""
    late = Now() - timedelta(seconds=UNCLAIMED_SECONDS)
    with transaction.atomic(), acting(SYSTEM):
        unheard = Attempt.objects.select_for_update(of=("self",), skip_locked=True).select_related(
            "step", "plan", "agent"
        )
        attempts = list(
            unheard.filter(status=AttemptStatus.SENT, sent_at__lt=late, plan__stage__in=_RUNS).order_by("pk")[:_BATCH]
        )
        for attempt in attempts:
            avoided = {attempt.agent.name} if attempt.agent else set()
            Attempt.objects.filter(pk=attempt.pk).update(status=AttemptStatus.DUE, agent=None, sent_at=None)
            attempt.status, attempt.agent = AttemptStatus.DUE, None
            routing.route([attempt], excluded=avoided)
        if attempts:
            engine.ring()
    return len(attempts)


def settle_finished() -> int:
    """Settle executing plans in which nothing runs or can start: two last steps that ended at once leave one behind."""
    idle = Plan.objects.in_stages(Stage.EXECUTING).exclude(attempts__status__in=["due", "sent", "running"])
    return sum(by_itself(partial(_settle, plan_id)) for plan_id in idle.values_list("pk", flat=True)[:_BATCH])


def _settle(plan_id: UUID) -> bool:
    with transaction.atomic(), acting(SYSTEM):
        return engine.settle_if_idle(plan_id)
