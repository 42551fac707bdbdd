"""Undoing what was done: once a step that asks for it has failed, one approved rollback after the other, last step first.

`Plan.rollback_reason` is the state: while it is set nothing else of the plan starts, and whoever settles the plan takes
the next step of the rollback. So it goes on after any crash, a pause, or another try of a rollback that failed.
Everything here runs inside the caller's transaction.
"""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from django.db.models.functions import Now

from audit import trail
from audit.trail import requires_transaction
from plans import lifecycle
from plans.enums import StepKind, StepStatus
from plans.execution import fan_out
from plans.models import Attempt, Plan, Step

_HELD = "The plan is being rolled back."


@requires_transaction
def begin(plan: Plan, step: Step) -> None:
    """A step failed that asks for a rollback: nothing else starts, what runs runs to its end."""
    because = f"{step.key} failed."
    if not Plan.objects.filter(pk=plan.pk, rollback_reason="").update(rollback_reason=because):
        return  # another step was first
    plan.rollback_reason = because
    trail.record(
        "plan.rollback_begun",
        subject=("plan", plan.pk),
        trace_id=plan.trace_id,
        service=plan.service,
        reason=because,
        step=step.key,
    )
    fan_out.hold(Attempt.objects.filter(plan=plan).exclude(step__kind=StepKind.ROLLBACK), because=_HELD)


def holds_back(plan: Plan, step: Step) -> bool:
    """Whether a step may not start because its plan is being rolled back."""
    return bool(plan.rollback_reason) and step.kind != StepKind.ROLLBACK


@requires_transaction
def take_back(plan: Plan, attempt_id: UUID) -> None:
    """An attempt became due at the moment in which the rollback began: it does not start."""
    fan_out.hold(Attempt.objects.filter(pk=attempt_id).exclude(step__kind=StepKind.ROLLBACK), because=_HELD)


@requires_transaction
def next_step(plan: Plan) -> Step | None:
    """What is undone next, with the plan locked and nothing of it running; None if that was all, or one failed."""
    fan_out.rest(plan, to=StepStatus.WAITING, because=_HELD)
    for row in _rows(plan):
        if row.status in (StepStatus.FAILED, StepStatus.UNKNOWN):
            return None
        if row.status == StepStatus.WAITING and row.parent and row.parent.status == StepStatus.COMPLETED:
            return row
    return None


@requires_transaction
def end(plan: Plan) -> str:
    """The rollback has come to its end: the sentence that says what was undone and what was not.

    If nothing was there to be undone, the plan is like any other that failed: it may go on after another try.
    """
    said = tale(plan)
    rows = _rows(plan)
    if any(row.status in (StepStatus.FAILED, StepStatus.UNKNOWN) for row in rows):
        return said
    if not any(row.status in (StepStatus.COMPLETED, StepStatus.SKIPPED) for row in rows):
        Plan.objects.filter(pk=plan.pk).update(rollback_reason="")
        plan.rollback_reason = ""
        return said
    for row in rows:
        if row.status == StepStatus.WAITING:
            leave(row, because=f"{row.parent_key} was not completed, so nothing is to be undone.")
    return said


def tale(plan: Plan) -> str:
    """What was undone, what could not be, and what does not say how."""
    rows = _rows(plan)
    can = [row.parent_id for row in rows if row.parent_id]
    items = Step.objects.filter(plan=plan, revision__number=plan.revision_number, kind=StepKind.ITEM)
    some = items.filter(status=StepStatus.COMPLETED).exclude(parent__status=StepStatus.COMPLETED)
    partly = sorted(set(some.values_list("parent__key", flat=True)))
    done = Step.objects.filter(plan=plan, revision__number=plan.revision_number, kind=StepKind.STEP)
    stays = done.filter(status=StepStatus.COMPLETED).exclude(pk__in=can).order_by("index").values_list("key", flat=True)
    undone = [row.parent_key for row in rows if row.status == StepStatus.COMPLETED]
    failed = [row.parent_key for row in rows if row.status == StepStatus.FAILED]
    unknown = [row.parent_key for row in rows if row.status == StepStatus.UNKNOWN]
    skipped = [row.parent_key for row in rows if row.status == StepStatus.SKIPPED and _was_done(row)]
    still = [
        row.parent_key for row in rows if row.status in (StepStatus.WAITING, StepStatus.CANCELLED) and _was_done(row)
    ]
    parts = [f"{_list(undone)} {_were(undone)} rolled back" if undone else "Nothing was rolled back"]
    parts += [f"undoing {_list(failed)} failed"] if failed else []
    parts += [f"whether {_list(unknown)} was undone is not known"] if unknown else []
    parts += [f"undoing {_list(skipped)} was skipped"] if skipped else []
    parts += [f"{_list(still)} {_were(still)} not undone"] if still else []
    parts += [f"{_list(partly)} {'stay' if len(partly) > 1 else 'stays'} partly done"] if partly else []
    if keys := list(stays):
        parts.append(f"{_list(keys)} {'stay' if len(keys) > 1 else 'stays'} done and can not be undone")
    return f"{plan.rollback_reason} {'; '.join(parts)}."


@requires_transaction
def not_needed(plan: Plan) -> None:
    """The plan was completed: nothing is undone any more."""
    for row in _rows(plan):
        if row.status == StepStatus.WAITING:
            leave(row, because="The plan was completed, so nothing is undone.")


def leave(row: Step, *, because: str) -> None:
    """Say that a rollback will not run."""
    lifecycle.move_step(row, to=StepStatus.SKIPPED, summary=because, finished_at=Now())


def _rows(plan: Plan) -> list[Step]:
    rows = Step.objects.filter(plan=plan, revision__number=plan.revision_number, kind=StepKind.ROLLBACK)
    return list(rows.select_related("parent").order_by("index"))


def _was_done(row: Step) -> bool:
    return row.parent is not None and row.parent.status == StepStatus.COMPLETED


def _list(keys: Sequence[str]) -> str:
    more = f" and {len(keys) - 5} more" if len(keys) > 5 else ""
    return ", ".join(keys[:5]) + more


def _were(keys: Sequence[str]) -> str:
    return "were" if len(keys) > 1 else "was"
