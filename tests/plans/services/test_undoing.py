"""To undo a plan that is at rest: a plan of its own, with the values that are known by then."""

from functools import partial
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from agents.models import Playbook, PlaybookRepository
from audit.authority import Role
from audit.context import Actor
from audit.errors import NotAllowed
from audit.models import DecisionRecord
from plans import services
from plans.errors import IllegalTransition, InvalidPlan, NotFound
from plans.models import Plan, Step
from plans.selectors import plan_page, run_page
from plans.selectors.partial_result import partial_result
from tests import factories
from tests.engine import Engine, names, stage, statuses, together
from tests.factories import step

pytestmark = pytest.mark.django_db
BROKEN = {"times": 9, "transient": False}


def undo(value):
    return {"tool": "diagnostic.echo", "input": {"value": value}}


def three(*more):
    return (
        step("find"),
        step("lock", depends_on=["find"], rollback=undo("unlock {{ steps.find.output.value }}")),
        step("deploy", depends_on=["lock"], rollback=undo("remove {{ steps.deploy.output.value }}")),
        *more,
    )


def test_what_was_done_is_undone_by_a_plan_that_somebody_approves(done, who, approver, engine):
    plan = done(*three(), goal="Deploy it")
    made = services.undo_plan(actor=who, plan_id=plan.pk, reason="it was the wrong host")
    assert (made.stage, made.goal) == ("pending_approval", f"Undo plan {plan.number}: Deploy it")
    assert made.summary == (
        "It undoes deploy and lock, the last step first. find stays done: it does not say how to undo it."
    )
    facts = [fact["text"] for fact in made.revisions.get().risk_facts]
    assert facts == [f"It was written from what plan {plan.number} did"]
    rows = Step.objects.filter(plan=made).order_by("index")
    assert [(row.key, row.input) for row in rows] == [
        ("undo-deploy", {"value": "remove deploy"}), ("undo-lock", {"value": "unlock find"}),
    ]  # fmt: skip
    engine.run()
    assert statuses(made) == {"undo-deploy": "pending", "undo-lock": "pending"}
    factories.approve(made, approver)
    engine.run()
    assert (stage(made), stage(plan)) == ("completed", "completed")
    record = DecisionRecord.objects.get(type="plan.undo_asked")
    assert (record.trace_id, record.reason) == (plan.trace_id, "it was the wrong host")
    assert (record.metadata["number"], record.metadata["steps"]) == (made.number, ["deploy", "lock"])


@pytest.mark.parametrize(
    "answered",
    [
        "{{ steps.zz.output }}", "{# c #}text", "{% raw %}", "{{{{% {", "a {{ b }}\n", "{{ x }}\r\ny\n\n", "\\ ' {{ \" }}",
        ["{{ item }}", {"deep": "{{ no"}], "plain {\n", "a {\n{{", "{\r\n{#",
    ],
)  # fmt: skip
def test_a_value_that_looks_like_a_reference_is_undone_as_the_value_it_is(answered, done, who, approver, engine):
    plan = done(step("a", rollback=undo("{{ steps.a.output.value }}")))
    Step.objects.filter(plan=plan, key="a").update(output={"value": answered})
    made = undone(plan, approver, engine, who)
    assert (stage(made), Step.objects.get(plan=made).output) == ("completed", {"value": answered})


def test_a_text_that_could_only_be_written_too_long_is_not_undone_as_another(done, who):
    plan = done(step("a", rollback=undo("{{ steps.a.output.value }}")))
    Step.objects.filter(plan=plan, key="a").update(output={"value": "{{" + "x" * 2000})
    with pytest.raises(InvalidPlan, match="at most 2000 characters"):
        services.undo_plan(actor=who, plan_id=plan.pk)


def test_a_plan_that_failed_is_undone_as_far_as_it_came(done, who):
    plan = done(*three(step("check", "diagnostic.fail", input=BROKEN, depends_on=["deploy"], rollback=undo("x"))))
    made = services.undo_plan(actor=who, plan_id=plan.pk)
    assert list(statuses(made)) == ["undo-deploy", "undo-lock"]


def test_what_began_and_can_not_be_undone_is_said(done, who):
    list_of: dict[str, Any] = {
        "tool": "diagnostic.fail",
        "input": {"times": "{{ item }}", "transient": False},
        "for_each": [0, 9],
    }
    each = step("each", depends_on=["lock"], rollback=undo("{{ steps.each.output.items }}"), **list_of)
    plan = done(step("lock", rollback=undo("unlock")), each)
    assert statuses(plan)["each.0"] == "completed"
    made = services.undo_plan(actor=who, plan_id=plan.pk)
    assert made.summary == "It undoes lock. each began and stays as it is: what undoes it needs its whole result."


def test_what_its_rollback_has_undone_is_not_undone_again(done, who):
    broken = step("check", "diagnostic.fail", input=BROKEN, depends_on=["deploy"], on_failure="rollback")
    plan = done(*three(broken))
    with pytest.raises(IllegalTransition, match="nothing that says how it is undone"):
        services.undo_plan(actor=who, plan_id=plan.pk)


def test_a_playbook_is_undone_by_the_one_it_names_with_the_values_that_one_knows(done, who, requester):
    repository = PlaybookRepository.objects.create(name="homelab", location="/x", commit="c" * 40, tree="t" * 40)
    port = {"name": "port", "type": "integer"}
    known = {"variables": [port, {"name": "title"}]}
    Playbook.objects.create(repository=repository, path="up.yml", reversible_by="down.yml", details=known)
    Playbook.objects.create(repository=repository, path="down.yml", details={"variables": [port]})
    plan = done(
        step("up", "ansible.playbook", input={"playbook": "up.yml", "variables": {"port": 3001, "title": "Kuma"}})
    )
    Step.objects.filter(plan=plan).update(started_at="2026-01-01T00:00:00Z")  # it began, whatever became of it
    Plan.objects.filter(pk=plan.pk, stage="executing").update(stage="failed")
    made = services.undo_plan(actor=who, plan_id=plan.pk)
    row = Step.objects.get(plan=made)
    assert ((row.playbook or {}).get("path"), row.input) == ("down.yml", {"port": 3001})


def test_there_is_nothing_to_undo_before_the_end(requester, approver, who):
    plan = factories.approve(factories.make_plan(requester, list(three())), approver)
    with pytest.raises(IllegalTransition, match="not at rest"):
        services.undo_plan(actor=who, plan_id=plan.pk)


def test_it_takes_the_right_to_steer_the_plan_and_to_ask_for_work(done, approver):
    plan = done(*three())
    with pytest.raises(NotAllowed):
        services.undo_plan(actor=Actor.person(approver), plan_id=plan.pk)
    with pytest.raises(NotFound):
        services.undo_plan(actor=Actor.person(factories.make_user("other", Role.REQUESTER)), plan_id=plan.pk)
    assert Plan.objects.count() == 1


def test_long_keys_stay_keys(done, who):
    plan = done(step("k" * 63, rollback=undo("gone")), step("k" * 58, rollback=undo("gone")))
    made = services.undo_plan(actor=who, plan_id=plan.pk)
    assert set(statuses(made)) == {"k" * 63, f"undo-{'k' * 58}"}


def ways(plan, actor):
    """The ways to go on that a reader is offered, each with why it is not open."""
    found = partial_result(Plan.objects.get(pk=plan.pk), actor)
    return {
        way.kind: way.why_not for way in (*found.recoveries, *(one for left in found.begun for one in left.recoveries))
    }


def told(plan, actor):
    return partial_result(Plan.objects.get(pk=plan.pk), actor).sentence


def undone(plan, approver, engine, who, **more):
    """The plan that undoes this one, as far as it came."""
    made = services.undo_plan(actor=who, plan_id=plan.pk, **more)
    factories.approve(made, approver)
    engine.run()
    return Plan.objects.get(pk=made.pk)


def refused(who, plan):
    with pytest.raises(IllegalTransition) as error:
        services.undo_plan(actor=who, plan_id=plan.pk)
    return error.value.sentence


def test_a_plan_is_undone_once(done, who, approver, engine):
    plan = done(*three())
    made = services.undo_plan(actor=who, plan_id=plan.pk)
    waits = f"Plan {made.number} waits for approval to undo what plan {plan.number} did."
    assert (refused(who, plan), ways(plan, who)["undo"]) == (waits, waits)
    factories.approve(made, approver)
    doing = f"Plan {made.number} is undoing what plan {plan.number} did."
    assert (refused(who, plan), ways(plan, who)["undo"]) == (doing, doing)
    assert told(plan, who) == f"find stays done. Plan {made.number} is undoing deploy and lock."
    engine.run()
    gone = f"Nothing is left to undo. deploy and lock were undone by plan {made.number}."
    assert (refused(who, plan), ways(plan, who)["undo"]) == (gone, gone)
    assert told(plan, who) == f"find stays done. deploy and lock were undone by plan {made.number}."
    assert Plan.objects.count() == 2


@pytest.mark.parametrize("end", ["rejected", "cancelled"])
def test_an_undo_that_nobody_wanted_leaves_it_to_another(done, who, approver, end):
    plan = done(*three())
    made = services.undo_plan(actor=who, plan_id=plan.pk)
    if end == "rejected":
        services.reject_plan(actor=Actor.person(approver), plan_id=made.pk, reason="not now")
    else:
        services.cancel_plan(actor=who, plan_id=made.pk, reason="not now")
    assert told(plan, who) == "find, lock and deploy stay done."
    again = services.undo_plan(actor=who, plan_id=plan.pk)
    assert list(statuses(again)) == ["undo-deploy", "undo-lock"]


def test_what_a_failed_undo_did_not_reach_is_undone_by_another(done, who, approver, engine):
    fails = {"tool": "diagnostic.fail", "input": BROKEN}
    plan = done(
        step("a", rollback=undo("a")),
        step("b", depends_on=["a"], rollback=fails),
        step("c", depends_on=["b"], rollback=undo("c")),
    )
    first = undone(plan, approver, engine, who)
    assert statuses(first) == {"undo-c": "completed", "undo-b": "failed", "undo-a": "waiting"}
    tale = f"c was undone by plan {first.number}. Whether plan {first.number} undid b is not known."
    assert told(plan, who) == f"a stays done. {tale}"
    assert run_page(plan, who).kept == ["a"]
    made = services.undo_plan(actor=who, plan_id=plan.pk)
    assert (list(statuses(made)), made.summary) == (
        ["undo-b", "undo-a"], f"It undoes b and a, the last step first. {tale}",
    )  # fmt: skip
    left = f"Plan {made.number} was written to undo what is left of plan {plan.number}."
    with pytest.raises(IllegalTransition, match=left):
        services.retry_plan(actor=who, plan_id=first.pk)
    assert ways(first, who)["retry"] == left


def test_what_was_done_anew_is_undone_anew(failed, revise, approver, engine, who):
    plan = failed(step("a", rollback=undo("a")), step("b", "diagnostic.fail", input=BROKEN, depends_on=["a"]))
    undone(plan, approver, engine, who)
    revise(plan, step("a", rollback=undo("a")), step("b", depends_on=["a"]))
    factories.approve(plan, approver)
    engine.run()
    assert told(plan, who) == "a and b stay done."
    assert list(statuses(services.undo_plan(actor=who, plan_id=plan.pk))) == ["undo-a"]


@pytest.mark.django_db(transaction=True)
def test_of_several_undos_at_once_one_is_written():
    engine = Engine()
    factories.make_agent("infra-1", slots=4)
    people = factories.make_user("requester", Role.REQUESTER), factories.make_user("admin", Role.ADMINISTRATOR)
    plan = factories.approve(
        factories.make_plan(people[0], list(three())), factories.make_user("approver", Role.APPROVER)
    )
    engine.run()
    calls = [partial(services.undo_plan, actor=Actor.person(one), plan_id=plan.pk) for one in people * 2]
    assert names(together(*calls)) == ["IllegalTransition"] * 3 + ["Plan"]
    assert Plan.objects.count() == 2


def going_on(actor, plan):
    """What refuses each way to go on with b."""
    verbs = (
        lambda: services.retry_plan(actor=actor, plan_id=plan.pk),
        lambda: services.retry_step(actor=actor, plan_id=plan.pk, key="b"),
        lambda: services.skip_step(actor=actor, plan_id=plan.pk, key="b", reason="by hand"),
    )
    said = set()
    for verb in verbs:
        with pytest.raises(IllegalTransition) as error:
            verb()
        said.add(error.value.sentence)
    return said


@pytest.fixture
def half(failed):
    """A plan whose a is done, and whose b failed once and would not a second time."""
    return failed(
        step("a", rollback=undo("a")),
        step("b", "diagnostic.fail", input={"times": 1, "transient": False}, depends_on=["a"]),
    )


def test_nothing_goes_on_from_what_was_undone(half, approver, engine, who):
    made = services.undo_plan(actor=who, plan_id=half.pk)
    factories.approve(made, approver)
    decider = Actor.person(factories.make_user("admin", Role.ADMINISTRATOR, Role.APPROVER))
    doing = f"Plan {made.number} is undoing what plan {half.number} did, so that does not go on meanwhile."
    assert going_on(decider, half) == {doing}
    engine.run()
    gone = (
        f"a was undone by plan {made.number}. So plan {half.number} does not go on as it is. Revise it: what was undone runs "
        "again then."
    )
    assert going_on(decider, half) == {gone}
    offered = ways(half, decider)
    assert (offered["retry"], offered["skip"], offered["revise"]) == (gone, gone, "")
    found = partial_result(half, decider)
    assert (found.recoverable, found.because) == (False, gone)
    assert (stage(half), statuses(half)["b"]) == ("failed", "failed")


@pytest.mark.parametrize("skipped", [False, True])
def test_what_may_have_been_undone_is_not_built_on(failed, approver, engine, who, skipped):
    fails = {"tool": "diagnostic.fail", "input": BROKEN}
    plan = failed(step("a", rollback=fails), step("b", "diagnostic.fail", input=BROKEN, depends_on=["a"]))
    made = undone(plan, approver, engine, who)
    if skipped:
        services.skip_step(actor=Actor.person(approver), plan_id=made.pk, key="undo-a", reason="by hand")
        assert (stage(made), statuses(made)) == ("completed", {"undo-a": "skipped"})
    unclear = f"Whether plan {made.number} undid a is not known."
    assert told(plan, who) == f"{unclear} b failed."
    with pytest.raises(IllegalTransition, match=unclear):
        services.retry_plan(actor=who, plan_id=plan.pk)


def test_what_went_on_after_its_undo_was_asked_for_is_not_undone_in_part(half, approver, engine, who):
    made = services.undo_plan(actor=who, plan_id=half.pk)
    services.retry_plan(actor=who, plan_id=half.pk)  # nobody has approved that it is undone
    for at in ("executing", "completed"):
        assert stage(half) == at
        with pytest.raises(IllegalTransition, match=f"Plan {half.number} went on after this was written"):
            factories.approve(made, approver)
        engine.run()
    assert list(statuses(services.undo_plan(actor=who, plan_id=half.pk))) == ["undo-a"]


@pytest.mark.django_db(transaction=True)
def test_of_a_retry_and_an_undo_at_once_one_is_refused():
    factories.make_agent("infra-1", slots=4)
    requester = factories.make_user("requester", Role.REQUESTER)
    approver = factories.make_user("approver", Role.APPROVER)
    who, engine = Actor.person(requester), Engine()
    for _ in range(5):
        steps = [step("a", rollback=undo("a")), step("b", "diagnostic.fail", input=BROKEN, depends_on=["a"])]
        plan = factories.approve(factories.make_plan(requester, steps), approver)
        engine.run()
        made = services.undo_plan(actor=who, plan_id=plan.pk)
        answers = together(
            partial(services.retry_plan, actor=who, plan_id=plan.pk),
            partial(factories.approve, made, approver),
        )
        assert names(answers) == ["IllegalTransition", "Plan"]
        engine.run()


def searches(plan, actor):
    """How often plans that undo others are looked for, by the page of a run, that of a plan, and its partial result."""
    found = []
    for read in (run_page, plan_page, partial_result):
        with CaptureQueriesContext(connection) as statements:
            read(Plan.objects.get(pk=plan.pk), actor)
        found.append(sum('"undoes_id" = ' in one["sql"] for one in statements))
    return found


def test_plans_that_undo_are_looked_for_once_and_only_where_that_matters(done, who):
    assert searches(done(*three()), who) == [1, 1, 1]
    stuck = done(step("undo-a"), step("b", "diagnostic.fail", input=BROKEN))  # named like one that undoes another
    assert (stage(stuck), searches(stuck, who)) == ("failed", [1, 1, 1])
    Plan.objects.filter(pk=stuck.pk).update(stage="executing")
    assert searches(stuck, who) == [0, 0, 0]


def test_a_plan_that_nobody_can_approve_as_it_is_says_so_and_offers_no_approval(done, who, approver, engine, client):
    plan = done(step("a", rollback=undo("a")), step("b", "diagnostic.fail", input=BROKEN, depends_on=["a"]))
    made = services.undo_plan(actor=who, plan_id=plan.pk)
    client.force_login(approver)
    page = client.get(f"/plans/{made.number}/").content.decode()
    assert f'undoes <a href="/plans/{plan.number}/run/">plan {plan.number}</a>' in page
    assert 'id="approve"' in page
    services.retry_plan(actor=who, plan_id=plan.pk)
    engine.run()
    page = client.get(f"/plans/{made.number}/").content.decode()
    assert f"Nobody can approve this as it is.</strong> Plan {plan.number} went on after this was written" in page
    assert 'id="approve"' not in page
    assert 'id="reject"' in page
