"""What a plan left standing where it stopped, or stands so far: what is done, what began, and how one can go on."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db.models.functions import Now
from django.utils import timezone

from audit.authority import Action, may
from audit.context import Actor
from plans import recovery
from plans.enums import OPEN_STAGES, AttemptStatus, OnFailure, Stage, StepKind, StepStatus
from plans.models import Attempt, Plan, Step
from plans.recovery import HostState, Recovery, Rights, Stopped, Tried, Trouble, named
from plans.selectors.policy import NOT_ONES_OWN, is_own
from plans.selectors.undoing import (
    AT_REST,
    TakenBack,
    Undoing,
    taken_back_tale,
    undoing_of,
    undos_of,
    why_not_gone_on,
)

MOST_TOLD = 50  # steps that began and did not complete, in full
_STUCK = (StepStatus.FAILED, StepStatus.UNKNOWN)
_ATTENTION = (*_STUCK, StepStatus.WAITING, StepStatus.READY, StepStatus.RUNNING)  # any other comes last
_BEFORE = (Stage.DRAFT, Stage.PENDING_APPROVAL, Stage.APPROVED, Stage.REJECTED, Stage.EXPIRED)


@dataclass(frozen=True, slots=True)
class HostReached:
    """How far one host is with a step, and how many tasks went how in the last attempt."""

    host: str
    state: HostState
    figures: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """How far the last attempt at a step came. For a playbook: the task it had begun, and each host."""

    task: str = ""
    tasks_reached: int = 0
    hosts: tuple[HostReached, ...] = ()
    hosts_left_out: int = 0
    broke: str = ""  # the first task that failed, and on which hosts
    broke_on: tuple[str, ...] = ()

    @property
    def sentence(self) -> str:
        """Where it stopped, for a person."""
        if not self.task:
            return "How far it had come is not known."
        if self.broke:
            return f"Its task “{self.broke}” failed on {named(self.broke_on)}."
        return f"It had reached its task {self.tasks_reached}, “{self.task}”."


@dataclass(frozen=True, slots=True)
class Begun:
    """A step that began and did not complete."""

    key: str
    name: str
    status: StepStatus
    tries: int
    most_tries: int
    agent: str
    error: str
    trouble: Trouble | None
    only_hosts: tuple[str, ...]
    checkpoint: Checkpoint | None
    next_try: int
    next_at: datetime | None  # it waits for its next try, which begins then
    items: tuple[int, int] | None  # it runs for a list: how many of its items are done, of how many
    recoveries: tuple[Recovery, ...]

    @property
    def waits(self) -> bool:
        """Whether it is tried again by itself."""
        return self.next_at is not None


@dataclass(frozen=True, slots=True)
class PartialResult:
    """What a plan has done, what it began, what it did not start, and the ways to go on for one reader."""

    plan_id: UUID
    number: int
    stage: Stage
    sentence: str
    recoverable: bool
    because: str
    completed: tuple[str, ...]
    skipped: tuple[str, ...]
    not_started: tuple[str, ...]
    begun: tuple[Begun, ...]
    begun_left_out: int
    recoveries: tuple[Recovery, ...]
    undoing: Undoing

    def of(self, key: str) -> Begun | None:
        """The step of that key, if it began and did not complete."""
        return next((step for step in self.begun if step.key == key), None)


def partial_result(plan: Plan, actor: Actor) -> PartialResult:
    """Where a plan stands, and what this reader may do about it. A few queries, however many steps there are."""
    facts = list(
        Step.objects.filter(plan=plan, revision__number=plan.revision_number)
        .order_by("index")
        .only(
            "key", "name", "status", "idempotent", "playbook", "hosts", "retry", "error", "reversible_by", "started_at",
            "finished_at", "kind", "parent", "on_failure",
        )
    )  # fmt: skip
    kinds: dict[str, list[str]] = defaultdict(list)
    began = []
    for step in facts:
        if step.status not in (StepStatus.COMPLETED, StepStatus.SKIPPED) and (step.started_at or step.status in _STUCK):
            began.append(step)
        elif step.kind == StepKind.STEP:  # items are told by their step, and what undoes steps only if it begins
            kinds[step.status if step.status in (StepStatus.COMPLETED, StepStatus.SKIPPED) else "not_started"].append(
                step.key
            )
    by_id = {step.pk: step.key for step in facts}
    undoing_rows = [step for step in facts if step.kind == StepKind.ROLLBACK and step.status == StepStatus.COMPLETED]
    kinds["undone"] = [by_id[step.parent_id] for step in undoing_rows if step.parent_id]
    began.sort(key=lambda step: _ATTENTION.index(step.status) if step.status in _ATTENTION else len(_ATTENTION))
    told = began[:MOST_TOLD]
    rights = _rights(plan, actor)
    undos = undos_of(plan) if plan.stage in AT_REST else []
    failed = plan.stage == Stage.FAILED  # any other plan goes on by itself, or not at all, whatever another one undid
    no_way_on = why_not_gone_on(plan, undos) if failed else ""
    attempts: dict[UUID, list[Attempt]] = defaultdict(list)
    rows = Attempt.objects.filter(step__in=[step.pk for step in told]).select_related("agent")
    for attempt in rows.defer("input", "output").order_by("number"):
        attempts[attempt.step_id].append(attempt)
    lists = _lists(facts)
    begun = tuple(_begun(plan, step, attempts[step.pk], rights, no_way_on, lists.get(step.pk)) for step in told)
    stuck = [step.key for step in began if step.status in _STUCK and not _barred(plan, step, no_way_on)]
    recoverable = bool(stuck) and plan.stage in OPEN_STAGES and not plan.cancel_reason
    items = {step.key for step in began if step.kind == StepKind.ITEM}
    ended = plan.stage in (Stage.FAILED, Stage.CANCELLED)
    undoing = undoing_of(plan, rows=facts if plan.revision_number == 1 else None, undos=undos)
    return PartialResult(
        plan_id=plan.pk,
        number=plan.number,
        stage=Stage(plan.stage),
        sentence=_sentence(
            plan, kinds, [step for step in begun if step.key not in items], len(began) - len(items), undoing.taken
        ),
        recoverable=recoverable,
        because=_because(plan, stuck, no_way_on, recoverable=recoverable),
        completed=tuple(kinds[StepStatus.COMPLETED]),
        skipped=tuple(kinds[StepStatus.SKIPPED]),
        not_started=tuple(kinds["not_started"]),
        begun=begun,
        begun_left_out=len(began) - len(told),
        recoveries=recovery.plan_ways(
            undone=undoing.tale if undoing.rows else "",
            why_not_undone=undoing.why_not,
            paths=undoing.paths,
            in_words=ended and plan.request_id is not None,
            rights=rights,
            revisable=failed and not plan.rollback_reason and not plan.cancel_reason,
        ),
        undoing=undoing,
    )


def has_partial_result(plan: Plan, statuses: Sequence[str]) -> bool:
    """Whether a page of this plan has something to say about going on: cheap, for pages that are drawn often."""
    if plan.stage in (Stage.FAILED, Stage.CANCELLED) or any(status in _STUCK for status in statuses):
        return True
    waiting = plan.stage in (Stage.EXECUTING, Stage.PAUSED) and StepStatus.WAITING in statuses
    return waiting and _backing_off(plan)


def _backing_off(plan: Plan) -> bool:
    waiting = Attempt.objects.filter(plan=plan, status=AttemptStatus.DUE, held_by__isnull=True, next_at__gt=Now())
    return waiting.exists()


def tell_partial_result(found: PartialResult) -> dict[str, Any]:
    """A partial result as the API tells it."""
    return {
        "plan_id": found.plan_id,
        "number": found.number,
        "stage": found.stage,
        "sentence": found.sentence,
        "recoverable": found.recoverable,
        "because": found.because,
        "completed": list(found.completed),
        "skipped": list(found.skipped),
        "not_started": list(found.not_started),
        "begun": [_tell_begun(step) for step in found.begun],
        "begun_left_out": found.begun_left_out,
        "recoveries": [way.to_json() for way in found.recoveries],
    }


def _rights(plan: Plan, actor: Actor) -> Rights:
    answers = [may(actor, Action.OPERATE_PLAN, plan), may(actor, Action.DECIDE_PLAN, plan), may(actor, Action.ASK)]
    operate, decide, ask = ("" if answer else answer.sentence for answer in answers)
    if not decide and is_own(plan, actor.user):
        decide = NOT_ONES_OWN
    return Rights(operate, decide, ask)


def _lists(facts: Sequence[Step]) -> dict[UUID, tuple[int, int]]:
    """Of each step that runs for a list: how many of its items are done, of how many."""
    total, done = Counter[UUID](), Counter[UUID]()
    for item in facts:
        if item.kind == StepKind.ITEM and item.parent_id:
            total[item.parent_id] += 1
            done[item.parent_id] += item.status == StepStatus.COMPLETED
    return {pk: (done[pk], count) for pk, count in total.items()}


def _begun(
    plan: Plan, step: Step, attempts: Sequence[Attempt], rights: Rights, no_way_on: str, items: tuple[int, int] | None
) -> Begun:
    started = [attempt for attempt in attempts if attempt.started_at]
    last = started[-1] if started else None
    waiting = [one for one in attempts if one.status == AttemptStatus.DUE and one.held_by_id is None]
    due = next((one for one in waiting if one.next_at > timezone.now()), None)
    states = recovery.hosts_after(step.hosts, [Tried(one.only_hosts, one.progress) for one in started])
    status = StepStatus(step.status)
    number = attempts[-1].number + 1 if attempts else 1
    ways: tuple[Recovery, ...] = ()
    if due:
        then = OnFailure.STOP if due.by_fallback else step.on_failure
        ways = recovery.waiting_ways(step.key, due.number, rights, _paused(plan), on_failure=then)
    elif status in _STUCK:
        stopped = Stopped(
            key=step.key,
            number=number,
            unknown=status == StepStatus.UNKNOWN,
            idempotent=step.idempotent,
            has_hosts=bool(step.playbook),
            hosts=states,
            items=items,
            barred=_barred(plan, step, no_way_on),
        )
        ways = recovery.ways_on(stopped, rights, no_retry=_paused(plan))
    return Begun(
        key=step.key,
        name=step.name,
        status=status,
        tries=len(started),
        most_tries=step.retry_attempts,
        agent=last.agent.name if last and last.agent else "",
        error=step.error or (last.error if last else ""),
        trouble=recovery.trouble(last.failure_mode, transient=last.transient) if last else None,
        only_hosts=tuple(last.only_hosts or ()) if last else (),
        checkpoint=_checkpoint(last, states) if last and step.playbook else None,
        next_try=due.number if due else number,
        next_at=due.next_at if due else None,
        items=items,
        recoveries=ways,
    )


def _checkpoint(attempt: Attempt, states: Mapping[str, HostState]) -> Checkpoint:
    progress = attempt.progress
    failed = [one for one in progress.get("failed") or () if one.get("task") and one.get("host")]
    figures: Mapping[str, Mapping[str, int]] = progress.get("hosts") or {}
    return Checkpoint(
        task=str(progress.get("task") or ""),
        tasks_reached=int(progress.get("tasks_reached") or 0),
        hosts=tuple(HostReached(host, state, figures.get(host, {})) for host, state in states.items()),
        hosts_left_out=int(progress.get("hosts_left_out") or 0),
        broke=failed[0]["task"] if failed else "",
        broke_on=tuple(dict.fromkeys(one["host"] for one in failed if one["task"] == failed[0]["task"])),
    )


def _barred(plan: Plan, step: Step, no_way_on: str) -> str:
    """Why nobody can go on with a step of this plan, if that is so. `no_way_on` says what stands against it in another plan."""
    if plan.rollback_reason and step.kind != StepKind.ROLLBACK:
        return "The plan was rolled back, so only what undoes its steps goes on."
    if plan.stage == Stage.CANCELLED:
        return "The plan was cancelled, and stays so."
    if plan.cancel_reason:
        return "The plan is being cancelled."
    if plan.stage == Stage.COMPLETED:
        return "The plan is completed; it did without this step."
    return no_way_on


def _paused(plan: Plan) -> str:
    return "The plan is paused: resume it first." if plan.stage == Stage.PAUSED else ""


def _because(plan: Plan, stuck: Sequence[str], no_way_on: str, *, recoverable: bool) -> str:
    """Why one can go on, or why not."""
    if recoverable:
        return f"{named(stuck)} can be tried again or skipped; what is done is not done again."
    if plan.stage == Stage.CANCELLED:
        return "A cancelled plan stays cancelled; what is left can be asked for anew."
    if plan.stage == Stage.COMPLETED:
        return "The plan is completed; nothing is left to do."
    if plan.stage == Stage.FAILED and plan.rollback_reason:
        return "It was rolled back, so it does not go on; it can be asked for anew."
    if plan.stage in _BEFORE:
        began = plan.started_at is not None  # an earlier revision did
        waits = plan.stage in (Stage.DRAFT, Stage.PENDING_APPROVAL)
        return ("It goes on once its revision is approved." if waits else "") if began else "Nothing of it has run."
    if plan.stage == Stage.FAILED and no_way_on:
        return no_way_on
    if plan.cancel_reason:
        return "It is being cancelled."
    return "It goes on when somebody resumes it." if plan.stage == Stage.PAUSED else "It goes on by itself."


def _sentence(
    plan: Plan, kinds: Mapping[str, list[str]], begun: Sequence[Begun], began: int, taken: Mapping[str, TakenBack]
) -> str:
    """What stays, what was undone by another plan, what was under way and what did not start, in this order."""
    if plan.stage in _BEFORE and plan.started_at is None:
        return "Nothing of it has run."
    done, waiting = kinds[StepStatus.COMPLETED], kinds["not_started"]
    undone = kinds["undone"]
    done = [key for key in done if key not in undone and key not in taken]
    parts = []
    if done:
        parts.append(f"{named(done)} {'stays' if len(done) == 1 else 'stay'} done.")
    elif all(end.done for end in taken.values()):
        parts.append("Nothing stays done." if undone or taken else "No step was completed.")
    if undone:
        parts.append(f"{named(undone)} {'was' if len(undone) == 1 else 'were'} rolled back.")
    if taken:
        parts.append(taken_back_tale(taken))
    for step in begun[:3]:
        parts.append(_where(step, over=plan.stage in AT_REST))
    if began > 3:
        parts.append(f"{began - 3} more began and did not complete.")
    if kinds[StepStatus.SKIPPED]:
        skipped = kinds[StepStatus.SKIPPED]
        parts.append(f"{named(skipped)} {'was' if len(skipped) == 1 else 'were'} skipped.")
    if waiting:
        parts.append(
            f"{named(waiting)} did not start." if plan.stage != Stage.EXECUTING else f"{named(waiting)} to come."
        )
    if plan.stage == Stage.CANCELLED and (done or began) and not (undone or taken):
        parts.append("Nothing was undone.")
    return " ".join(parts)


def _where(step: Begun, *, over: bool) -> str:
    word = {
        StepStatus.FAILED: "failed",
        StepStatus.UNKNOWN: "has an outcome that is not known",
        StepStatus.CANCELLED: "was stopped",
        StepStatus.RUNNING: "is running",
    }.get(
        step.status,
        "did not get its next try" if over else "is tried again" if step.waits else "waits for its next try",
    )
    at = step.checkpoint
    if step.items:
        return f"{step.key} {word} with {step.items[0]} of {step.items[1]} items done."
    if at is None or not at.task:
        return f"{step.key} {word}."
    finished = [host.host for host in at.hosts if host.state is HostState.FINISHED]
    if at.broke:
        kept = f", and finished {named(finished)}" if finished else ""
        return f"{step.key} {word} at “{at.broke}” on {named(at.broke_on)}{kept}."
    left = [host.host for host in at.hosts if host.state is not HostState.FINISHED]
    where = f" on {named(left)}" if left else ""
    kept = f", and finished {named(finished)}" if finished else ""
    return f"{step.key} {word} at its task {at.tasks_reached}, “{at.task}”{where}{kept}."


def _tell_begun(step: Begun) -> dict[str, Any]:
    at = step.checkpoint
    return {
        "key": step.key,
        "name": step.name,
        "status": step.status,
        "tries": step.tries,
        "most_tries": step.most_tries,
        "agent": step.agent or None,
        "error": step.error or None,
        "failure": step.trouble.to_json() if step.trouble else None,
        "only_hosts": list(step.only_hosts) or None,
        "checkpoint": {
            "task": at.task or None,
            "tasks_reached": at.tasks_reached,
            "hosts": [{"host": one.host, "state": one.state, "tasks": dict(one.figures)} for one in at.hosts],
            "hosts_left_out": at.hosts_left_out,
            "sentence": at.sentence,
        }
        if at
        else None,
        "next_try": step.next_try if step.waits else None,
        "next_at": step.next_at,
        "recoveries": [way.to_json() for way in step.recoveries],
    }
