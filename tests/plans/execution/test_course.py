"""The course of a plan: order, failure, another try, waiting, and the end."""

import pytest
from django.db import connection
from django.db.models import F
from django.test.utils import CaptureQueriesContext

from agents.models import Agent, Job
from agents.protocol import FailureMode
from audit import git_trail
from audit.authority import Role
from audit.context import Actor
from audit.git_trail import find_task
from audit.models import DecisionRecord
from plans import services
from plans.conf import COMMIT_TASKS
from plans.errors import IllegalTransition, NotFound
from plans.execution import attempt
from plans.execution.task_file import ask_for_commit, commit_finished_tasks
from plans.models import Attempt, Plan, Step, UnwrittenTask, events_of
from tests import factories
from tests.engine import stage, statuses, tries
from tests.factories import step

pytestmark = [pytest.mark.django_db, pytest.mark.e2e_03]


def failing(key, times=1, *, transient=True, mode="system", **more):
    return step(
        key,
        "diagnostic.fail",
        input={"times": times, "failure_mode": mode, "transient": transient},
        **more,
    )


def test_steps_run_in_the_order_of_their_dependencies(approved, engine):
    plan = approved(
        step("a"), step("b", depends_on=["a"]), step("c", depends_on=["a"]), step("d", depends_on=["b", "c"])
    )
    assert statuses(plan) == {"a": "waiting", "b": "waiting", "c": "waiting", "d": "waiting"}
    assert Step.objects.get(plan=plan, key="a").waiting_for == "Waits for its turn."
    assert Step.objects.get(plan=plan, key="d").waiting_for == "Waits for b, c."
    seen = []
    while ran := engine.step():
        seen.append((ran, stage(plan), statuses(plan)))
    assert [ran for ran, *_ in seen] == [1, 2, 1]
    assert [now for _, now, _ in seen] == ["executing", "executing", "completed"]
    assert set(statuses(plan).values()) == {"completed"}
    assert Plan.objects.get(pk=plan.pk).stage_reason == "All 4 steps are done."


def test_each_move_has_one_record_and_one_event(approved, engine):
    plan = approved(step("a"), step("b", depends_on=["a"]))
    engine.run()
    kinds = list(
        DecisionRecord.objects.filter(trace_id=plan.trace_id).order_by("sequence").values_list("type", flat=True)
    )
    assert kinds == [
        "plan.created", "plan.stage_changed", "plan.approved", "plan.stage_changed", "step.routed",
        "plan.stage_changed", "attempt.started", "attempt.completed", "step.routed", "attempt.started",
        "attempt.completed", "plan.stage_changed",
    ]  # fmt: skip
    assert [event.type for event in events_of(plan.pk) if event.step_key == "a"] == [
        "step_changed", "step_changed", "agent_started", "agent_thinking", "tool_executing", "tool_completed",
        "output_end", "agent_completed", "step_changed",
    ]  # fmt: skip
    stages = [event.data["now"] for event in events_of(plan.pk) if event.type == "stage_changed"]
    assert stages == ["pending_approval", "approved", "executing", "completed"]
    assert len({*DecisionRecord.objects.filter(trace_id=plan.trace_id).values_list("trace_id", flat=True)}) == 1


def test_a_failure_stops_what_depends_on_it_and_nothing_else(approved, engine):
    plan = approved(
        failing("a", transient=False, mode="user"), step("b", depends_on=["a"]), step("c"), step("d", depends_on=["c"])
    )
    engine.run()
    assert statuses(plan) == {"a": "failed", "b": "waiting", "c": "completed", "d": "completed"}
    assert stage(plan) == "failed"
    assert Plan.objects.get(pk=plan.pk).stage_reason == "a failed; b did not start; c, d stay done."
    assert tries(plan, "a") == [(1, "failed")]
    tried = Attempt.objects.get(step__key="a")
    assert (tried.failure_mode, tried.transient) == ("user", False)
    assert tried.error == "Failed on purpose, try 1 of 1 that fail."


def test_a_transient_failure_is_tried_again_after_its_wait(approved, engine):
    plan = approved(failing("a", 2, retry={"attempts": 4, "first_wait_seconds": 30}))
    engine.run()
    assert tries(plan, "a") == [(1, "failed"), (2, "due")]
    waiting = Step.objects.get(plan=plan)
    assert waiting.status == "waiting"
    assert waiting.waiting_for.startswith("Waits 3") and waiting.waiting_for.endswith("s before try 2.")
    second = Attempt.objects.annotate(wait=F("next_at") - F("created_at")).get(plan=plan, number=2)
    assert 29 < second.wait.total_seconds() < 38
    assert engine.dispatch() == []
    engine.run(patiently=True)
    assert tries(plan, "a") == [(1, "failed"), (2, "failed"), (3, "completed")]
    assert stage(plan) == "completed"
    scheduled = DecisionRecord.objects.filter(trace_id=plan.trace_id, type="attempt.retry_scheduled")
    assert sorted(record.metadata["number"] for record in scheduled) == [2, 3]


def test_tries_end(approved, engine):
    plan = approved(failing("a", 99, retry={"attempts": 3, "first_wait_seconds": 1}))
    engine.run(patiently=True)
    assert tries(plan, "a") == [(1, "failed"), (2, "failed"), (3, "failed")]
    assert stage(plan) == "failed"


@pytest.mark.parametrize("mode", FailureMode)
def test_each_kind_of_failure_is_told_by_name(approved, engine, mode):
    plan = approved(failing("a", mode=str(mode), transient=False))
    engine.run()
    assert Attempt.objects.get(plan=plan).failure_mode == mode
    record = DecisionRecord.objects.get(trace_id=plan.trace_id, type="attempt.failed")
    assert record.metadata["failure_mode"] == mode


def test_a_person_gives_a_failed_step_another_try_and_what_is_done_stays_done(approved, engine, requester):
    plan = approved(step("a"), failing("b", 1, transient=False, depends_on=["a"]), step("c", depends_on=["b"]))
    engine.run()
    assert stage(plan) == "failed"
    services.retry_step(actor=Actor.person(requester), plan_id=plan.pk, key="b", reason="The host is back.")
    assert stage(plan) == "executing"
    engine.run()
    assert stage(plan) == "completed"
    assert tries(plan, "a") == [(1, "completed")]
    assert tries(plan, "b") == [(1, "failed"), (2, "completed")]
    record = DecisionRecord.objects.get(type="step.retried")
    assert (record.actor, record.reason, record.metadata["was"]) == ("requester", "The host is back.", "failed")
    assert Step.objects.get(plan=plan, key="b").error == ""


def test_of_two_failed_steps_each_needs_its_own_try(approved, engine, requester):
    plan = approved(
        failing("a", 1, transient=False), failing("b", 1, transient=False), step("c", depends_on=["a", "b"])
    )
    engine.run()
    for key, then in (("a", "failed"), ("b", "completed")):
        services.retry_step(actor=Actor.person(requester), plan_id=plan.pk, key=key)
        engine.run()
        assert stage(plan) == then
    assert set(statuses(plan).values()) == {"completed"}


def test_only_failed_or_unknown_steps_are_tried_again(approved, engine, requester):
    plan = approved(step("a"), failing("b", 1, transient=False))
    actor = Actor.person(requester)
    with pytest.raises(
        IllegalTransition, match="is approved; only steps of a plan that executes or has failed are tried again"
    ):
        services.retry_step(actor=actor, plan_id=plan.pk, key="b")
    engine.run()
    for key, error in (("a", IllegalTransition), ("nothing", NotFound), ("a\x00", NotFound)):
        with pytest.raises(error):
            services.retry_step(actor=actor, plan_id=plan.pk, key=key)
    assert tries(plan, "a") == [(1, "completed")]


def test_who_may_not_see_a_plan_does_not_learn_that_it_is_there(approved, engine):
    plan = approved(failing("a", transient=False))
    engine.run()
    stranger = factories.make_user("stranger", *[Role.REQUESTER])
    with pytest.raises(NotFound):
        services.retry_step(actor=Actor.person(stranger), plan_id=plan.pk, key="a")


class TestCapacity:
    def test_what_has_no_free_slot_waits_with_a_reason_and_goes_on(self, requester, approver, engine):
        factories.make_agent("infra-1", slots=1)
        plan = factories.approve(factories.make_plan(requester, [step("a"), step("b"), step("c")]), approver)
        assert len(engine.dispatch()) == 1
        assert statuses(plan) == {"a": "ready", "b": "waiting", "c": "waiting"}
        reason = "Waits for a free slot: infra-1 has no free slot (1 of 1 in use)."
        assert Step.objects.get(plan=plan, key="c").waiting_for == reason
        assert engine.dispatch() == []
        engine.sent = []
        first = Attempt.objects.get(plan=plan, step__key="a")
        assert attempt.run(first.pk, token=first.expects_token, go_on_for=0)
        assert engine.step() == 1
        engine.run()
        assert stage(plan) == "completed"

    def test_without_any_agent_it_says_what_is_needed_and_starts_when_one_comes(self, requester, approver, engine):
        plan = factories.approve(factories.make_plan(requester, [step("a")]), approver)
        engine.run()
        assert Step.objects.get(plan=plan).waiting_for.startswith("No agent has registered")
        assert stage(plan) == "approved"
        factories.make_agent("infra-1")
        engine.run()
        assert stage(plan) == "completed"

    def test_an_agent_that_drains_or_is_maintained_gets_nothing(self, requester, approver, engine):
        for name, status in (("infra-1", "draining"), ("infra-2", "maintenance"), ("infra-3", "offline")):
            factories.make_agent(name, status=status)
        plan = factories.approve(factories.make_plan(requester, [step("a")]), approver)
        engine.run()
        assert "infra-1 is draining" in Step.objects.get(plan=plan).waiting_for
        Agent.objects.filter(name="infra-1").update(status="ready")
        engine.run()
        assert str(Attempt.objects.get(plan=plan, status="completed").agent) == "infra-1"

    def test_a_label_that_nobody_has_does_not_hold_up_the_others(self, requester, approver, engine):
        factories.make_agent("infra-1", slots=2)
        stuck = [step(f"gpu-{n}", resources={"labels": ["gpu"]}) for n in range(250)]
        waiting = factories.approve(factories.make_plan(requester, stuck), approver)
        plan = factories.approve(factories.make_plan(requester, [step(f"s{n}") for n in range(5)]), approver)
        engine.run()
        assert stage(plan) == "completed"
        assert stage(waiting) == "approved"
        assert "lacks the label gpu" in Step.objects.filter(plan=waiting)[0].waiting_for

    def test_the_more_important_plan_goes_first(self, requester, approver, engine):
        factories.make_agent("infra-1", slots=1)
        plans = [factories.make_plan(requester, [step("a")]) for _ in range(3)]
        Plan.objects.filter(pk=plans[2].pk).update(priority=5)
        for plan in plans:
            factories.approve(plan, approver)
        order = []
        while messages := engine.dispatch():
            order += [Attempt.objects.get(pk=pk).plan_id for pk, _, _ in messages]
            for pk, token, _ in messages:
                attempt.run(pk, token=token, go_on_for=0)
        assert order == [plans[2].pk, plans[0].pk, plans[1].pk]


def test_finished_steps_ask_once_for_their_place_in_git(approved, engine):
    plan = approved(*(step(f"s{n}") for n in range(4)))
    engine.run()
    assert stage(plan) == "completed"
    ask_for_commit()
    ask_for_commit()
    assert Job.objects.filter(kind=COMMIT_TASKS, every__isnull=True).count() == 1


def test_what_ends_while_a_commit_is_made_is_left_to_the_next_one(approved, engine, settings, tmp_path, monkeypatch):
    settings.CHIFFON_AUDIT_DIR = tmp_path
    approved(step("a"), step("b", depends_on=["a"]))
    (first,) = engine.dispatch()
    attempt.run(first[0], token=first[1], go_on_for=0)
    commit_tasks = git_trail.commit_tasks

    def slowly(payloads):
        engine.run()
        return commit_tasks(payloads)

    monkeypatch.setattr(git_trail, "commit_tasks", slowly)
    assert commit_finished_tasks({}) == {"tasks": 1}
    assert commit_finished_tasks({}) == {"tasks": 1}
    assert not UnwrittenTask.objects.exists()


def test_what_goes_into_git_is_read_by_the_same_few_statements_however_many_steps_there_are(
    approved, engine, settings, tmp_path
):
    settings.CHIFFON_AUDIT_DIR = tmp_path
    counted = []
    for many in (2, 30):
        plan = approved(*(step(f"s{n}") for n in range(many)))
        engine.run()
        steps = Step.objects.filter(plan=plan).values_list("pk", flat=True)
        with CaptureQueriesContext(connection) as statements:
            assert commit_finished_tasks({}) == {"tasks": many}
        counted.append(len(statements))
        files = [found.content for found in map(find_task, steps) if found]
        assert [file["digest"] for file in files] == [factories.digest_of(plan)] * many
    assert counted[0] == counted[1]
