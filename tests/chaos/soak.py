"""A soak: plans run while programs are killed at random, by a printed seed; in the end only invariants are looked at."""

from __future__ import annotations

import random
import time
from dataclasses import dataclass, field
from typing import Any

from tests.chaos.invariants import broken
from tests.processes import Installation

VICTIMS = ("forge-01", "forge-02", "dispatcher", "worker", "valkey-server", "postgres", "daphne")
PAUSE_SECONDS = (1.5, 4.0)  # between two kills
MOST_KILLS = 4  # of one program within a minute: the keeper gives up at five


@dataclass
class Soak:
    """What was done and found."""

    seed: int
    kills: list[tuple[float, str]] = field(default_factory=list)
    plans: list[str] = field(default_factory=list)
    stages: dict[str, int] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)

    def told(self) -> str:
        """The timeline and the findings, for a person."""
        kills = ", ".join(f"{at:.1f} s {name}" for at, name in self.kills)
        return f"seed {self.seed}: {len(self.plans)} plans ended as {self.stages}; killed: {kills}\n" + "\n".join(
            self.problems or ["Every invariant holds."]
        )


def run(
    installation: Installation, *, seconds: float, seed: int, victims: tuple[str, ...] = VICTIMS, plans: int = 10
) -> Soak:
    """Keep `plans` plans under way for a while, kill programs meanwhile, let all come to rest, and look."""
    chance = random.Random(seed)
    soak = Soak(seed)
    began = time.monotonic()
    next_kill = began + chance.uniform(*PAUSE_SECONDS)
    under_way: list[Any] = []
    while (now := time.monotonic()) - began < seconds:
        under_way = [
            plan for plan in under_way if installation.plan(plan["id"])["stage"] not in ("completed", "failed")
        ]
        while len(under_way) < plans:
            plan = installation.written(*_steps(chance))
            installation.approved(plan)
            under_way.append(plan)
            soak.plans.append(plan["id"])
        if now >= next_kill:
            _kill(installation, soak, chance.choice(victims), now - began)
            next_kill = time.monotonic() + chance.uniform(*PAUSE_SECONDS)
        time.sleep(0.2)
    for pk in soak.plans:
        stage = installation.ended({"id": pk}, 120)["stage"]
        soak.stages[stage] = soak.stages.get(stage, 0) + 1
        soak.problems += broken(installation, pk)
    soak.problems += [f"A process of a step lives on: {process}" for process in installation.steps_processes()]
    return soak


def _kill(installation: Installation, soak: Soak, name: str, at: float) -> None:
    recent = [when for when, who in soak.kills if who == name and at - when < 60]
    if len(recent) < MOST_KILLS and name in installation.programs():
        installation.kill(name)
        soak.kills.append((at, name))


def _steps(chance: random.Random) -> list[dict[str, Any]]:
    """A few steps of every kind; each may be tried often enough to outlive the kills."""
    retry = {"attempts": 10, "first_wait_seconds": 0.2, "longest_wait_seconds": 1}
    kinds: list[dict[str, Any]] = [
        {"tool": "diagnostic.noop"},
        {"tool": "diagnostic.sleep", "input": {"seconds": 0.5}},
        {"tool": "diagnostic.lines", "input": {"count": 300, "per_second": 400}},
        {"tool": "diagnostic.fail", "input": {"times": 1}},
    ]
    steps = []
    for number in range(chance.randint(3, 6)):
        before = chance.sample(range(number), k=min(number, chance.randint(0, 2)))
        depends = [f"s{place}" for place in sorted(before)]
        steps.append({"key": f"s{number}", **chance.choice(kinds), "depends_on": depends, "retry": retry})
    return steps
