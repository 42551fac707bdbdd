"""Conditions, references to earlier results, and going on without a step that failed."""

import pytest

from audit.context import Actor
from plans import references, services
from plans.conf import LARGEST_RESOLVED
from plans.errors import InvalidPlan
from plans.models import Attempt, Plan, Step
from tests import factories
from tests.engine import stage, statuses, tries
from tests.factories import step

pytestmark = [pytest.mark.django_db, pytest.mark.e2e_03]


def say(key, value, **more):
    return step(key, "diagnostic.echo", input={"value": value}, **more)


def failing(key, **more):
    return step(key, "diagnostic.fail", input={"times": 9, "failure_mode": "user", "transient": False}, **more)


def output(plan, key):
    return Step.objects.get(plan=plan, key=key).output


def test_a_step_reads_what_an_earlier_one_found_with_its_type(approved, engine):
    plan = approved(
        say("deploy", {"url": "http://here", "hosts": ["a", "b"]}),
        say("check", "{{ steps.deploy.output.value.hosts }}", depends_on=["deploy"]),
        say("tell", "see {{ steps.deploy.output.value.url }}/x", depends_on=["check"]),
    )
    engine.run()
    assert stage(plan) == "completed"
    assert output(plan, "check") == {"value": ["a", "b"]}
    assert output(plan, "tell") == {"value": "see http://here/x"}
    assert Attempt.objects.get(step__key="check", plan=plan).input == {"value": ["a", "b"]}
    assert Attempt.objects.get(step__key="deploy", plan=plan).input is None


def test_a_reference_that_leads_nowhere_fails_its_step_and_says_so(approved, engine):
    plan = approved(say("a", {}), say("b", "{{ steps.a.output.value.url }}", depends_on=["a"]))
    engine.run()
    assert statuses(plan) == {"a": "completed", "b": "failed"}
    assert "leads nowhere: there is no url" in Step.objects.get(plan=plan, key="b").error
    assert tries(plan, "b") == [(1, "failed")]  # trying again would find no more


def test_a_reference_of_the_wrong_type_is_found_before_the_tool_runs(approved, engine):
    plan = approved(
        say("a", "soon"),
        step("b", "diagnostic.sleep", input={"seconds": "{{ steps.a.output.value }}"}, depends_on=["a"]),
    )
    engine.run()
    assert "What seconds refers to does not fit diagnostic.sleep" in Step.objects.get(plan=plan, key="b").error


def test_what_an_earlier_step_said_is_never_evaluated(approved, engine):
    plan = approved(say("a", "x"), say("b", "{{ steps.a.output.value }}", depends_on=["a"]))
    Step.objects.filter(plan=plan, key="a").update(output=None)
    engine.step()
    Step.objects.filter(plan=plan, key="a").update(output={"value": "{{ steps.a.status }} {{ 7 * 7 }}"})
    engine.run()
    assert output(plan, "b") == {"value": "{{ steps.a.status }} {{ 7 * 7 }}"}


@pytest.mark.parametrize(("condition", "expected"), [
    ("steps.count.output.value > 2", "completed"),
    ("steps.count.output.value > 3", "skipped"),
    ("steps.count.status == 'completed' and not steps.count.output.value in [1, 2]", "completed"),
])  # fmt: skip
def test_a_step_runs_only_if_its_condition_holds(approved, engine, condition, expected):
    plan = approved(
        say("count", 3), say("then", "now", depends_on=["count"], when=condition), say("end", "", depends_on=["then"])
    )
    engine.run()
    assert statuses(plan) == {"count": "completed", "then": expected, "end": "completed"}
    assert stage(plan) == "completed"
    if expected == "skipped":
        assert Step.objects.get(plan=plan, key="then").summary == f"Its condition does not hold: {condition}"
        assert Plan.objects.get(pk=plan.pk).stage_reason == "2 of 3 steps are done; then was skipped."
        assert tries(plan, "then") == []


def test_a_condition_that_can_not_be_decided_fails_its_step(approved, engine):
    plan = approved(say("a", {}), say("b", "", depends_on=["a"], when="steps.a.output.value.n > 3"))
    engine.run()
    assert (stage(plan), statuses(plan)["b"]) == ("failed", "failed")
    assert "can not be decided" in Step.objects.get(plan=plan, key="b").error


def test_a_condition_does_not_read_the_methods_of_what_it_finds(approved, engine):
    plan = approved(say("a", {}), say("b", "", depends_on=["a"], when="steps.a.output.value['items'] != []"))
    engine.run()
    assert statuses(plan)["b"] == "failed"
    assert "can not be decided: there is no items" in Step.objects.get(plan=plan, key="b").error


def test_a_condition_approved_before_it_was_refused_fails_its_step_and_no_agent(approved, engine, monkeypatch):
    with monkeypatch.context() as before:
        before.setattr(references, "condition_errors", lambda *_, **__: [])
        bad = ["1) }} {{ (2", "-" * 700 + "'a'", "steps.b.output" + ".x" * 900]
        plan = approved(say("b", ""), *(say(f"a{n}", "", depends_on=["b"], when=when) for n, when in enumerate(bad)))
    engine.run()
    assert statuses(plan) == {"b": "completed", "a0": "failed", "a1": "failed", "a2": "failed"}
    for n in range(len(bad)):
        assert "can not be decided" in Step.objects.get(plan=plan, key=f"a{n}").error


def test_references_that_bring_in_too_much_fail_their_step_with_size_and_limit(approved, engine):
    plan = approved(say("a", "y" * 200_000), say("b", ["{{ steps.a.output.value }}"] * 1_500, depends_on=["a"]))
    engine.run()
    assert statuses(plan) == {"a": "completed", "b": "failed"}
    error = Step.objects.get(plan=plan, key="b").error
    assert "4200000 characters or more" in error and f"at most {LARGEST_RESOLVED}" in error


def test_a_plan_in_which_no_condition_holds_is_completed_at_once(approved, engine):
    plan = approved(say("a", "", when="1 > 2"), say("b", "", when="false"))
    assert (stage(plan), statuses(plan)) == ("completed", {"a": "skipped", "b": "skipped"})


def test_a_plan_goes_on_without_a_step_it_can_do_without(approved, engine):
    plan = approved(
        failing("probe", on_failure="continue"),
        say("after", "{{ steps.probe.status }}", depends_on=["probe"]),
        say("beside", ""),
        say("both", "", depends_on=["probe", "beside"]),
    )
    engine.run()
    assert statuses(plan) == {"probe": "failed", "after": "completed", "beside": "completed", "both": "completed"}
    assert output(plan, "after") == {"value": "failed"}
    assert stage(plan) == "completed"
    assert Plan.objects.get(pk=plan.pk).stage_reason == "3 of 4 steps are done; probe failed and was not needed."


def test_trying_again_what_the_plan_went_on_without_releases_nothing_twice(approved, approver, engine):
    plan = approved(
        step("probe", "diagnostic.fail", input={"times": 1, "transient": False}, on_failure="continue"),
        step("slow", "diagnostic.echo", input={"value": 1}),
        say("both", "", depends_on=["probe", "slow"]),
    )
    sent = {str(pk): (pk, token) for pk, token, _ in engine.dispatch()}
    from plans.execution import attempt

    probe = Attempt.objects.get(plan=plan, step__key="probe")
    attempt.run(probe.pk, token=0)
    assert statuses(plan) == {"probe": "failed", "slow": "ready", "both": "waiting"}
    services.retry_step(actor=Actor.person(approver), plan_id=plan.pk, key="probe", reason="again")
    [(again, token, _)] = engine.dispatch()
    attempt.run(again, token=token)
    assert statuses(plan) == {"probe": "completed", "slow": "ready", "both": "waiting"}  # still waits for slow
    slow = Attempt.objects.get(plan=plan, step__key="slow")
    attempt.run(slow.pk, token=sent[str(slow.pk)][1])
    engine.run()
    assert stage(plan) == "completed"


@pytest.mark.parametrize(("steps", "loc", "says"), [
    ([say("a", "{{ steps.b.output.value }}"), say("b", "")], ["steps", 0, "input", "value"], "does not come before"),
    ([say("a", "{{ steps.a.output.value }}")], ["steps", 0, "input", "value"], "does not come before"),
    ([say("a", ""), say("b", "{{ steps.a }}", depends_on=["a"])], ["steps", 1, "input", "value"], "must read output or status"),
    ([say("a", "{{ ''.__class__ }}")], ["steps", 0, "input", "value"], "reads __class__"),
    ([say("a", "{{ lookup('pipe', 'id') }}")], ["steps", 0, "input", "value"], "holds a call"),
    ([say("a", "{{ 9 ** 9 }}")], ["steps", 0, "input", "value"], "holds a pow"),
    ([say("a", "{% for x in [1] %}{% endfor %}")], ["steps", 0, "input", "value"], "holds a statement"),
    ([say("a", "{{")], ["steps", 0, "input", "value"], "is no reference"),
    ([say("a", {"{{ steps.a.output }}": 1})], ["steps", 0, "input", "value", "{{ steps.a.output }}"], "only values may"),
    ([say("kuma-x", ""), say("b", "{{ steps.kuma-x.output.v }}", depends_on=["kuma-x"])], ["steps", 1, "input", "value"],
     "steps['kuma-deploy']"),
    ([say("a", "", when="a b")], ["steps", 0, "when"], "can not be read"),
    ([say("b", ""), say("a", "", depends_on=["b"], when="1) }} {{ (2")], ["steps", 1, "when"], "can not be read"),
    ([say("a", "", when="-" * 700 + "1")], ["steps", 0, "when"], "deeper than 100 levels"),
    ([say("a", ""), say("b", "{{ steps.a.output" + ".x" * 975 + " }}", depends_on=["a"])], ["steps", 1, "input", "value"],
     "deeper than 100 levels"),
    ([say("a", "", when="__import__('os')")], ["steps", 0, "when"], "holds a call"),
    ([say("a", "", when="item == 1")], ["steps", 0, "when"], "only a step with for_each has"),
    ([say("a", "", when="(" * 3000)], ["steps", 0, "when"], "at most"),
    ([say("a", "", on_failure="shrug")], ["steps", 0, "on_failure"], "is one of stop, continue"),
])  # fmt: skip
def test_what_leads_nowhere_is_named_before_anyone_is_asked(requester, steps, loc, says):
    with pytest.raises(InvalidPlan) as refused:
        services.create_plan(actor=Actor.person(requester), goal="Try", steps=steps)
    assert refused.value.errors[0]["loc"] == loc
    assert says in str(refused.value.errors[0]["msg"])
    assert not Plan.objects.exists()


def test_condition_and_failure_policy_are_part_of_what_is_approved(requester):
    digests = {
        factories.digest_of(factories.make_plan(requester, [say("a", ""), say("b", "", depends_on=["a"], **more)]))
        for more in ({}, {"when": "steps.a.output.value == ''"}, {"on_failure": "continue"})
    }
    assert len(digests) == 3
