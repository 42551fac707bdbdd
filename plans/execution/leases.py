"""Who holds an attempt, and until when. Every write of a holder names its token; zero rows means: stop yourself."""

from __future__ import annotations

from uuid import UUID

from django.db import connection

from plans.conf import LEASE_SECONDS
from plans.models import Attempt


def renew(attempt_id: UUID, token: int) -> bool | None:
    """Hold an attempt for another lease. True if a person asked to stop it, False if not, None if the lease is lost."""
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE plans_attempt SET lease_until = now() + make_interval(secs => %s) WHERE id = %s AND token = %s AND status = 'running' "
            "RETURNING cancel_requested",
            [LEASE_SECONDS, attempt_id, token],
        )
        row = cursor.fetchone()
    return None if row is None else bool(row[0])


def asked_to_stop(attempt_id: UUID, token: int) -> bool | None:
    """Whether a person asked to stop this attempt; None if the lease is lost."""
    held = Attempt.objects.filter(pk=attempt_id, token=token, status="running")
    return held.values_list("cancel_requested", flat=True).first()
