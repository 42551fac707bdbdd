"""What is written to the audit repository about a task: one file per dispatched step, in the contract's fields."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple
from uuid import UUID

from django.db import connection, transaction
from django.db.models import QuerySet

from agents import jobs
from audit import git_trail, trail
from audit.task_file import STATUSES
from plans.conf import COMMIT_TASKS
from plans.enums import LIVE_ATTEMPTS, Decision
from plans.models import Approval, Attempt, UnwrittenTask

_BATCH: Final = 1_000  # every commit writes the list of all tasks there are anew, so a few large ones
_SHOWN_AT_ONCE: Final = 50  # so many files are brought into the work tree also while steps run


# Written out, because every step comes through here and to make objects of its rows takes longer than everything else.
_TASKS: Final = """
SELECT step.id, step.plan_id, step.revision_id, plan.trace_id, revision.number, revision.digest,
    step.status, step.key, step.name, step.index, step.kind, step.service, step.tool, step.playbook::text, step.fallback::text, step.item::text,
    agent.name, (choice.body -> 'score')::text, choice.body ->> 'reason', coalesce(last.sent_at, last.started_at),
    last.status, last.tries, last.by_fallback, last.summary, last.error, last.failure_mode, last.output::text, last.line_count, last.lines_sha256,
    last.resources_used::text, last.started_at, last.finished_at
FROM unnest(%s::uuid[]) WITH ORDINALITY AS wanted(id, place) JOIN plans_step step ON step.id = wanted.id
JOIN plans_plan plan ON plan.id = step.plan_id JOIN plans_revision revision ON revision.id = step.revision_id
JOIN LATERAL (
    SELECT *, count(*) OVER () AS tries FROM plans_attempt WHERE step_id = step.id AND started_at IS NOT NULL ORDER BY number DESC LIMIT 1
) last ON true
LEFT JOIN agents_agent agent ON agent.id = last.agent_id LEFT JOIN plans_routingchoice choice ON choice.id = last.choice_id
ORDER BY wanted.place
"""


class _Task(NamedTuple):
    """A row of _TASKS. What is JSON is still text."""

    step_id: UUID
    plan_id: UUID
    revision_id: UUID
    trace_id: UUID
    revision: int
    digest: str
    status: str
    key: str
    name: str
    place: int
    kind: str
    service: str
    tool: str
    playbook: str | None
    fallback: str | None
    item: str | None
    agent: str | None
    score: str | None
    reason: str | None
    dispatched_at: datetime
    outcome: str
    attempts: int
    by_fallback: bool
    summary: str
    error: str
    failure_mode: str
    output: str | None
    output_lines: int
    output_sha256: str
    resources_used: str
    started_at: datetime
    finished_at: datetime | None


def commit_finished_tasks(_payload: Mapping[str, Any]) -> dict[str, Any]:
    """Commit the files of all tasks whose attempts ended since the last time, one commit a batch.

    What ends meanwhile is left to the next time: to commit is expensive, however little it is.
    Idempotent: equal content makes no new commit, and a mark that could not be written is written the next time.
    The work tree follows when nothing runs, because to make a file takes longer than the rest of a step.
    Raises GitTrailError while git is in trouble; the job is then tried again and nothing is lost.
    """
    written, more = 0, True
    while more and (ended := dict(unwritten().values_list("pk", "step_id")[:_BATCH])):
        more = len(ended) == _BATCH
        tasks = _read(list(dict.fromkeys(ended.values())))
        commit = git_trail.commit_tasks(task_files(tasks)) if tasks else ""
        with transaction.atomic():
            UnwrittenTask.objects.filter(pk__in=list(ended)).delete()
            if tasks:  # which they are, the commit says
                traces = list(dict.fromkeys(task.trace_id for task in tasks))
                trail.record(
                    "tasks.committed", subject=("commit", commit), commit=commit, count=len(tasks), traces=traces
                )
        written += len(tasks)
    if written and (written <= _SHOWN_AT_ONCE or not Attempt.objects.filter(status__in=LIVE_ATTEMPTS).exists()):
        git_trail.show()
    return {"tasks": written}


def ask_for_commit() -> None:
    """Ask for one commit of all that is not in git yet, unless somebody asked already."""
    if UnwrittenTask.objects.exists() and unwritten().exists():
        jobs.enqueue(COMMIT_TASKS, key="batch")


def unwritten() -> QuerySet[Attempt]:
    """Ended attempts that no commit holds yet; those of a step that is tried again come when the step has ended."""
    ended = Attempt.objects.filter(pk__in=UnwrittenTask.objects.values("pk"), step__status__in=STATUSES)
    return ended.order_by("finished_at", "pk")


def _read(step_ids: Sequence[UUID]) -> list[_Task]:
    """What these steps and their last tries came to, in this order; steps that were never tried are left out."""
    with connection.cursor() as cursor:
        cursor.execute(_TASKS, [list(step_ids)])
        return [_Task(*row) for row in cursor.fetchall()]


def task_files(tasks: Sequence[_Task]) -> list[dict[str, Any]]:
    """The contents of `.audit/tasks/<task_id>.json` for each task, as things are now; the same few queries for all."""
    answers: dict[UUID, list[dict[str, Any]]] = {task.revision_id: [] for task in tasks}
    given = Approval.objects.filter(revision__in=list(answers), decision=Decision.APPROVED)
    for answer in given.select_related("approver", "policy"):
        told = {
            "approver": answer.approver.get_username(),
            "digest": answer.digest,
            "comment": answer.comment,
            "policy": str(answer.policy),
            "at": _time(answer.at),
        }
        answers[answer.revision_id].append(told)
    return [_task_file(task, answers[task.revision_id]) for task in tasks]


def _task_file(task: _Task, approvals: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    fallback = json.loads(task.fallback) if task.by_fallback and task.fallback else None
    return {
        "task_id": str(task.step_id),
        "plan_id": str(task.plan_id),
        "trace_id": str(task.trace_id),
        "revision": task.revision,
        "digest": task.digest,
        "status": task.status,
        "step": {
            "key": task.key,
            "name": task.name,
            "tool": fallback["tool"] if fallback else task.tool,
            "index": task.place,
            "playbook": fallback["playbook"] if fallback else _json(task.playbook),
            "kind": task.kind,
            "parent": task.key.rpartition(".")[0] or None,
            "item": _json(task.item),
        },
        "dispatch": {
            "agent": task.agent or "",
            "score": _json(task.score),
            "reason": task.reason or "",
            "at": _time(task.dispatched_at),
        },
        "execution_result": {
            "outcome": task.outcome,
            "attempts": task.attempts,
            "by_fallback": task.by_fallback,
            "summary": task.summary,
            "error": task.error,
            "failure_mode": task.failure_mode or None,
            "output": _json(task.output),
            "output_lines": task.output_lines,
            "output_sha256": task.output_sha256 or None,
            "resources_used": _json(task.resources_used),
            "services_touched": [task.service] if task.service else [],
            "started_at": _time(task.started_at),
            "finished_at": _time(task.finished_at),
        },
        "approvals": approvals,
    }


def _json(value: str | None) -> Any:
    return None if value is None else json.loads(value)


def _time(value: datetime | None) -> str | None:
    return value.isoformat() if value else None
