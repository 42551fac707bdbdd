"""A soak: plans of everything run while programs are killed at random, by a printed seed; in the end only invariants are looked at."""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field

from tests.chaos.invariants import broken, not_in_git, overlaps
from tests.chaos.plans import Author, look_after, miscounted
from tests.chaos.rigged import RiggedHouse
from tests.processes import AT_REST

VICTIMS = ("forge-01", "forge-02", "dispatcher", "worker", "valkey-server", "postgres", "daphne")
CANCELLED = 0.2  # how often a plan is cancelled just after a program was killed
PAUSE_SECONDS = (1.5, 4.0)  # between two kills
# What plans must have gone through before their invariants say anything, by their records.
TRIALS = (
    "attempt.interrupted", "attempt.retry_scheduled", "step.fanned_out", "step.fell_back", "plan.rollback_begun",
    "plan.waits_for_lock", "plan.cancel_requested", "budget.warned", "budget.exceeded",
)  # fmt: skip
PATIENCE = 180.0  # seconds in which all has to come to rest once nothing is killed any more


@dataclass
class Soak:
    """What was done and found."""

    seed: int
    kills: list[tuple[float, str]] = field(default_factory=list)
    plans: list[str] = field(default_factory=list)
    stages: Counter[str] = field(default_factory=Counter)
    by_a_person: int = 0
    trials: dict[str, int] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)

    def told(self) -> str:
        """The timeline and the findings, for a person."""
        kills = ", ".join(f"{at:.1f} s {name}" for at, name in self.kills)
        return (
            f"seed {self.seed}: {len(self.plans)} plans ended as {dict(self.stages)}, a person asked for {self.by_a_person} tries; "
            f"{len(self.kills)} kills: {kills}\n{', '.join(f'{name} {count}' for name, count in self.trials.items())}\n"
        ) + "\n".join(self.problems or ["Every invariant holds."])


def run(house: RiggedHouse, *, seconds: float, seed: int, victims: tuple[str, ...] = VICTIMS, plans: int = 10) -> Soak:
    """Keep `plans` plans under way for a while, kill programs meanwhile, let all come to rest, and look."""
    chance = random.Random(seed)
    author, soak = Author(house, random.Random(chance.random())), Soak(seed)
    began = time.monotonic()
    next_kill = began + chance.uniform(*PAUSE_SECONDS)
    while (now := time.monotonic()) - began < seconds:
        for _ in range(plans - len(under_way(house, soak.plans))):
            soak.plans.append(house.approved(author.plan())["id"])
        if now >= next_kill:
            _kill(house, soak, chance.choice(victims), now - began)
            if chance.random() < CANCELLED and (running := under_way(house, soak.plans)):
                _cancel(house, chance.choice(running))
            next_kill = time.monotonic() + chance.uniform(*PAUSE_SECONDS)
        time.sleep(0.2)
    settle(house, soak)
    return soak


def settle(house: RiggedHouse, soak: Soak) -> None:
    """Look after the plans until all have come to rest and are in git, then look for what is wrong with them."""
    deadline = time.monotonic() + PATIENCE
    while left := under_way(house, soak.plans) or unclear(house, soak.plans) or unfinished(house):
        if time.monotonic() > deadline:
            soak.problems.append(f"This did not come to rest in {PATIENCE:g} s: {left}")
            break
        soak.by_a_person += sum(look_after(house, pk) for pk in unclear(house, soak.plans))
        time.sleep(0.3)
    soak.stages.update(
        row["stage"] for row in house.rows("SELECT stage FROM plans_plan WHERE id = ANY(%s)", soak.plans)
    )
    told = house.rows(
        "SELECT type, count(*) AS count FROM audit_decisionrecord WHERE trace_id IN (SELECT trace_id FROM plans_plan WHERE id = ANY(%s)) AND type = ANY(%s) GROUP BY type",
        soak.plans,
        list(TRIALS),
    )
    soak.trials = dict.fromkeys(TRIALS, 0) | {row["type"]: row["count"] for row in told}
    (skipped,) = house.rows(
        "SELECT count(*) AS count FROM plans_step WHERE plan_id = ANY(%s) AND status = 'skipped' "
        "AND summary LIKE '%%condition does not hold%%'",
        soak.plans,
    )
    soak.trials["a condition that does not hold"] = skipped["count"]
    soak.problems += wrong(house, soak.plans)


def wrong(house: RiggedHouse, plans: Iterable[str]) -> Iterator[str]:
    """Every invariant that does not hold of these plans, or of the installation."""
    for pk in plans:
        yield from broken(house, pk)
        yield from miscounted(house, pk)
        yield from not_in_git(house, pk)
    yield from overlaps(house)
    for process in house.steps_processes():
        yield f"A process of a step lives on: {process}"


def under_way(house: RiggedHouse, plans: list[str]) -> list[str]:
    """Those of these plans that are not at rest."""
    rows = house.rows("SELECT id FROM plans_plan WHERE id = ANY(%s) AND stage <> ALL(%s)", plans, list(AT_REST))
    return [str(row["id"]) for row in rows]


def unclear(house: RiggedHouse, plans: list[str]) -> list[str]:
    """Those of these plans that failed because nobody knows how a step ended."""
    rows = house.rows(
        "SELECT DISTINCT plan_id FROM plans_step step JOIN plans_plan plan ON plan.id = step.plan_id "
        "WHERE plan.id = ANY(%s) AND stage = 'failed' AND status = 'unknown'",
        plans,
    )
    return [str(row["plan_id"]) for row in rows]


def unfinished(house: RiggedHouse) -> list[str]:
    """The attempts that have ended and are not in the audit repository yet, though their steps ended too, or not settled."""
    rows = house.rows(
        "SELECT attempt_id FROM plans_unwrittentask task JOIN plans_attempt attempt ON attempt.id = task.attempt_id "
        "JOIN plans_step step ON step.id = attempt.step_id WHERE step.status IN ('completed', 'failed', 'cancelled', 'skipped') "
        "UNION SELECT attempt_id FROM plans_budgetreservation WHERE settled_at IS NULL"
    )
    return [str(row["attempt_id"]) for row in rows]


def _kill(house: RiggedHouse, soak: Soak, name: str, at: float) -> None:
    if not house.rest(name) and name in house.programs():
        house.kill(name)
        soak.kills.append((at, name))


def _cancel(house: RiggedHouse, plan_id: str) -> None:
    """Cancel a plan, if it has not come to rest meanwhile."""
    with suppress(AssertionError):
        house.requester.post(f"/plans/{plan_id}/cancel", reason="I changed my mind.")
