"""Cancel, pause, resume, skip, and going on where a plan failed."""

import threading
from functools import partial

import pytest
from django.db import connection

from agents.models import Agent
from agents.protocol import Outcome, WorkResult
from audit.authority import Role
from audit.context import Actor
from audit.errors import NotAllowed
from audit.models import DecisionRecord
from plans import services
from plans.errors import IllegalTransition, NotFound, Refused, SelfApproval
from plans.execution import attempt
from plans.execution.finish import finish
from plans.models import Attempt, Plan, Step
from plans.selectors.partial_result import partial_result
from tests import factories
from tests.engine import stage, statuses, together, tries
from tests.factories import step
from tests.plans.execution.steps import failing

pytestmark = [pytest.mark.django_db, pytest.mark.e2e_03]


@pytest.fixture
def who(approver):
    return Actor.person(approver)


def chain(*keys):
    return [step(key, depends_on=[keys[place - 1]] if place else []) for place, key in enumerate(keys)]


def claimed(engine):
    [(pk, token, _)] = engine.dispatch()
    return attempt.claim(pk, expects=token)


def end(held, outcome=Outcome.COMPLETED):
    return finish(held.attempt_id, token=held.token, result=WorkResult(outcome, summary="x"), lines=(0, ""))


def test_a_plan_that_waits_for_approval_is_cancelled_at_once(requester):
    plan = factories.make_plan(requester, chain("a", "b"))
    services.cancel_plan(actor=Actor.person(requester), plan_id=plan.pk, reason="not needed")
    assert (stage(plan), statuses(plan)) == ("cancelled", {"a": "cancelled", "b": "cancelled"})
    assert Plan.objects.get(pk=plan.pk).stage_reason == "Cancelled by requester: not needed"


def test_what_was_sent_and_not_begun_never_begins(approved, engine, who):
    plan = approved(*chain("a", "b"))
    [(pk, token, _)] = engine.dispatch()
    services.cancel_plan(actor=who, plan_id=plan.pk, reason="stop")
    assert attempt.claim(pk, expects=token) is None
    assert (stage(plan), tries(plan, "a")) == ("cancelled", [(1, "cancelled")])
    assert engine.dispatch() == []


def test_a_running_step_ends_first_and_the_plan_after_it(approved, engine, who):
    plan = approved(*chain("a", "b"))
    held = claimed(engine)
    services.cancel_plan(actor=who, plan_id=plan.pk, reason="stop")
    assert (stage(plan), statuses(plan)) == ("executing", {"a": "running", "b": "cancelled"})
    assert Attempt.objects.get(pk=held.attempt_id).cancel_requested
    assert end(held, Outcome.CANCELLED)
    assert (stage(plan), statuses(plan)["a"]) == ("cancelled", "cancelled")


def test_a_step_that_completes_in_spite_of_the_cancel_stays_done_and_starts_nothing(approved, engine, who):
    plan = approved(*chain("a", "b"))
    held = claimed(engine)
    services.cancel_plan(actor=who, plan_id=plan.pk, reason="stop")
    end(held)
    assert (stage(plan), statuses(plan)) == ("cancelled", {"a": "completed", "b": "cancelled"})


def test_a_cancelled_plan_tries_nothing_again(approved, engine, who):
    plan = approved(step("a", "diagnostic.sleep", input={"seconds": 60}))
    claimed(engine)
    services.cancel_plan(actor=who, plan_id=plan.pk, reason="stop")
    engine.forget_beats()
    engine.sweep()
    assert (stage(plan), tries(plan, "a")) == ("cancelled", [(1, "interrupted")])
    with pytest.raises(IllegalTransition):
        services.retry_step(actor=who, plan_id=plan.pk, key="a")


def test_a_running_tool_hears_of_the_cancel_in_time(transactional_db, approved, engine, who):
    plan = approved(step("a", "diagnostic.sleep", input={"seconds": 30}))
    [(pk, token, _)] = engine.dispatch()

    def work():
        attempt.run(pk, token=token)
        connection.close()

    worker = threading.Thread(target=work)
    worker.start()
    while not Attempt.objects.filter(pk=pk, status="running").exists():
        pass
    services.cancel_plan(actor=who, plan_id=plan.pk, reason="stop")
    worker.join(5)
    assert not worker.is_alive()
    assert (stage(plan), tries(plan, "a")) == ("cancelled", [(1, "cancelled")])


def test_cancel_and_finish_at_the_same_moment_leave_one_end(transactional_db, requester, approver, agent, engine, who):
    for _ in range(15):
        plan = factories.approve(factories.make_plan(requester, [step("a")]), approver)
        held = claimed(engine)
        answers = together(partial(services.cancel_plan, actor=who, plan_id=plan.pk, reason="stop"), partial(end, held))
        assert answers[1] is True
        assert (stage(plan), type(answers[0]).__name__) in [("cancelled", "Plan"), ("completed", "IllegalTransition")]
        ends = DecisionRecord.objects.filter(trace_id=plan.trace_id, type="plan.stage_changed")
        assert sum(record.metadata["now"] in ("cancelled", "completed") for record in ends) == 1


def test_a_plan_that_has_ended_is_not_cancelled(approved, engine, who):
    plan = approved(step("a"))
    engine.run()
    with pytest.raises(IllegalTransition, match="is completed; nothing is left to cancel"):
        services.cancel_plan(actor=who, plan_id=plan.pk, reason="late")


def test_nothing_new_starts_while_a_plan_is_paused(approved, engine, who):
    plan = approved(*chain("a", "b"))
    held = claimed(engine)
    services.pause_plan(actor=who, plan_id=plan.pk, reason="lunch")
    end(held)
    assert (stage(plan), statuses(plan)) == ("paused", {"a": "completed", "b": "waiting"})
    assert engine.dispatch() == []
    services.resume_plan(actor=who, plan_id=plan.pk)
    engine.run()
    assert stage(plan) == "completed"


def test_what_becomes_due_in_a_paused_plan_leaves_the_agents_to_others(approved, engine, who):
    Agent.objects.update(slots=1)
    plan = approved(*chain("a", "b"))
    held = claimed(engine)
    services.pause_plan(actor=who, plan_id=plan.pk)
    end(held)
    goes_by(approved(step("x")), plan, engine, who)


def test_what_was_on_its_way_in_a_paused_plan_leaves_the_agents_to_others(approved, engine, who):
    Agent.objects.update(slots=2)
    plan = approved(step("a"), step("b"))
    first, _ = engine.dispatch()
    attempt.run(first[0], token=first[1])
    Agent.objects.update(slots=1)
    services.pause_plan(actor=who, plan_id=plan.pk)
    goes_by(approved(step("x")), plan, engine, who)


def test_what_is_due_in_a_paused_plan_says_so_until_it_is_resumed(approved, engine, who):
    Agent.objects.update(slots=1)
    plan = approved(*(step(f"s{n}") for n in range(3)), step("z", depends_on=["s0"]))
    end(claimed(engine))
    services.pause_plan(actor=who, plan_id=plan.pk)
    due = Step.objects.filter(plan=plan).exclude(status="completed")
    assert set(due.values_list("status", "waiting_for")) == {("waiting", "Waits until the plan is resumed.")}
    services.resume_plan(actor=who, plan_id=plan.pk)  # nobody has chosen an agent for them yet
    assert "Waits until the plan is resumed." not in due.values_list("waiting_for", flat=True)


def goes_by(other, paused, engine, who):
    engine.run()
    assert (stage(paused), stage(other)) == ("paused", "completed")
    assert Step.objects.get(plan=paused, key="b").waiting_for == "Waits until the plan is resumed."
    services.resume_plan(actor=who, plan_id=paused.pk)
    engine.run()
    assert stage(paused) == "completed"


def test_a_message_on_its_way_when_the_plan_is_paused_is_sent_anew(approved, engine, who):
    plan = approved(step("a"), step("b"))
    first, second = engine.dispatch()
    attempt.run(first[0], token=first[1])
    services.pause_plan(actor=who, plan_id=plan.pk)
    assert attempt.claim(second[0], expects=second[1]) is None
    engine.age_messages()
    assert engine.sweep() == 0
    services.resume_plan(actor=who, plan_id=plan.pk)
    engine.run()
    assert stage(plan) == "completed"
    assert [number for number, _ in tries(plan, "b")] == [1]


def test_a_plan_whose_last_step_ended_while_it_was_paused_ends(approved, engine, who):
    plan = approved(step("a"))
    held = claimed(engine)
    services.pause_plan(actor=who, plan_id=plan.pk)
    end(held)
    assert stage(plan) == "completed"


def test_only_what_runs_is_paused_and_only_what_is_paused_resumed(approved, engine, who):
    plan = approved(step("a"))
    with pytest.raises(IllegalTransition):
        services.pause_plan(actor=who, plan_id=plan.pk)
    with pytest.raises(IllegalTransition, match="not paused"):
        services.resume_plan(actor=who, plan_id=plan.pk)


def test_a_failed_step_is_skipped_with_a_reason_and_the_plan_goes_on(approved, engine, who):
    plan = approved(step("a", "diagnostic.fail", input={"times": 9, "transient": False}), step("b", depends_on=["a"]))
    engine.run()
    assert stage(plan) == "failed"
    services.skip_step(actor=who, plan_id=plan.pk, key="a", reason="done by hand")
    engine.run()
    assert (stage(plan), statuses(plan)) == ("completed", {"a": "skipped", "b": "completed"})
    record = DecisionRecord.objects.get(type="step.skipped")
    assert (record.reason, record.actor, record.metadata["was"]) == ("done by hand", "approver", "failed")


def test_a_step_that_waits_is_skipped_and_its_message_does_nothing(approved, engine, who):
    plan = approved(*chain("a", "b", "c"))
    held = claimed(engine)
    services.skip_step(actor=who, plan_id=plan.pk, key="b", reason="no need")
    end(held)
    engine.run()
    assert (stage(plan), statuses(plan)) == ("completed", {"a": "completed", "b": "skipped", "c": "completed"})


def test_skipping_needs_the_right_to_approve(approved, engine, requester):
    plan = approved(*chain("a", "b"))
    with pytest.raises(NotAllowed):
        services.skip_step(actor=Actor.person(requester), plan_id=plan.pk, key="b", reason="no need")


def test_a_step_is_not_skipped_or_tried_again_for_the_reason_that_is_said(requester, who, approved, engine):
    def refused(verb, **more):
        with pytest.raises(IllegalTransition) as error:
            verb(actor=who, plan_id=plan.pk, **more)
        return error.value.sentence

    plan = factories.make_plan(requester, chain("a", "b"))
    stands = f"Plan {plan.number} is awaiting approval; only steps of a plan that executes"
    assert (
        refused(services.skip_step, key="a", reason="no need") == f"{stands}, is paused or has failed can be skipped."
    )
    assert refused(services.retry_plan) == f"{stands} or has failed are tried again."
    plan = approved(*chain("a", "b"))
    engine.step()
    ended = "Step a is completed; only"
    skipped = f"{ended} a step that waits, failed or is unknown can be skipped."
    assert refused(services.skip_step, key="a", reason="no need") == skipped
    assert refused(services.retry_step, key="a") == f"{ended} failed or unknown steps are tried again."
    none = f"No step of plan {plan.number} is failed or unknown, so none is tried again."
    assert refused(services.retry_plan) == none


@pytest.mark.parametrize("key", ["nope", "", "a b", "x" * 5000, "a\x00"])
def test_a_step_that_is_not_there_is_not_skipped(approved, who, key):
    with pytest.raises(NotFound):
        services.skip_step(actor=who, plan_id=approved(step("a")).pk, key=key, reason="why")


@pytest.mark.parametrize("act", [services.cancel_plan, services.skip_step])
@pytest.mark.parametrize("reason", ["", "  \n", "x" * 2001, "a\x00"])
def test_cancel_and_skip_need_a_reason_that_can_be_kept(approved, who, act, reason):
    plan = approved(step("a"))
    with pytest.raises(Refused):
        act(actor=who, plan_id=plan.pk, reason=reason, **({"key": "a"} if act is services.skip_step else {}))
    assert stage(plan) == "approved"


def test_others_neither_see_nor_steer_a_plan(approved, django_user_model):
    plan = approved(step("a"))
    stranger = Actor.person(factories.make_user("stranger", Role.REQUESTER))
    for act in (services.cancel_plan, services.pause_plan, services.resume_plan, services.retry_plan):
        with pytest.raises(NotFound):
            act(actor=stranger, plan_id=plan.pk, reason="why")


def test_a_failed_plan_goes_on_from_where_it_stopped(approved, engine, who):
    plan = approved(
        step("a", "diagnostic.fail", input={"times": 1, "transient": False}),
        step("b", "diagnostic.fail", input={"times": 1, "transient": False}),
        step("c", depends_on=["a", "b"]),
    )
    engine.run()
    assert statuses(plan) == {"a": "failed", "b": "failed", "c": "waiting"}
    services.retry_plan(actor=who, plan_id=plan.pk, reason="mended")
    engine.run()
    assert (stage(plan), tries(plan, "a")) == ("completed", [(1, "failed"), (2, "completed")])
    assert Step.objects.get(plan=plan, key="a").attempts_made == 2


def test_who_asked_for_a_plan_skips_none_of_its_steps_though_they_may_approve_others(requester, approver, engine):
    both = factories.make_user("both", Role.REQUESTER, Role.APPROVER)
    factories.make_agent("infra-2", slots=4)
    plan = factories.approve(factories.make_plan(both, [failing("a"), step("b", depends_on=["a"])]), approver)
    engine.run()
    with pytest.raises(SelfApproval, match="four eyes"):
        services.skip_step(actor=Actor.person(both), plan_id=plan.pk, key="a", reason="by hand")
    (begun,) = partial_result(Plan.objects.get(pk=plan.pk), Actor.person(both)).begun
    assert {way.kind: way.allowed for way in begun.recoveries}["skip"] is False
    services.skip_step(actor=Actor.person(approver), plan_id=plan.pk, key="a", reason="by hand")
    engine.run()
    assert stage(plan) == "completed"
