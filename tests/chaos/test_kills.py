"""Programs are killed while plans run: everything comes back, each step is done once, and nothing is lost."""

import time

import pytest

from tests.chaos import soak
from tests.chaos.invariants import broken

pytestmark = [pytest.mark.chaos, pytest.mark.integration, pytest.mark.slow]
SEED = 20261121


def chain(count, seconds=0.4):
    return [
        {
            "key": f"s{n}",
            "tool": "diagnostic.sleep",
            "input": {"seconds": seconds},
            "depends_on": [f"s{n - 1}"] if n else [],
        }
        for n in range(count)
    ]


@pytest.mark.parametrize("name", ["dispatcher", "valkey-server", "postgres", "daphne", "worker"])
def test_a_plan_goes_on_after_a_program_was_killed(house, name):
    plan = house.written(*chain(8))
    house.approved(plan)
    house.until(lambda: house.plan(plan["id"])["steps"][1]["status"] == "running")
    killed = house.kill(name)
    house.back(name, after=killed)
    done = house.ended(plan, 90)
    assert done["stage"] == "completed"
    assert broken(house, plan["id"]) == []
    for step in done["steps"]:
        assert [attempt["status"] for attempt in step["attempts"]][-1] == "completed"


def test_a_stopped_broker_keeps_nobody_waiting_and_the_plan_goes_on(house):
    broker = house.programs()["valkey-server"]
    broker.suspend()
    try:
        plan = house.written(*chain(2))
        began = time.monotonic()
        house.approved(plan)
        assert time.monotonic() - began < 2
        time.sleep(3)
    finally:
        broker.resume()
    done = house.ended(plan, 90)
    assert done["stage"] == "completed"
    assert broken(house, plan["id"]) == []


def test_every_invariant_holds_after_many_kills(house):
    done = soak.run(house, seconds=18, seed=SEED, victims=("forge-01", "forge-02", "dispatcher"), plans=10)
    print(done.told())
    assert len(done.kills) >= 3
    assert done.problems == [], done.told()
    assert set(done.stages) == {"completed"}, done.told()
