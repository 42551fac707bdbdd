"""Another tool goes on where a step's own failed for good; both are approved, recorded and shown."""

import pytest

from audit.context import Actor
from audit.models import DecisionRecord
from plans import services
from plans.execution.finish import finish
from plans.models import Attempt
from tests import factories
from tests.engine import claim, stage, statuses, tries
from tests.factories import step
from tests.plans.execution.results import failed
from tests.plans.execution.steps import failing, output, row, say

pytestmark = [pytest.mark.django_db, pytest.mark.e2e_03]
ECHO = {"tool": "diagnostic.echo", "input": {"value": "instead"}}


def with_fallback(key, times=9, fallback=ECHO, **more):
    return failing(key, times, on_failure="fallback", fallback=fallback, **more)


def by_fallback(plan, key):
    return list(
        Attempt.objects.filter(plan=plan, step__key=key).order_by("number").values_list("by_fallback", flat=True)
    )


def test_the_fallback_goes_on_as_a_further_try_of_the_same_step(approved, engine):
    plan = approved(with_fallback("ask"), say("tell", "{{ steps.ask.output.value }}", depends_on=["ask"]))
    engine.run()
    assert stage(plan) == "completed"
    assert output(plan, "tell") == {"value": "instead"}
    assert tries(plan, "ask") == [(1, "failed"), (2, "completed")]
    assert by_fallback(plan, "ask") == [False, True]
    second = Attempt.objects.get(plan=plan, step__key="ask", number=2)
    assert second.work.tool == "diagnostic.echo"
    assert second.because.startswith("diagnostic.fail failed for good, so diagnostic.echo goes on: Failed on purpose")
    record = DecisionRecord.objects.get(type="step.fell_back")
    assert (record.metadata["tool"], record.metadata["fallback"]) == ("diagnostic.fail", "diagnostic.echo")


def test_a_step_that_succeeds_needs_none(approved, engine):
    plan = approved(with_fallback("ask", times=0))
    engine.run()
    assert tries(plan, "ask") == [(1, "completed")]
    assert not DecisionRecord.objects.filter(type="step.fell_back").exists()


def test_its_own_tool_is_tried_by_its_policy_before(approved, engine):
    policy = {"attempts": 2, "first_wait_seconds": 60, "longest_wait_seconds": 60}
    plan = approved(with_fallback("ask", transient=True, retry=policy))
    engine.run()
    assert tries(plan, "ask") == [(1, "failed"), (2, "due")]
    engine.run(patiently=True)
    assert by_fallback(plan, "ask") == [False, False, True]
    assert stage(plan) == "completed"


def test_if_the_fallback_fails_too_the_step_has_failed(approved, engine):
    other = {"tool": "diagnostic.fail", "input": {"times": 9, "transient": False}}
    plan = approved(with_fallback("ask", fallback=other), say("after", depends_on=["ask"]))
    engine.run()
    assert (stage(plan), statuses(plan)) == ("failed", {"ask": "failed", "after": "waiting"})
    assert by_fallback(plan, "ask") == [False, True]


def test_a_fallback_is_tried_by_a_policy_of_its_own(approved, engine):
    other = {"tool": "diagnostic.fail", "input": {"times": 3, "transient": True}}
    plan = approved(with_fallback("ask", fallback=other, retry={"strategy": "none", "attempts": 1}))
    engine.run(patiently=True)
    assert tries(plan, "ask") == [(1, "failed"), (2, "failed"), (3, "failed"), (4, "completed")]
    assert by_fallback(plan, "ask") == [False, True, True, True]


def test_a_person_who_asks_for_another_try_begins_with_the_own_tool(approved, approver, engine):
    other = {"tool": "diagnostic.fail", "input": {"times": 2, "transient": False}}
    plan = approved(with_fallback("ask", times=2, fallback=other))
    engine.run()
    services.retry_step(actor=Actor.person(approver), plan_id=plan.pk, key="ask")
    engine.run()
    assert tries(plan, "ask") == [(1, "failed"), (2, "failed"), (3, "completed")]
    assert by_fallback(plan, "ask") == [False, True, False]


def test_an_outcome_that_is_unknown_is_a_persons_and_not_the_fallbacks(approved, engine):
    plan = approved(with_fallback("ask", retry={"strategy": "none", "attempts": 1}))
    claim(*engine.dispatch()[0][:2])
    engine.forget_beats()
    engine.sweep()
    assert (statuses(plan)["ask"], by_fallback(plan, "ask")) == ("unknown", [False])


def test_a_result_that_comes_late_does_not_fall_back_twice(approved, engine):
    plan = approved(with_fallback("ask"))
    claimed = claim(*engine.dispatch()[0][:2])
    done = [finish(claimed.attempt_id, token=claimed.token, result=failed(), lines=(0, "")) for _ in range(2)]
    assert done == [True, False]
    assert by_fallback(plan, "ask") == [False, True]


def test_each_item_of_a_list_falls_back_by_itself(approved, engine):
    plan = approved(
        step("each", "diagnostic.fail", input={"times": "{{ item }}", "transient": False}, for_each=[0, 9],
             on_failure="fallback", fallback={"tool": "diagnostic.echo", "input": {"value": "{{ index }}"}})
    )  # fmt: skip
    engine.run()
    assert output(plan, "each") == {"items": [{"failed_before": 0}, {"value": 1}]}


def test_a_fallback_may_read_what_an_earlier_step_found(approved, engine):
    other = {"tool": "diagnostic.echo", "input": {"value": "{{ steps.find.output.value }}"}}
    plan = approved(say("find", "here"), with_fallback("ask", fallback=other, depends_on=["find"]))
    engine.run()
    assert output(plan, "ask") == {"value": "here"}


def test_the_fallback_is_part_of_what_is_approved(requester, approver, agent, engine):
    changed = {"tool": "diagnostic.echo", "input": {"value": "else"}}
    plans = [factories.make_plan(requester, [with_fallback("ask", fallback=one)]) for one in (ECHO, changed)]
    assert len({factories.digest_of(plan) for plan in plans}) == 2
    assert row(plans[0], "ask").fallback["tool"] == "diagnostic.echo"
