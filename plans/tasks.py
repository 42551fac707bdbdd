"""The Celery interface: a message is a hint, the row is the truth."""

from __future__ import annotations

from uuid import UUID

from celery import shared_task

from plans.execution import attempt


@shared_task(name="plans.run_attempt", ignore_result=True)
def run_attempt(*, attempt_id: str, token: int, **_: object) -> None:
    """Try a step once, if this message is still the one that counts."""
    attempt.run(UUID(attempt_id), token=token)
