"""Questions to the trail: filters as people and programs write them, paged by key; the story of a trace; one task."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from typing import Final
from uuid import UUID

from django.contrib.auth import get_user_model
from django.db import OperationalError
from django.db.models import Max, Min, Q, QuerySet

from audit import git_trail, links
from audit.canonical import canonical
from audit.decisions import DECISIONS
from audit.errors import BadFilter, GitTrailError
from audit.git_trail import TaskCommit
from audit.links import TaskRow
from audit.models import BY_TRACE, DecisionRecord, subject_key

PAGE: Final = 50
STORY: Final = 300
MOST: Final = 500
LONGEST: Final = 200  # characters of one filter's value
_LATER: Final = 100  # commits after the last record of a trace that may still hold tasks of it
_TRIED: Final = 3
FIELDS: Final = ("trace_id", "type", "actor", "subject", "service", "since", "until", "q")

# Families of types as people look for them; `type` takes one of these words, a type, or the part before its dot.
GROUPS: Final[Mapping[str, tuple[str, ...]]] = {
    "requests": tuple(name for name in DECISIONS if name.startswith("request.")),
    "approvals": ("plan.approved", "plan.rejected", "plan.decision_refused"),
    "routing": ("step.routed", "step.blocked"),
    "failures": (
        *(name for name, known in DECISIONS.items() if known.tone == "bad"),
        "attempt.interrupted",
        "attempt.retry_scheduled",
        "step.retried",
        "step.narrowed",
        "step.brought_forward",
        "step.given_up",
    ),
    "configuration": tuple(
        name for name in DECISIONS if name.split(".")[0] in {"policy", "agent", "playbooks", "setting"}
    ),
    "sign-ins": tuple(name for name in DECISIONS if name.split(".")[0] in {"person", "token"}),
    "people": tuple(name for name, known in DECISIONS.items() if known.tone == "you"),
}
_KINDS: Final = frozenset(
    {"request", "plan", "revision", "step", "attempt", "agent", "approval", "policy", "person"}
) | {
    "record",
    "task",
    "commit",
    "token",
    "job",
    "repository",
    "playbook",
    "session",
    "trace",
}
_KIND_AND_ID: Final = re.compile(r"([a-z_]{2,32}):(.+)")


@dataclass(frozen=True, slots=True)
class RecordFilter:
    """What a reader asks the trail for. Empty fields ask for everything."""

    trace_id: UUID | None = None
    types: tuple[str, ...] = ()
    actor: str = ""
    subject_kind: str = ""
    subject_id: str = ""
    service: str = ""
    since: datetime | None = None
    until: datetime | None = None  # not included
    words: tuple[str, ...] = ()

    @property
    def is_empty(self) -> bool:
        """Whether it asks for everything."""
        return self == RecordFilter()

    def apply(self, records: QuerySet[DecisionRecord]) -> QuerySet[DecisionRecord]:
        """The records that fit."""
        if self.trace_id:
            records = records.filter(trace_id=self.trace_id)
        if self.types:
            records = records.filter(type__in=self.types)
        if self.actor:
            records = records.filter(actor=self.actor)
            if get_user_model().objects.filter(username=self.actor).exists():  # people have an index of their own
                records = records.filter(actor_kind="person")
        if self.subject_id:
            records = records.filter(_of_subject(self.subject_kind, self.subject_id))
        elif self.subject_kind:
            records = records.filter(_of_any(self.subject_kind))
        if self.service:
            records = records.filter(service=self.service)
        if self.since:
            records = records.filter(at__gte=self.since)
        if self.until:
            records = records.filter(at__lt=self.until)
        for word in self.words:
            records = records.filter(_about(word))
        return records


def parse_filter(values: Mapping[str, str]) -> RecordFilter:
    """Read the filter fields from query parameters. Raises BadFilter naming every field that cannot be read.

    `type` is a type, a family such as `plan`, or one of GROUPS, several separated by commas. `subject` is `kind:id`,
    an id, or a kind. `since` and `until` are RFC 3339 times or days in UTC; a day as `until` is included.
    """
    errors: list[dict[str, object]] = []
    given: dict[str, str] = {}
    for name in FIELDS:
        value = values.get(name, "").strip()
        if len(value) > LONGEST or "\0" in value or not value.isprintable():
            errors.append(_wrong(name, f"{name} must be printable text of at most {LONGEST} characters."))
        elif value:
            given[name] = value
    trace_id = None
    if "trace_id" in given:
        try:
            trace_id = UUID(given["trace_id"])
        except ValueError:
            errors.append(_wrong("trace_id", "trace_id must be a UUID."))
    kind, subject_id = _subject(given.get("subject", ""))
    since = _moment("since", given.get("since", ""), errors)
    until = _moment("until", given.get("until", ""), errors, whole_day=True)
    if since and until and since >= until:
        errors.append(_wrong("until", "until must be later than since."))
    types = _types(given.get("type", ""), errors)
    if errors:
        raise BadFilter(errors)
    return RecordFilter(
        trace_id=trace_id,
        types=types,
        actor=given.get("actor", ""),
        subject_kind=kind,
        subject_id=subject_id,
        service=given.get("service", ""),
        since=since,
        until=until,
        words=tuple(given.get("q", "").split()[:8]),
    )


@dataclass(frozen=True, slots=True)
class Page:
    """A page of records and the sequence numbers to go on from; None: there is nothing further."""

    records: list[DecisionRecord]
    older: int | None = None
    newer: int | None = None


def find_records(
    wanted: RecordFilter, *, before: int | None = None, after: int | None = None, limit: int = PAGE
) -> Page:
    """The newest records that fit, newest first; `before` and `after` are sequence numbers that pages go on from.

    Nothing is counted, so a page costs the same behind a thousand records and behind a hundred million. Raises
    BadFilter if the search takes longer than a page may.
    """
    limit = max(1, min(limit, MOST))
    fitting = wanted.apply(DecisionRecord.objects.all())
    if after is not None:
        rows = _run(fitting.filter(sequence__gt=after).order_by("sequence")[: limit + 1])
        more, rows = len(rows) > limit, rows[:limit][::-1]
        return Page(rows, older=rows[-1].sequence if rows else None, newer=rows[0].sequence if more else None)
    if before is not None:
        fitting = fitting.filter(sequence__lt=before)
    rows = _run(fitting.order_by("-sequence")[: limit + 1])
    more, rows = len(rows) > limit, rows[:limit]
    return Page(
        rows,
        older=rows[-1].sequence if more else None,
        newer=rows[0].sequence if rows and before is not None else None,
    )


def find_record(sequence: int) -> DecisionRecord | None:
    """One record by its number, or None."""
    return DecisionRecord.objects.filter(sequence=sequence).first() if 0 < sequence < 1 << 63 else None


def parse_sequence(text: str, name: str = "before") -> int | None:
    """A sequence number from a query parameter, None for no text. Raises BadFilter."""
    if not text:
        return None
    if not text.isascii() or not text.isdigit() or len(text) > 18:
        raise BadFilter([_wrong(name, f"{name} must be the number of a record.")])
    return int(text)


def timeline(trace_id: UUID, *, after: int = 0, limit: int = STORY) -> Page:
    """The records of a trace and of the commits that brought its tasks into git, oldest first; `newer`: to go on after."""
    rows = list(DecisionRecord.objects.filter(trace_id=trace_id, sequence__gt=after).order_by("sequence")[: limit + 1])
    more, rows = len(rows) > limit, rows[:limit]
    until = rows[-1].sequence if more else None
    known = {row.sequence for row in rows}
    commits = [one for one in commits_of(trace_id, after=after) if until is None or one.sequence <= until]
    rows += [one for one in commits if one.sequence not in known]
    return Page(sorted(rows, key=lambda row: row.sequence), older=None, newer=until)


@dataclass(frozen=True, slots=True)
class TaskStory:
    """All that is known about a task: its row, the records about it (oldest first), and its file in git."""

    task_id: UUID
    row: TaskRow | None
    records: list[DecisionRecord] = field(default_factory=list)
    commit: TaskCommit | None = None
    commit_problem: str = ""

    @property
    def is_known(self) -> bool:
        """Whether anything at all is known about it."""
        return bool(self.row or self.records or self.commit)


def task_story(task_id: UUID) -> TaskStory:
    """What is known about a task, from its row, the trail and git. Trouble with git is told, not raised."""
    row = links.task_row(task_id)
    subjects = {("task", str(task_id)), ("step", str(task_id)), *(row.subjects if row else ())}
    records = records_about(subjects)
    # Its end is in the first commit for its plan afterwards, or in the one after a commit that was under way.
    made = commits_of(row.trace_id, after=records[-1].sequence)[:_TRIED] if row and row.trace_id and records else []
    try:
        found = git_trail.find_task(task_id, hints=[str(record.metadata.get("commit", "")) for record in made])
    except GitTrailError as error:
        return TaskStory(task_id, row, records, None, str(error))
    brought = [record for record in made if found and record.metadata.get("commit") == found.commit]
    return TaskStory(task_id, row, records + brought[:1], found)


def commits_of(trace_id: UUID, *, after: int = 0) -> list[DecisionRecord]:
    """The records of the commits that brought tasks of a trace into git, oldest first, after the record with that number.

    Commits follow within seconds, so no later ones are looked at than the first few after the trace's last record.
    """
    ends = DecisionRecord.objects.filter(trace_id=trace_id).aggregate(first=Min("sequence"), last=Max("sequence"))
    if ends["first"] is None:
        return []
    made = DecisionRecord.objects.filter(type="tasks.committed").order_by("sequence")
    later = list(made.filter(sequence__gt=ends["last"]).values_list("sequence", flat=True)[:_LATER])
    until = later[-1] if later else ends["last"]
    named = made.filter(sequence__gt=max(ends["first"], after), sequence__lte=until)
    return list(named.filter(canonical__contains=f'"{trace_id}"')[:STORY])  # as one of several, or as the record's own


def records_about(subjects: Iterable[tuple[str, str]], *, limit: int = STORY) -> list[DecisionRecord]:
    """The records about any of these subjects, oldest first, at most the newest `limit` of them."""
    ids: dict[str, list[str]] = {}
    for kind, id_ in subjects:
        ids.setdefault(kind, []).append(id_)
    fits = Q(pk__in=[])
    for kind, of_kind in ids.items():
        fits |= _of_kind(kind, of_kind)
    return list(DecisionRecord.objects.filter(fits).order_by("-sequence")[:limit])[::-1]


def _about(word: str) -> Q:
    """A UUID is looked up in the indexed columns; other words are searched in the stored text."""
    try:
        id_ = UUID(word)
    except ValueError:
        # The stored text is JSON, so what JSON escapes is escaped before it is compared.
        escaped = word.replace("\\", "\\\\").replace('"', '\\"')
        return Q(canonical__icontains=escaped)
    return Q(trace_id__in={id_, trace_of(id_)}) | of_id(str(id_))


def _of_subject(kind: str, id_: str) -> Q:
    """The records about one subject, which has an index unless it is found through its trace."""
    if kind:
        return _of_kind(kind, [id_])
    for known in BY_TRACE:
        if links.traces(known, [id_]):
            return _of_kind(known, [id_])
    return of_id(id_)


def of_id(id_: str) -> Q:
    """The records about what has this id, of whatever kind, except for those that are found through their trace."""
    return Q(subject__in=sorted(filter(None, (subject_key(kind, id_) for kind in _KINDS | links.kinds()))))


def _of_kind(kind: str, ids: Sequence[str]) -> Q:
    """The records about these subjects of one kind."""
    if kind not in BY_TRACE:
        return Q(subject__in=[subject_key(kind, id_) for id_ in ids])
    fits = Q(pk__in=[])
    for id_ in ids:
        fits |= Q(canonical__contains=f'"subject":{canonical({"kind": kind, "id": id_}).decode()}')
    traces = links.traces(kind, ids)
    return fits & Q(trace_id__in=set(traces.values())) if traces else fits


def _of_any(kind: str) -> Q:
    """The records about any subject of a kind."""
    if kind not in BY_TRACE:
        return Q(subject__startswith=f"{kind}:")
    said = f'"kind":"{kind}"}},'  # and what follows the subject in the order of the keys
    return Q(canonical__contains=f'{said}"trace_id":') | Q(canonical__contains=f'{said}"type":')


def trace_of(subject_id: UUID) -> UUID:
    """The trace of what carries this id, such as a plan, by its records; the id itself if there are none."""
    for kind in BY_TRACE:
        if known := links.traces(kind, [str(subject_id)]):
            return next(iter(known.values()))
    records = DecisionRecord.objects.filter(of_id(str(subject_id)), trace_id__isnull=False)
    return records.values_list("trace_id", flat=True).first() or subject_id


def _run(records: QuerySet[DecisionRecord]) -> list[DecisionRecord]:
    try:
        return list(records)
    except OperationalError as error:
        if getattr(error.__cause__, "sqlstate", "") != "57014":
            raise
        sentence = "The search took too long. Narrow it by time, person, service or trace."
        raise BadFilter([_wrong("q", sentence)]) from error


def _types(text: str, errors: list[dict[str, object]]) -> tuple[str, ...]:
    found: dict[str, None] = {}
    for word in filter(None, (part.strip() for part in text.split(","))):
        family = [name for name in DECISIONS if name.startswith(f"{word}.")]
        fits = GROUPS.get(word) or ([word] if word in DECISIONS else family)
        if not fits:
            errors.append(_wrong("type", f"No decision type is called {word!r}."))
        found |= dict.fromkeys(fits)
    return tuple(found)


def _subject(text: str) -> tuple[str, str]:
    if split := _KIND_AND_ID.fullmatch(text):
        return split[1], split[2]
    return (text, "") if text in _KINDS | links.kinds() else ("", text)


def _moment(name: str, text: str, errors: list[dict[str, object]], *, whole_day: bool = False) -> datetime | None:
    if not text:
        return None
    try:
        if re.fullmatch(r"\d{4}-\d\d-\d\d", text):
            day = datetime.combine(date.fromisoformat(text), time(), UTC)
            return day + timedelta(days=1) if whole_day else day
        moment = datetime.fromisoformat(text)
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        errors.append(_wrong(name, f"{name} must be a day such as 2026-11-19 or a time such as 2026-11-19T13:00:00Z."))
        return None


def _wrong(name: str, sentence: str) -> dict[str, object]:
    return {"loc": [name], "msg": sentence}
