"""What would undo the steps of a plan that are done: their approved rollbacks, or what their playbooks name."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from uuid import UUID

from django.db.models import F

from audit.query import RecordFilter, find_records
from plans.enums import Stage, StepKind, StepStatus
from plans.models import IN_ORDER, Attempt, Plan, Step
from plans.recovery import named

_LONGEST_KEY = 58  # that still has room for a word before it
AT_REST = (Stage.COMPLETED, Stage.FAILED, Stage.CANCELLED, Stage.REJECTED)  # the last after an earlier revision ran


@dataclass(frozen=True, slots=True)
class Undoing:
    """What undoes a plan, the last step done first, and which of the steps that did something stay as they are."""

    rows: list[Step] = field(default_factory=list)  # of kind rollback, or the step itself if its playbook names another
    stays: list[str] = field(default_factory=list)
    begun: list[str] = field(default_factory=list)  # not done, and what undoes them reads what they would have answered

    @property
    def keys(self) -> list[str]:
        """The keys of the steps that would be undone, in this order."""
        return [undone_by(row) for row in self.rows]

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
        return said


def undoing_of(plan: Plan) -> Undoing:
    """What would undo this plan; nothing while it can still go on by itself, or has not run.

    It is what the revision that ran last has done, also if another one was written since then.
    """
    ran = last_run(plan) if plan.stage in AT_REST else None
    if ran is None:
        return Undoing()
    rows = Step.objects.filter(revision=ran).exclude(kind=StepKind.ITEM)
    return what_undoes(rows.defer("output", "origins", "proof", "preview", "span").order_by(*IN_ORDER))


def last_run(plan: Plan) -> UUID | None:
    """The revision that ran last: what it did is how things are, whatever was only written since then. None if none ran."""
    ran = Attempt.objects.filter(plan=plan, started_at__isnull=False).order_by("-step__revision__number")
    return ran.values_list("step__revision", flat=True).first()


def undone_since(plan: Plan, done: Iterable[Step]) -> dict[str, int]:
    """Which of these done steps of a plan a plan of its own has undone since, by key, and the number of that plan."""
    asked = find_records(RecordFilter(trace_id=plan.trace_id, types=("plan.undo_asked",))).records
    numbers = [int(record.metadata["number"]) for record in asked]
    if not numbers:
        return {}
    rows = Step.objects.filter(plan__number__in=numbers, revision__number=F("plan__revision_number"))
    ended = rows.filter(kind=StepKind.STEP, status=StepStatus.COMPLETED).order_by("finished_at")
    undoing = {key: (at, number) for key, at, number in ended.values_list("key", "finished_at", "plan__number")}
    found = {}
    for step in done:
        at, number = undoing.get(undo_key(step.key), (None, 0))
        if at and step.finished_at and at > step.finished_at:
            found[step.key] = number
    return found


def undo_key(key: str) -> str:
    """The key of the step that undoes this one, in a plan of its own."""
    return f"undo-{key}" if len(key) <= _LONGEST_KEY else key


def what_undoes(steps: Iterable[Step]) -> Undoing:
    """What would undo those of a revision's steps that are done, or begun. `steps` are all its rows in the order of work."""
    rows = list(steps)
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
