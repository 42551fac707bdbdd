"""Where the subjects of records lead: the other apps register here how their kinds are named and found.

A record keeps a subject's kind and id and nothing else, so audit knows nobody. Each builder takes all ids of its kind
at once, so that a page of records costs one query per kind and not one per record.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final
from uuid import UUID

from django.contrib.auth import get_user_model
from django.urls import NoReverseMatch, reverse


@dataclass(frozen=True, slots=True)
class Link:
    """What a subject is called on a page, and its address; an empty address is "no page of its own"."""

    text: str
    url: str = ""


@dataclass(frozen=True, slots=True)
class TraceSubject:
    """What a trace is about: its heading and page, and the object that authority is asked about and that has a state."""

    title: str
    subject: Any
    url: str = ""


@dataclass(frozen=True, slots=True)
class TaskRow:
    """The row behind a task, for a page and (`data`) for a program.

    `subject` is what authority is asked about, `state` what has the task's status, `subjects` what its records are about.
    """

    title: str
    subject: Any
    state: Any = None
    trace_id: UUID | None = None
    url: str = ""
    data: Mapping[str, Any] = field(default_factory=dict)
    subjects: tuple[tuple[str, str], ...] = ()


Builder = Callable[[Collection[str]], Mapping[str, Link]]
Tracer = Callable[[Collection[str]], Mapping[str, UUID]]
Owners = Callable[[Collection[UUID]], Mapping[UUID, Link]]
TraceFinder = Callable[[UUID], TraceSubject | None]
TaskFinder = Callable[[UUID], TaskRow | None]

_builders: Final[dict[str, Builder]] = {}
_tracers: Final[dict[str, Tracer]] = {}
_owners: Final[list[Owners]] = []
_labels: Final[dict[str, Mapping[str, str]]] = {}
_trace_finders: Final[list[TraceFinder]] = []
_task_finders: Final[list[TaskFinder]] = []


def register_kind(kind: str, builder: Builder) -> None:
    """Say how subjects of this kind are named and found. The last registration of a kind counts."""
    _builders[kind] = builder


def register_tracer(kind: str, tracer: Tracer) -> None:
    """Say which traces subjects of this kind belong to."""
    _tracers[kind] = tracer


def traces(kind: str, ids: Collection[str]) -> Mapping[str, UUID]:
    """The traces that subjects of a kind belong to, by id. What nobody knows is absent."""
    return _tracers[kind](ids) if kind in _tracers and ids else {}


def register_owners(owners: Owners) -> None:
    """Say what traces belong to, such as plans."""
    _owners.append(owners)


def owners_of(traces: Collection[UUID]) -> Mapping[UUID, Link]:
    """What these traces belong to, one query for each who knows of some. What belongs to nothing is absent."""
    return {trace: link for owners in _owners if traces for trace, link in owners(traces).items()}


def register_labels(type_: str, labels: Mapping[str, str]) -> None:
    """Say how people read the states that records of this type hold, such as "awaiting approval" for pending_approval."""
    _labels[type_] = labels


def labels_of(type_: str) -> Mapping[str, str]:
    """How people read the states in records of this type; what is absent is read as it is written."""
    return _labels.get(type_, {})


def register_trace_finder(finder: TraceFinder) -> None:
    """Say how to find what a trace is about; asked in the order of registration."""
    _trace_finders.append(finder)


def register_task_finder(finder: TaskFinder) -> None:
    """Say how to find the row behind a task; asked in the order of registration."""
    _task_finders.append(finder)


def kinds() -> frozenset[str]:
    """Every kind of subject that someone registered."""
    return frozenset(_builders)


def links_for(subjects: Iterable[tuple[str, str]]) -> dict[tuple[str, str], Link]:
    """The links of many subjects, at most one query per kind. What nobody knows is absent."""
    wanted: dict[str, set[str]] = {}
    for kind, id_ in subjects:
        if kind in _builders:
            wanted.setdefault(kind, set()).add(id_)
    return {(kind, id_): link for kind, ids in wanted.items() for id_, link in _builders[kind](ids).items()}


def link_for(kind: str, id_: str) -> Link | None:
    """The link of one subject, or None if nobody knows it."""
    return links_for([(kind, id_)]).get((kind, id_))


def trace_subject(trace_id: UUID) -> TraceSubject | None:
    """What a trace is about, or None."""
    return next((found for finder in _trace_finders if (found := finder(trace_id))), None)


def task_row(task_id: UUID) -> TaskRow | None:
    """The row behind a task, or None."""
    return next((found for finder in _task_finders if (found := finder(task_id))), None)


def page(name: str, *args: object) -> str:
    """The address of a page by its URL name; empty if this installation does not have it or the id does not fit."""
    try:
        return reverse(name, args=args)
    except NoReverseMatch:
        return ""


def uuids(ids: Iterable[str]) -> list[UUID]:
    """Those of the ids that are UUIDs."""
    found = []
    for id_ in ids:
        try:
            found.append(UUID(id_))
        except ValueError:
            continue
    return found


def _paged(name: str, text: str) -> Builder:
    def build(ids: Collection[str]) -> Mapping[str, Link]:
        return {id_: Link(text.format(id_[:8]), page(name, id_)) for id_ in ids}

    return build


def register_own_kinds() -> None:
    """Register the kinds that audit itself has pages for."""
    register_kind("record", lambda ids: {id_: Link(f"record {id_}", page("audit:record", id_)) for id_ in ids})
    register_kind("task", _paged("audit:task", "task {}"))
    register_kind("trace", _paged("audit:trace", "trace {}"))
    register_kind("commit", lambda ids: {id_: Link(f"commit {id_[:12]}") for id_ in ids})
    register_kind("person", _people)


def _people(ids: Collection[str]) -> Mapping[str, Link]:
    """People by their full name; who has none, or is not there any more, by the name they signed in with."""
    found = {user.get_username(): user.get_full_name() for user in get_user_model().objects.filter(username__in=ids)}
    return {id_: Link(found.get(id_) or id_) for id_ in ids}
