"""What would undo the steps of a plan that are done: their approved rollbacks, or what their playbooks name.

And what plans of their own have undone of it since.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from uuid import UUID

from django.db.models import Max

from plans.enums import HOLDING_STAGES, Stage, StepKind, StepStatus
from plans.models import IN_ORDER, Attempt, Plan, Step
from plans.recovery import named

_UNDO = "undo-"
_LONGEST_KEY = 58  # that still has room for this word before it
AT_REST = (Stage.COMPLETED, Stage.FAILED, Stage.CANCELLED, Stage.REJECTED)  # the last after an earlier revision ran


@dataclass(frozen=True, slots=True)
class TakenBack:
    """What became of a step that was done: another plan has undone it since, or may have, because it began to."""

    number: int  # of the other plan
    done: bool
    going: bool = False  # the other plan is under way


@dataclass(frozen=True, slots=True)
class UndoPlan:
    """A plan that was written to undo another, and how far it is."""

    number: int
    stage: Stage
    overtaken: bool  # the other one went on after this was asked for
    rows: list[Step]  # those of all its revisions

    @property
    def under_way(self) -> bool:
        """Whether it undoes something now, or as soon as there is room."""
        return self.stage in HOLDING_STAGES

    @property
    def waits(self) -> bool:
        """Whether it may still be approved."""
        return self.stage in (Stage.DRAFT, Stage.PENDING_APPROVAL) and not self.overtaken

    @property
    def counts(self) -> bool:
        """Whether it has undone anything, or may; one that was refused before it began does not."""
        return self.under_way or self.waits or any(row.started_at for row in self.rows)

    def became_of(self, step: Step) -> TakenBack | None:
        """What it did to this step since it was done, or is about to do."""
        since = step.finished_at or step.started_at
        mine = [row for row in self.rows if row.key == undo_key(step.key)]
        if any(row.status == StepStatus.COMPLETED and _after(row.finished_at, since) for row in mine):
            return TakenBack(self.number, done=True)
        # One that was skipped after it had begun may have touched what it was to undo.
        left = [
            row
            for row in mine
            if row.status != StepStatus.COMPLETED and (row.status != StepStatus.SKIPPED or row.started_at)
        ]
        if any(self.under_way or _after(row.started_at, since) for row in left):
            return TakenBack(self.number, done=False, going=self.under_way)
        return None


@dataclass(frozen=True, slots=True)
class Undoing:
    """What undoes a plan, the last step done first, and which of the steps that did something stay as they are."""

    rows: list[Step] = field(default_factory=list)  # of kind rollback, or the step itself if its playbook names another
    stays: list[str] = field(default_factory=list)
    begun: list[str] = field(default_factory=list)  # not done, and what undoes them reads what they would have answered
    taken: Mapping[str, TakenBack] = field(default_factory=dict)  # what other plans undid of it, or began to
    why_not: str = ""  # which plan undid all of it, or is about to
    others: Sequence[int] = ()  # the numbers of those plans

    @property
    def keys(self) -> list[str]:
        """The keys of the steps that would be undone, in this order."""
        return [undone_by(row) for row in self.rows]

    @property
    def since(self) -> str:
        """What other plans undid of it, or are about to, as sentences; empty if nothing."""
        return self.why_not or taken_back_tale(self.taken)

    @property
    def paths(self) -> list[str]:
        """The playbooks that would run."""
        named = (row.playbook if row.kind == StepKind.ROLLBACK else {"path": row.reversible_by} for row in self.rows)
        return list(dict.fromkeys(str(one["path"]) for one in named if one))

    @property
    def tale(self) -> str:
        """What would be undone in which order, and what stays, as sentences."""
        keys = self.keys
        said = f"It undoes {named(keys)}{', the last step first' if len(keys) > 1 else ''}."
        if self.stays:
            one = len(self.stays) == 1
            said += f" {named(self.stays)} {'stays' if one else 'stay'} done: {'it does' if one else 'they do'} not say how to undo it."
        if self.begun:
            one = len(self.begun) == 1
            said += f" {named(self.begun)} began and {
                'stays as it is: what undoes it needs its' if one else 'stay as they are: what undoes them needs their'
            } whole result."
        return f"{said} {taken_back_tale(self.taken)}".strip()


def undoing_of(plan: Plan, *, rows: Iterable[Step] | None = None, undos: Sequence[UndoPlan] | None = None) -> Undoing:
    """What would undo this plan; nothing while it can still go on by itself, or has not run, or another plan is to undo it.

    It is what the revision that ran last has done, also if another one was written since then. `rows` are its steps and
    `undos` the plans that were written to undo it, if they are known.
    """
    if plan.stage not in AT_REST:
        return Undoing()
    if rows is None:
        found = Step.objects.filter(revision=last_run(plan)).exclude(kind=StepKind.ITEM)
        rows = found.defer("output", "origins", "proof", "preview", "span").order_by(*IN_ORDER)
    steps = list(rows)
    whole, undos = _what_undoes(steps), undos_of(plan) if undos is None else undos
    taken = taken_back(undos, steps)
    if open_one := next((one for one in undos if one.waits or one.under_way), None):
        is_to = "is undoing" if open_one.under_way else "waits for approval to undo"
        why_not = f"Plan {open_one.number} {is_to} what plan {plan.number} did."
        return Undoing(taken=taken, why_not=why_not, others=[open_one.number])
    left = [row for row in whole.rows if not _is_undone(taken, undone_by(row))]
    why_not = f"Nothing is left to undo. {taken_back_tale(taken)}" if taken and not left else ""
    others = sorted({one.number for one in taken.values()})
    return replace(whole, rows=left, taken=taken, why_not=why_not, others=others)


def _is_undone(taken: Mapping[str, TakenBack], key: str) -> bool:
    return key in taken and taken[key].done


def last_run(plan: Plan) -> UUID | None:
    """The revision that ran last: what it did is how things are, whatever was only written since then. None if none ran."""
    ran = Attempt.objects.filter(plan=plan, started_at__isnull=False).order_by("-step__revision__number")
    return ran.values_list("step__revision", flat=True).first()


def undos_of(plan: Plan) -> list[UndoPlan]:
    """The plans that were written to undo this one, the newest first."""
    if plan.started_at is None:
        return []
    plans = list(Plan.objects.filter(undoes=plan).order_by("-number"))
    if not plans:
        return []
    went_on = Attempt.objects.filter(plan=plan).aggregate(at=Max("started_at"))["at"]
    rows: dict[UUID, list[Step]] = defaultdict(list)
    found = Step.objects.filter(plan__in=plans, kind=StepKind.STEP)
    for row in found.only("plan", "key", "status", "started_at", "finished_at"):
        rows[row.plan_id].append(row)
    return [UndoPlan(one.number, Stage(one.stage), _after(went_on, one.created_at), rows[one.pk]) for one in plans]


def undone_since(plan: Plan) -> str:
    """What other plans undid of a plan at rest, or are about to, as sentences; empty if nothing."""
    undos = undos_of(plan) if plan.stage in AT_REST else []
    return undoing_of(plan, undos=undos).since if undos else ""


def taken_back(undos: Sequence[UndoPlan], steps: Iterable[Step]) -> dict[str, TakenBack]:
    """Which of these steps of a plan were undone by plans of their own since they were done, or may have been, by key."""
    found: dict[str, TakenBack] = {}
    for step in steps:
        if step.kind == StepKind.STEP and (ends := [end for undo in undos if (end := undo.became_of(step))]):
            found[step.key] = next((end for end in ends if end.done), ends[0])
    return found


def taken_back_tale(taken: Mapping[str, TakenBack]) -> str:
    """What was undone by which plan, and what may have been, as sentences; empty if nothing."""
    by: dict[TakenBack, list[str]] = defaultdict(list)
    for key, end in sorted(taken.items()):
        by[end].append(key)
    said = []
    for end, keys in sorted(by.items(), key=lambda item: (not item[0].done, item[0].number)):
        if end.done:
            said.append(f"{named(keys)} {'was' if len(keys) == 1 else 'were'} undone by plan {end.number}.")
        elif end.going:
            said.append(f"Plan {end.number} is undoing {named(keys)}.")
        else:
            said.append(f"Whether plan {end.number} undid {named(keys)} is not known.")
    return " ".join(said)


def why_not_gone_on(plan: Plan, undos: Sequence[UndoPlan] | None = None) -> str:
    """Why a plan may not go on, or begin: what it builds on was undone, or what it undoes has gone on. Empty if it may.

    `undos` are the plans that were written to undo it, if they are known.
    """
    built_on = _why_not_built_on(plan, undos_of(plan) if undos is None else undos)
    return built_on or (_why_not_undone(plan.undoes, plan.number) if plan.undoes else "")


def _why_not_built_on(plan: Plan, undos: Sequence[UndoPlan]) -> str:
    if busy := next((one for one in undos if one.under_way), None):
        return f"Plan {busy.number} is undoing what plan {plan.number} did, so that does not go on meanwhile."
    rows = Step.objects.filter(plan=plan, revision__number=plan.revision_number, kind=StepKind.STEP)
    taken = taken_back(undos, rows.only("key", "kind", "started_at", "finished_at")) if undos else {}
    if not taken:
        return ""
    revise = "" if plan.rollback_reason else " Revise it: what was undone runs again then."
    return f"{taken_back_tale(taken)} So plan {plan.number} does not go on as it is.{revise}"


def _why_not_undone(plan: Plan, by: int) -> str:
    undos = undos_of(plan)
    if plan.stage in HOLDING_STAGES or any(one.overtaken for one in undos if one.number == by):
        return (
            f"Plan {plan.number} went on after this was written, so it would undo only a part of what that did. "
            f"Once plan {plan.number} is at rest, undo it anew."
        )
    newer = next((one for one in undos if one.number > by and one.counts), None)
    return f"Plan {newer.number} was written to undo what is left of plan {plan.number}." if newer else ""


def _after(at: datetime | None, since: datetime | None) -> bool:
    return at is not None and since is not None and at > since


def undo_key(key: str) -> str:
    """The key of the step that undoes this one, in a plan of its own."""
    return f"{_UNDO}{key}" if len(key) <= _LONGEST_KEY else key


def _what_undoes(rows: Sequence[Step]) -> Undoing:
    """What would undo those of a revision's steps that are done, or begun. `rows` are all its rows in the order of work."""
    rollbacks = {row.parent_id: row for row in rows if row.kind == StepKind.ROLLBACK}
    found, stays, begun = [], [], []
    for row in reversed(rows):
        done = row.status == StepStatus.COMPLETED
        if row.kind != StepKind.STEP or not (done or row.started_at):
            continue
        rollback = rollbacks.get(row.pk)
        if rollback is not None:  # it reads what the step answered, so it undoes nothing that is half done
            found += [rollback] if done and rollback.status != StepStatus.COMPLETED else []
            begun += [] if done else [row.key]
        elif row.reversible_by and not (row.playbook or {}).get("limit"):  # the other one would touch more than it did
            found.append(row)
        elif done:
            stays.append(row.key)
    return Undoing(found, stays[::-1], begun[::-1])


def undone_by(row: Step) -> str:
    """The key of the step that this row undoes."""
    return row.key.rpartition(".")[0] if row.kind == StepKind.ROLLBACK else row.key
