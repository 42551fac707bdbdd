"""A plan that awaits approval or has failed is changed: a new revision, approved anew, that does not repeat what is done."""

import pytest

from agents.protocol import Failure, FailureMode, Outcome, WorkResult
from audit.authority import Role
from audit.context import Actor
from audit.errors import NotAllowed
from audit.models import DecisionRecord
from plans import services
from plans.errors import IllegalTransition, InvalidPlan, NotFound, Refused
from plans.execution.finish import finish
from plans.models import Plan, Revision, Step, TargetLock
from plans.selectors.partial_result import partial_result
from tests import factories
from tests.engine import claim, stage
from tests.factories import step
from tests.plans.revised import broken, facts, rows, started, states

pytestmark = [pytest.mark.django_db, pytest.mark.e2e_03]


def test_a_pending_plan_gets_a_new_revision_with_a_new_digest(requester, revise):
    plan = factories.make_plan(requester, [step("say"), step("again", depends_on=["say"])])
    old = factories.digest_of(plan)
    made = revise(plan, step("say", input={"value": "other"}), step("again", depends_on=["say"]))
    assert (made.pk, made.stage, made.revision_number) == (plan.pk, "pending_approval", 2)
    assert factories.digest_of(plan) != old
    revision = Revision.objects.get(plan=plan, number=2)
    assert (revision.because, revision.author) == ("The port was wrong", requester)
    assert "carried" not in revision.header
    record = DecisionRecord.objects.get(type="plan.revised")
    assert (record.reason, record.trace_id) == ("The port was wrong", plan.trace_id)
    told = record.metadata
    assert (told["revision"], told["digest"], told["changed"], told["kept"]) == (2, revision.digest, ["say"], ["again"])
    moves = DecisionRecord.objects.filter(type="plan.stage_changed", trace_id=plan.trace_id).order_by("sequence")
    assert [(one.metadata["was"], one.metadata["now"]) for one in moves][-2:] == [
        ("pending_approval", "draft"), ("draft", "pending_approval"),
    ]  # fmt: skip


def test_what_is_done_is_not_repeated_and_its_output_is_read(failed, revise, approver, engine):
    plan = failed(
        step("find"),
        broken(depends_on=["find"]),
        step("use", input={"value": "{{ steps.find.output.value }}"}, depends_on=["fail", "find"]),
    )
    made = revise(
        plan,
        step("find"),
        step("fail", depends_on=["find"]),
        step("use", input={"value": "{{ steps.find.output.value }}"}, depends_on=["fail", "find"]),
    )
    assert states(plan) == {"find": "completed", "fail": "waiting", "use": "waiting"}
    done = rows(plan, 2)["find"]
    before = rows(plan, 1)["find"]
    assert done.carried_from == before and done.output == before.output and done.released
    assert (done.started_at, done.finished_at, done.summary) == (before.started_at, before.finished_at, before.summary)
    assert {key: row.unmet for key, row in rows(plan, 2).items()} == {"find": 0, "fail": 0, "use": 1}
    assert Revision.objects.get(plan=plan, number=2).header["carried"] == ["find"]
    assert (made.finished_at, Plan.objects.get(pk=plan.pk).finished_at) == (plan.finished_at, None)
    assert facts(made)[:2] == ["Revision 2 was written by requester", "1 step is done and not repeated"]
    factories.approve(made, approver)
    engine.run()
    assert stage(plan) == "completed"
    assert started(plan) == ["find", "fail", "fail", "use"]
    assert rows(plan, 2)["use"].output["value"] == "find"
    assert states(plan, 1) == {"find": "completed", "fail": "failed", "use": "waiting"}


def test_a_done_step_that_changed_or_comes_after_one_that_did_runs_again(failed, revise):
    plan = failed(step("a"), step("b", depends_on=["a"]), step("c"), broken(depends_on=["b", "c"]))
    made = revise(
        plan,
        step("a", input={"value": "new"}),
        step("b", depends_on=["a"]),
        step("c"),
        step("fail", depends_on=["b", "c"]),
    )
    assert states(plan) == {"a": "waiting", "b": "waiting", "c": "completed", "fail": "waiting"}
    assert "a and b are done and run again" in facts(made)


def test_a_done_step_can_be_left_out_and_that_is_said(failed, revise):
    plan = failed(step("a"), step("b"), broken())
    made = revise(plan, step("b"), step("fail"))
    assert states(plan) == {"b": "completed", "fail": "waiting"}
    assert "a began and is left out now" in facts(made)


def test_a_step_whose_end_nobody_knows_runs_again_and_that_is_said(requester, approver, engine, revise):
    plan = factories.approve(
        factories.make_plan(requester, [step("a"), step("b", depends_on=["a"], retry={"attempts": 1})]), approver
    )
    engine.step()
    ((attempt, token, _),) = engine.dispatch()
    claimed = claim(attempt, token)
    lost = WorkResult(Outcome.INTERRUPTED, failure=Failure(FailureMode.AGENT, "Its processes are gone."))
    assert finish(attempt, token=claimed.token, result=lost, lines=(0, ""))
    assert (stage(plan), states(plan, 1)) == ("failed", {"a": "completed", "b": "unknown"})
    made = revise(plan, step("a"), step("b", depends_on=["a"], timeout_seconds=9))
    assert states(plan) == {"a": "completed", "b": "waiting"}
    assert "Nobody knows how b ended, and it runs again" in facts(made)
    assert Plan.objects.get(pk=plan.pk).summary == "2 steps, as requester wrote them in revision 2."


def test_a_skipped_step_stays_skipped_and_what_came_after_it_stays_done(failed, revise, approver, engine):
    plan = failed(
        step("a"), step("b", when="false", depends_on=["a"]), step("c", depends_on=["b"]), broken(depends_on=["c"])
    )
    revise(
        plan,
        step("a"),
        step("b", when="false", depends_on=["a"]),
        step("c", depends_on=["b"]),
        step("fail", depends_on=["c"]),
    )
    assert states(plan) == {"a": "completed", "b": "skipped", "c": "completed", "fail": "waiting"}
    factories.approve(plan, approver)
    engine.run()
    assert stage(plan) == "completed" and started(plan) == ["a", "c", "fail", "fail"]


def test_what_is_done_on_a_host_is_not_started_again_and_the_host_is_taken_anew(failed, revise, approver, engine):
    nap = step("nap", "diagnostic.sleep", input={"seconds": 0, "target": "atlas"})
    plan = failed(nap, broken(depends_on=["nap"]))
    revise(plan, nap, step("again", "diagnostic.sleep", input={"seconds": 0, "target": "atlas"}, depends_on=["nap"]))
    plan = factories.approve(plan, approver)
    assert plan.targets == ["host:atlas"] and TargetLock.objects.filter(plan=plan).exists()
    engine.run()
    assert stage(plan) == "completed" and started(plan) == ["nap", "fail", "again"]
    assert not TargetLock.objects.filter(plan=plan).exists()


def test_a_plan_of_which_nothing_is_wanted_any_more_is_completed_without_a_start(failed, revise, approver):
    plan = failed(step("a"), broken(depends_on=["a"]))
    revise(plan, step("a"), step("fail", when="steps.a.status != 'completed'", depends_on=["a"]))
    assert factories.approve(plan, approver).stage == "completed"
    assert states(plan) == {"a": "completed", "fail": "skipped"}


def test_the_output_of_a_list_stays_as_a_whole(failed, revise, approver, engine):
    each = step("each", for_each=["x", "y"], input={"value": "{{ item }}"})
    after = step("after", input={"value": "{{ steps.each.output.items }}"}, depends_on=["each", "fail"])
    plan = failed(each, broken(depends_on=["each"]), after)
    revise(plan, each, step("fail", depends_on=["each"]), after)
    factories.approve(plan, approver)
    engine.run()
    assert stage(plan) == "completed"
    assert [item["value"] for item in rows(plan, 2)["after"].output["value"]] == ["x", "y"]
    assert started(plan).count("each.0") == 1
    assert not Step.objects.filter(revision__number=2, kind="item").exists()


def test_what_a_revision_undone_later_reads_is_what_was_left_long_ago(failed, revise, approver, engine, who):
    undo = {"tool": "diagnostic.echo", "input": {"value": "remove {{ steps.make.output.value }}"}}
    plan = failed(step("make", rollback=undo), broken(depends_on=["make"]))
    revise(plan, step("make", rollback=undo), step("fail", depends_on=["make"]))
    factories.approve(plan, approver)
    engine.run()
    assert stage(plan) == "completed"
    made = services.undo_plan(actor=who, plan_id=plan.pk)
    assert [(row.key, row.input) for row in Step.objects.filter(plan=made)] == [("undo-make", {"value": "remove make"})]


@pytest.mark.parametrize("end", ["cancelled", "rejected"])
def test_a_revision_that_never_ran_takes_nothing_from_what_can_be_undone(failed, revise, approver, who, end):
    undo = {"tool": "diagnostic.echo", "input": {"value": "remove {{ steps.make.output.value }}"}}
    plan = failed(step("make", rollback=undo), broken(depends_on=["make"]))
    revise(plan, step("other"))
    if end == "cancelled":
        services.cancel_plan(actor=who, plan_id=plan.pk, reason="No")
    else:
        services.reject_plan(actor=Actor.person(approver), plan_id=plan.pk, reason="No")
    assert stage(plan) == end
    ways = partial_result(Plan.objects.get(pk=plan.pk), who).recoveries
    assert [way.kind for way in ways] == ["undo"]
    made = services.undo_plan(actor=who, plan_id=plan.pk)
    assert [(row.key, row.input) for row in Step.objects.filter(plan=made)] == [("undo-make", {"value": "remove make"})]


def test_what_was_undone_since_is_done_anew(failed, revise, approver, engine, who):
    undo = {"tool": "diagnostic.echo", "input": {"value": "gone"}}
    plan = failed(step("a"), step("make", rollback=undo), broken(depends_on=["make"]))
    undoing = services.undo_plan(actor=who, plan_id=plan.pk)
    made = revise(plan, step("a"), step("make", rollback=undo), step("fail", depends_on=["make"]))
    assert states(plan)["make"] == "completed"  # nobody approved that it is undone
    factories.approve(undoing, approver)
    engine.run()
    made = revise(plan, step("a"), step("make", rollback=undo), step("fail", depends_on=["make"], timeout_seconds=9))
    assert {**states(plan, 3)} == {"a": "completed", "make": "waiting", "fail": "waiting", "make.rollback": "waiting"}
    assert "make was undone since, and runs again" in facts(made)
    factories.approve(made, approver)
    engine.run()
    assert stage(plan) == "completed" and started(plan).count("make") == 2


MAKE = step("make", rollback={"tool": "diagnostic.echo", "input": {"value": "gone"}})


def test_what_is_undone_before_a_revision_begins_is_not_carried_into_it(failed, revise, approver, engine, who):
    plan = failed(MAKE, broken(depends_on=["make"]))
    undoing = services.undo_plan(actor=who, plan_id=plan.pk)
    revise(plan, MAKE, step("fail", depends_on=["make"]))
    factories.approve(undoing, approver)
    with pytest.raises(IllegalTransition, match=f"Plan {undoing.number} is undoing what plan {plan.number} did"):
        factories.approve(plan, approver)
    engine.run()
    with pytest.raises(IllegalTransition, match=f"make was undone by plan {undoing.number}. .* runs again then"):
        factories.approve(plan, approver)
    made = revise(plan, MAKE, step("fail", depends_on=["make"], timeout_seconds=9))
    factories.approve(made, approver)
    engine.run()
    assert stage(plan) == "completed" and started(plan).count("make") == 2


def test_what_a_revision_went_on_from_is_not_undone_any_more(failed, revise, approver, engine, who):
    plan = failed(MAKE, broken(depends_on=["make"]))
    undoing = services.undo_plan(actor=who, plan_id=plan.pk)
    revise(plan, MAKE, step("fail", depends_on=["make"]))
    factories.approve(plan, approver)
    with pytest.raises(IllegalTransition, match="went on after this was written"):
        factories.approve(undoing, approver)
    engine.run()
    assert (stage(plan), stage(undoing)) == ("completed", "pending_approval")


def test_what_may_have_been_undone_runs_again(failed, revise, approver, engine, who):
    make = step("make", rollback={"tool": "diagnostic.fail", "input": {"times": 9, "transient": False}})
    plan = failed(make, broken(depends_on=["make"]))
    undoing = services.undo_plan(actor=who, plan_id=plan.pk)
    factories.approve(undoing, approver)
    made = revise(plan, make, step("fail", depends_on=["make"]))
    assert states(plan)["make"] == "waiting"
    engine.run()
    assert stage(undoing) == "failed"
    made = revise(plan, make, step("fail", depends_on=["make"], timeout_seconds=9))
    assert states(plan, 3)["make"] == "waiting"
    assert "make may be undone by now, and runs again" in facts(made)


def test_a_carried_step_is_rolled_back_when_its_revision_fails(failed, revise, approver, engine):
    undo = {"tool": "diagnostic.echo", "input": {"value": "remove {{ steps.make.output.value }}"}}
    plan = failed(step("make", rollback=undo), broken(depends_on=["make"]))
    revise(plan, step("make", rollback=undo), broken(depends_on=["make"], on_failure="rollback"))
    factories.approve(plan, approver)
    engine.run()
    plan = Plan.objects.get(pk=plan.pk)
    assert plan.stage == "failed" and "make was rolled back" in plan.stage_reason
    assert rows(plan, 2)["make.rollback"].output == {"value": "remove make"}
    with pytest.raises(IllegalTransition, match="rolled back"):
        revise(plan, step("make"), step("other"))


def test_only_how_a_done_step_is_undone_may_change_without_it_running_again(failed, revise):
    plan = failed(step("make"), broken(depends_on=["make"]))
    revise(plan, step("make", rollback={"tool": "diagnostic.noop"}), step("fail", depends_on=["make"]))
    assert states(plan) == {"make": "completed", "fail": "waiting", "make.rollback": "waiting"}


def test_a_third_revision_knows_who_did_the_work(failed, revise, approver, engine):
    plan = failed(step("a"), broken(depends_on=["a"]))
    revise(plan, step("a"), broken("other", depends_on=["a"]))
    factories.approve(plan, approver)
    engine.run()
    assert stage(plan) == "failed"
    revise(plan, step("a"), step("other", depends_on=["a"]))
    assert rows(plan, 3)["a"].carried_from == rows(plan, 1)["a"]
    assert rows(plan, 2)["a"].carried_from == rows(plan, 1)["a"]


def test_what_was_done_counts_although_a_revision_in_between_never_ran(failed, revise):
    plan = failed(step("a"), broken(depends_on=["a"]))
    revise(plan, step("a", input={"value": "by mistake"}), step("fail", depends_on=["a"]))
    assert states(plan)["a"] == "waiting"
    revise(plan, step("a"), step("fail", depends_on=["a"]))
    assert states(plan, 3)["a"] == "completed"


def test_the_mended_playbook_of_the_same_step_is_a_change(failed, revise):
    plan = failed(step("a"), broken(depends_on=["a"]))
    with pytest.raises(Refused) as refused:
        revise(plan, step("a"), broken(depends_on=["a"]))
    assert refused.value.code == "nothing_changed" and "retry it" in refused.value.sentence
    assert Plan.objects.get(pk=plan.pk).stage == "failed"


def test_nothing_left_to_do_is_refused(failed, revise):
    plan = failed(step("a"), broken())
    with pytest.raises(Refused) as refused:
        revise(plan, step("a"))
    assert refused.value.code == "nothing_left"
    assert Revision.objects.filter(plan=plan).count() == 1


def test_goal_budget_and_limit_stay_unless_they_are_said(requester, revise):
    plan = factories.make_plan(
        requester, [step("a"), step("b")], goal="Deploy", budget={"call_ceiling": 9}, max_parallel=1
    )
    revise(plan, step("a", input={"value": "x"}), step("b"))
    now = Plan.objects.get(pk=plan.pk)
    assert (now.goal, now.max_parallel) == ("Deploy", 1)
    assert Revision.objects.get(plan=plan, number=2).budget["call_ceiling"] == 9
    revise(plan, step("a", input={"value": "x"}), step("b"), goal="Deploy it", budget=None, max_parallel=None)
    now = Plan.objects.get(pk=plan.pk)
    assert (now.goal, now.max_parallel, Revision.objects.get(plan=plan, number=3).budget) == ("Deploy it", None, {})


@pytest.mark.parametrize("at", ["approved", "executing", "paused", "completed", "cancelled", "rejected"])
def test_a_plan_in_any_other_stage_is_not_changed(requester, approver, engine, revise, at):
    plan = factories.make_plan(requester, [step("a"), step("b", depends_on=["a"])])
    decider, asker = Actor.person(approver), Actor.person(requester)
    if at == "rejected":
        services.reject_plan(actor=decider, plan_id=plan.pk, reason="No")
    else:
        factories.approve(plan, approver)
    if at in ("executing", "paused"):
        engine.step()
    if at == "paused":
        services.pause_plan(actor=asker, plan_id=plan.pk)
    if at == "completed":
        engine.run()
    if at == "cancelled":
        services.cancel_plan(actor=asker, plan_id=plan.pk, reason="No")
    assert stage(plan) == at
    with pytest.raises(IllegalTransition):
        revise(plan, step("c"))
    assert Revision.objects.filter(plan=plan).count() == 1


def test_who_may_not_steer_the_plan_or_ask_for_work_does_not_change_it(requester, approver):
    plan = factories.make_plan(requester, [step("a")])
    for person, error in ((approver, NotAllowed), (factories.make_user("other", Role.REQUESTER), NotFound)):
        with pytest.raises(error):
            services.revise_plan(actor=Actor.person(person), plan_id=plan.pk, steps=[step("b")], reason="x")


@pytest.mark.parametrize(
    ("steps", "place"),
    [
        ([], ["steps"]),
        (["junk"], ["steps", 0]),
        ([{"key": "a"}], ["steps", 0, "tool"]),
        ([step("a", "no.such")], ["steps", 0, "tool"]),
        ([step("a", input={"value": float("nan")})], ["steps", 0, "input", "value"]),
        ([step("a", depends_on=["gone"])], ["steps", 0, "depends_on"]),
        ([step("a", input={"value": "{{ steps.gone.output.value }}"})], ["steps", 0, "input", "value"]),
        ([step(f"k{n}") for n in range(10_001)], ["steps"]),
    ],
)
def test_what_is_no_plan_is_refused_with_its_place_and_nothing_is_saved(requester, revise, steps, place):
    plan = factories.make_plan(requester, [step("a")])
    with pytest.raises(InvalidPlan) as refused:
        revise(plan, *steps)
    assert refused.value.errors[0]["loc"] == place
    now = Plan.objects.get(pk=plan.pk)
    assert (now.stage, now.revision_number, Revision.objects.filter(plan=plan).count()) == ("pending_approval", 1, 1)
    assert DecisionRecord.objects.filter(type="plan.refused", trace_id=plan.trace_id).count() == 1


@pytest.mark.parametrize("reason", ["", "  ", "x" * 2001, "a\0b"])
def test_a_reason_is_needed(requester, revise, reason):
    plan = factories.make_plan(requester, [step("a")])
    with pytest.raises(Refused):
        revise(plan, step("b"), reason=reason)
