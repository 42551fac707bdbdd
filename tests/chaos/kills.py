"""Many plans are under way at once while one program after the other is killed: all come to rest, no effect is there twice."""

from __future__ import annotations

import random
import time
from functools import partial

from tests.chaos import soak
from tests.chaos.plans import Author
from tests.chaos.rigged import RiggedHouse

VICTIMS = ("postgres", "valkey-server", "forge-01", "dispatcher", "daphne", "worker")


def run(house: RiggedHouse, *, plans: int, seed: int) -> soak.Soak:
    """Approve so many plans, kill each program once while at least half of them run, let all come to rest, and look."""
    chance, done = random.Random(seed), soak.Soak(seed)
    author, began = Author(house, chance), time.monotonic()
    done.plans += [house.approved(plan)["id"] for plan in [author.plan() for _ in range(plans)]]
    for name in VICTIMS:
        house.until(partial(_in_the_middle, house, author, done, plans / 2), 60, every=0.02)
        killed = house.kill(name)
        done.kills.append((time.monotonic() - began, name))
        house.back(name, after=killed)
        time.sleep(chance.uniform(0.5, 1.5))
    soak.settle(house, done)
    return done


def _in_the_middle(house: RiggedHouse, author: Author, done: soak.Soak, plans: float) -> bool:
    """Keep so many plans under way (they end while we wait) and tell whether it is a moment to kill."""
    while len(soak.under_way(house, done.plans)) < plans:
        done.plans.append(house.approved(author.plan())["id"])
    return _at_work(house)


def _at_work(house: RiggedHouse) -> bool:
    """Whether the agent that is to die has something in its hands that takes a moment."""
    return bool(
        house.rows(
            "SELECT FROM plans_attempt attempt JOIN plans_step step ON step.id = attempt.step_id "
            "JOIN agents_agent agent ON agent.id = attempt.agent_id WHERE agent.name = 'forge-01' AND attempt.status = 'running' "
            "AND step.tool <> 'diagnostic.noop'"
        )
    )
