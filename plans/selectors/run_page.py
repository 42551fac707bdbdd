"""The page of a run: whether a person is needed and for what, the steps, the output, the time, the hosts."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any
from uuid import UUID

from django.utils import timezone

from audit.authority import Action, may
from audit.context import Actor
from plans.enums import OPEN_STAGES, OnFailure, Stage, StepKind, StepStatus
from plans.graph import Drawing
from plans.models import Attempt, Event, Plan, Revision, StateEntry, Step
from plans.selectors.budget import BudgetView, budget_view
from plans.selectors.events import EventView, event_views
from plans.selectors.output import OutputWindow, output_window
from plans.selectors.partial_result import Begun, PartialResult, has_partial_result, partial_result
from plans.selectors.plan_page import current_revision, seen_behind
from plans.selectors.state import state_shown
from plans.selectors.steps import done_before, graph_of, what_runs
from plans.selectors.undoing import Undoing, undoing_of

STEPS_SHOWN = 40
BARS_SHOWN = 24
EVENTS_READ = 60
EVENTS_SHOWN = 16  # rows; several events may share one
_ATTENTION = {
    StepStatus.FAILED: 0,
    StepStatus.UNKNOWN: 0,
    StepStatus.RUNNING: 1,
    StepStatus.READY: 2,
    StepStatus.WAITING: 3,
}
_STUCK = (StepStatus.FAILED, StepStatus.UNKNOWN)


@dataclass(frozen=True, slots=True)
class RunStep:
    """One step of a run with its latest attempt."""

    step: Step
    attempt: Attempt | None
    what: str
    left: Begun | None = None  # what it left standing, if it stopped
    done_in: int | None = None  # the earlier revision that did it; its tries are the ones shown

    @property
    def by(self) -> str:
        """What does the work now, where that is not the step's own tool."""
        work = self.step.fallback_work if self.attempt and self.attempt.by_fallback else None
        return f"by fallback {what_runs(work.playbook, work.tool)}" if work else ""

    @property
    def progress(self) -> dict[str, Any]:
        """The task and hosts that a running playbook has reached."""
        return dict(self.attempt.progress) if self.attempt else {}


@dataclass(frozen=True, slots=True)
class Bar:
    """One attempt in the picture of the time, in 300ths of the run."""

    label: str
    x: float
    width: float
    tone: Any
    seconds: float


@dataclass(frozen=True, slots=True)
class RunPage:
    """Everything the page of a run shows, for one reader."""

    plan: Plan
    revision: Revision
    steps: list[RunStep]
    counts: dict[str, int]
    total: int
    left_out: int  # how many rows are not in the list, because there are too many
    stuck: list[RunStep]
    kept: list[str]
    held: list[str]
    may_retry: bool
    may_decide: bool
    may_see_trace: bool
    graph: Drawing
    budget: BudgetView | None
    state: list[StateEntry]
    bars: list[Bar]
    now_x: float | None
    ends: tuple[datetime, datetime] | None
    events: list[EventView]
    behind: Plan | None = None
    chosen: RunStep | None = None
    attempts: tuple[Attempt, ...] = ()
    window: OutputWindow | None = None
    partial: PartialResult | None = None
    undone_since: str = ""  # what other plans undid of it, where `partial` does not say so
    may_undo: bool = False

    @property
    def waiting(self) -> list[Begun]:
        """The steps that wait for their next try."""
        return [step for step in self.partial.begun if step.waits] if self.partial else []

    @property
    def attempt(self) -> Attempt | None:
        """The attempt whose output is shown."""
        return self.chosen.attempt if self.chosen else None

    @property
    def done(self) -> int:
        """How many steps are completed."""
        return self.counts.get(StepStatus.COMPLETED, 0)

    @property
    def running(self) -> int:
        """How many steps run now."""
        return self.counts.get(StepStatus.RUNNING, 0)

    @property
    def going(self) -> bool:
        """Whether anything can still happen without a person."""
        return self.plan.stage in (Stage.APPROVED, Stage.EXECUTING, Stage.PAUSED)

    @property
    def can(self) -> frozenset[str]:
        """What this reader can do to the plan now: cancel, pause, resume, skip, undo, try all that is stuck again."""
        stage = self.plan.stage
        found = set()
        if self.may_retry and not self.plan.cancel_reason:
            found |= {"cancel"} if self.going else set()
            more = len(self.stuck) > 1 and self.partial is not None and self.partial.recoverable
            found |= {"retry"} if more and stage in (Stage.EXECUTING, Stage.FAILED) else set()
            found |= {"pause"} if stage == Stage.EXECUTING else {"resume"} if stage == Stage.PAUSED else set()
        if self.may_decide and stage in OPEN_STAGES and not self.plan.cancel_reason:
            found.add("skip")
        if self.may_undo:
            found.add("undo")
        return frozenset(found)

    @property
    def hosts(self) -> dict[str, dict[str, int]]:
        """For each host, how many tasks went how, as the chosen attempt last said."""
        found = self.chosen.progress.get("hosts") if self.chosen else None
        if not found and self.chosen and isinstance(self.chosen.step.output, dict):
            found = self.chosen.step.output.get("hosts")
        return found if isinstance(found, dict) else {}


def run_page(
    plan: Plan,
    actor: Actor,
    *,
    step: str = "",
    number: int | None = None,
    line: int | None = None,
    with_output: bool = True,
) -> RunPage:
    """What one reader sees of a run. `step` and `number` choose whose output is shown, `line` where in it.

    Without them it is the output of what needs eyes most: a failed step, a running one, or the last that ended.
    """
    revision = current_revision(plan)
    graph, upstream, facts = graph_of(plan, revision, link="?step={key}#output")
    steps = [row for row in facts if row["kind"] == StepKind.STEP]
    counts = dict(Counter(row["status"] for row in steps))
    partial = partial_result(plan, actor) if has_partial_result(plan, list(counts)) else None
    key = step if any(row["key"] == step for row in facts) else _most_telling(facts, partial)
    rows = _shown(plan, facts, key)
    chosen = next((row for row in rows if row.step.key == key), None)
    attempts: tuple[Attempt, ...] = ()
    window = None
    if chosen is not None and with_output:
        tried = chosen.step.carried_from_id or chosen.step.pk
        attempts = tuple(Attempt.objects.filter(step=tried).select_related("agent").order_by("number"))
        spoken = [one for one in attempts if one.started_at] or list(attempts)  # one that still waits says nothing
        wanted = next((one for one in attempts if one.number == number), spoken[-1] if spoken else None)
        chosen = replace(chosen, attempt=wanted)
        window = output_window(wanted, line) if wanted else None
    if partial:
        rows = [replace(row, left=partial.of(row.step.key)) for row in rows]
    # Once a plan is rolled back, only what undoes its steps can go on; an item goes on with its step.
    asks = StepKind.ROLLBACK if plan.rollback_reason else StepKind.STEP
    goes_on = plan.stage in OPEN_STAGES  # any other did without what failed, or is over
    stuck_keys = {row["key"] for row in facts if goes_on and row["status"] in _STUCK and row["kind"] == asks}
    undoing = partial.undoing if partial else undoing_of(plan)
    bars, now_x, ends = _time(revision)
    return RunPage(
        plan=plan,
        revision=revision,
        steps=rows,
        counts=counts,
        total=len(steps),
        left_out=len(facts) - len(rows),
        stuck=[row for row in rows if row.step.key in stuck_keys],
        kept=[row["key"] for row in steps if row["status"] == StepStatus.COMPLETED and row["key"] not in undoing.taken],
        held=_held(steps, upstream, stuck_keys),
        may_retry=bool(may(actor, Action.OPERATE_PLAN, plan)),
        may_decide=bool(may(actor, Action.DECIDE_PLAN, plan)),
        may_see_trace=bool(may(actor, Action.SEE_TRACE, plan)),
        graph=graph,
        budget=budget_view(revision),
        state=state_shown(plan),
        bars=bars,
        now_x=now_x,
        ends=ends,
        events=event_views(_latest_events(plan.pk))[:EVENTS_SHOWN],
        behind=seen_behind(plan, actor),
        chosen=chosen,
        attempts=attempts,
        window=window,
        partial=partial,
        undone_since="" if partial else undoing.since,
        may_undo=plan.stage in (Stage.COMPLETED, Stage.REJECTED) and _may_undo(plan, undoing, actor),
    )


def _may_undo(plan: Plan, undoing: Undoing, actor: Actor) -> bool:
    """Whether this reader may have a completed plan undone; one that stopped offers it among the other ways to go on."""
    return bool(undoing.rows) and bool(may(actor, Action.OPERATE_PLAN, plan)) and bool(may(actor, Action.ASK))


def _most_telling(facts: list[dict[str, Any]], partial: PartialResult | None) -> str:
    # A step that works on a list says nothing itself, its items do; one that the plan could do without is not the trouble.
    listed = {row["key"].rpartition(".")[0] for row in facts if row["kind"] == StepKind.ITEM}
    speaks = [row for row in facts if row["key"] not in listed]
    speaks.sort(key=lambda row: row["on_failure"] == OnFailure.CONTINUE)
    for wanted in (*_STUCK, StepStatus.RUNNING, StepStatus.READY):
        found = next((row["key"] for row in speaks if row["status"] == wanted), None)
        if found:
            return str(found)
    if partial and partial.begun:  # it was stopped, or waits for its next try
        return partial.begun[0].key
    done = [row["key"] for row in speaks if row["status"] == StepStatus.COMPLETED]
    return str(done[-1]) if done else str(facts[0]["key"]) if facts else ""


def _shown(plan: Plan, facts: list[dict[str, Any]], key: str) -> list[RunStep]:
    """All steps in order; of a large plan those that want eyes first, then the first others and the chosen one in order."""
    wanted = facts
    if len(facts) > STEPS_SHOWN:
        place = {row["id"]: number for number, row in enumerate(facts)}
        wanted = sorted(facts, key=lambda row: (row["key"] != key, _ATTENTION.get(row["status"], 4)))[:STEPS_SHOWN]
        wanted.sort(key=lambda row: (_ATTENTION.get(row["status"], 4), place[row["id"]]))
    ids = [row["id"] for row in wanted]
    steps = Step.objects.defer("input", "origins", "proof", "preview", "span").in_bulk(ids)
    did = {pk: step.carried_from_id or pk for pk, step in steps.items()}  # the rows that were tried
    latest: dict[UUID, Attempt] = {}
    for attempt in Attempt.objects.filter(step__in=did.values()).select_related("agent").order_by("number"):
        latest[attempt.step_id] = attempt
    what = {row["id"]: what_runs(row["playbook"], row["tool"]) for row in wanted}
    done_in = done_before(steps.values())
    return [
        RunStep(one, latest.get(did[one.pk]), what[one.pk], done_in=done_in.get(one.pk))
        for one in (plan.show(steps[pk]) for pk in ids)
    ]


def _held(facts: list[dict[str, Any]], upstream: dict[str, list[str]], stuck: set[str]) -> list[str]:
    """The steps that can not start because something before them is stuck. Facts come in the order of work."""
    stranded = set(stuck)
    for row in facts:
        done = row["status"] in (StepStatus.COMPLETED, StepStatus.SKIPPED)
        if not done and stranded.intersection(upstream.get(row["key"], ())):
            stranded.add(row["key"])
    return [row["key"] for row in facts if row["key"] in stranded - stuck]


def _latest_events(plan_id: UUID) -> list[Event]:
    rows = Event.objects.filter(plan_id=plan_id).order_by("-xid", "-id")[:EVENTS_READ]
    return [event for row in rows for event in reversed(row.unfolded())][:EVENTS_READ]


def _called(step: Step) -> str:
    """A step's name where there is little room."""
    return f"undo {step.parent_key}" if step.kind == StepKind.ROLLBACK else step.key


def _time(revision: Revision) -> tuple[list[Bar], float | None, tuple[datetime, datetime] | None]:
    """The last attempts on one time axis, where now is on it, and its two ends."""
    ran = list(
        Attempt.objects.filter(step__revision=revision, started_at__isnull=False)
        .select_related("step")
        .order_by("-started_at")[:BARS_SHOWN]
    )[::-1]
    if not ran or ran[0].started_at is None:
        return [], None, None
    now = timezone.now()
    begin = ran[0].started_at
    end = max((one.finished_at or now) for one in ran)
    whole = max((end - begin).total_seconds(), 0.1)
    bars = []
    for one in ran:
        assert one.started_at is not None
        seconds = ((one.finished_at or now) - one.started_at).total_seconds()
        bars.append(
            Bar(
                label=_called(one.step) + (f" {one.number}" if one.number > 1 else ""),
                x=round((one.started_at - begin).total_seconds() / whole * 300, 1),
                width=round(max(seconds / whole * 300, 2), 1),
                tone=one,
                seconds=max(seconds, 0),
            )
        )
    live = any(one.finished_at is None for one in ran)
    return bars, 300.0 if live else None, (begin, end)
