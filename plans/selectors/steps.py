"""Steps as pages show them: inputs with their origins, what a step waits for, and the graph of all."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from plans.enums import StepStatus
from plans.graph import Drawing, Node, clipped, draw
from plans.looks import LOOKS
from plans.models import Dependency, Revision, Step

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

    @property
    def what(self) -> str:
        """What the step runs: a playbook's path, or a tool."""
        return what_runs(self.step.playbook, self.step.tool)

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


def views_of(steps: Iterable[Step], upstream: Mapping[str, list[str]], *, words_matter: bool) -> list[StepView]:
    """Steps with everything a person reads before deciding."""
    return [
        StepView(
            step=step,
            inputs=[Input(name, value, str(step.origins.get(name, ""))) for name, value in step.input.items()],
            after=upstream.get(step.key, []),
            asked_for=not words_matter or bool(step.span),
        )
        for step in steps
    ]


def upstream_of(revision: Revision, keys: Mapping[UUID, str]) -> dict[str, list[str]]:
    """For each step's key, the keys of the steps it waits for."""
    found: dict[str, list[str]] = {}
    edges = Dependency.objects.filter(revision=revision).values_list("upstream_id", "downstream_id")
    for before, after in edges:
        found.setdefault(keys[after], []).append(keys[before])
    return found


def graph_of(
    revision: Revision, *, link: str, far_link: str = ""
) -> tuple[Drawing, dict[str, list[str]], list[dict[str, Any]]]:
    """The drawing of a revision's steps, what each waits for, and each step's bare facts in the order of work.

    `link` is the address of a step with `{key}` in it; `far_link` is used where there are more than 50.
    """
    facts: list[dict[str, Any]] = [
        dict(row)
        for row in Step.objects.filter(revision=revision)
        .order_by("index")
        .values("id", "key", "index", "name", "status", "playbook", "tool", "hosts", "reversible_by", "span", "risk")
    ]
    upstream = upstream_of(revision, {row["id"]: row["key"] for row in facts})
    address = far_link if far_link and len(facts) > STEPS_SHOWN else link
    nodes = []
    for row in facts:
        look = LOOKS[StepStatus, row["status"]]
        where = on_hosts(row["hosts"], 1)
        what = what_runs(row["playbook"], row["tool"])
        nodes.append(
            Node(
                key=row["key"],
                title=clipped(f"{row['index']} {row['key']}", 28),
                sub=clipped(f"{what} · {where}" if where else what, 36),
                state=look.word,
                icon=look.icon,
                tone=look.tone,
                href=address.format(key=row["key"]),
                spins=look.spins,
            )
        )
    return draw(nodes, upstream), upstream, facts
