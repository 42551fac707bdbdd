"""What was done is undone, last step first, when a step fails that asks for it: durable, recorded, and said."""

import pytest

from audit.context import Actor
from audit.models import DecisionRecord
from plans import services
from plans.errors import IllegalTransition
from plans.execution import attempt
from plans.execution.finish import finish
from plans.models import Attempt, Plan
from tests import factories
from tests.engine import claim, stage, statuses, together, tries
from tests.plans.execution.results import completed, failed, stopped
from tests.plans.execution.steps import failing, output, row, say, why

pytestmark = [pytest.mark.django_db, pytest.mark.e2e_03]


def undo(value="undone", tool="diagnostic.echo", **given):
    return {"tool": tool, "input": given or {"value": value}}


def chain(*, last=None, **undoing):
    """a, then b, then c, then a step that fails and asks for a rollback."""
    return [
        say("a", rollback=undoing.get("a", undo("a is undone"))),
        say("b", depends_on=["a"]),
        say("c", depends_on=["b"], rollback=undoing.get("c", undo("c is undone"))),
        last or failing("verify", depends_on=["c"], on_failure="rollback"),
        say("after", depends_on=["verify"]),
    ]


def order(plan):
    """The steps whose attempts began, in that order."""
    began = Attempt.objects.filter(plan=plan, started_at__isnull=False).order_by("started_at")
    return list(began.values_list("step__key", flat=True))


def person(user):
    return Actor.person(user)


def test_what_was_done_is_undone_last_step_first_and_the_plan_says_so(approved, engine):
    plan = approved(*chain())
    assert statuses(plan)["a.rollback"] == "waiting"
    assert row(plan, "a.rollback").waiting_for == "Runs only if the plan is rolled back."
    engine.run()
    assert order(plan) == ["a", "b", "c", "verify", "c.rollback", "a.rollback"]
    assert statuses(plan) == {
        "a": "completed", "b": "completed", "c": "completed", "verify": "failed", "after": "waiting",
        "c.rollback": "completed", "a.rollback": "completed",
    }  # fmt: skip
    assert stage(plan) == "failed"
    assert why(plan) == "verify failed. c, a were rolled back; b stays done and can not be undone."
    assert output(plan, "a.rollback") == {"value": "a is undone"}
    record = DecisionRecord.objects.get(type="plan.rollback_begun")
    assert (record.reason, record.metadata["step"]) == ("verify failed.", "verify")


def test_a_plan_that_is_completed_undoes_nothing(approved, engine):
    plan = approved(*chain(last=failing("verify", 0, depends_on=["c"], on_failure="rollback")))
    engine.run()
    assert stage(plan) == "completed"
    assert statuses(plan)["a.rollback"] == statuses(plan)["c.rollback"] == "skipped"
    assert row(plan, "a.rollback").summary == "The plan was completed, so nothing is undone."
    assert "rollback" not in " ".join(order(plan))
    assert why(plan) == "All 5 steps are done."


def test_a_step_that_fails_and_does_not_ask_for_it_undoes_nothing(approved, engine):
    plan = approved(
        say("a", rollback=undo()),
        failing("b", depends_on=["a"]),
        failing("c", depends_on=["b"], on_failure="rollback"),
    )
    engine.run()
    assert (stage(plan), statuses(plan)["a.rollback"]) == ("failed", "waiting")


def test_a_rollback_reads_what_its_step_left(approved, engine):
    plan = approved(
        say("a", {"id": 7}, rollback=undo("remove {{ steps.a.output.value.id }}")),
        failing("b", depends_on=["a"], on_failure="rollback"),
    )
    engine.run()
    assert output(plan, "a.rollback") == {"value": "remove 7"}


def test_nothing_else_starts_and_what_runs_ends_first(approved, engine):
    plan = approved(
        say("a", rollback=undo()),
        failing("bad", depends_on=["a"], on_failure="rollback"),
        say("slow", depends_on=["a"], rollback=undo()),
        say("next", depends_on=["slow"]),
    )
    engine.step()
    running = {one.step.key: one for one in (claim(*message[:2]) for message in engine.dispatch())}
    finish(running["bad"].attempt_id, token=running["bad"].token, result=failed(), lines=(0, ""))
    assert statuses(plan)["a.rollback"] == "waiting"
    assert stage(plan) == "executing"
    finish(running["slow"].attempt_id, token=running["slow"].token, result=completed(), lines=(0, ""))
    assert statuses(plan)["next"] == "waiting"
    engine.run()
    assert order(plan)[-2:] == ["slow.rollback", "a.rollback"]
    assert statuses(plan)["next"] == "waiting"
    assert not Attempt.objects.filter(step__key="next").exists()


def test_what_was_due_already_is_taken_back(approved, engine, agent):
    type(agent).objects.update(slots=1)
    plan = approved(failing("bad", on_failure="rollback"), say("beside"), say("undone", rollback=undo()))
    engine.run()
    assert order(plan) == ["bad"]
    assert tries(plan, "beside") == [(1, "cancelled")]
    assert stage(plan) == "failed"
    assert why(plan) == "bad failed. Nothing was rolled back."


def test_a_message_that_is_under_way_when_the_rollback_begins_starts_nothing(approved, engine):
    plan = approved(failing("bad", on_failure="rollback"), say("beside", rollback=undo()))
    sent = {pk: token for pk, token, _ in engine.dispatch()}
    beside = Attempt.objects.get(step__key="beside")
    Plan.objects.filter(pk=plan.pk).update(rollback_reason="bad failed.")
    assert attempt.claim(beside.pk, expects=sent[beside.pk]) is None
    assert tries(plan, "beside") == [(1, "cancelled")]


def test_where_nothing_was_undone_the_plan_may_go_on_after_another_try(approved, approver, engine):
    plan = approved(failing("a", 1, on_failure="rollback"), say("b", depends_on=["a"], rollback=undo()))
    engine.run()
    assert stage(plan) == "failed"
    services.retry_plan(actor=person(approver), plan_id=plan.pk)
    engine.run()
    assert stage(plan) == "completed"


def test_what_was_rolled_back_does_not_go_on(approved, approver, engine):
    plan = approved(*chain())
    engine.run()
    for call in (
        lambda: services.retry_plan(actor=person(approver), plan_id=plan.pk),
        lambda: services.retry_step(actor=person(approver), plan_id=plan.pk, key="verify"),
        lambda: services.skip_step(actor=person(approver), plan_id=plan.pk, key="verify", reason="no"),
    ):
        with pytest.raises(IllegalTransition, match="was rolled back"):
            call()
    assert stage(plan) == "failed"


def test_a_rollback_that_fails_ends_it_and_a_person_may_try_it_again(approved, approver, engine):
    bad = {"tool": "diagnostic.fail", "input": {"times": 1, "transient": False}}
    plan = approved(*chain(c=bad))
    engine.run()
    assert stage(plan) == "failed"
    assert statuses(plan)["c.rollback"] == "failed"
    assert statuses(plan)["a.rollback"] == "waiting"
    assert why(plan) == (
        "verify failed. Nothing was rolled back; undoing c failed; a was not undone; b stays done and can not be undone."
    )
    services.retry_plan(actor=person(approver), plan_id=plan.pk)
    engine.run()
    assert order(plan)[-3:] == ["c.rollback", "c.rollback", "a.rollback"]
    assert stage(plan) == "failed"
    assert why(plan).startswith("verify failed. c, a were rolled back")


def test_a_rollback_that_fails_may_be_skipped_and_the_others_follow(approved, approver, engine):
    bad = {"tool": "diagnostic.fail", "input": {"times": 9, "transient": False}}
    plan = approved(*chain(c=bad))
    engine.run()
    services.skip_step(actor=person(approver), plan_id=plan.pk, key="c.rollback", reason="done by hand")
    engine.run()
    assert why(plan).startswith("verify failed. a was rolled back; undoing c was skipped;")


def test_a_rollback_is_tried_again_by_its_policy(approved, engine):
    shaky = {"tool": "diagnostic.fail", "input": {"times": 2, "transient": True}}
    plan = approved(*chain(c=shaky))
    engine.run(patiently=True)
    assert [status for _, status in tries(plan, "c.rollback")] == ["failed", "failed", "completed"]
    assert why(plan).startswith("verify failed. c, a were rolled back")


def test_an_agent_that_dies_in_the_middle_of_a_rollback_loses_nothing(approved, engine):
    plan = approved(*chain())
    for _ in range(4):
        engine.step()
    claim(*engine.dispatch()[0][:2])
    assert statuses(plan)["c.rollback"] == "running"
    engine.forget_beats()
    engine.sweep()
    engine.run(patiently=True)
    assert tries(plan, "c.rollback") == [(1, "interrupted"), (2, "completed")]
    assert tries(plan, "a.rollback") == [(1, "completed")]


def test_messages_heard_twice_undo_once(approved, engine):
    plan = approved(*chain())
    heard = []
    while new := engine.dispatch():
        heard += new
        for pk, token, _ in heard:
            attempt.run(pk, token=token, go_on_for=0)
    assert order(plan) == ["a", "b", "c", "verify", "c.rollback", "a.rollback"]


def test_cancelling_ends_the_rollback_and_says_what_was_not_undone(approved, approver, engine):
    plan = approved(*chain())
    for _ in range(5):
        engine.step()
    running = claim(*engine.dispatch()[0][:2])
    assert running.step.key == "a.rollback"
    services.cancel_plan(actor=person(approver), plan_id=plan.pk, reason="stop it")
    finish(running.attempt_id, token=running.token, result=stopped(), lines=(0, ""))
    assert stage(plan) == "cancelled"
    assert "c was rolled back; a was not undone" in why(plan)


def test_a_pause_holds_the_rollback_and_resuming_goes_on(approved, approver, engine):
    plan = approved(*chain())
    for _ in range(3):
        engine.step()
    running = claim(*engine.dispatch()[0][:2])
    services.pause_plan(actor=person(approver), plan_id=plan.pk)
    finish(running.attempt_id, token=running.token, result=failed(), lines=(0, ""))
    engine.run()
    assert (stage(plan), statuses(plan)["c.rollback"]) == ("paused", "waiting")
    services.resume_plan(actor=person(approver), plan_id=plan.pk)
    engine.run()
    assert why(plan).startswith("verify failed. c, a were rolled back")


def test_a_fan_out_is_undone_as_a_whole_and_only_if_it_was_completed(approved, engine, agent):
    type(agent).objects.update(slots=1)
    whole = say("each", "{{ item }}", for_each=[1, 2], rollback=undo("{{ steps.each.output.items }}"))
    plan = approved(whole, failing("bad", depends_on=["each"], on_failure="rollback"))
    engine.run()
    assert output(plan, "each.rollback") == {"value": [{"value": 1}, {"value": 2}]}


def test_a_fan_out_that_fails_half_way_starts_the_rollback_and_is_said_to_stay_partly_done(approved, engine, agent):
    type(agent).objects.update(slots=1)
    from tests.factories import step

    given = {"times": "{{ item }}", "transient": False}
    plan = approved(
        say("a", rollback=undo()),
        step("each", "diagnostic.fail", input=given, for_each=[0, 9], depends_on=["a"], on_failure="rollback"),
    )
    engine.run()
    assert why(plan) == "each failed. a was rolled back; each stays partly done."


def test_a_rollback_stops_a_fan_out_beside_it(approved, engine, agent):
    type(agent).objects.update(slots=1)
    plan = approved(
        failing("bad", on_failure="rollback"), say("each", "{{ item }}", for_each=[1, 2]), say("a", rollback=undo())
    )
    engine.run()
    assert statuses(plan)["each"] == "waiting"
    assert stage(plan) == "failed"


@pytest.mark.django_db(transaction=True)
def test_two_steps_that_fail_at_once_start_one_rollback(requester, approver, engine):
    factories.make_agent("infra-1", slots=4)
    steps = [
        say("a", rollback=undo()),
        failing("b", depends_on=["a"], on_failure="rollback"),
        failing("c", depends_on=["a"], on_failure="rollback"),
    ]
    plan = factories.approve(factories.make_plan(requester, steps), approver)
    engine.step()
    first, second = (claim(*message[:2]) for message in engine.dispatch())
    end = [
        lambda one=one: finish(one.attempt_id, token=one.token, result=failed(), lines=(0, ""))
        for one in (first, second)
    ]
    assert together(*end) == [True, True]
    engine.sweep()
    engine.run()
    assert DecisionRecord.objects.filter(type="plan.rollback_begun").count() == 1
    assert tries(plan, "a.rollback") == [(1, "completed")]
    assert stage(plan) == "failed"


def test_rollback_steps_are_part_of_what_is_approved(requester):
    ways = [undo("x"), undo("y"), undo(tool="diagnostic.sleep", seconds=1), None]
    digests = set()
    for way in ways:
        more = {"rollback": way} if way else {}
        steps = [say("a", **more), say("z", rollback=undo()), failing("b", depends_on=["a"], on_failure="rollback")]
        digests.add(factories.digest_of(factories.make_plan(requester, steps)))
    assert len(digests) == 4
