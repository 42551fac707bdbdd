"""The REST endpoints of the trail: its records, and everything known about one task."""

from __future__ import annotations

from typing import Annotated, Any
from uuid import UUID

from django.http import HttpRequest
from ninja import Path, Query, Router, Schema
from pydantic import Field

from audit.authority import Action, may
from audit.errors import BadFilter
from audit.http import USUAL_PAGE, After, Limit, Problem, Time, Told, allow, missing
from audit.models import DecisionRecord
from audit.query import find_records, parse_filter, task_story

audit = Router(tags=["audit"])
_Words = Annotated[str, Field(max_length=1000)]


class RecordFilters(Schema):
    """Which records. `type` may name a family, `subject` is kind:id, an id or a kind, times are RFC 3339 or days."""

    trace_id: _Words = ""
    type: _Words = ""
    actor: _Words = ""
    subject: _Words = ""
    service: _Words = ""
    since: _Words = ""
    until: _Words = ""
    q: _Words = ""
    after: After | None = None
    limit: Limit = USUAL_PAGE


class ActorTold(Told):
    """Who decided."""

    kind: str
    name: str


class SubjectTold(Told):
    """What it was about."""

    kind: str
    id: str


class RecordTold(Told):
    """One decision."""

    sequence: int
    trace_id: UUID | None
    type: str
    actor: ActorTold
    subject: SubjectTold
    service: str
    reason: str
    alternatives: list[Any]
    metadata: dict[str, Any]
    at: Time


class RecordsTold(Told):
    """A page of records."""

    items: list[RecordTold]
    next: str | None


class CommitTold(Told):
    """The commit in the audit repository that holds a task's file, and the file."""

    path: str
    commit: str
    at: str
    author: str
    content: Any


class TaskTold(Told):
    """One task: its row, the records about it (oldest first), and its commit, which is null until it is made."""

    task_id: UUID
    row: dict[str, Any] | None
    records: list[RecordTold]
    commit: CommitTold | None
    commit_problem: str | None


@audit.get("/records", response=RecordsTold, operation_id="list_records", summary="Decision records, newest first")
def list_records(request: HttpRequest, filters: Query[RecordFilters]) -> dict[str, Any]:
    """Everything that was decided: by trace, type, person, subject, service, time or words."""
    allow(Action.SEE_AUDIT)
    try:
        wanted = parse_filter({name: str(value) for name, value in filters.dict(exclude={"after", "limit"}).items()})
        page = find_records(wanted, before=int(filters.after) if filters.after else None, limit=filters.limit)
    except BadFilter as error:
        raise bad_filter(error) from error
    more = str(page.older) if page.older is not None else None
    return {"items": [tell_record(record) for record in page.records], "next": more}


@audit.get("/tasks/{task_id}", response=TaskTold, operation_id="get_task", summary="One task's row, records and commit")
def get_task(request: HttpRequest, task_id: Path[UUID]) -> dict[str, Any]:
    """For whoever may read the trace it belongs to."""
    return tell_task(task_id)


def tell_task(task_id: UUID) -> dict[str, Any]:
    """Everything known about a task, if the caller may read its trace. Raises Problem 403 or 404."""
    actor = allow(Action.SEE_TRACE)
    story = task_story(task_id)
    # A task whose row is gone is the auditors' alone.
    answer = may(actor, Action.SEE_TRACE, story.row.subject) if story.row else may(actor, Action.SEE_AUDIT)
    if not answer or not story.is_known:
        raise missing("task")
    return {
        "task_id": task_id,
        "row": dict(story.row.data) if story.row else None,
        "records": [tell_record(record) for record in story.records],
        "commit": story.commit.as_dict() if story.commit else None,
        "commit_problem": story.commit_problem or None,
    }


def tell_record(record: DecisionRecord) -> dict[str, Any]:
    """A record with the contract's fields."""
    return {
        "sequence": record.sequence,
        "trace_id": record.trace_id,
        "type": record.type,
        "actor": {"kind": record.actor_kind, "name": record.actor},
        "subject": {"kind": record.subject_kind, "id": record.subject_id},
        "service": record.service,
        "reason": record.reason,
        "alternatives": record.alternatives,
        "metadata": record.metadata,
        "at": record.at,
    }


def bad_filter(error: BadFilter) -> Problem:
    """The problem for a question that cannot be read."""
    errors = [{"loc": ["query", *_parts(found.get("loc"))], "msg": found["msg"]} for found in error.errors]
    return Problem(422, error.code, str(error), errors=errors)


def _parts(loc: object) -> list[object]:
    return list(loc) if isinstance(loc, list) else []
