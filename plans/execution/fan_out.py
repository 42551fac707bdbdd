"""A step that runs once for each item of a list: its items are steps of their own, and it ends when they have.

The list is read when the step becomes due and fixed from then on. Each item that ends touches one counter on the step's
row; only an item that fails looks at the others. Everything here runs inside the caller's transaction.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.db.models import F
from django.db.models.functions import Coalesce, Now

from audit import trail
from audit.canonical import canonical, plain, sha256_hex
from audit.trail import requires_transaction
from plans import lifecycle, references, waiting
from plans.conf import MOST_ITEMS
from plans.enums import LIVE_ATTEMPTS, AttemptStatus, OnFailure, StepKind, StepStatus
from plans.models import Attempt, Plan, Step

_DONE = (StepStatus.COMPLETED, StepStatus.SKIPPED)
_STUCK = (StepStatus.FAILED, StepStatus.UNKNOWN)
_OPEN = (StepStatus.READY, StepStatus.RUNNING)
# What an item takes over from its step, besides what is its own.
_COPIED = (
    "revision_id", "plan_id", "index", "name", "tool", "input", "playbook", "agent_type", "work_type", "resources", "risk",
    "timeout_seconds", "retry", "idempotent", "when", "on_failure", "fallback", "hosts", "leaf", "reason", "service",
    "origins", "estimated_seconds",
)  # fmt: skip


@requires_transaction
def open_up(plan: Plan, step: Step, scope: dict[str, Any]) -> list[Step]:
    """The items of a step that is due, to be made due in its place; an empty list completes the step at once.

    A step that was opened before goes on with the items that are not done. Raises Unresolvable if there is no list.
    """
    if step.items is None:
        items = _spread(plan, step, _list_of(step, scope))
    else:
        items = list(left_over(step))
    if step.status not in _OPEN:
        lifecycle.move_step(step, to=StepStatus.READY, error="", finished_at=None)
    if not items and not Attempt.objects.filter(step__parent=step, status__in=LIVE_ATTEMPTS).exists():
        _complete(step)
    return items


def left_over(step: Step) -> Any:
    """The items of a step that are not done and that nothing runs or is about to run."""
    items = Step.objects.filter(parent=step, kind=StepKind.ITEM).exclude(status__in=[*_DONE, StepStatus.CANCELLED])
    return items.exclude(attempts__status__in=LIVE_ATTEMPTS).order_by("item_index")


@requires_transaction
def begin_again(step: Step, items: Sequence[Step]) -> None:
    """These items of a step get another try; what it knows of its failures is about the others from now on."""
    rows = Step.objects.filter(parent=step, kind=StepKind.ITEM)
    rows.filter(pk__in=[item.pk for item in items]).update(error="", finished_at=None)
    others = rows.exclude(pk__in=[item.pk for item in items]).filter(status__in=_STUCK)
    first = others.order_by("item_index").first()
    Step.objects.filter(pk=step.pk).update(error=_told(first) if first else "")


@requires_transaction
def item_ended(item: Step) -> Step | None:
    """Count an item that is decided off at its step. The step, if that was what it waited for: it has ended too.

    An item that failed for good keeps those that have not begun from beginning, unless the plan goes on without it.
    """
    done = item.status in _DONE
    counted = done and Step.objects.filter(pk=item.pk, released=False).update(released=True)
    # The counter's row is the lock: of two items that end at once, the later one sees the earlier one's end.
    mine = Step.objects.filter(children=item)
    if not mine.update(items_open=F("items_open") - (1 if counted else 0)):
        return None
    step = mine.defer("items", "proof", "preview").get()
    if step.status not in _OPEN:
        return None
    if step.items_open == 0:
        _complete(step)
        return step
    if not done and not step.error:
        step.error = _told(item)
        mine.update(error=step.error)
    if not step.error:
        return None
    if not done and step.on_failure != OnFailure.CONTINUE:
        hold(Attempt.objects.filter(step__parent=step), because=f"{item.key} failed.")
    if Attempt.objects.filter(step__parent=step, status__in=LIVE_ATTEMPTS).exists():
        return None
    _give_up(step)
    return step


@requires_transaction
def hold(attempts: Any, *, because: str) -> int:
    """Take back attempts that have not begun; their steps wait. What is just being claimed is left alone. How many."""
    unsent = attempts.select_for_update(of=("self",), skip_locked=True).select_related("step")
    held = list(unsent.filter(status__in=[AttemptStatus.DUE, AttemptStatus.SENT]).order_by("pk"))
    Attempt.objects.filter(pk__in=[attempt.pk for attempt in held]).update(
        status=AttemptStatus.CANCELLED, error=because, finished_at=Now()
    )
    for attempt in held:
        step = attempt.step
        if step.status == StepStatus.WAITING:
            Step.objects.filter(pk=step.pk).update(waiting_for=f"Does not start: {because}")
        elif step.status == StepStatus.READY:
            lifecycle.move_step(step, to=StepStatus.WAITING, waiting_for=f"Does not start: {because}")
    return len(held)


@requires_transaction
def drop(step: Step, *, because: str) -> None:
    """Leave out every item of a step that is not done: the step is skipped. Nothing of it runs."""
    hold(Attempt.objects.filter(step__parent=step), because=because)
    for item in left_over(step):
        lifecycle.move_step(item, to=StepStatus.SKIPPED, summary=because, finished_at=Now())


@requires_transaction
def rest(plan: Plan, *, to: StepStatus, because: str) -> None:
    """Bring the open fan-outs of a plan in which nothing runs any more to rest: cancelled, or waiting again."""
    steps = Step.objects.filter(plan=plan, revision__number=plan.revision_number, for_each__isnull=False)
    for step in steps.filter(kind=StepKind.STEP, status__in=_OPEN):
        done = Step.objects.filter(parent=step, kind=StepKind.ITEM, status__in=_DONE).count()
        said = f"{because} {done} of {len(step.items or ())} items are done.".strip()
        if to is StepStatus.WAITING:
            lifecycle.move_step(step, to=to, waiting_for=said)
        else:
            lifecycle.move_step(step, to=to, summary=said, finished_at=Now())


def _list_of(step: Step, scope: dict[str, Any]) -> list[Any]:
    found = step.for_each if isinstance(step.for_each, list) else references.resolve(step.for_each, scope)
    if not isinstance(found, list):
        kind = {dict: "an object", str: "a text", type(None): "nothing"}.get(type(found), "a single value")
        raise references.Unresolvable(f"{str(step.for_each)[:80]!r} leads to {kind}, not to a list.")
    if len(found) > MOST_ITEMS:
        raise references.Unresolvable(f"Its list has {len(found)} items; a step runs for at most {MOST_ITEMS}.")
    return found


def _spread(plan: Plan, step: Step, found: Sequence[Any]) -> list[Step]:
    """A row for each item, and the list on the step's own row: from now on it is what the items are checked against."""
    step.items, step.items_open = list(found), len(found)
    Step.objects.filter(pk=step.pk).update(items=step.items, items_open=step.items_open)
    common = {name: getattr(step, name) for name in _COPIED}
    items = Step.objects.bulk_create(
        Step(
            **common,
            key=f"{step.key}.{place}",
            kind=StepKind.ITEM,
            parent=step,
            item=item,
            item_index=place,
            waiting_for=waiting.TURN,
        )
        for place, item in enumerate(found)
    )
    waits = {"was": str(StepStatus.PENDING), "now": str(StepStatus.WAITING), "waiting_for": waiting.TURN}
    lifecycle.emit_together(plan.pk, [[None, item.key, [["step_changed", waits, 0]]] for item in items])
    trail.record(
        "step.fanned_out",
        subject=("step", step.pk),
        trace_id=plan.trace_id,
        service=step.service,
        step=step.key,
        count=len(found),
        list_sha256=sha256_hex(canonical(plain(step.items, exact=True))),
    )
    return items


def _complete(step: Step) -> None:
    """Every item is done: the step is, with their outputs in order."""
    if step.status == StepStatus.READY:
        lifecycle.move_step(step, to=StepStatus.RUNNING, started_at=Coalesce(F("started_at"), Now()))
    outputs, skipped = _outputs(step)
    said = f"All {len(outputs)} items are done." if outputs else "Its list is empty."
    if skipped:
        said = f"{len(outputs) - skipped} of {len(outputs)} items are done, {skipped} skipped."
    lifecycle.move_step(
        step, to=StepStatus.COMPLETED, output={"items": outputs}, summary=said, error="", finished_at=Now()
    )


def _give_up(step: Step) -> None:
    """Nothing of the step can go on: it failed, or nobody knows how it ended."""
    rows = Step.objects.filter(parent=step, kind=StepKind.ITEM).order_by("item_index")
    by_status: dict[str, list[str]] = {}
    for key, status in rows.values_list("key", "status"):
        by_status.setdefault(status, []).append(key)
    failed, unknown = by_status.get(StepStatus.FAILED, []), by_status.get(StepStatus.UNKNOWN, [])
    total = sum(map(len, by_status.values()))
    parts = [f"{len(failed)} of {total} items failed: {', '.join(failed[:5])}"] if failed else []
    parts += [f"the outcome of {', '.join(unknown[:5])} is unknown"] if unknown else []
    if done := sum(len(by_status.get(status, ())) for status in _DONE):
        parts.append(f"{done} stay done")
    error = f"{'; '.join(parts)}. {step.error}"
    outputs, _ = _outputs(step)
    if failed:
        lifecycle.move_step(step, to=StepStatus.FAILED, error=error, output={"items": outputs}, finished_at=Now())
        return
    if step.status == StepStatus.READY:  # nothing of it ran since somebody asked for another try
        lifecycle.move_step(step, to=StepStatus.RUNNING)
    lifecycle.move_step(step, to=StepStatus.UNKNOWN, error=error)


def _told(item: Step) -> str:
    """What a step says of an item that failed."""
    return f"{item.key}: {item.error}"[:2_000]


def _outputs(step: Step) -> tuple[list[Any], int]:
    """What each item left, in the order of the list, None for one that left nothing; and how many were skipped."""
    rows = Step.objects.filter(parent=step, kind=StepKind.ITEM).order_by("item_index").values_list("status", "output")
    found = list(rows)
    return [output for _, output in found], sum(status == StepStatus.SKIPPED for status, _ in found)
