"""A step for each item of a list: in parallel, its items are steps, and it ends when they have."""

import pytest

from audit.context import Actor
from audit.models import DecisionRecord
from plans import services
from plans.conf import MOST_ITEMS
from plans.errors import IllegalTransition
from plans.execution import attempt
from plans.execution.finish import finish
from plans.models import Attempt, Step, events_of
from tests import factories
from tests.engine import claim, stage, statuses, tries
from tests.factories import step
from tests.plans.execution.results import completed, failed, stopped
from tests.plans.execution.steps import output, row, say, why

pytestmark = [pytest.mark.django_db, pytest.mark.e2e_03]


def fail_some(key, items, **more):
    """A fan-out whose items fail as often as they say."""
    given = {"times": "{{ item }}", "failure_mode": "user", "transient": False}
    return step(key, "diagnostic.fail", input=given, for_each=items, **more)


def end_together(engine, **results):
    """Begin all items that are due at the same moment, then end them with these results, by the number of the item."""
    running = {claimed.step.item_index: claimed for claimed in (claim(*message[:2]) for message in engine.dispatch())}
    for number, result in results.items():
        claimed = running[int(number[1:])]
        finish(claimed.attempt_id, token=claimed.token, result=result, lines=(0, ""))
    return running


def test_a_step_runs_once_for_each_item_and_answers_their_outputs_in_order(approved, engine):
    plan = approved(
        say("deploy", "{{ index }}: {{ item.host }}", for_each=[{"host": "a"}, {"host": "b"}, {"host": "c"}]),
        say("after", "{{ steps.deploy.output.items[2].value }}", depends_on=["deploy"]),
    )
    assert statuses(plan) == {
        "deploy": "ready", "deploy.0": "ready", "deploy.1": "ready", "deploy.2": "ready", "after": "waiting",
    }  # fmt: skip
    engine.run()
    assert output(plan, "deploy") == {"items": [{"value": "0: a"}, {"value": "1: b"}, {"value": "2: c"}]}
    assert output(plan, "after") == {"value": "2: c"}
    assert stage(plan) == "completed"
    assert why(plan) == "All 2 steps are done."
    assert row(plan, "deploy").summary == "All 3 items are done."
    assert Attempt.objects.filter(plan=plan, step__key="deploy").count() == 0  # the work is its items'
    record = DecisionRecord.objects.get(type="step.fanned_out")
    assert record.metadata["count"] == 3


def test_the_list_may_be_what_an_earlier_step_found(approved, engine):
    plan = approved(
        say("find", {"hosts": ["x", "y"]}),
        say("each", "on {{ item }}", for_each="{{ steps.find.output.value.hosts }}", depends_on=["find"]),
    )
    assert row(plan, "each").items is None
    engine.run()
    assert row(plan, "each").items == ["x", "y"]
    assert output(plan, "each") == {"items": [{"value": "on x"}, {"value": "on y"}]}


def test_its_items_run_side_by_side_and_it_is_shown_as_running_meanwhile(approved, engine):
    plan = approved(say("each", "{{ item }}", for_each=[1, 2, 3]))
    first, second, third = engine.dispatch()
    claim(*first[:2])
    assert statuses(plan)["each"] == "running"
    assert row(plan, "each").started_at is not None
    claim(*second[:2])
    claim(*third[:2])
    assert {status for key, status in statuses(plan).items()} == {"running"}
    moves = [event for event in events_of(plan.pk) if event.type == "step_changed" and event.step_key == "each"]
    assert [event.data["now"] for event in moves] == ["ready", "running"]


@pytest.mark.parametrize("each", [[], "{{ steps.find.output.value }}"])
def test_an_empty_list_is_done_at_once_and_what_comes_after_goes_on(approved, engine, each):
    plan = approved(
        say("find", []), say("each", "{{ item }}", for_each=each, depends_on=["find"]), say("end", depends_on=["each"])
    )
    engine.run()
    assert statuses(plan) == {"find": "completed", "each": "completed", "end": "completed"}
    assert output(plan, "each") == {"items": []}


def test_a_plan_of_nothing_but_an_empty_list_is_completed_without_a_start(approved):
    plan = approved(say("each", "{{ item }}", for_each=[]))
    assert stage(plan) == "completed"


@pytest.mark.parametrize(("found", "said"), [
    ({"a": 1}, "leads to an object, not to a list"),
    ("abc", "leads to a text, not to a list"),
    (5, "leads to a single value"),
    (list(range(MOST_ITEMS + 1)), f"Its list has {MOST_ITEMS + 1} items; a step runs for at most {MOST_ITEMS}."),
])  # fmt: skip
def test_what_is_no_list_or_too_long_a_one_fails_the_step_and_says_so(approved, engine, found, said):
    plan = approved(
        say("find", found), say("each", "{{ item }}", for_each="{{ steps.find.output.value }}", depends_on=["find"])
    )
    engine.run()
    assert statuses(plan) == {"find": "completed", "each": "failed"}
    assert said in row(plan, "each").error
    assert stage(plan) == "failed"


def test_a_list_that_is_not_there_fails_the_step(approved, engine):
    plan = approved(say("find", {}), say("each", "", for_each="{{ steps.find.output.value.x }}", depends_on=["find"]))
    engine.run()
    assert "leads nowhere: there is no x" in row(plan, "each").error


def test_an_item_is_tried_again_by_the_policy_of_its_step(approved, engine):
    plan = approved(
        step("each", "diagnostic.fail", input={"times": "{{ item }}", "transient": True}, for_each=[0, 1],
             retry={"attempts": 2, "first_wait_seconds": 60, "longest_wait_seconds": 60})
    )  # fmt: skip
    engine.run()
    assert statuses(plan) == {"each": "running", "each.0": "completed", "each.1": "waiting"}
    engine.run(patiently=True)
    assert tries(plan, "each.1") == [(1, "failed"), (2, "completed")]
    assert stage(plan) == "completed"


def test_an_item_that_fails_for_good_fails_its_step_and_keeps_the_rest_from_beginning(approved, engine, agent):
    type(agent).objects.update(slots=1)
    plan = approved(fail_some("each", [9, 0, 0]), say("after", depends_on=["each"]))
    engine.run()
    assert statuses(plan) == {
        "each": "failed", "each.0": "failed", "each.1": "waiting", "each.2": "waiting", "after": "waiting",
    }  # fmt: skip
    assert tries(plan, "each.1") == [(1, "cancelled")]
    assert row(plan, "each.1").waiting_for == "Does not start: each.0 failed."
    assert row(plan, "each").error.startswith("1 of 3 items failed: each.0. each.0: Failed on purpose")
    assert stage(plan) == "failed"


def test_what_runs_beside_an_item_that_fails_runs_to_its_end_first(approved, engine):
    plan = approved(fail_some("each", [9, 0]))
    good = end_together(engine, i0=failed())[1]
    assert statuses(plan) == {"each": "running", "each.0": "failed", "each.1": "running"}
    assert stage(plan) == "executing"
    finish(good.attempt_id, token=good.token, result=completed(), lines=(0, ""))
    assert statuses(plan) == {"each": "failed", "each.0": "failed", "each.1": "completed"}
    assert row(plan, "each").error.startswith("1 of 2 items failed: each.0; 1 stay done.")


def test_with_continue_the_others_go_on_and_so_does_the_plan(approved, engine, agent):
    type(agent).objects.update(slots=1)
    plan = approved(
        fail_some("each", [9, 0, 9], on_failure="continue"),
        say("after", "{{ steps.each.output.items }}", depends_on=["each"], when="steps.each.status in ['failed']"),
    )
    engine.run()
    assert statuses(plan) == {
        "each": "failed", "each.0": "failed", "each.1": "completed", "each.2": "failed", "after": "completed",
    }  # fmt: skip
    assert output(plan, "after") == {"value": [None, {"failed_before": 0}, None]}
    assert stage(plan) == "completed"


def test_trying_the_step_again_runs_what_failed_and_what_never_began_and_nothing_twice(
    approved, approver, engine, agent
):
    type(agent).objects.update(slots=1)
    plan = approved(fail_some("each", [1, 0, 0]))
    engine.run()
    services.retry_plan(actor=Actor.person(approver), plan_id=plan.pk, reason="again")
    assert row(plan, "each").error == ""
    engine.run()
    assert stage(plan) == "completed"
    assert tries(plan, "each.0") == [(1, "failed"), (2, "completed")]
    assert tries(plan, "each.1") == [(1, "cancelled"), (2, "completed")]
    assert output(plan, "each")["items"][0] == {"failed_before": 1}


def test_one_item_may_be_tried_again_and_the_step_still_fails_for_the_others(approved, approver, engine):
    plan = approved(fail_some("each", [1, 9, 0]))
    end_together(engine, i0=failed(), i1=failed(), i2=completed(n=2))
    services.retry_step(actor=Actor.person(approver), plan_id=plan.pk, key="each.0")
    engine.run()
    assert statuses(plan) == {"each": "failed", "each.0": "completed", "each.1": "failed", "each.2": "completed"}
    assert row(plan, "each").error.startswith("1 of 3 items failed: each.1; 2 stay done. each.1: It can not work")
    assert stage(plan) == "failed"
    services.skip_step(actor=Actor.person(approver), plan_id=plan.pk, key="each.1", reason="gone")
    assert stage(plan) == "completed"
    assert output(plan, "each")["items"] == [{"failed_before": 1}, None, {"n": 2}]
    assert row(plan, "each").summary == "2 of 3 items are done, 1 skipped."


def test_skipping_one_of_two_failed_items_leaves_the_step_failed(approved, approver, engine):
    plan = approved(fail_some("each", [9, 9]))
    end_together(engine, i0=failed(), i1=failed())
    services.skip_step(actor=Actor.person(approver), plan_id=plan.pk, key="each.0", reason="gone")
    assert statuses(plan) == {"each": "failed", "each.0": "skipped", "each.1": "failed"}
    assert stage(plan) == "failed"


def test_skipping_the_step_skips_what_is_left_of_it(approved, approver, engine, agent):
    type(agent).objects.update(slots=1)
    plan = approved(fail_some("each", [9, 0]), say("after", depends_on=["each"]))
    engine.run()
    services.skip_step(actor=Actor.person(approver), plan_id=plan.pk, key="each", reason="not needed")
    engine.run()
    assert statuses(plan) == {"each": "skipped", "each.0": "skipped", "each.1": "skipped", "after": "completed"}


def test_an_item_that_waits_is_no_one_elses_to_retry(approved, approver, engine):
    plan = approved(say("each", "{{ item }}", for_each=[1]))
    with pytest.raises(IllegalTransition):
        services.retry_step(actor=Actor.person(approver), plan_id=plan.pk, key="each.0")


def test_an_item_whose_outcome_is_unknown_makes_its_step_unknown(approved, approver, engine):
    plan = approved(say("each", "{{ item }}", for_each=[1, 2], retry={"attempts": 1}))
    end_together(engine, i1=completed())
    engine.forget_beats()
    engine.sweep()
    assert statuses(plan) == {"each": "unknown", "each.0": "unknown", "each.1": "completed"}
    assert stage(plan) == "failed"
    assert "the outcome of each.0 is unknown; 1 stay done" in row(plan, "each").error
    services.retry_plan(actor=Actor.person(approver), plan_id=plan.pk)
    engine.run()
    assert stage(plan) == "completed"


def test_a_message_heard_twice_counts_an_item_once(approved, engine):
    plan = approved(say("each", "{{ item }}", for_each=[1, 2]), say("after", depends_on=["each"]))
    first, second = engine.dispatch()
    assert [attempt.run(first[0], token=first[1], go_on_for=0) for _ in range(3)] == [True, False, False]
    assert row(plan, "each").items_open == 1
    assert statuses(plan)["each"] == "running"
    attempt.run(second[0], token=second[1], go_on_for=0)
    assert (row(plan, "each").items_open, statuses(plan)["each"]) == (0, "completed")


def test_an_agent_that_dies_between_two_items_loses_nothing(approved, engine):
    plan = approved(say("each", "{{ item }}", for_each=[1, 2, 3]))
    first, second, third = engine.dispatch()
    attempt.run(first[0], token=first[1], go_on_for=0)
    running = claim(*second[:2])
    engine.forget_beats()
    engine.age_messages()
    engine.sweep()
    engine.run(patiently=True)
    assert tries(plan, running.step.key) == [(1, "interrupted"), (2, "completed")]
    assert output(plan, "each") == {"items": [{"value": 1}, {"value": 2}, {"value": 3}]}


def test_cancelling_ends_the_step_and_its_items(approved, approver, engine, agent):
    type(agent).objects.update(slots=1)
    plan = approved(say("each", "{{ item }}", for_each=[1, 2]))
    engine.dispatch()
    running = claim(*engine.sent[0][:2])
    services.cancel_plan(actor=Actor.person(approver), plan_id=plan.pk, reason="enough")
    assert statuses(plan) == {"each": "running", "each.0": "running", "each.1": "cancelled"}
    finish(running.attempt_id, token=running.token, result=stopped(), lines=(0, ""))
    assert statuses(plan) == {"each": "cancelled", "each.0": "cancelled", "each.1": "cancelled"}
    assert stage(plan) == "cancelled"


def test_a_condition_is_decided_once_for_the_whole_step(approved, engine):
    plan = approved(say("each", "{{ item }}", for_each=[1, 2], when="1 > 2"), say("after", depends_on=["each"]))
    engine.run()
    assert statuses(plan) == {"each": "skipped", "after": "completed"}
    assert not Step.objects.filter(plan=plan, kind="item").exists()


def test_a_long_chain_of_conditions_is_no_recursion(requester, approver, agent):
    chain = [say("s0", when="false"), *(say(f"s{n}", when="false", depends_on=[f"s{n - 1}"]) for n in range(1, 400))]
    plan = factories.approve(factories.make_plan(requester, chain), approver)
    assert stage(plan) == "completed"
