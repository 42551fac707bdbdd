"""What is written to the audit repository about a task: one file per dispatched step, in the contract's fields."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any, Final

from django.db import transaction
from django.db.models import QuerySet

from audit import git_trail, trail
from audit.task_file import STATUSES, path_of
from plans.enums import Decision
from plans.models import Approval, Attempt, Step

logger = logging.getLogger(__name__)
_BATCH: Final = 200
_ENDED: Final = ("completed", "failed", "cancelled", "interrupted")


def commit_finished_tasks(_payload: Mapping[str, Any]) -> dict[str, Any]:
    """Commit the files of all tasks whose attempts ended since the last time, one commit a batch.

    Idempotent: equal content makes no new commit, and a mark that could not be written is written the next time.
    Raises GitTrailError while git is in trouble; the job is then tried again and nothing is lost.
    """
    written = 0
    while attempts := list(unwritten()[:_BATCH]):
        steps = {attempt.step_id: attempt.step for attempt in attempts}
        payloads = [task_file(step) for step in steps.values()]
        commit = git_trail.commit_tasks(payloads)
        with transaction.atomic():
            Attempt.objects.filter(pk__in=[attempt.pk for attempt in attempts]).update(audit_commit=commit)
            for step, payload in zip(steps.values(), payloads, strict=True):
                trail.record(
                    "task.committed",
                    subject=("step", step.pk),
                    plan_id=step.plan_id,
                    trace_id=step.plan.trace_id,
                    service=step.service,
                    commit=commit,
                    path=path_of(payload["task_id"]),
                )
        written += len(steps)
    return {"tasks": written}


def unwritten() -> QuerySet[Attempt]:
    """Ended attempts that no commit holds yet; those of a step that is tried again come when the step has ended."""
    ended = Attempt.objects.filter(
        status__in=_ENDED, audit_commit="", started_at__isnull=False, step__status__in=STATUSES
    )
    return ended.select_related("step__plan", "step__revision").order_by("finished_at")


def task_file(step: Step) -> dict[str, Any]:
    """The contents of `.audit/tasks/<task_id>.json` for a step, as things are now."""
    attempts = list(step.attempts.filter(started_at__isnull=False).select_related("agent").order_by("number"))
    last = attempts[-1]
    answers = Approval.objects.filter(revision=step.revision, decision=Decision.APPROVED).select_related(
        "approver", "policy"
    )
    return {
        "task_id": str(step.pk),
        "plan_id": str(step.plan_id),
        "trace_id": str(step.plan.trace_id),
        "revision": step.revision.number,
        "digest": step.revision.digest,
        "status": step.status,
        "step": {"key": step.key, "name": step.name, "tool": step.tool, "index": step.index, "playbook": step.playbook},
        "dispatch": {
            "agent": last.agent.name if last.agent else "",
            "score": last.routing.get("score"),
            "reason": last.routing.get("reason", ""),
            "at": _time(last.sent_at or last.started_at),
        },
        "execution_result": {
            "outcome": last.status,
            "attempts": len(attempts),
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
