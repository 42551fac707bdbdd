"""What a running tool says: lines are sanitised, redacted, stored in batches under the attempt's own counter, announced."""

from __future__ import annotations

import hashlib
import logging
import math
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import Any
from uuid import UUID

from django.db import DatabaseError, connection, transaction

from agents.errors import StateRefused
from agents.output import sanitise
from agents.tools.base import Stream
from audit.canonical import as_json, plain
from audit.redaction import Lines, redact_value
from plans import live, state
from plans.conf import (
    BEAT_SECONDS,
    FLUSH_SECONDS,
    KEEP_SECONDS,
    LEASE_SECONDS,
    LINES_PER_FLUSH,
    LOOK_SECONDS,
    OVERTIME_SECONDS,
)
from plans.enums import AttemptStatus, EventType
from plans.errors import PlansError
from plans.execution import clock
from plans.execution.leases import asked_to_stop, renew
from plans.models import Attempt, OutputLine

logger = logging.getLogger(__name__)
_PAUSE_WHILE_AWAY = 0.5  # seconds between two tries while the database is away


class StepContext:
    """The ToolContext of one attempt. Nothing but the state raises: a tool's loop must not die of a database that is away.

    While the database is away, lines wait and so does the tool that says them; if the lease ends meanwhile, the attempt
    is lost and the tool is told to stop.
    """

    def __init__(
        self,
        attempt_id: UUID,
        token: int,
        plan_id: UUID,
        step_key: str,
        *,
        number: int = 1,
        quick: bool = False,
        seconds: float = math.inf,
    ) -> None:
        self.attempt_id, self.token, self.plan_id, self.step_key = attempt_id, token, plan_id, step_key
        self.number = number
        self.lost = False
        self._quick = quick  # the tool ends in milliseconds: its events are told together, with its end
        self._untold: list[Any] = []
        self._stop = False
        self._count = 0
        self._hash = hashlib.sha256()
        self._waiting: list[tuple[str, str]] = []
        self._redactors = defaultdict[str, Lines](Lines)  # by stream: each is read in its own order
        self._since = 0.0
        self._reached: Callable[[], dict[str, Any]] | None = None
        self._kept = -math.inf  # the first checkpoint is kept at once
        self._beaten = self._looked = time.monotonic()
        self._until = self._beaten + seconds + OVERTIME_SECONDS

    def line(self, stream: Stream, text: str) -> None:
        """Say one line of output."""
        if not self._waiting:
            self._since = time.monotonic()
        self._waiting.append((stream, self._redactors[stream].redact(sanitise(text))))
        self._flush_if_due()

    def event(self, type_: str, data: dict[str, Any]) -> None:
        """Announce one of the agent events. What a tool is about to do is told before it is done."""
        self.flush()
        self._untold.append(self._told(type_, redact_value(plain(data))))
        if not self._quick:
            self._tell()

    def ending(self, *events: tuple[str, dict[str, Any]]) -> list[Any]:
        """What was not told yet, with these last events: lists of type, data and time, for who records the end."""
        return [*self._untold, *(self._told(type_, data) for type_, data in events)]

    def checkpoint(self, reached: Callable[[], dict[str, Any]]) -> None:
        """Keep how far the work has come: at once, or with a later beat if something was kept just now."""
        self._reached = reached
        self._keep_if_due()

    def beat(self) -> bool:
        """Keep the lease; False says that it is lost."""
        self._flush_if_due()
        self._keep_if_due()
        if not self.lost and time.monotonic() - self._beaten >= BEAT_SECONDS:
            self._persistently(self._renew)
        return not self.lost

    def cancelled(self) -> bool:
        """Whether a person asked for this attempt to stop, or its time is over. The database is asked at most twice a second."""
        if self.overdue:
            return True
        if not self._stop and not self.lost and time.monotonic() - self._looked >= LOOK_SECONDS:
            self._looked = time.monotonic()
            self._persistently(self._look)
        return self._stop

    @property
    def asked(self) -> bool:
        """Whether a person is known to have asked for this attempt to stop."""
        return self._stop

    @property
    def overdue(self) -> bool:
        """Whether the step has taken longer than it may."""
        return time.monotonic() > self._until

    def remember(self, scope: str, key: str, value: Any) -> None:
        """Keep a value for later steps. Raises StateRefused."""
        self._with_state(lambda holder: state.remember(holder, scope, key, value))

    def recall(self, scope: str, key: str) -> tuple[bool, Any]:
        """Whether something is kept under a key, and what. Raises StateRefused."""
        found: tuple[bool, Any] = self._with_state(lambda holder: state.recall(holder, scope, key))
        return found

    def forget(self, scope: str, key: str) -> bool:
        """Remove what is kept under a key; whether there was anything. Raises StateRefused."""
        return bool(self._with_state(lambda holder: state.forget(holder, scope, key)))

    def flush(self) -> None:
        """Store what waits, whatever its age."""
        if self._waiting:
            self._tell()  # a line belongs after what was announced before it
        while self._waiting and not self.lost:
            batch = self._waiting[:LINES_PER_FLUSH]
            self._persistently(lambda batch=batch: self._store(batch))
            if not self.lost:
                del self._waiting[: len(batch)]

    def ended(self) -> tuple[int, str]:
        """How many lines were stored, and the SHA-256 over each line's text and a newline, in order."""
        return self._count, self._hash.hexdigest()

    def _with_state(self, call: Callable[[state.Holder], Any]) -> Any:
        """Ask something of the state, in the language of tools."""
        answers: list[Any] = []
        try:
            self._persistently(lambda: answers.append(call(state.Holder(self.attempt_id, self.token))))
        except state.NotHeld as error:
            self.lost = True
            raise StateRefused(error.sentence) from error
        except PlansError as error:
            raise StateRefused(error.sentence) from error
        if not answers:
            raise StateRefused("This try has lost its lease, so it has no part in the state any more.")
        return answers[-1]

    def _flush_if_due(self) -> None:
        if self._waiting and (len(self._waiting) >= LINES_PER_FLUSH or time.monotonic() - self._since >= FLUSH_SECONDS):
            self.flush()
            self._since = time.monotonic()

    def _keep_if_due(self) -> None:
        if self._reached is not None and not self.lost and time.monotonic() - self._kept >= KEEP_SECONDS:
            progress, self._reached = redact_value(plain(self._reached())), None
            self._persistently(lambda: self._keep(progress))
            self._kept = time.monotonic()

    def _keep(self, progress: dict[str, Any]) -> None:
        held = Attempt.objects.filter(pk=self.attempt_id, token=self.token, status=AttemptStatus.RUNNING)
        self.lost = not held.update(progress=progress)

    def _look(self) -> None:
        answer = asked_to_stop(self.attempt_id, self.token)
        self.lost, self._stop = answer is None, bool(answer)

    def _renew(self) -> None:
        answer = renew(self.attempt_id, self.token)
        self._beaten = time.monotonic()
        self.lost, self._stop = answer is None, self._stop or bool(answer)

    def _store(self, batch: list[tuple[str, str]]) -> None:
        """One transaction: take the next numbers under the attempt's counter, insert the lines.

        Safe to repeat when the answer to a commit was lost: the counter then stands where this batch would end.
        """
        first, last = self._count + 1, self._count + len(batch)
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(
                "UPDATE plans_attempt SET line_count = %s WHERE id = %s AND token = %s AND status = 'running' "
                "AND line_count IN (%s, %s) RETURNING cancel_requested",
                [last, self.attempt_id, self.token, first - 1, last],
            )
            row = cursor.fetchone()
            if row is None:
                self.lost = True
                return
            cursor.execute(
                "INSERT INTO plans_outputline (attempt_id, seq, stream, text) "
                "SELECT %s, %s + place - 1, stream, text "
                "FROM unnest(%s::text[], %s::text[]) WITH ORDINALITY AS line (stream, text, place) "
                "ON CONFLICT (attempt_id, seq) DO NOTHING",
                [self.attempt_id, first, [stream for stream, _ in batch], [text for _, text in batch]],
            )
        self._count = last
        self._stop = self._stop or bool(row[0])
        for _, text in batch:
            self._hash.update(text.encode() + b"\n")
        live.announce(self.plan_id)

    def _told(self, type_: str, data: dict[str, Any]) -> list[Any]:
        return [str(EventType(type_)), data, clock.now()]

    def _tell(self) -> None:
        if self._untold:
            self._persistently(self._write_events)

    def _write_events(self) -> None:
        at = clock.now()
        told = [[str(self.attempt_id), self.step_key, aged(self._untold, at)]]
        with connection.cursor() as cursor:
            cursor.execute("SELECT chiffon_tell(%s, to_timestamp(%s), %s::jsonb)", [self.plan_id, at, as_json(told)])
        self._untold = []
        live.announce(self.plan_id)

    def _persistently(self, write: Any) -> None:
        """Do it, and again while the database is away, until the lease must have ended."""
        while not self.lost:
            try:
                write()
            except DatabaseError as error:
                if time.monotonic() - self._beaten > LEASE_SECONDS:
                    self.lost = True
                    return
                logger.warning("the database is away: %s", type(error).__name__)
                connection.close()
                time.sleep(_PAUSE_WHILE_AWAY)
            else:
                return


def aged(told: Sequence[Any], at: float) -> list[Any]:
    """Events as rows hold them: with the milliseconds that each lies before the row's time instead of its own time."""
    return [[type_, data, max(0, round((at - when) * 1000))] for type_, data, when in told]


def end_facts(lines: int, sha256: str, resources: Mapping[str, Any]) -> dict[str, Any]:
    """What the record of an attempt's end says of its output and of what it used, where there is some."""
    output = {"output_lines": lines, "output_sha256": sha256} if lines else {}
    return output | ({"resources_used": resources} if resources else {})


def lines_sha256(attempt_id: UUID) -> str:
    """The SHA-256 over an attempt's stored lines, for an end whose holder is gone: each text and a newline, in order.

    Read in pieces: PostgreSQL has no value of more than a gigabyte.
    """
    lines = OutputLine.objects.filter(attempt_id=attempt_id).order_by("seq").values_list("text", flat=True)
    found = hashlib.sha256()
    for text in lines.iterator(chunk_size=1_000):
        found.update(f"{text}\n".encode())
    return found.hexdigest()
