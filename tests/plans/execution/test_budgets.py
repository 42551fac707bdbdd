"""Budgets that count: the call that would pass a ceiling is not made, and what was used is settled."""

from dataclasses import replace
from decimal import Decimal

import pytest
from django.db import transaction

from agents.protocol import Outcome, ResourcesUsed, WorkResult
from agents.tools.registry import find_tool
from audit.context import Actor, acting
from audit.models import DecisionRecord
from plans import services
from plans.errors import InvalidPlan
from plans.execution import finish, reaper, spending
from plans.models import Attempt, BudgetLedger, BudgetReservation, Event, Plan, Revision, Step, events_of
from plans.planning.programs import draft_from_program
from plans.planning.saving import save_plan
from tests import factories
from tests.engine import Engine, claim, stage, statuses, tries
from tests.factories import step

pytestmark = [pytest.mark.django_db, pytest.mark.e2e_03]


@pytest.fixture
def budgeted(requester, approver, agent):
    """Make a plan of these steps with this budget and approve it."""

    def make(*steps, **budget):
        return factories.approve(factories.make_plan(requester, steps, budget=budget), approver)

    return make


def chain(count, tool="diagnostic.noop", **more):
    keys = [f"s{place}" for place in range(1, count + 1)]
    return [
        step(key, tool, depends_on=keys[place - 1 : place], **more) if place else step(key, tool, **more)
        for place, key in enumerate(keys)
    ]


def spend(key="s1", **given):
    return step(key, "diagnostic.spend", input=given)


def sums(plan):
    ledger = BudgetLedger.objects.get(plan=plan)
    return ledger.spent, ledger.held


def reserve(claimed):
    """What happens between the claim and the call of the tool."""
    tool = find_tool(claimed.step.tool)
    assert tool is not None
    return spending.reserve(claimed, tool, claimed.step.input)


def records(plan, type_):
    return list(DecisionRecord.objects.filter(trace_id=plan.trace_id, type=type_).order_by("sequence"))


def test_the_call_that_would_pass_the_ceiling_is_not_made(budgeted, engine):
    plan = budgeted(*chain(4), call_ceiling=2)
    engine.run()
    assert statuses(plan) == {"s1": "completed", "s2": "completed", "s3": "failed", "s4": "waiting"}
    assert (stage(plan), tries(plan, "s3")) == ("failed", [(1, "failed")])
    stopped = Attempt.objects.get(plan=plan, step__key="s3")
    assert (stopped.failure_mode, stopped.transient) == ("policy", False)
    said = "The budget's 2 calls are spent; the call was not made."
    assert stopped.error == Step.objects.get(plan=plan, key="s3").error
    assert stopped.error.startswith(said)
    assert "s1, s2 stay done" in Plan.objects.get(pk=plan.pk).stage_reason
    (spent, held) = sums(plan)
    assert (spent.calls, held.calls) == (2, 0)
    assert [record.metadata["step"] for record in records(plan, "attempt.failed")] == ["s3"]
    assert not [event for event in events_of(plan.pk) if event.type == "tool_executing" and event.step_key == "s3"]


def test_trying_again_at_the_end_of_the_budget_is_refused_again_and_told_once(budgeted, approver, engine):
    plan = budgeted(*chain(2), call_ceiling=1)
    engine.run()
    services.retry_step(actor=Actor.person(approver), plan_id=plan.pk, key="s2")
    engine.run()
    assert (stage(plan), tries(plan, "s2")) == ("failed", [(1, "failed"), (2, "failed")])
    assert len(records(plan, "budget.exceeded")) == 1
    assert len(records(plan, "attempt.failed")) == 2


def test_a_first_call_that_is_too_dear_fails_the_plan_before_anything_runs(budgeted, engine):
    plan = budgeted(spend(cost=2), cost_ceiling=1.5)
    engine.run()
    assert (stage(plan), statuses(plan)) == ("failed", {"s1": "failed"})
    assert "a cost of 1.5: 0 spent, and this call may need 2" in Step.objects.get(plan=plan).error
    assert not BudgetReservation.objects.exists()


def test_every_try_is_a_call(budgeted, engine):
    failing = step(
        "s1",
        "diagnostic.fail",
        input={"times": 9},
        retry={"strategy": "linear", "attempts": 5, "first_wait_seconds": 1},
    )
    plan = budgeted(failing, call_ceiling=3)
    engine.run(patiently=True)
    assert tries(plan, "s1") == [(1, "failed"), (2, "failed"), (3, "failed"), (4, "failed")]
    assert sums(plan)[0].calls == 3


def test_a_step_the_plan_can_do_without_does_not_open_the_budget_again(budgeted, engine):
    plan = budgeted(*chain(3, on_failure="continue"), call_ceiling=1)
    engine.run()
    assert statuses(plan) == {"s1": "completed", "s2": "failed", "s3": "failed"}
    assert sums(plan)[0].calls == 1


def test_costs_are_reserved_at_their_worst_and_settled_exactly(budgeted, engine):
    plan = budgeted(spend(cost=0.1, most_cost=0.25, tokens=5, most_tokens=50), cost_ceiling=0.3, token_ceiling=100)
    ((pk, token, _),) = engine.dispatch()
    held = claim(pk, token)
    assert reserve(held) == ""
    assert sums(plan)[1].to_json() == {"cost": 0.25, "calls": 1, "tokens": 50}
    used = WorkResult(Outcome.COMPLETED, resources=ResourcesUsed(cost=0.1, tokens=5))
    assert finish.finish(pk, token=held.token, result=used, lines=(0, ""))
    spent, left = sums(plan)
    assert (spent.cost, spent.tokens, spent.calls) == (Decimal("0.1"), 5, 1)
    assert left.to_json() == {"cost": 0, "calls": 0, "tokens": 0}
    reservation = BudgetReservation.objects.get()
    assert (reservation.cost_used, reservation.tokens_used, reservation.in_full) == (Decimal("0.1"), 5, False)
    assert Attempt.objects.get().resources_used["cost"] == 0.1


def test_tenths_fill_a_ceiling_exactly(budgeted, engine):
    plan = budgeted(spend("a", cost=0.1), spend("b", cost=0.2), cost_ceiling=0.3)
    engine.run()
    assert stage(plan) == "completed"
    assert sums(plan)[0].cost == Decimal("0.3")


@pytest.mark.parametrize("junk", [None, "many", float("nan"), float("inf"), -1, 1e308, 10**400, [1]])
def test_what_a_tool_does_not_say_or_can_not_have_used_is_charged_in_full(budgeted, engine, junk):
    plan = budgeted(spend(most_cost=2, most_tokens=7), cost_ceiling=10, token_ceiling=100)
    ((pk, token, _),) = engine.dispatch()
    held = claim(pk, token)
    assert reserve(held) == ""
    used = WorkResult(Outcome.COMPLETED, resources=ResourcesUsed(cost=junk, tokens=junk))
    assert finish.finish(pk, token=held.token, result=used, lines=(0, ""))
    assert sums(plan)[0].to_json() == {"cost": 2, "calls": 1, "tokens": 7}
    assert stage(plan) == "completed"


def test_a_call_that_uses_more_than_it_announced_is_charged_and_the_next_one_is_stopped(budgeted, engine):
    plan = budgeted(spend("s1", cost=5, most_cost=1), step("s2", "diagnostic.noop", depends_on=["s1"]), cost_ceiling=2)
    engine.run()
    assert statuses(plan) == {"s1": "completed", "s2": "failed"}
    assert sums(plan)[0].cost == 5
    (record,) = records(plan, "budget.exceeded")
    assert "a call used more than it had announced" in record.reason


def test_an_interrupted_call_is_charged_in_full_and_once(budgeted, engine):
    plan = budgeted(spend(cost=1, most_cost=3, tokens=2), cost_ceiling=10)
    ((pk, token, _),) = engine.dispatch()
    held = claim(pk, token)
    assert reserve(held) == ""
    engine.forget_beats()
    engine.sweep()
    assert sums(plan)[0].to_json() == {"cost": 3, "calls": 1, "tokens": 2}
    assert sums(plan)[1].calls == 0
    assert BudgetReservation.objects.get().in_full
    late = WorkResult(Outcome.COMPLETED, resources=ResourcesUsed(cost=1, tokens=2))
    assert not finish.finish(pk, token=held.token, result=late, lines=(0, ""))  # the zombie's word comes too late
    assert reserve(held) == "This try is over; nothing is reserved for it."
    assert engine.sweep() == 0
    spending.settle(Attempt.objects.select_related("step__revision", "plan").get(pk=pk), ResourcesUsed(cost=0))
    assert sums(plan)[0].to_json() == {"cost": 3, "calls": 1, "tokens": 2}
    engine.run(patiently=True)  # diagnostic.spend is idempotent: tried again, as a second call
    assert stage(plan) == "completed"
    assert sums(plan)[0].to_json() == {"cost": 4, "calls": 2, "tokens": 4}


def test_a_try_that_ends_before_its_call_is_charged_nothing(budgeted, engine):
    plan = budgeted(spend(cost=1), cost_ceiling=10)
    ((pk, token, _),) = engine.dispatch()
    claim(pk, token)
    engine.forget_beats()
    engine.sweep()
    assert not BudgetReservation.objects.exists()
    engine.run(patiently=True)
    assert (stage(plan), sums(plan)[0].calls) == ("completed", 1)


def test_an_agent_that_goes_on_by_itself_stays_within_the_budget(budgeted):
    plan = budgeted(*chain(6), call_ceiling=4)
    Engine(go_on_for=60).run()
    assert list(statuses(plan).values()) == ["completed"] * 4 + ["failed", "waiting"]
    assert sums(plan)[0].calls == 4


def test_what_ended_without_a_settlement_is_found_and_settled_by_what_it_used(budgeted, engine):
    plan = budgeted(spend(cost=1, most_cost=3), cost_ceiling=10)
    engine.run()
    BudgetReservation.objects.update(settled_at=None)
    BudgetLedger.objects.update(cost_spent=0, cost_held=3, calls_spent=0, calls_held=1)
    assert reaper.sweep() == 1
    assert sums(plan)[0].to_json() == {"cost": 1, "calls": 1, "tokens": 0}
    assert reaper.sweep() == 0


def test_people_are_warned_once_before_the_end(budgeted, engine):
    plan = budgeted(*chain(4), call_ceiling=5, warn_at=0.4)
    engine.run()
    assert stage(plan) == "completed"
    (record,) = records(plan, "budget.warned")
    assert (record.reason, record.metadata["ceilings"]) == ("2 of 5 calls, 40 %.", {"call_ceiling": 5})
    told = [event.data for event in Event.objects.filter(plan_id=plan.pk) if event.data.get("budget") == "warned"]
    assert [data["reason"] for data in told] == ["2 of 5 calls, 40 %."]
    assert not records(plan, "budget.exceeded")


def test_a_budget_that_only_warns_goes_on_and_says_so(budgeted, engine):
    plan = budgeted(*chain(4), call_ceiling=2, policy="warn")
    engine.run()
    assert stage(plan) == "completed"
    assert sums(plan)[0].calls == 4
    (record,) = records(plan, "budget.exceeded")
    assert record.reason == "3 of 2 calls, 150 %; its policy is to go on."
    assert len(records(plan, "budget.warned")) == 1


def test_a_plan_without_a_budget_pays_nothing(approved, engine):
    plan = approved(step("a", "diagnostic.spend", input={"cost": 5}))
    engine.run()
    assert stage(plan) == "completed"
    assert not BudgetLedger.objects.exists()


def test_a_budget_from_before_policies_were_said_blocks(requester, approver, agent, engine):
    draft = replace(draft_from_program("Try", chain(2), None), budget={"call_ceiling": 1})
    factories.make_policy()
    with transaction.atomic(), acting(Actor.person(requester)):
        plan = save_plan(draft, requester=requester, request=None, because="Long ago.")
    factories.approve(plan, approver)
    assert Revision.objects.get(plan=plan).budget == {"call_ceiling": 1}
    engine.run()
    assert (stage(plan), sums(plan)[0].calls) == ("failed", 1)


def test_an_input_that_can_not_be_read_yet_is_announced_once_it_can(budgeted, engine):
    plan = budgeted(
        step("a", input={"value": 7}),
        step("b", "diagnostic.spend", input={"cost": "{{ steps.a.output.value }}"}, depends_on=["a"]),
        cost_ceiling=5,
    )
    engine.run()
    assert statuses(plan) == {"a": "completed", "b": "failed"}
    assert "this call may need 7" in Step.objects.get(plan=plan, key="b").error


@pytest.mark.parametrize("budget", [
    {"cost_ceiling": -1}, {"call_ceiling": 0}, {"cost_ceiling": float("nan")}, {"cost_ceiling": float("inf")},
    {"cost_ceiling": 1e308}, {"call_ceiling": "10"}, {"policy": "block"}, {"call_ceiling": 5, "warn_at": 2},
])  # fmt: skip
def test_a_budget_that_is_none_is_named_before_anyone_is_asked(requester, budget):
    with pytest.raises(InvalidPlan) as refused:
        factories.make_plan(requester, budget=budget)
    assert all(str(error["loc"]).startswith("['budget'") for error in refused.value.errors)
    assert not Plan.objects.exists()


def test_policy_and_warning_level_are_part_of_what_is_approved(requester):
    budgets: list[dict[str, object]] = [
        {"call_ceiling": 5},
        {"call_ceiling": 5, "policy": "warn"},
        {"call_ceiling": 5, "warn_at": 0.5},
        {},
    ]
    digests = {factories.digest_of(factories.make_plan(requester, budget=budget)) for budget in budgets}
    assert len(digests) == 4
    same: list[dict[str, object]] = [
        {"call_ceiling": 5},
        {"call_ceiling": 5, "policy": "block", "warn_at": 0.8, "cost_ceiling": None},
    ]
    assert len({factories.digest_of(factories.make_plan(requester, budget=budget)) for budget in same}) == 1


def test_what_can_be_foreseen_is_said_before_anyone_is_asked(requester):
    plan = factories.make_plan(requester, chain(3), budget={"call_ceiling": 2})
    facts = Revision.objects.get(plan=plan).risk_facts
    assert "The budget may end before the plan does" in [fact["text"] for fact in facts]
    plan = factories.make_plan(requester, chain(3), budget={"call_ceiling": 3})
    assert len(Revision.objects.get(plan=plan).risk_facts) == 1
