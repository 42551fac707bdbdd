"""The Celery interface of background jobs: a message is a hint, the row is the truth."""

from __future__ import annotations

from uuid import UUID

from celery import shared_task

from agents import jobs


@shared_task(name="agents.run_job", ignore_result=True)
def run_job(*, job_id: str, token: int, **_: object) -> None:
    """Do one job, if this message is still the one that counts."""
    jobs.run(UUID(job_id), token=token)
