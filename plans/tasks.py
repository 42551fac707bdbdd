"""The Celery interface: a message is a hint, the row is the truth."""

from __future__ import annotations

from celery import shared_task

from agents.messages import row_of
from plans.execution import attempt


@shared_task(name="plans.run_attempt", ignore_result=True)
def run_attempt(*_: object, attempt_id: object = None, token: object = None, **__: object) -> None:
    """Try a step once, if this message is still the one that counts."""
    if named := row_of(attempt_id, token):
        attempt.run(named[0], token=named[1])
