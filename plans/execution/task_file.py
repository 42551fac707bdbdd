"""What is written to the audit repository about a task: one file per dispatched step, in the contract's fields."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any, Final
from uuid import UUID

from django.db import transaction
from django.db.models import Prefetch, QuerySet

from agents import jobs
from audit import git_trail, trail
from audit.task_file import STATUSES
from plans.conf import COMMIT_TASKS
from plans.enums import LIVE_ATTEMPTS, Decision
from plans.models import Approval, Attempt, Revision, Step, UnwrittenTask

logger = logging.getLogger(__name__)
_BATCH: Final = 1_000  # every commit writes the list of all tasks there are anew, so a few large ones
_SHOWN_AT_ONCE: Final = 50  # so many files are brought into the work tree also while steps run


def commit_finished_tasks(_payload: Mapping[str, Any]) -> dict[str, Any]:
    """Commit the files of all tasks whose attempts ended since the last time, one commit a batch.

    Idempotent: equal content makes no new commit, and a mark that could not be written is written the next time.
    The work tree follows when nothing runs, because to make a file takes longer than the rest of a step.
    Raises GitTrailError while git is in trouble; the job is then tried again and nothing is lost.
    """
    written = 0
    while ended := dict(unwritten().values_list("pk", "step_id")[:_BATCH]):
        steps = _read(list(dict.fromkeys(ended.values())))
        payloads = task_files(steps)
        commit = git_trail.commit_tasks(payloads)
        by_plan: dict[UUID, list[Step]] = {}
        for step in steps:
            by_plan.setdefault(step.plan_id, []).append(step)
        records = [
            trail.prepare(
                "tasks.committed",
                subject=("plan", plan_id),
                plan_id=plan_id,
                trace_id=of_plan[0].plan.trace_id,
                service=of_plan[0].plan.service,
                facts={"commit": commit, "count": len(of_plan), "tasks": [str(step.pk) for step in of_plan]},
            )
            for plan_id, of_plan in by_plan.items()
        ]
        with transaction.atomic():
            UnwrittenTask.objects.filter(pk__in=list(ended)).delete()
            trail.record_all(records)
        written += len(steps)
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


def _read(step_ids: Sequence[UUID]) -> list[Step]:
    """These steps, in this order; not joined, because a revision's header names every step of its plan."""
    revisions = Prefetch("revision", Revision.objects.defer("header", "risk_facts"))
    steps = Step.objects.defer("output", "proof", "items").prefetch_related("plan", revisions).in_bulk(step_ids)
    return [steps[step_id] for step_id in step_ids]


def task_files(steps: Sequence[Step]) -> list[dict[str, Any]]:
    """The contents of `.audit/tasks/<task_id>.json` for each step, as things are now; the same few queries for all."""
    attempts: dict[UUID, list[Attempt]] = {step.pk: [] for step in steps}
    tried = Attempt.objects.filter(step__in=list(attempts), started_at__isnull=False).defer("progress")
    for attempt in tried.prefetch_related("agent").order_by("number"):
        attempts[attempt.step_id].append(attempt)
    answers: dict[UUID, list[Approval]] = {step.revision_id: [] for step in steps}
    given = Approval.objects.filter(revision__in=list(answers), decision=Decision.APPROVED)
    for answer in given.select_related("approver", "policy"):
        answers[answer.revision_id].append(answer)
    return [_task_file(step, attempts[step.pk], answers[step.revision_id]) for step in steps]


def _task_file(step: Step, attempts: Sequence[Attempt], answers: Sequence[Approval]) -> dict[str, Any]:
    last = attempts[-1]
    work = step.work_of(by_fallback=last.by_fallback)
    return {
        "task_id": str(step.pk),
        "plan_id": str(step.plan_id),
        "trace_id": str(step.plan.trace_id),
        "revision": step.revision.number,
        "digest": step.revision.digest,
        "status": step.status,
        "step": {
            "key": step.key,
            "name": step.name,
            "tool": work.tool,
            "index": step.index,
            "playbook": work.playbook,
            "kind": step.kind,
            "parent": step.parent_key or None,
            "item": step.item,
        },
        "dispatch": {
            "agent": last.agent.name if last.agent else "",
            "score": last.routing.get("score"),
            "reason": last.routing.get("reason", ""),
            "at": _time(last.sent_at or last.started_at),
        },
        "execution_result": {
            "outcome": last.status,
            "attempts": len(attempts),
            "by_fallback": last.by_fallback,
            "summary": last.summary,
            "error": last.error,
            "failure_mode": last.failure_mode or None,
            "output": last.output,
            "output_lines": last.line_count,
            "output_sha256": last.lines_sha256 or None,
            "resources_used": last.resources_used,
            "services_touched": [step.service] if step.service else [],
            "started_at": _time(last.started_at),
            "finished_at": _time(last.finished_at),
        },
        "approvals": [
            {
                "approver": answer.approver.get_username(),
                "digest": answer.digest,
                "comment": answer.comment,
                "policy": str(answer.policy),
                "at": _time(answer.at),
            }
            for answer in answers
        ],
    }


def _time(value: Any) -> str | None:
    return value.isoformat() if value else None
