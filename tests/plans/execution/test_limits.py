"""How much of a plan, and of a tool, runs at once; what waits says for what."""

import pytest

from agents.tools.diagnostic import Noop
from plans.execution import attempt
from plans.models import Attempt
from tests import factories
from tests.engine import Engine, claim, stage, statuses, together
from tests.plans.execution.steps import row, say

pytestmark = [pytest.mark.django_db, pytest.mark.e2e_03]


@pytest.fixture
def limited(requester, approver, agent):
    """Make a plan of these steps that runs at most so many at once, and approve it."""

    def make(most, *steps):
        return factories.approve(factories.make_plan(requester, steps, max_parallel=most), approver)

    return make


def assigned(plan):
    return Attempt.objects.filter(plan=plan, status__in=["due", "sent", "running"], agent__isnull=False).count()


def test_a_plan_runs_no_more_steps_at_once_than_it_says(limited, engine):
    plan = limited(2, *(say(key) for key in "abcd"))
    first, second = engine.dispatch()
    assert assigned(plan) == 2
    assert sorted(statuses(plan).values()) == ["ready", "ready", "waiting", "waiting"]
    said = "Waits for another step of this plan to end: it runs at most 2 at once."
    assert row(plan, "d").waiting_for == said
    claim(*first[:2])
    attempt.run(second[0], token=second[1], go_on_for=0)
    assert len(engine.dispatch()) == 1
    assert assigned(plan) == 2


def test_all_of_it_runs_in_the_end(limited, engine):
    plan = limited(1, say("a"), say("each", "{{ item }}", for_each=[1, 2, 3], depends_on=["a"]), say("b"))
    while messages := engine.dispatch():
        assert len(messages) == assigned(plan) == 1
        attempt.run(messages[0][0], token=messages[0][1], go_on_for=0)
    assert stage(plan) == "completed"


def test_a_plan_without_a_limit_takes_every_slot(limited, engine):
    limited(None, *(say(key) for key in "abcd"))
    assert len(engine.dispatch()) == 4


def test_the_limit_of_one_plan_holds_no_other(limited, engine):
    one, other = limited(1, say("a"), say("b")), limited(2, say("a"), say("b"))
    engine.dispatch()
    assert (assigned(one), assigned(other)) == (1, 2)


def test_a_plan_at_its_limit_hides_nothing_that_stands_behind_it(limited, approved, engine, agent):
    type(agent).objects.update(slots=1)
    full = limited(1, *(say(f"s{n}") for n in range(30)))
    behind = approved(say("x"))
    type(agent).objects.update(slots=3)
    engine.dispatch()
    assert (assigned(full), assigned(behind)) == (1, 1)


def test_a_tool_runs_no_more_often_at_once_than_it_says_in_all_plans(approved, engine, monkeypatch):
    monkeypatch.setattr(Noop, "parallel_limit", 2, raising=False)
    noop = [factories.step(key, "diagnostic.noop") for key in "ab"]
    one, other = approved(*noop), approved(*noop, say("c"))
    messages = engine.dispatch()
    assert (assigned(one), assigned(other)) == (2, 1)  # the echo is another tool
    assert row(other, "a").waiting_for == "Waits for another diagnostic.noop to end: at most 2 run at once."
    for pk, token, _ in messages:
        attempt.run(pk, token=token, go_on_for=0)
    engine.run()
    assert stage(one) == stage(other) == "completed"


def test_a_fallback_counts_for_its_own_tool(approved, engine, monkeypatch):
    monkeypatch.setattr(Noop, "parallel_limit", 1, raising=False)
    falling = {"on_failure": "fallback", "fallback": {"tool": "diagnostic.noop"}}
    given = {"times": 9, "transient": False}
    plan = approved(*(factories.step(key, "diagnostic.fail", input=given, **falling) for key in "ab"))
    engine.step()
    assert assigned(plan) == 1
    assert sorted(statuses(plan).values()) == ["ready", "waiting"]
    engine.run()
    assert stage(plan) == "completed"


@pytest.mark.django_db(transaction=True)
def test_two_that_assign_at_once_do_not_both_give_away_the_last_place(requester, approver, engine):
    factories.make_agent("infra-1", slots=8)
    steps = [say("a"), say("b"), say("c", depends_on=["a"]), say("d", depends_on=["b"])]
    steps += [say(f"more{n}", depends_on=["a" if n % 2 else "b"]) for n in range(6)]
    plan = factories.approve(factories.make_plan(requester, steps, max_parallel=2), approver)
    for pk, token, _ in engine.dispatch():
        attempt.run(pk, token=token, go_on_for=0)
    together(engine.dispatch, Engine().dispatch)
    assert assigned(plan) == 2


def test_an_agent_that_goes_on_by_itself_goes_no_further_than_the_plan_lets_it(limited, engine):
    plan = limited(2, *(say(key) for key in "abcd"), say("e", depends_on=["a"]))
    first, second = engine.dispatch()
    running = claim(*first[:2])
    attempt.run(second[0], token=second[1], go_on_for=60)
    assert assigned(plan) == 1
    assert [status for key, status in statuses(plan).items() if key != running.step.key].count("completed") == 1
    Engine(go_on_for=60).run()
    assert sorted(statuses(plan).values()).count("completed") == (3 if running.step.key == "a" else 4)


def test_an_agent_that_goes_on_by_itself_keeps_a_tools_limit(approved, engine, monkeypatch):
    monkeypatch.setattr(Noop, "parallel_limit", 1, raising=False)
    noop = [factories.step(key, "diagnostic.noop") for key in "abc"]
    plan = approved(*noop)
    (only,) = engine.dispatch()
    attempt.run(only[0], token=only[1], go_on_for=60)
    assert sorted(statuses(plan).values()) == ["completed", "waiting", "waiting"]
    Engine(go_on_for=60).run()
    assert stage(plan) == "completed"
