"""Background work as rows: anything that must happen, but not while somebody waits for it.

A job is enqueued in the transaction that needs it, published by the dispatcher, claimed with a token and held by a
lease. Handlers are registered by name; recurring ones in chiffon_site/jobs.py, so that this app knows nobody above it.
"""

from __future__ import annotations

import logging
import os
import socket
import traceback
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any
from uuid import UUID

from django.db import IntegrityError, connection, transaction
from django.db.models import F
from django.db.models.functions import Least, Now

from agents.conf import DUE_CHANNEL, JOB_LEASE_SECONDS, JOB_TRIES
from agents.enums import JobStatus
from agents.models import Job
from audit import trail
from audit.context import SYSTEM, acting
from audit.redaction import redact

logger = logging.getLogger(__name__)
Handler = Callable[[Mapping[str, Any]], Mapping[str, Any] | None]
_handlers: dict[str, Handler] = {}
_leases: dict[str, timedelta] = {}


def handler(kind: str, *, seconds: float = JOB_LEASE_SECONDS) -> Callable[[Handler], Handler]:
    """Register the function that does jobs of this kind. It gets the payload and must be safe to repeat.

    `seconds` is the lease of such a job: longer than it ever takes, or another worker begins it again beside it.
    """

    def register(function: Handler) -> Handler:
        _handlers[kind], _leases[kind] = function, timedelta(seconds=seconds)
        return function

    return register


def enqueue(
    kind: str,
    *,
    key: str = "",
    payload: Mapping[str, Any] | None = None,
    after: timedelta = timedelta(),
    every: timedelta | None = None,
    trace_id: UUID | None = None,
) -> None:
    """Ask for a job in the caller's transaction. With a key, nothing happens if one like it already waits."""
    job = Job(kind=kind, key=key, payload=dict(payload or {}), every=every, trace_id=trace_id, next_at=Now() + after)
    Job.objects.bulk_create([job], ignore_conflicts=True)
    if not after:
        ring()


def ring() -> None:
    """Wake the dispatchers when this transaction commits. PostgreSQL merges equal notifications of a transaction."""
    with connection.cursor() as cursor:
        cursor.execute(f"NOTIFY {DUE_CHANNEL}")


def run(job_id: UUID, *, token: int) -> bool:
    """Do one job if it still has the token that the message expects. False if somebody else has it."""
    kind = Job.objects.filter(pk=job_id).values_list("kind", flat=True).first()
    claimed = Job.objects.filter(pk=job_id, token=token, status__in=[JobStatus.DUE, JobStatus.SENT])
    if not claimed.update(
        status=JobStatus.RUNNING,
        token=token + 1,
        tries=Least(F("tries") + 1, 10_000),
        lease_until=Now() + _leases.get(kind or "", timedelta(seconds=JOB_LEASE_SECONDS)),
        holder=f"{_host()} {os.getpid()}",
    ):
        return False
    job = Job.objects.get(pk=job_id)
    try:
        function = _handlers[job.kind]
        with acting(SYSTEM, job.trace_id):
            result = function(job.payload)
    except Exception as error:
        logger.warning("job %s failed: %s", job, traceback.format_exc(limit=4))
        _failed(job, redact(f"{type(error).__name__}: {error}"))
    else:
        _succeeded(job, dict(result or {}))
    return True


def _mine(job: Job) -> Any:
    return Job.objects.filter(pk=job.pk, token=job.token, status=JobStatus.RUNNING)


def _succeeded(job: Job, result: dict[str, Any]) -> None:
    with transaction.atomic():
        if job.every:
            _mine(job).update(
                status=JobStatus.DUE, tries=0, error="", result=result, lease_until=None, next_at=Now() + job.every
            )
        else:
            _mine(job).update(status=JobStatus.COMPLETED, result=result, lease_until=None, finished_at=Now(), error="")


def _failed(job: Job, error: str) -> None:
    """Wait longer each time; after the last try a person can see it as failed. A recurring job never gives up."""
    with transaction.atomic():
        give_up = job.tries >= JOB_TRIES and not job.every
        waiting = Job.objects.filter(kind=job.kind, key=job.key, status__in=[JobStatus.DUE, JobStatus.SENT])
        if give_up or (job.key and waiting.exists()):  # another one of this key waits: it does the work
            moved = _mine(job).update(status=JobStatus.FAILED, error=error, lease_until=None, finished_at=Now())
        else:
            moved = _try_again(job, error)
        if moved and give_up:
            with acting(SYSTEM, job.trace_id):
                trail.record("job.failed", subject=("job", job.pk), reason=error, kind=job.kind)


def _try_again(job: Job, error: str) -> int:
    wait = timedelta(seconds=min(2.0 ** min(job.tries, 9), 300))
    try:
        with transaction.atomic():
            again = {"status": JobStatus.DUE, "error": error, "lease_until": None, "next_at": Now() + wait}
            return int(_mine(job).update(**again))
    except IntegrityError:  # one of this key was asked for at this very moment: it does the work
        return int(_mine(job).update(status=JobStatus.FAILED, error=error, lease_until=None, finished_at=Now()))


def give_back(*, alive: Callable[[int], bool]) -> int:
    """What processes of this host held that are no more counts as a failed try at once, before its lease ends. How many.

    Called when a worker starts: most of the time it starts because the one before it died, perhaps with a message in its hands,
    so what was sent is sent again, too.
    """
    if Job.objects.filter(status=JobStatus.SENT).update(status=JobStatus.DUE):
        ring()
    mine = Job.objects.filter(status=JobStatus.RUNNING, holder__startswith=f"{_host()} ").order_by("pk")
    lost = [job for job in mine if not alive(int(job.holder.rpartition(" ")[2]))]
    for job in lost:
        _failed(job, "Its worker was restarted.")
    return len(lost)


def _host() -> str:
    return socket.gethostname()[:100]


def reclaim() -> int:
    """Make due again what was sent and never taken; what a dead worker held counts as a failed try. How many."""
    lost = Job.objects.filter(status=JobStatus.SENT, sent_at__lt=Now() - timedelta(seconds=10))
    expired = list(Job.objects.filter(status=JobStatus.RUNNING, lease_until__lt=Now()).order_by("pk")[:100])
    for job in expired:
        _failed(job, "Its worker fell silent and the lease ended.")
    return lost.update(status=JobStatus.DUE) + len(expired)
