"""The only publisher: attempts and jobs that are due and unsent become messages. Any number of dispatchers may run.

They wake by LISTEN and, in case a notification was lost, every few seconds. A row is marked as sent before its message
goes out: if the process dies in between, the row is "sent and unclaimed" and sent again.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable
from typing import Any

import psycopg
from django.db import DatabaseError, connection, transaction
from django.db.models.functions import Now
from kombu import Exchange, Queue
from kombu.exceptions import OperationalError

from agents import jobs, services
from agents.conf import DUE_CHANNEL, JOB_QUEUE
from agents.enums import JobStatus
from agents.models import Job
from audit.context import SYSTEM, acting
from plans.conf import SWEEP_SECONDS
from plans.enums import AttemptStatus, Stage
from plans.execution import engine, fleet, reaper
from plans.models import Attempt

logger = logging.getLogger(__name__)
RUN_ATTEMPT, RUN_JOB = "plans.run_attempt", "agents.run_job"
_BATCH = 200
_LOOK_AHEAD = 8  # attempts beyond the free slots that learn what they wait for without a sweep
_PAUSE_AFTER_TROUBLE = 1.0
Send = Callable[[str, dict[str, Any], str], None]


def run(send: Send, *, stopping: Callable[[], bool]) -> None:
    """Dispatch until asked to stop. `send(task, arguments, queue)` publishes one message and may raise."""
    swept = 0.0
    while not stopping():
        try:
            if time.monotonic() - swept >= SWEEP_SECONDS:
                swept = time.monotonic()  # before it: a sweep that fails must not keep work from going out
                _sweep()
            while dispatch(send):
                pass
            _wait(min(_until_due(), SWEEP_SECONDS), stopping)
        except (DatabaseError, psycopg.Error) as error:
            logger.warning("the database is away: %s", error)
            connection.close()
            time.sleep(_PAUSE_AFTER_TROUBLE)


def dispatch(send: Send) -> int:
    """Route what is due, publish what is routed. How many messages went out; 0 as soon as the broker is away."""
    with transaction.atomic(), acting(SYSTEM):
        _route_due()
    messages = _take_attempts() + _take_jobs()
    for place, (task, arguments, queue, _put_back) in enumerate(messages):
        try:
            send(task, arguments, queue)
        except (OperationalError, OSError) as error:
            logger.warning("the broker is away: %s", error)
            for *_, undo in messages[place:]:
                undo()
            time.sleep(_PAUSE_AFTER_TROUBLE)
            return 0
    return len(messages)


def queue_named(name: str) -> Queue:
    """A queue as an object, so that a typing mistake never makes one: durable, direct, named like its key."""
    return Queue(name, Exchange(name, type="direct", durable=True), routing_key=name, durable=True)


def _route_due(*, everything: bool = False) -> None:
    """Choose agents for what is due and has none yet: after a wait, or when somebody has room again.

    Looks no further than there is room, unless asked to: a wide plan has hundreds that wait for the same slot.
    """
    homeless = (
        Attempt.objects.select_for_update(of=("self",), skip_locked=True)
        .select_related("step", "plan")
        .filter(status=AttemptStatus.DUE, agent__isnull=True, next_at__lte=Now())
        .filter(plan__stage__in=[Stage.APPROVED, Stage.EXECUTING])
        .order_by("-priority", "next_at", "pk")
    )
    unrouted, size = 0, _BATCH if everything else fleet.room() + _LOOK_AHEAD
    # What nobody can take must not hide what stands behind it.
    while batch := list(homeless[unrouted : unrouted + size]):
        unrouted, size = unrouted + len(batch) - engine.route(batch), _BATCH
        if not everything and not fleet.room():
            return


def _take_attempts() -> list[tuple[str, dict[str, Any], str, Callable[[], Any]]]:
    with transaction.atomic():
        due = (
            Attempt.objects.select_for_update(of=("self",), skip_locked=True)
            .select_related("agent")
            .filter(status=AttemptStatus.DUE, agent__isnull=False, next_at__lte=Now())
            .filter(plan__stage__in=[Stage.APPROVED, Stage.EXECUTING])
            .order_by("-priority", "next_at")
        )
        taken = list(due[:_BATCH])
        Attempt.objects.filter(pk__in=[attempt.pk for attempt in taken]).update(
            status=AttemptStatus.SENT, sent_at=Now()
        )
    return [
        (
            RUN_ATTEMPT,
            {"attempt_id": str(attempt.pk), "token": attempt.expects_token},
            attempt.agent.queue,
            _undo(Attempt.objects.filter(pk=attempt.pk, status=AttemptStatus.SENT), AttemptStatus.DUE),
        )
        for attempt in taken
        if attempt.agent is not None
    ]


def _take_jobs() -> list[tuple[str, dict[str, Any], str, Callable[[], Any]]]:
    with transaction.atomic():
        due = Job.objects.select_for_update(skip_locked=True).filter(status=JobStatus.DUE, next_at__lte=Now())
        taken = list(due.order_by("-priority", "next_at")[:_BATCH])
        Job.objects.filter(pk__in=[job.pk for job in taken]).update(status=JobStatus.SENT, sent_at=Now())
    return [
        (
            RUN_JOB,
            {"job_id": str(job.pk), "token": job.token},
            JOB_QUEUE,
            _undo(Job.objects.filter(pk=job.pk, status=JobStatus.SENT), JobStatus.DUE),
        )
        for job in taken
    ]


def _undo(rows: Any, status: str) -> Callable[[], Any]:
    return lambda: rows.update(status=status)


def _sweep() -> None:
    services.mark_silent()
    reaper.sweep()
    jobs.reclaim()
    with transaction.atomic(), acting(SYSTEM):
        _route_due(everything=True)


def _until_due() -> float:
    """Seconds until the next row is due, a few at most. Rows that wait for an agent are found by a notification."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT extract(epoch FROM least("
            " (SELECT min(next_at) FROM plans_attempt WHERE status = 'due' AND (agent_id IS NOT NULL OR next_at > now())),"
            " (SELECT min(next_at) FROM agents_job WHERE status = 'due')) - now())"
        )
        row = cursor.fetchone()
    return max(0.02, float(row[0])) if row and row[0] is not None else SWEEP_SECONDS


def _wait(seconds: float, stopping: Callable[[], bool]) -> None:
    """Sleep until a notification comes or the time is over."""
    connection.ensure_connection()
    raw = connection.connection
    if not getattr(raw, "_chiffon_listens", False):
        with connection.cursor() as cursor:
            cursor.execute(f"LISTEN {DUE_CHANNEL}")
        raw._chiffon_listens = True
    until = time.monotonic() + seconds
    while not stopping() and (left := until - time.monotonic()) > 0:
        if _drain(raw.notifies(timeout=min(left, 0.5), stop_after=1)):
            return


def _drain(notifications: Iterable[Any]) -> int:
    return sum(1 for _ in notifications)
