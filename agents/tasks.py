"""The Celery interface of background jobs: a message is a hint, the row is the truth."""

from __future__ import annotations

from celery import shared_task

from agents import jobs
from agents.messages import row_of


@shared_task(name="agents.run_job", ignore_result=True)
def run_job(*_: object, job_id: object = None, token: object = None, **__: object) -> None:
    """Do one job, if this message is still the one that counts."""
    if named := row_of(job_id, token):
        jobs.run(named[0], token=named[1])
