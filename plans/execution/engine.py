"""From one state of a plan to the next: find what is ready, route it, and settle the plan when nothing is left.

Everything here runs inside the caller's transaction and touches only the steps that changed, never the whole plan.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from datetime import timedelta
from typing import Any
from uuid import UUID

from django.db import connection
from django.db.models import Exists, F, OuterRef, Q, QuerySet
from django.db.models.functions import Now

from agents.conf import DUE_CHANNEL
from audit.trail import requires_transaction
from plans import lifecycle, references, state, waiting
from plans.enums import DECIDED_STEPS, LIVE_ATTEMPTS, OnFailure, Stage, StepKind, StepStatus
from plans.execution import fan_out, locks, rollback, routing
from plans.models import Attempt, Plan, Step

_ROUTED_AT_ONCE = 8  # of many that become due together; what is behind them is looked at when there is room


def current_steps(plan: Plan) -> QuerySet[Step]:
    """The steps of the revision that runs, of every kind."""
    return Step.objects.filter(plan=plan, revision__number=plan.revision_number)


def aimed_steps(plan: Plan) -> QuerySet[Step]:
    """The steps of the revision that runs which touch a host or a service."""
    return current_steps(plan).exclude(hosts=[], service="").only("hosts", "service")


@requires_transaction
def reopen(plan: Plan, *, because: str) -> None:
    """Let a failed plan go on, with all that was held back when it failed; it needs what it works on for itself again."""
    lifecycle.transition(plan, to=Stage.EXECUTING, because=because)
    locks.take(plan, aimed_steps(plan))
    take_up(plan, because=because)


@requires_transaction
def take_up(plan: Plan, *, because: str) -> bool:
    """Let begin what waits for nothing more and nothing is about to run: a rollback held it back. Whether there was any."""
    idle = current_steps(plan).filter(kind=StepKind.STEP, status=StepStatus.WAITING, unmet=0)
    idle = idle.exclude(attempts__status__in=LIVE_ATTEMPTS).exclude(children__attempts__status__in=LIVE_ATTEMPTS)
    steps = [] if plan.rollback_reason else list(idle.order_by("index"))
    make_due(plan, wanted(plan, steps), because=because)
    return bool(steps)


@requires_transaction
def make_due(
    plan: Plan,
    steps: Sequence[Step],
    *,
    because: str,
    after: timedelta | None = None,
    excluded: Iterable[str] = (),
    routed_now: bool = True,
    by_fallback: bool = False,
) -> list[Attempt]:
    """Give each step another attempt, routed now as far as agents have room, and ring for the dispatchers.

    `after` delays the attempt (a back-off): then an agent is only chosen when it is due. Without `routed_now` that is left to
    the dispatcher, too. `by_fallback` uses the steps' fallbacks instead of their own tools.
    """
    if not steps:
        return []
    made = []
    for step in steps:
        step.attempts_made += 1
        made.append(
            Attempt(
                step=step,
                plan=plan,
                number=step.attempts_made,
                by_fallback=by_fallback,
                priority=plan.priority,
                expects_token=step.token,
                because=because,
                next_at=Now() + (after or timedelta()),
            )
        )
    Step.objects.filter(pk__in=[step.pk for step in steps]).update(attempts_made=F("attempts_made") + 1)
    Attempt.objects.bulk_create(made)
    if after:
        seconds = round(after.total_seconds(), 1)
        for step, attempt in zip(steps, made, strict=True):
            lifecycle.move_step(
                step, to=StepStatus.WAITING, waiting_for=f"Waits {seconds:g} s before try {attempt.number}."
            )
    else:
        at_once = _ROUTED_AT_ONCE if routed_now else 0
        now, later = made[:at_once], made[at_once:]
        routing.route(now, excluded=excluded)
        for attempt in later:  # the dispatcher looks at them when there is room
            if attempt.step.status != StepStatus.WAITING:
                lifecycle.move_step(attempt.step, to=StepStatus.WAITING, waiting_for=waiting.TURN)
    ring()
    return made


@requires_transaction
def release_successors(plan: Plan, step: Step) -> list[Attempt]:
    """A step is out of the way: count it off at the steps after it, and make due those that wait for nothing more."""
    if step.kind == StepKind.ITEM:
        return item_ended(plan, step)
    free = _count_off(step)
    return make_due(plan, wanted(plan, free), because=f"{step.key} is {StepStatus(step.status).label.lower()}.")


@requires_transaction
def item_ended(plan: Plan, item: Step) -> list[Attempt]:
    """An item of a fan-out is decided, whatever became of it; if it was the last, its step is too."""
    step = fan_out.item_ended(item)
    if step is None:
        return []
    if step.status == StepStatus.COMPLETED:
        return release_successors(plan, step)
    if step.status == StepStatus.FAILED:
        give_way(plan, step)
    return []


def _count_off(step: Step) -> list[Step]:
    """The steps after this one that wait for nothing more. Each step is counted off once."""
    downstream = list(step.downstream_edges.order_by("downstream_id").values_list("downstream_id", flat=True))
    # A step that is tried again after the plan went on without it is not counted off twice; one that is completed never is.
    first = Step.objects.filter(pk=step.pk, released=False)
    if not downstream or not (first.exists() if step.status == StepStatus.COMPLETED else first.update(released=True)):
        return []
    # Locked in key order first, so that two finishing steps never wait for each other: an UPDATE has no order of its own.
    waiting = Step.objects.select_for_update(no_key=True).filter(pk__in=downstream, unmet__gt=0).order_by("pk")
    Step.objects.filter(pk__in=list(waiting.values_list("pk", flat=True))).update(unmet=F("unmet") - 1)
    return list(Step.objects.filter(pk__in=downstream, unmet=0, status=StepStatus.WAITING).order_by("index"))


@requires_transaction
def wanted(plan: Plan, steps: Sequence[Step]) -> list[Step]:
    """What is to be made due of steps that wait for nothing more: themselves, or their items if they run for a list.

    Steps whose condition does not hold are skipped, empty lists are done at once, and what that frees is looked at in
    turn: by a loop, because a chain of a thousand conditions is a thousand deep.
    """
    wanted: list[Step] = []
    queue = deque(steps)
    while queue and not plan.rollback_reason:
        step = queue.popleft()
        try:
            is_new = step.items is None and not step.attempts_made  # else its condition was found to hold
            if step.when and is_new and not references.holds(step.when, _scope(step, None, when=step.when)):
                said = f"Its condition does not hold: {step.when}"
                lifecycle.move_step(step, to=StepStatus.SKIPPED, summary=said, finished_at=Now())
            elif step.for_each is None:
                wanted.append(step)
            else:
                items = fan_out.open_up(plan, step, _scope(step, step.for_each))
                if not is_new:
                    fan_out.begin_again(step, items)
                wanted += items
        except references.Unresolvable as error:
            lifecycle.move_step(step, to=StepStatus.FAILED, error=str(error), finished_at=Now())
        if step.status in (StepStatus.SKIPPED, StepStatus.COMPLETED):
            queue.extend(_count_off(step))
        elif step.status == StepStatus.FAILED:
            queue.extend(_after_failure(plan, step))
    return [] if plan.rollback_reason else wanted


@requires_transaction
def give_way(plan: Plan, step: Step) -> None:
    """A step failed for good: what depends on it goes on only if the plan says that it can do without it."""
    if step.kind == StepKind.ITEM:
        item_ended(plan, step)
        return
    make_due(plan, wanted(plan, _after_failure(plan, step)), because=f"{step.key} is failed.")


def _after_failure(plan: Plan, step: Step) -> list[Step]:
    """What a failed step frees: the steps after it, if the plan goes on without it. Or the plan is rolled back."""
    if step.on_failure == OnFailure.CONTINUE:
        return _count_off(step)
    if step.on_failure == OnFailure.ROLLBACK and step.kind == StepKind.STEP and not plan.cancel_reason:
        rollback.begin(plan, step)
    return []


@requires_transaction
def put_behind(upstream: Step, behind: Sequence[Step]) -> None:
    """These steps after one that is tried again wait for its end, and so does what waits for others too.

    The plan went on without it, so it was counted off at all of them: it is counted again.
    """
    Step.objects.filter(pk=upstream.pk).update(released=False)
    after = Step.objects.filter(upstream_edges__upstream=upstream)
    again = after.filter(Q(pk__in=[step.pk for step in behind]) | Q(status=StepStatus.WAITING, unmet__gt=0))
    rows = Step.objects.select_for_update(no_key=True).filter(pk__in=again.values("pk")).order_by("pk")
    Step.objects.filter(pk__in=list(rows.values_list("pk", flat=True))).update(unmet=F("unmet") + 1)


@requires_transaction
def resume_items(plan: Plan, step: Step, *, only: Step | None = None, because: str) -> list[Attempt]:
    """Go on with a fan-out whose list is known: with one item and those that never began, or with all that are not done."""
    step.refresh_from_db(fields=["status", "items"])  # it may have been taken up just now
    items = fan_out.open_up(plan, step, {})
    if step.status == StepStatus.COMPLETED:
        return release_successors(plan, step)
    if only is not None:
        items = [
            item for item in items if item.pk == only.pk or not item.attempts_made or item.status == StepStatus.WAITING
        ]
    fan_out.begin_again(step, items)
    return make_due(plan, items, because=because)


def _scope(step: Step, value: Any, *, when: str = "") -> dict[str, Any]:
    return scope_of(step.revision_id, step.plan_id, step.pk, value, when=when)


def scope_of(revision_id: UUID, plan_id: UUID, step_id: UUID, value: Any, *, when: str = "") -> dict[str, Any]:
    """What the references in a step's value or condition can read: results and state that it names, and no others."""
    texts = [value, references.as_template(when)]
    keys = references.steps_in(texts)
    named = Step.objects.filter(revision_id=revision_id, key__in=keys)
    found = named.values_list("key", "status", "output")
    return {
        "steps": {key: {"status": status, "output": output or {}} for key, status, output in found},
        "state": state.read(references.state_in(texts), step_id=step_id, plan_id=plan_id),
    }


@requires_transaction
def settle(plan: Plan, *, fresh: bool = False) -> bool:
    """End a begun plan in which nothing runs or can start any more. Whether it ended.

    `fresh` says that the plan was read under its lock in this transaction.
    """
    if plan.stage not in (Stage.EXECUTING, Stage.PAUSED) or _is_live(plan):
        return False
    if not fresh:  # both are set by whoever ends or stops at the same moment
        plan.refresh_from_db(fields=["cancel_reason", "rollback_reason"])
    if plan.cancel_reason:
        fan_out.rest(plan, to=StepStatus.CANCELLED, because=plan.cancel_reason)
        told = f"{plan.cancel_reason} {rollback.tale(plan)}" if plan.rollback_reason else plan.cancel_reason
        lifecycle.transition(plan, to=Stage.CANCELLED, because=told)
        return True
    if take_up(plan, because=waiting.TURN) and _is_live(plan):
        return False
    if plan.rollback_reason:  # also if what was taken up failed and asked for it
        return _roll_back(plan)
    counts: dict[str, list[str]] = {}
    fatal = False
    steps = current_steps(plan).exclude(kind=StepKind.ITEM).order_by("index")
    undoing = False
    for kind, key, status, on_failure in steps.values_list("kind", "key", "status", "on_failure"):
        if kind == StepKind.ROLLBACK:
            undoing = True
            continue
        counts.setdefault(status, []).append(key)
        fatal = fatal or (status == StepStatus.FAILED and on_failure != OnFailure.CONTINUE)
    unknown, failed = counts.get(StepStatus.UNKNOWN, []), counts.get(StepStatus.FAILED, [])
    if not set(counts) - {str(status) for status in DECIDED_STEPS} and not fatal:
        if undoing:
            rollback.not_needed(plan)
        lifecycle.transition(plan, to=Stage.COMPLETED, because=_how_completed(counts))
    elif unknown or failed:
        lifecycle.transition(plan, to=Stage.FAILED, because=_why_failed(unknown, failed, counts))
    else:
        return False
    return True


def _is_live(plan: Plan) -> bool:
    return Attempt.objects.filter(plan=plan, status__in=LIVE_ATTEMPTS).exists()


def _roll_back(plan: Plan) -> bool:
    """Undo the next step, or end the plan if that was all. Whether it ended."""
    Plan.objects.select_for_update(no_key=True).get(pk=plan.pk)
    if _is_live(plan):  # two last steps ended at once, and the other one's end was first
        return False
    step = rollback.next_step(plan)
    if step is not None:
        make_due(plan, [step], because=f"{plan.rollback_reason} What {step.parent_key} did is undone.")
        return False
    lifecycle.transition(plan, to=Stage.FAILED, because=rollback.end(plan))
    return True


def _how_completed(counts: dict[str, list[str]]) -> str:
    """One sentence about how a plan was completed, with what it did without."""
    done = len(counts.get(StepStatus.COMPLETED, []))
    total = sum(map(len, counts.values()))
    parts = [f"All {total} steps are done" if done == total else f"{done} of {total} steps are done"]
    if done == total == 1:
        parts = ["Its step is done"]
    for status, words in ((StepStatus.SKIPPED, "skipped"), (StepStatus.FAILED, "failed and was not needed")):
        if keys := counts.get(status, []):
            parts.append(f"{', '.join(keys[:5])} {'was ' if words == 'skipped' else ''}{words}")
    return "; ".join(parts) + "."


def _why_failed(unknown: list[str], failed: list[str], counts: dict[str, list[str]]) -> str:
    parts = []
    if failed:
        parts.append(f"{', '.join(failed)} failed")
    if unknown:
        parts.append(f"{'the' if failed else 'The'} outcome of {', '.join(unknown)} is unknown")
    if waiting := counts.get(StepStatus.WAITING, []):
        parts.append(f"{', '.join(waiting[:5])} did not start")
    if done := counts.get(StepStatus.COMPLETED, []):
        parts.append(f"{', '.join(done[:5])} {'stays' if len(done) == 1 else 'stay'} done")
    return f"{'; '.join(parts)}."


@requires_transaction
def settle_if_idle(plan_id: UUID, *, patiently: bool = False) -> bool:
    """Settle a plan unless another process is just doing so; patiently: look again once it has, it may have come too early.

    Nobody queues for a plan of which something still runs: whoever ends that looks again.
    """
    live = Attempt.objects.filter(plan=OuterRef("pk"), status__in=LIVE_ATTEMPTS)
    plans = Plan.objects.select_for_update(skip_locked=not patiently, no_key=True)
    plan = plans.filter(~Exists(live), pk=plan_id, stage=Stage.EXECUTING).first()
    return plan is not None and settle(plan, fresh=True)


def ring() -> None:
    """Wake the dispatchers when this transaction commits. PostgreSQL merges equal notifications of a transaction."""
    with connection.cursor() as cursor:
        cursor.execute(f"NOTIFY {DUE_CHANNEL}")
