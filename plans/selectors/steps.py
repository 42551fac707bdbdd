"""Steps as pages show them: inputs with their origins, what a step waits for, and the graph of all."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from plans.conf import MOST_ITEMS
from plans.enums import StepKind, StepStatus
from plans.graph import Drawing, Node, clipped, draw
from plans.looks import LOOKS
from plans.models import IN_ORDER, Attempt, Dependency, Plan, Revision, Step

STEPS_SHOWN = 50


@dataclass(frozen=True, slots=True)
class Input:
    """One input of a step: its value and where that comes from."""

    name: str
    value: Any
    origin: str


@dataclass(frozen=True, slots=True)
class StepView:
    """One step, with what it waits for and whether the request's words asked for it."""

    step: Step
    inputs: list[Input]
    after: list[str]
    asked_for: bool
    undone_by: str = ""
    done_in: int | None = None  # the earlier revision that did it

    @property
    def title(self) -> str:
        """What the step is called: by its key if it has no better name than its tool."""
        return self.step.key if self.step.name in ("", self.step.tool) else self.step.name

    @property
    def what(self) -> str:
        """What the step runs: a playbook's path, or a tool."""
        return what_runs(self.step.playbook, self.step.tool)

    @property
    def fallback(self) -> str:
        """What it falls back on: a playbook's path, or a tool."""
        work = self.step.fallback_work
        return what_runs(work.playbook, work.tool) if work else ""

    @property
    def each(self) -> str:
        """For what it runs once each, in words; empty for a step that runs once."""
        found = self.step.for_each
        if isinstance(found, list):
            return f"each of {len(found)} item{'' if len(found) == 1 else 's'}: {', '.join(map(str, found))}"
        return f"each item of {found}, at most {MOST_ITEMS}" if found else ""

    @property
    def tags(self) -> list[str]:
        """The tags that narrow a playbook, if any."""
        return list((self.step.playbook or {}).get("tags") or [])

    @property
    def retries(self) -> str:
        """The retry policy in words."""
        tries = self.step.retry_attempts
        if tries <= 1:
            return "one try"
        return f"up to {tries} tries, only for failures that may pass"


def what_runs(playbook: Mapping[str, Any] | None, tool: str) -> str:
    """A playbook's path, or the tool of a step without one."""
    return str(playbook["path"]) if playbook and playbook.get("path") else tool


def on_hosts(hosts: Sequence[str], most: int = 3) -> str:
    """Host names for one line: all of a few, the number of many."""
    return ", ".join(hosts) if len(hosts) <= most else f"{len(hosts)} hosts"


def views_of(
    steps: Iterable[Step], upstream: Mapping[str, list[str]], undo: Mapping[str, str], *, words_matter: bool
) -> list[StepView]:
    """Steps with everything a person reads before deciding. `undo` says for each key what undoes it."""
    found = list(steps)
    done_in = done_before(found)
    return [
        StepView(
            step=step,
            inputs=[Input(name, value, str(step.origins.get(name, ""))) for name, value in step.input.items()],
            after=upstream.get(step.key, []),
            asked_for=not words_matter or bool(step.span) or step.kind != StepKind.STEP,
            undone_by=undo.get(step.key, ""),
            done_in=done_in.get(step.pk),
        )
        for step in found
    ]


def done_before(steps: Iterable[Step]) -> dict[UUID, int]:
    """For each of these steps that an earlier revision has done, the number of that revision."""
    carried = {step.pk: step.carried_from_id for step in steps if step.carried_from_id}
    if not carried:
        return {}
    numbers = dict(Step.objects.filter(pk__in=carried.values()).values_list("pk", "revision__number"))
    return {pk: numbers[source] for pk, source in carried.items() if source}


def upstream_of(revision: Revision, keys: Mapping[UUID, str]) -> dict[str, list[str]]:
    """For each step's key, the keys of the steps it waits for."""
    found: dict[str, list[str]] = {}
    edges = Dependency.objects.filter(revision=revision).values_list("upstream_id", "downstream_id")
    for before, after in edges:
        found.setdefault(keys[after], []).append(keys[before])
    return found


def undoing(facts: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    """For each step's key, what undoes it: its approved rollback, or what its playbook names."""
    found = {row["key"]: row["reversible_by"] for row in facts if row["reversible_by"] and row["kind"] == StepKind.STEP}
    rollbacks = {
        row["key"].rpartition(".")[0]: what_runs(row["playbook"], row["tool"])
        for row in facts
        if row["kind"] == StepKind.ROLLBACK
    }
    return found | rollbacks


_FACTS = (
    "id", "key", "index", "name", "status", "playbook", "tool", "hosts", "reversible_by", "span", "risk", "kind",
    "for_each", "items", "fallback", "when", "on_failure",
)  # fmt: skip


def graph_of(
    plan: Plan, revision: Revision, *, link: str, far_link: str = ""
) -> tuple[Drawing, dict[str, list[str]], list[dict[str, Any]]]:
    """The drawing of a revision's steps, what each waits for, and each step's bare facts in the order of work.

    Items follow their step and what undoes steps comes last. `link` is the address of a step with `{key}` in it;
    `far_link` is used where there are more than 50.
    """
    facts: list[dict[str, Any]] = [
        dict(row) for row in Step.objects.filter(revision=revision).order_by(*IN_ORDER).values(*_FACTS)
    ]
    for row in facts:
        row["status"] = plan.shown(row["status"])
    upstream = upstream_of(revision, {row["id"]: row["key"] for row in facts})
    address = far_link if far_link and len(facts) > STEPS_SHOWN else link
    items: dict[str, list[str]] = {}
    for row in facts:
        if row["kind"] == StepKind.ITEM:
            items.setdefault(row["key"].rpartition(".")[0], []).append(row["status"])
    fell_back: set[UUID] = set()
    if any(row["fallback"] for row in facts):
        tries = Attempt.objects.filter(step__revision=revision, by_fallback=True)
        for pair in tries.values_list("step_id", "step__parent_id"):
            fell_back.update(pk for pk in pair if pk)
    nodes = [
        _node(row, address.format(key=row["key"]), items.get(row["key"], []), by_fallback=row["id"] in fell_back)
        for row in facts
        if row["kind"] != StepKind.ITEM
    ]
    return draw(nodes, upstream), upstream, facts


def _node(row: Mapping[str, Any], href: str, items: Sequence[str], *, by_fallback: bool) -> Node:
    """One step as a box: a fan-out with its items, what it falls back on, whether a condition decides about it."""
    look = LOOKS[StepStatus, row["status"]]
    what, where = what_runs(row["playbook"], row["tool"]), on_hosts(row["hosts"], 1)
    sub, state = (f"{what} · {where}" if where else what), look.word
    fallback = row["fallback"]
    if fallback:
        other = what_runs(fallback["playbook"], fallback["tool"])
        sub = f"by fallback {other}" if by_fallback else f"{what} or {other}"
    fans_out = row["for_each"] is not None and row["kind"] == StepKind.STEP
    if fans_out:
        known = len(items) or (len(row["for_each"]) if isinstance(row["for_each"], list) else None)
        sub = f"{what} × {known} items" if known is not None else f"{what} × each item"
        if items:
            state = f"{look.word}, {items.count(StepStatus.COMPLETED)} of {len(items)} done"
    marks = []
    if row["when"] and row["kind"] == StepKind.STEP:
        marks.append(("diff", f"only if {row['when']}"))
    if fallback:
        marks.append(("retry", f"falls back on {what_runs(fallback['playbook'], fallback['tool'])}"))
    undoes = row["key"].rpartition(".")[0] if row["kind"] == StepKind.ROLLBACK else ""
    return Node(
        key=row["key"],
        title=clipped(f"Undo {undoes}" if undoes else f"{row['index']} {row['key']}", 28),
        sub=clipped(sub, 36),
        state=state,
        icon="undo" if undoes and row["status"] in _NOT_BEGUN else look.icon,
        tone=look.tone,
        href=href,
        spins=look.spins,
        parts=tuple(LOOKS[StepStatus, status].tone for status in items) if fans_out else None,
        undoes=undoes,
        ghost=bool(undoes) and row["status"] in (*_NOT_BEGUN, StepStatus.SKIPPED),
        marks=tuple(marks),
        says=look.word,
    )


_NOT_BEGUN = (StepStatus.PENDING, StepStatus.WAITING)
