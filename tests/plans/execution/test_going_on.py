"""Whoever lets a plan go on, by another try or a skip, leaves no step behind that waits for nothing, and none out of its order."""

import pytest

from audit.context import Actor
from plans import services
from plans.errors import IllegalTransition
from plans.models import Attempt, Plan, Step
from plans.selectors.partial_result import partial_result
from tests import factories
from tests.engine import claim, stage, statuses, tries
from tests.plans.execution.steps import failing, row, say, why

pytestmark = [pytest.mark.django_db, pytest.mark.e2e_03]
UNDO = {"tool": "diagnostic.echo", "input": {"value": "undone"}}
SLEEP = "diagnostic.sleep"


@pytest.fixture
def retry(requester):
    return lambda plan, key=None: (
        services.retry_step(actor=Actor.person(requester), plan_id=plan.pk, key=key)
        if key
        else services.retry_plan(actor=Actor.person(requester), plan_id=plan.pk)
    )


@pytest.fixture
def skip(approver):
    return lambda plan, key: services.skip_step(actor=Actor.person(approver), plan_id=plan.pk, key=key, reason="x")


def began(plan):
    """The steps whose attempts began, in that order."""
    found = Attempt.objects.filter(plan=plan, started_at__isnull=False).order_by("started_at")
    return list(found.values_list("step__key", flat=True))


class TestLists:
    def test_what_waits_for_a_list_begins_when_its_last_failed_item_is_skipped(self, approved, engine, skip):
        plan = approved(failing("e", for_each=[1]), say("b", depends_on=["e"]))
        engine.run()
        skip(plan, "e.0")
        engine.run()
        assert statuses(plan) == {"e": "completed", "e.0": "skipped", "b": "completed"}
        assert stage(plan) == "completed"

    def test_also_while_another_step_runs(self, approved, engine, skip):
        plan = approved(failing("e", for_each=[1]), say("b", depends_on=["e"]), failing("other", transient=True))
        engine.run()
        assert stage(plan) == "executing"
        skip(plan, "e.0")
        engine.run()
        assert statuses(plan)["b"] == "completed"

    def test_skipping_a_failed_item_beside_one_that_runs_lets_the_others_begin(self, approved, engine, skip):
        steps = [say("a", [-1, 4, 0, 0]), factories.step("e", SLEEP, input={"seconds": "{{ item }}"}, for_each="{{ steps.a.output.value }}", depends_on=["a"]), say("b", depends_on=["e"])]  # fmt: skip
        plan = approved(*steps, max_parallel=2)
        engine.step()
        Attempt.objects.filter(step__key="e.1").update(status="running", token=1, lease_until="2099-01-01T00:00Z")
        Step.objects.filter(plan=plan, key__in=["e", "e.1"]).update(status="running")
        engine.run()
        assert (statuses(plan)["e.0"], row(plan, "e.2").waiting_for) == ("failed", "Does not start: e.0 failed.")
        skip(plan, "e.0")
        engine.run()
        assert [statuses(plan)[key] for key in ("e", "e.2", "e.3")] == ["running", "completed", "completed"]
        assert row(plan, "e").error == ""


class TestAfterARollbackThatUndidNothing:
    def test_what_was_held_back_begins_with_the_other_try(self, approved, engine, retry):
        plan = approved(
            failing("bad", 1, on_failure="rollback"), say("beside"), say("u", depends_on=["bad"], rollback=UNDO), max_parallel=1,
        )  # fmt: skip
        engine.run()
        assert (stage(plan), tries(plan, "beside")) == ("failed", [(1, "cancelled")])
        retry(plan)
        engine.run()
        assert (stage(plan), statuses(plan)["beside"]) == ("completed", "completed")

    def test_so_does_a_list(self, approved, engine, skip):
        plan = approved(
            failing("bad", on_failure="rollback"), say("beside", "{{ item }}", for_each=[1, 2]), say("u", depends_on=["bad"], rollback=UNDO), max_parallel=1,
        )  # fmt: skip
        engine.run()
        skip(plan, "bad")
        engine.run()
        assert stage(plan) == "completed", statuses(plan)
        assert statuses(plan)["beside.1"] == "completed"

    def test_and_what_was_freed_meanwhile(self, approved, engine, skip):
        steps = [say("a", {}), say("x", depends_on=["a"], for_each="{{ steps.a.output.value.no }}", on_failure="rollback"), say("y", depends_on=["a"]), say("u", depends_on=["x"], rollback=UNDO)]  # fmt: skip
        plan = approved(*steps)
        engine.run()
        assert (stage(plan), tries(plan, "y")) == ("failed", [])
        skip(plan, "x")
        engine.run()
        assert (stage(plan), statuses(plan)["y"]) == ("completed", "completed")

    def test_a_plan_that_stands_still_all_the_same_is_taken_up_by_a_sweep(self, approved, engine):
        plan = approved(say("a"), say("b", depends_on=["a"]))
        engine.step()
        Attempt.objects.filter(step__key="b").delete()  # as no path should leave it
        assert Step.objects.filter(plan=plan, key="b", unmet=0).update(status="waiting") == 1
        engine.sweep()
        engine.run()
        assert stage(plan) == "completed"


class TestConditions:
    def test_another_try_decides_the_condition_again(self, approved, engine, retry):
        plan = approved(
            say("a", {}), say("b", depends_on=["a"], when="steps.a.output.value.x > 1"), say("c", depends_on=["b"])
        )
        engine.run()
        for key in (None, "b"):
            retry(plan, key)
            engine.run()
            assert (stage(plan), statuses(plan)["b"], tries(plan, "b")) == ("failed", "failed", [])
            assert "can not be decided" in row(plan, "b").error

    def test_and_reads_the_list_again(self, approved, engine, retry):
        plan = approved(
            say("a", {}), say("b", depends_on=["a"], for_each="{{ steps.a.output.value.x }}"), failing("c", 1)
        )
        engine.run()
        retry(plan)
        engine.run()
        assert statuses(plan) == {"a": "completed", "b": "failed", "c": "completed"}
        assert why(plan) == "b failed; a, c stay done."


class TestOrder:
    def test_what_failed_after_a_step_that_failed_is_tried_after_it(self, approved, engine, retry):
        plan = approved(
            failing("a", 1, on_failure="continue"),
            say("z", "{{ steps.a.output.failed_before }}", depends_on=["a"], when="steps.a.status == 'completed' or true"),
            say("last", depends_on=["z"]),
        )  # fmt: skip
        engine.run()
        assert statuses(plan) == {"a": "failed", "z": "failed", "last": "waiting"}
        retry(plan)
        assert statuses(plan)["z"] == "waiting"
        engine.run()
        assert (stage(plan), began(plan)[-3:]) == ("completed", ["a", "z", "last"])

    def test_and_once_more_if_that_fails_again(self, approved, engine, retry):
        plan = approved(
            failing("a", 2, on_failure="continue"), failing("z", 3, depends_on=["a"]), say("b", depends_on=["a"])
        )
        engine.run()
        assert statuses(plan) == {"a": "failed", "z": "failed", "b": "completed"}
        retry(plan)
        engine.run()
        assert (tries(plan, "a")[-1], tries(plan, "z")[-1]) == ((2, "failed"), (2, "failed"))
        retry(plan)
        engine.run()
        assert (statuses(plan)["a"], tries(plan, "z")[-1]) == ("completed", (3, "failed"))
        retry(plan)
        engine.run()
        assert stage(plan) == "completed"
        assert tries(plan, "b") == [(1, "completed")]

    def test_what_waits_for_another_step_too_still_does(self, approved, engine, retry):
        plan = approved(
            failing("a", 1, on_failure="continue"), failing("b", 1), failing("z", 1, depends_on=["a"]), say("y", depends_on=["a", "b"]),
        )  # fmt: skip
        engine.run()
        assert Step.objects.get(plan=plan, key="y").unmet == 1
        retry(plan)
        assert Step.objects.get(plan=plan, key="y").unmet == 2
        engine.run()
        assert stage(plan) == "completed", statuses(plan)
        assert began(plan).index("y") > max(place for place, key in enumerate(began(plan)) if key in ("a", "b"))


class TestGivingUp:
    def give_up(self, plan, key, requester):
        return services.give_up_step(actor=Actor.person(requester), plan_id=plan.pk, key=key, reason="enough")

    def test_of_a_plan_that_is_paused_nothing_is_given_up(self, approved, engine, requester):
        plan = approved(failing("a", transient=True))
        engine.step()
        services.pause_plan(actor=Actor.person(requester), plan_id=plan.pk)
        with pytest.raises(IllegalTransition, match="is paused"):
            self.give_up(plan, "a", requester)
        assert stage(plan) == "paused"

    def test_a_step_that_is_given_up_goes_on_with_its_fallback(self, approved, engine, requester):
        plan = approved(failing("a", transient=True, on_failure="fallback", fallback=UNDO))
        engine.step()
        self.give_up(plan, "a", requester)
        engine.run()
        assert (stage(plan), tries(plan, "a")) == ("completed", [(1, "failed"), (2, "cancelled"), (3, "completed")])

    def test_the_step_of_an_item_that_was_given_up_says_why(self, approved, engine, requester):
        plan = approved(failing("e", transient=True, for_each=[1, 2]))
        engine.step()
        self.give_up(plan, "e.0", requester)
        assert row(plan, "e").error.endswith("Given up by requester: enough")


def test_a_try_that_was_taken_back_before_it_began_uses_up_none(approved, engine, skip):
    items = say("a", [{"t": 9, "transient": False}, {"t": 2, "transient": True}])
    e = factories.step(
        "e", "diagnostic.fail", input={"times": "{{ item.t }}", "transient": "{{ item.transient }}"}, depends_on=["a"],
        for_each="{{ steps.a.output.value }}", retry={"strategy": "linear", "attempts": 2, "first_wait_seconds": 1},
    )  # fmt: skip
    plan = approved(items, e, max_parallel=1)
    engine.run()
    assert tries(plan, "e.1") == [(1, "cancelled")]
    skip(plan, "e.0")
    engine.run(patiently=True)
    assert tries(plan, "e.1") == [(1, "cancelled"), (2, "failed"), (3, "completed")]


def test_a_plan_that_is_being_cancelled_is_neither_resumed_nor_cancelled_for_another_reason(
    approved, engine, requester
):
    who = Actor.person(requester)
    plan = approved(factories.step("a", SLEEP, input={"seconds": 9}))
    ((pk, token, _),) = engine.dispatch()
    claim(pk, token)
    services.pause_plan(actor=who, plan_id=plan.pk)
    services.cancel_plan(actor=who, plan_id=plan.pk, reason="one")
    with pytest.raises(IllegalTransition, match="is being cancelled"):
        services.resume_plan(actor=who, plan_id=plan.pk)
    services.cancel_plan(actor=who, plan_id=plan.pk, reason="two")
    assert "one" in Plan.objects.get(pk=plan.pk).cancel_reason


class TestTold:
    def told(self, plan, requester):
        return partial_result(Plan.objects.get(pk=plan.pk), Actor.person(requester))

    def test_a_list_that_failed_says_how_much_of_it_is_done_and_what_runs_again(self, approved, engine, requester):
        plan = approved(say("a", [0, 9]), factories.step("e", "diagnostic.fail", input={"times": "{{ item }}", "transient": False}, for_each="{{ steps.a.output.value }}", depends_on=["a"]))  # fmt: skip
        engine.run()
        told = self.told(plan, requester)
        assert told.sentence == "a stays done. e failed with 1 of 2 items done."
        retry = told.of("e").recoveries[0]
        assert retry.effect.startswith("What is left of its 2 items runs again and 1 stays done, under the digest")

    @pytest.mark.parametrize(
        ("more", "then"),
        [
            ({}, "what depends on it does not start"),
            ({"on_failure": "continue"}, "the plan goes on without it"),
            ({"on_failure": "fallback", "fallback": UNDO}, "its fallback goes on"),
            ({"on_failure": "rollback", "rollback": UNDO}, "what was done is undone"),
        ],
    )
    def test_what_follows_from_giving_up_is_said_before(self, approved, engine, requester, more, then):
        plan = approved(failing("a", transient=True, **more))
        engine.step()
        (give_up,) = [way for way in self.told(plan, requester).of("a").recoveries if way.kind == "give_up"]
        assert give_up.effect == f"The step fails now, without try 2, and {then}."

    def test_a_paused_plan_goes_on_when_somebody_resumes_it(self, approved, engine, requester):
        plan = approved(say("a"), say("b", depends_on=["a"]))
        engine.step()
        services.pause_plan(actor=Actor.person(requester), plan_id=plan.pk)
        assert self.told(plan, requester).because == "It goes on when somebody resumes it."
