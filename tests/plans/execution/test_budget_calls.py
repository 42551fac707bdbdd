"""What counts as a call of a plan's budget: what calls a tool, whichever way it came to be, and nothing else."""

from uuid import uuid4

import pytest

from plans.execution import hot_path
from plans.models import Attempt, BudgetReservation
from tests import factories
from tests.engine import Engine, claim, stage, statuses, tries
from tests.factories import step
from tests.plans.execution.steps import failing, output, row, say
from tests.plans.execution.test_budgets import sums

pytestmark = [pytest.mark.django_db, pytest.mark.e2e_03]
ECHO = {"tool": "diagnostic.echo", "input": {"value": "instead"}}


@pytest.fixture
def budgeted(packages, requester, approver):
    """Make a plan of these steps with this budget and approve it; the tool that the documentation shows is there, too."""
    packages.install_documented()
    factories.make_agent("infra-1", slots=4)

    def make(*steps, **budget):
        return factories.approve(factories.make_plan(requester, steps, budget=budget), approver)

    return make


def charged(plan):
    """The attempts that were charged, by their step and number, and how many calls the ledger says were made."""
    made = BudgetReservation.objects.filter(ledger=plan.pk).order_by("made_at")
    return [f"{key} {number}" for key, number in made.values_list("attempt__step__key", "attempt__number")], sums(plan)[
        0
    ].calls


def test_a_fallback_is_a_call_of_its_own(budgeted):
    plan = budgeted(failing("a", on_failure="fallback", fallback=ECHO), call_ceiling=5)
    Engine().run()
    assert tries(plan, "a") == [(1, "failed"), (2, "completed")]
    assert charged(plan) == (["a 1", "a 2"], 2)


def test_a_fallback_is_not_called_beyond_the_ceiling(budgeted):
    plan = budgeted(failing("a", on_failure="fallback", fallback=ECHO), call_ceiling=1)
    Engine().run()
    assert (stage(plan), tries(plan, "a")) == ("failed", [(1, "failed"), (2, "failed")])
    assert row(plan, "a").error.startswith("The budget's 1 call is spent")
    assert charged(plan) == (["a 1"], 1)


def test_a_dear_tool_gives_way_to_a_fallback_that_the_budget_allows(budgeted):
    plan = budgeted(
        step("a", "diagnostic.spend", input={"cost": 5}, on_failure="fallback", fallback=ECHO), cost_ceiling=2
    )
    Engine().run()
    assert (stage(plan), tries(plan, "a")) == ("completed", [(1, "failed"), (2, "completed")])
    assert charged(plan) == (["a 2"], 1)


@pytest.mark.parametrize("ceiling", [1, 2, 3])
def test_each_item_of_a_list_is_a_call_and_the_step_itself_is_none(budgeted, ceiling):
    plan = budgeted(say("a", "{{ item }}", for_each=["x", "y", "z"]), call_ceiling=ceiling)
    Engine().run()
    items = [status for key, status in statuses(plan).items() if key != "a"]
    assert (items.count("completed"), sums(plan)[0].calls) == (ceiling, ceiling)
    assert stage(plan) == ("completed" if ceiling == 3 else "failed")


def test_what_undoes_a_step_is_a_call_and_is_stopped_at_the_ceiling_like_any_other(budgeted):
    steps = (
        say("a", rollback=ECHO),
        say("b", depends_on=["a"], rollback=ECHO),
        failing("c", depends_on=["b"], on_failure="rollback"),
    )
    plan = budgeted(*steps, call_ceiling=4)
    Engine().run()
    assert charged(plan) == (["a 1", "b 1", "c 1", "b.rollback 1"], 4)
    assert statuses(plan)["b.rollback"] == "completed"
    assert statuses(plan)["a.rollback"] == "failed"
    assert row(plan, "a.rollback").error.startswith("The budget's 4 calls are spent")


def test_what_the_cache_answers_is_no_call_not_even_at_the_end_of_the_budget(budgeted):
    words = {"text": f"to be or not to be {uuid4()}"}  # which nobody asked before
    plan = budgeted(
        step("ask", "acme.word_count", input=words),
        step("again", "acme.word_count", input=words, depends_on=["ask"]),
        step("other", "acme.word_count", input={"text": f"that is the question {uuid4()}"}, depends_on=["again"]),
        call_ceiling=1,
    )
    Engine().run()
    assert statuses(plan) == {"ask": "completed", "again": "completed", "other": "failed"}
    assert "from_cache" in Attempt.objects.get(plan=plan, step__key="again").progress
    assert output(plan, "again") == {"words": 7}
    assert charged(plan) == (["ask 1"], 1)


def test_a_condition_that_does_not_hold_and_a_skipped_step_are_no_calls(budgeted):
    plan = budgeted(
        say("a"),
        say("b", depends_on=["a"], when="steps.a.output.value == 'else'"),
        say("c", depends_on=["b"]),
        call_ceiling=2,
    )
    Engine().run()
    assert (stage(plan), statuses(plan)["b"]) == ("completed", "skipped")
    assert charged(plan) == (["a 1", "c 1"], 2)


@pytest.mark.parametrize(("budget", "short"), [({"call_ceiling": 2}, False), ({}, True)])
def test_the_short_way_of_ending_a_step_refuses_a_plan_with_a_budget(budgeted, budget, short):
    plan = budgeted(say("a"), say("b", depends_on=["a"]), **budget)
    ((pk, token, _),) = Engine().dispatch()
    held = claim(pk, token)
    ending = hot_path.Ending("done", {"value": "a"}, {}, {}, [], 0, "", [])
    if short:
        assert hot_path.finish(held, ending, {})
    else:
        with pytest.raises(hot_path.NeedsDecision):
            hot_path.finish(held, ending, {})
    assert Attempt.objects.get(pk=pk).status == ("completed" if short else "running")
    assert statuses(plan)["a"] == ("completed" if short else "running")


def test_a_list_that_is_known_is_foreseen_with_each_of_its_items(requester):
    plan = factories.make_plan(
        requester, [say("a", "{{ item }}", for_each=["x", "y", "z"]), say("b")], budget={"call_ceiling": 3}
    )
    facts = {fact["text"]: fact["detail"] for fact in plan.revisions.get().risk_facts}
    assert facts["The budget may end before the plan does"].startswith("its steps are 4 calls at least")
    plan = factories.make_plan(
        requester, [say("a", "{{ item }}", for_each=["x", "y", "z"]), say("b")], budget={"call_ceiling": 4}
    )
    assert "The budget may end before the plan does" not in {fact["text"] for fact in plan.revisions.get().risk_facts}
