"""What the steps of a plan remembered, as its run's page and the API show it."""

from __future__ import annotations

from django.db.models import QuerySet
from django.db.models.functions import Now

from plans.models import Plan, StateEntry

STATE_SHOWN = 40


def state_of(plan: Plan) -> QuerySet[StateEntry]:
    """What this plan's steps wrote last, in any scope, and is still kept: no more than they said themselves."""
    return StateEntry.objects.filter(plan=plan, expires_at__gt=Now()).select_related("step")


def state_shown(plan: Plan) -> list[StateEntry]:
    """The newest of it, for a page."""
    return list(state_of(plan).order_by("-written_at", "-pk")[:STATE_SHOWN])
