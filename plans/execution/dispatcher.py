"""The only publisher: attempts and jobs that are due and unsent become messages. Any number of dispatchers may run.

They wake by LISTEN and, in case a notification was lost, every few seconds. A row is marked as sent before its message
goes out: if the process dies in between, the row is "sent and unclaimed" and sent again.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import psycopg
from django.db import DatabaseError, connection, transaction
from django.db.models.functions import Now
from kombu import Exchange, Queue
from kombu.exceptions import OperationalError

from agents import jobs, services
from agents.conf import DUE_CHANNEL, JOB_QUEUE, SILENT_SECONDS
from audit.context import SYSTEM, acting
from audit.db import first_row
from plans.conf import SWEEP_SECONDS
from plans.enums import AttemptStatus, Stage
from plans.errors import PlansError
from plans.execution import breakers, fleet, limits, locks, reaper, routing
from plans.execution.task_file import ask_for_commit
from plans.models import Attempt

logger = logging.getLogger(__name__)
RUN_ATTEMPT, RUN_JOB = "plans.run_attempt", "agents.run_job"
_BATCH = 200
_LOOK_AHEAD = 8  # attempts beyond the free slots that learn what they wait for without a sweep
_PAUSE_AFTER_TROUBLE = 1.0
_SHORTEST_WAIT = 0.02  # seconds, when something is due that could not go out
_SPACING = 0.01  # seconds between a look that found nothing to do and the next: every plan and many steps ring
_SPACING_WHILE_FULL = 0.1  # the same while nobody has room: whose slot becomes free goes on by itself
Send = Callable[[str, dict[str, Any], str], None]


def run(send: Send, *, stopping: Callable[[], bool]) -> None:
    """Dispatch until asked to stop. `send(task, arguments, queue)` publishes one message and may raise."""
    swept = rested = 0.0
    while not stopping():
        try:
            _listen()
            time.sleep(max(0.0, rested - time.monotonic()))
            look = _look()
            sent, now = _act(look, send), time.monotonic()
            if look.busy and now - swept >= SWEEP_SECONDS:
                swept = now  # before it: a sweep that fails must not keep work from going out
                _sweep()
            elif not sent:
                rested = now + (_SPACING_WHILE_FULL if look.homeless and look.room == 0 else _SPACING)
                _wait(min(max(look.until_due, _SHORTEST_WAIT), SWEEP_SECONDS), stopping)
        except (DatabaseError, psycopg.Error) as error:
            logger.warning("the database is away: %s", error)
            connection.close()
            time.sleep(_PAUSE_AFTER_TROUBLE)
        except PlansError:  # somebody was first; the next look sees what they did
            logger.exception("a look of the dispatcher came to nothing")
            time.sleep(_PAUSE_AFTER_TROUBLE)


def dispatch(send: Send) -> int:
    """Publish what is routed, route what is due. How many messages went out; 0 as soon as the broker is away."""
    return _act(_look(), send)


def _act(look: _Look, send: Send) -> int:
    """Do what a look has found to do; how many messages went out."""
    granted = locks.grant() if look.waiting else 0
    if granted or (look.homeless and look.room != 0):
        with transaction.atomic(), acting(SYSTEM):
            _route_due(room=fleet.room() if look.room == 0 else look.room)
    elif not look.sendable:
        return 0
    messages = _take()
    for place, message in enumerate(messages):
        try:
            send(message.task, message.arguments, message.queue)
        except (OperationalError, OSError) as error:
            logger.warning("the broker is away: %s", error)
            for unsent in messages[place:]:
                unsent.put_back()
            time.sleep(_PAUSE_AFTER_TROUBLE)
            return 0
    return len(messages)


@dataclass(frozen=True, slots=True)
class _Message:
    """A row that was marked as sent, and what goes out for it."""

    task: str
    arguments: dict[str, Any]
    queue: str
    table: str
    row: UUID

    def put_back(self) -> None:
        """Make the row due again."""
        with connection.cursor() as cursor:
            cursor.execute(f"UPDATE {self.table} SET status = 'due' WHERE id = %s AND status = 'sent'", [self.row])  # noqa: S608


def queue_named(name: str) -> Queue:
    """A queue as an object, so that a typing mistake never makes one: durable, direct, named like its key."""
    return Queue(name, Exchange(name, type="direct", durable=True), routing_key=name, durable=True)


def _route_due(*, room: int | None) -> None:
    """Choose agents for what is due and has none yet: after a wait, or when somebody has room again.

    Looks no further than there is room, because a wide plan has hundreds that wait for the same slot; None: no agent takes work,
    and everything that is due learns so.
    """
    homeless = (
        Attempt.objects.select_for_update(of=("self",), skip_locked=True)
        .select_related("step", "plan")
        .filter(status=AttemptStatus.DUE, agent__isnull=True, next_at__lte=Now())
        .filter(plan__stage__in=[Stage.APPROVED, Stage.EXECUTING], plan__waits_since__isnull=True)
        .order_by("-priority", "next_at", "pk")
        .exclude(limits.full())
    )
    unrouted, size = 0, _BATCH if room is None else room + _LOOK_AHEAD
    # What nobody can take must not hide what stands behind it.
    while batch := list(homeless[unrouted : unrouted + size]):
        unrouted += len(batch) - routing.route(batch)
        if len(batch) < size or (room is not None and not fleet.room()):
            return
        size = _BATCH


# One statement marks all that is due as sent, so that a row is published by one dispatcher only.
_TAKE = """
WITH attempts AS (
    UPDATE plans_attempt attempt SET status = 'sent', sent_at = statement_timestamp()
    FROM (
        SELECT due.id, agent.name FROM plans_attempt due JOIN plans_plan plan ON plan.id = due.plan_id
        JOIN agents_agent agent ON agent.id = due.agent_id
        WHERE due.status = 'due' AND due.next_at <= statement_timestamp() AND plan.stage IN ('approved', 'executing')
        ORDER BY due.priority DESC, due.next_at LIMIT %(batch)s FOR NO KEY UPDATE OF due SKIP LOCKED
    ) due
    WHERE attempt.id = due.id
    RETURNING attempt.id, attempt.expects_token AS token, due.name AS agent, attempt.priority, attempt.next_at
), jobs AS (
    UPDATE agents_job job SET status = 'sent', sent_at = statement_timestamp()
    FROM (SELECT id FROM agents_job WHERE status = 'due' AND next_at <= statement_timestamp() ORDER BY priority DESC, next_at LIMIT %(batch)s
          FOR NO KEY UPDATE SKIP LOCKED) due
    WHERE job.id = due.id
    RETURNING job.id, job.token, NULL AS agent, job.priority, job.next_at
)
SELECT id, token, agent FROM (SELECT * FROM attempts UNION ALL SELECT * FROM jobs) taken ORDER BY priority DESC, next_at
"""


def _take() -> list[_Message]:
    with connection.cursor() as cursor:
        cursor.execute(_TAKE, {"batch": _BATCH})
        rows = cursor.fetchall()
    return [
        _Message(RUN_ATTEMPT, {"attempt_id": str(row), "token": token}, f"agent.{agent}", "plans_attempt", row)
        if agent
        else _Message(RUN_JOB, {"job_id": str(row), "token": token}, JOB_QUEUE, "agents_job", row)
        for row, token, agent in rows
    ]


# All that a dispatcher has to know, in one look: what there is to do now, whether a sweep has anything to do, and when the next row
# is due. An idle installation asks nothing else. Rows that wait for an agent are found by a notification, not by their time.
_LOOK = """
SELECT EXISTS (SELECT FROM plans_plan WHERE waits_since IS NOT NULL) AS waiting,
    homeless.found AS homeless,
    CASE WHEN homeless.found THEN (SELECT sum(greatest(0, agent.slots - coalesce(taken.count, 0))) FROM agents_agent agent
        LEFT JOIN (SELECT agent_id, count(*) FROM plans_attempt WHERE status IN ('due', 'sent', 'running') AND agent_id IS NOT NULL GROUP BY agent_id)
            taken ON taken.agent_id = agent.id WHERE agent.status IN ('ready', 'busy')) ELSE 0 END AS room,
    EXISTS (SELECT FROM agents_agent
        WHERE status IN ('starting', 'ready', 'busy', 'draining') AND heard_at < statement_timestamp() - make_interval(secs => %(silent)s))
    OR EXISTS (SELECT FROM plans_attempt WHERE status IN ('due', 'sent', 'running'))
    OR EXISTS (SELECT FROM plans_plan WHERE NOT ended AND stage IN ('approved', 'executing'))
    OR EXISTS (SELECT FROM agents_job WHERE status IN ('sent', 'running'))
    OR EXISTS (SELECT FROM agents_breaker WHERE state <> 'closed')
    OR EXISTS (SELECT FROM plans_unwrittentask) AS busy,
    extract(epoch FROM least(
        (SELECT min(due.next_at) FROM plans_attempt due JOIN plans_plan plan ON plan.id = due.plan_id
            WHERE due.status = 'due' AND (due.agent_id IS NOT NULL OR due.next_at > statement_timestamp()) AND plan.stage IN ('approved', 'executing')),
        (SELECT min(next_at) FROM agents_job WHERE status = 'due')) - statement_timestamp())::float8 AS until_due
FROM (SELECT EXISTS (SELECT FROM plans_attempt due JOIN plans_plan plan ON plan.id = due.plan_id
    WHERE due.status = 'due' AND due.agent_id IS NULL AND due.next_at <= statement_timestamp() AND plan.stage IN ('approved', 'executing')
        AND plan.waits_since IS NULL) AS found) homeless
"""


@dataclass(frozen=True, slots=True)
class _Look:
    """What there is to do: see _LOOK."""

    waiting: bool  # a plan waits for what it works on
    homeless: bool  # something is due that no agent was chosen for
    room: int | None  # free slots, if something is homeless; None: no agent takes work
    busy: bool  # anything is under way that a sweep may have to mend
    until_due: float  # seconds until the next row is due that only has to be sent

    @property
    def sendable(self) -> bool:
        """Whether a row is due that only has to be sent."""
        return self.until_due <= 0


def _look() -> _Look:
    row = first_row(_LOOK, {"silent": SILENT_SECONDS})
    assert row is not None
    waiting, homeless, room, busy, seconds = row
    return _Look(
        waiting,
        homeless,
        None if room is None else int(room),
        busy,
        SWEEP_SECONDS if seconds is None else float(seconds),
    )


def _sweep() -> None:
    for part in (services.mark_silent, reaper.sweep, jobs.reclaim, breakers.catch_up, _route_again, _commit_again):
        reaper.by_itself(part)


def _route_again() -> None:
    with transaction.atomic(), acting(SYSTEM):
        _route_due(room=fleet.room())  # no further: agents that go on pass over what is locked here


def _commit_again() -> None:
    with transaction.atomic(), acting(SYSTEM):
        ask_for_commit()


def _listen() -> None:
    """Be told of what becomes due from now on. Before a look, so that nothing falls between the two."""
    connection.ensure_connection()
    raw = connection.connection
    if not getattr(raw, "_chiffon_listens", False):
        with connection.cursor() as cursor:
            cursor.execute(f"LISTEN {DUE_CHANNEL}")
        raw._chiffon_listens = True


def _wait(seconds: float, stopping: Callable[[], bool]) -> None:
    """Sleep until a notification comes or the time is over."""
    until = time.monotonic() + seconds
    while not stopping() and (left := until - time.monotonic()) > 0:
        if any(True for _ in connection.connection.notifies(timeout=min(left, 0.5), stop_after=1)):
            return
