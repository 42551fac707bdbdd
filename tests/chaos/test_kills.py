"""Programs are killed or stand still while plans run: all come to rest, each effect is there once, and nothing is lost.

Short and seeded; `make chaos` does the same at length.
"""

import pytest

from tests.chaos import frozen, kills, soak
from tests.chaos.crash_loop import CrashLoop, Order

pytestmark = [pytest.mark.chaos, pytest.mark.integration, pytest.mark.slow]
SEED = 20261121
# One of each kind: a commit, a statement that commits by itself, a message, the move of a branch; by each program.
FEW_POINTS = (
    Order("agent", 2, "after the commit of finish.finish"),
    Order("dispatcher", 1, "after a message to agent"),
    Order("web", 1, "after the commit of idempotency.answered_once"),
    Order("worker", 1, "after the move of the branch"),
)


def test_plans_end_the_same_wherever_a_program_dies(house):
    loop = CrashLoop(house)
    rounds = [loop.round(), *(loop.round(order) for order in FEW_POINTS)]
    told = "\n".join(map(str, rounds))
    print(told)
    assert [problem for done in rounds for problem in done.problems] == [], told
    assert [str(done.orders) for done in rounds if not done.reached] == [], told


def test_plans_come_to_rest_and_no_effect_is_there_twice_although_each_program_is_killed(house):
    done = kills.run(house, plans=6, seed=SEED)
    assert {name for _, name in done.kills} == set(kills.VICTIMS)
    assert done.problems == [], done.told()


def test_a_broker_that_stands_still_slows_no_page_and_costs_no_work(house):
    found = frozen.run(
        house, seconds=3.5, slowest=2
    )  # a busy machine is slow by itself; who waits for a broker waits longer
    assert found.looks >= len(frozen.PAGES) + 2
    assert found.problems == [], found.told()


def test_every_invariant_holds_after_random_kills(house):
    done = soak.run(house, seconds=6, seed=SEED, victims=("forge-01", "forge-02", "dispatcher"), plans=4)
    print(done.told())
    assert len(done.kills) > 0
    assert done.problems == [], done.told()
