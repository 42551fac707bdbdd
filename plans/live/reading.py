"""What happened to a plan after a cursor: its events and its attempts' output lines in one stream.

An event is delivered once its transaction is older than every running one, so that a late commit is never missed. Lines need no
such care: an attempt's lines are stored in order under its own row, so those beyond a known seq are always a stretch without gap.
Which attempts are read for lines follows from the delivered events alone: an attempt's first sign of work opens its stream, and
the end of its output closes it after its last line.
"""

from __future__ import annotations

import heapq
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from django.db import connection

from plans.enums import EventType, StepStatus
from plans.live.cursor import WHOLE, Cursor, ForeignCursor
from plans.models import Plan, unfold
from plans.phrases import WENT_WELL

DEFAULT_LIMIT: Final = 500
HIGHEST_LIMIT: Final = 1_000
FEWEST_LINES: Final = 20  # of each attempt in one reading, however many attempts run
MOST_OPENED: Final = 64  # attempts in one reading
OPENING: Final = frozenset({EventType.AGENT_STARTED, EventType.AGENT_THINKING, EventType.TOOL_EXECUTING})
CLOSING: Final = frozenset({EventType.OUTPUT_END, EventType.AGENT_COMPLETED})

Item = dict[str, Any]

_POSITION: Final = """
SELECT (SELECT system_identifier FROM pg_control_system())::text || '.' ||
       (SELECT timeline_id FROM pg_control_checkpoint())::text,
       pg_snapshot_xmin(pg_current_snapshot())::text::bigint
"""
_EVENTS: Final = """
SELECT id, xid, type, step_key, attempt_id, data::text, at, earlier::text FROM plans_event
WHERE plan_id = %s AND (xid, id) >= (%s, %s) ORDER BY xid, id LIMIT %s
"""
# The join keeps a made-up cursor from reading the output of a plan that its reader may not see.
_LINES: Final = """
SELECT wanted.attempt_id, step.key, line.seq, line.stream, line.text, line.at
FROM unnest(%s::uuid[], %s::integer[]) AS wanted(attempt_id, seq)
JOIN plans_attempt attempt ON attempt.id = wanted.attempt_id AND attempt.plan_id = %s
JOIN plans_step step ON step.id = attempt.step_id
CROSS JOIN LATERAL (
    SELECT seq, stream, text, at FROM plans_outputline
    WHERE attempt_id = wanted.attempt_id AND seq > wanted.seq ORDER BY seq LIMIT %s
) line
ORDER BY wanted.attempt_id, line.seq
"""
_OPEN: Final = """
SELECT attempt_id FROM (
    SELECT attempt_id, type, data::jsonb FROM plans_event WHERE plan_id = %(plan)s AND xid < %(xmin)s
    UNION ALL
    SELECT (told ->> 0)::uuid, one ->> 0, one -> 1
    FROM plans_event, jsonb_array_elements(earlier::jsonb) told, jsonb_array_elements(told -> 2) one
    WHERE plan_id = %(plan)s AND xid < %(xmin)s
) told
WHERE attempt_id IS NOT NULL
GROUP BY attempt_id
HAVING bool_or(type = ANY(%(opening)s)) AND NOT bool_or(
    type = ANY(%(closing)s) OR (type = 'step_changed' AND coalesce(data ->> 'now', '') <> 'running'))
"""


@dataclass(frozen=True, slots=True)
class Line:
    """One line of an attempt's output."""

    attempt_id: UUID
    step_key: str
    seq: int
    stream: str
    text: str
    at: datetime


@dataclass(frozen=True, slots=True)
class Batch:
    """Some news, the cursor after it, and whether more is waiting already."""

    events: list[Item]
    cursor: str
    more: bool


@dataclass(frozen=True, slots=True)
class _Event:
    id: int
    xid: int
    type: str
    step_key: str
    attempt_id: UUID | None
    data: dict[str, Any]
    at: datetime
    part: int  # its place in its row, from 1; the last of a row is WHOLE

    @property
    def opens(self) -> bool:
        return self.attempt_id is not None and self.type in OPENING

    @property
    def closes(self) -> bool:
        """Whether no line of its attempt can follow."""
        if self.type == EventType.STEP_CHANGED:
            return self.data.get("now") != StepStatus.RUNNING
        return self.type in CLOSING


@dataclass(slots=True)
class _Stream:
    """The lines of one attempt that this reading found."""

    lines: list[Line]
    cut: bool  # there may be more lines than were read
    next: int = 0


def cursor_now(plan: Plan | UUID) -> str:
    """The cursor of this moment: what is read after it is news to someone who reads the plan's rows from now on.

    The output of attempts that run is taken from its first line, because no row of the plan holds it.
    """
    plan_id = plan.pk if isinstance(plan, Plan) else plan
    epoch, xmin = _position()
    with connection.cursor() as cursor:
        kinds = {"opening": [str(kind) for kind in OPENING], "closing": [WENT_WELL, *map(str, CLOSING)]}
        cursor.execute(_OPEN, {"plan": plan_id, "xmin": xmin, **kinds})
        streams = {row[0]: 0 for row in cursor.fetchall()}
    return Cursor(epoch, xmin, 0, streams).encode()


def events_after(plan_id: UUID, cursor: str | None, limit: int = DEFAULT_LIMIT, *, output: bool = True) -> Batch:
    """The plan's news after a cursor, from its very beginning without one; at most `limit` items.

    With `output=False` only events are read, for readers that follow lines by themselves.

    Raises BadCursor for a text that is no cursor, ForeignCursor for one of another database.
    """
    epoch, xmin = _position()
    start = Cursor.decode(cursor) if cursor else Cursor(epoch)
    if start.epoch != epoch:
        raise ForeignCursor
    limit = max(1, min(limit, HIGHEST_LIMIT))
    return _Reading(plan_id, start, xmin, limit, output=output).run()


def lines_after(plan_id: UUID, attempt_id: UUID, seq: int, limit: int = DEFAULT_LIMIT) -> list[Line]:
    """Up to `limit` lines of an attempt of this plan after line `seq`, in order and without a gap."""
    return _read_lines(plan_id, {attempt_id: seq}, max(1, min(limit, HIGHEST_LIMIT)))


@dataclass(slots=True)
class _Reading:
    """One reading: the events and lines that are there, put into one order."""

    plan_id: UUID
    start: Cursor
    xmin: int
    limit: int
    output: bool
    items: list[Item] = field(default_factory=list)
    open: dict[UUID, int] = field(default_factory=dict)
    streams: dict[UUID, _Stream] = field(default_factory=dict)
    heads: list[tuple[datetime, UUID, int]] = field(default_factory=list)
    xid: int = 0
    id: int = 0
    part: int = 0

    def run(self) -> Batch:
        self.xid, self.id, self.part = self.start.xid, self.start.id, self.start.part
        self.open = dict(self.start.streams)
        found = _read_events(self.plan_id, self.start, self.limit)
        events = [event for event in found if event.xid < self.xmin]
        held = found[len(events) :]
        more = len(events) >= self.limit
        if self.output:
            events, shortened = self._find_streams(events)
            more = more or shortened
            self._hold_back(held, events)
        finished = self._merge(events, to_the_end=not more)
        return Batch(self.items, self._cursor(), more or not finished)

    def _find_streams(self, events: list[_Event]) -> tuple[list[_Event], bool]:
        wanted = dict(self.open)
        opened = 0
        shortened = False
        for position, event in enumerate(events):
            if event.opens and event.attempt_id not in wanted:
                if opened == MOST_OPENED:
                    events, shortened = events[:position], True
                    break
                assert event.attempt_id is not None
                wanted[event.attempt_id] = 0
                opened += 1
        each = max(FEWEST_LINES, self.limit // max(1, len(wanted)))
        lines: dict[UUID, list[Line]] = {attempt: [] for attempt in wanted}
        for line in _read_lines(self.plan_id, wanted, each) if wanted else []:
            lines[line.attempt_id].append(line)
        self.streams = {attempt: _Stream(found, cut=len(found) == each) for attempt, found in lines.items()}
        return events, shortened

    def _hold_back(self, held: list[_Event], delivered: list[_Event]) -> None:
        """Lines that were said after an event that can not be delivered yet wait for it."""
        ended = {event.attempt_id for event in delivered if event.closes}
        for event in held:
            stream = self.streams.get(event.attempt_id) if event.attempt_id else None
            if stream is not None and not event.closes and event.attempt_id not in ended:
                before = [line for line in stream.lines if line.at < event.at]
                stream.cut = stream.cut and len(before) == len(stream.lines)
                stream.lines = before

    def _merge(self, events: list[_Event], *, to_the_end: bool) -> bool:
        """Put everything into items by time; False if it stopped before the end."""
        for attempt in self.open:
            self._queue(attempt)
        for event in events:
            while self.heads and self.heads[0][0] < event.at:
                if not self._say_earliest():
                    return False
            stream = self.streams.get(event.attempt_id) if event.attempt_id in self.open and event.attempt_id else None
            while event.closes and stream is not None and stream.next < len(stream.lines):
                if not self._say(stream):
                    return False
            if len(self.items) >= self.limit:
                return False
            self._tell(event)
        while to_the_end and self.heads:
            if not self._say_earliest():
                return False
        return True

    def _queue(self, attempt: UUID) -> None:
        """Put a stream's next line among those that may come next."""
        stream = self.streams.get(attempt)
        if stream is not None and stream.next < len(stream.lines):
            line = stream.lines[stream.next]
            heapq.heappush(self.heads, (line.at, attempt, line.seq))

    def _say_earliest(self) -> bool:
        _at, attempt, seq = heapq.heappop(self.heads)
        stream = self.streams[attempt]
        if attempt not in self.open or stream.lines[stream.next].seq != seq:
            return True  # its output was finished in the meantime
        if not self._say(stream):
            return False
        self._queue(attempt)
        return True

    def _say(self, stream: _Stream) -> bool:
        """Add a stream's next line; False where the reading must stop, after or instead of it."""
        if len(self.items) >= self.limit:
            return False
        line = stream.lines[stream.next]
        stream.next += 1
        self.open[line.attempt_id] = line.seq
        data = {"seq": line.seq, "stream": line.stream, "text": line.text}
        self._add("output", line.step_key, line.attempt_id, line.at, data)
        # Its next lines were not read, and what else is here may belong after them.
        return not (stream.cut and stream.next == len(stream.lines))

    def _tell(self, event: _Event) -> None:
        self.xid, self.id, self.part = event.xid, event.id, event.part
        if self.output and event.attempt_id is not None:
            if event.opens:
                if event.attempt_id not in self.open:
                    self.open[event.attempt_id] = 0
                    self._queue(event.attempt_id)
            elif event.closes:
                self.open.pop(event.attempt_id, None)
        self._add(event.type, event.step_key, event.attempt_id, event.at, event.data)

    def _add(self, kind: str, step: str, attempt: UUID | None, at: datetime, data: Mapping[str, Any]) -> None:
        self.items.append(
            {
                "cursor": self._cursor(),
                "type": kind,
                "plan_id": str(self.plan_id),
                "step": step or None,
                "attempt": str(attempt) if attempt else None,
                "at": at.isoformat().replace("+00:00", "Z"),
                "data": dict(data),
            }
        )

    def _cursor(self) -> str:
        return Cursor(self.start.epoch, self.xid, self.id, self.open, self.part).encode()


def _position() -> tuple[str, int]:
    """The database's epoch, and the oldest transaction that still runs."""
    with connection.cursor() as cursor:
        cursor.execute(_POSITION)
        epoch, xmin = cursor.fetchone()
    return str(epoch), int(xmin)


def _read_events(plan_id: UUID, start: Cursor, limit: int) -> list[_Event]:
    with connection.cursor() as cursor:
        cursor.execute(_EVENTS, [plan_id, start.xid, start.id, limit + 1])
        rows = cursor.fetchall()
    found = [event for row in rows for event in _unfolded(*row)]
    return [event for event in found if (event.xid, event.id, event.part) > (start.xid, start.id, start.part)][:limit]


def _unfolded(
    event_id: int, xid: int, kind: str, step: str, attempt: UUID | None, data: str, at: datetime, earlier: str | None
) -> Iterator[_Event]:
    """The single events of a row, oldest first."""
    single = list(unfold(json.loads(earlier) if earlier else None, at, kind, step, attempt, json.loads(data)))
    for part, told in enumerate(single, start=1):
        yield _Event(id=event_id, xid=xid, part=part if part < len(single) else WHOLE, **told)


def _read_lines(plan_id: UUID, wanted: Mapping[UUID, int], each: int) -> list[Line]:
    with connection.cursor() as cursor:
        cursor.execute(_LINES, [list(wanted), list(wanted.values()), plan_id, each])
        return [Line(*row) for row in cursor.fetchall()]
