"""Playbooks that stop half way: what is kept while they run, and going on without doing finished work again."""

import threading
import time
from functools import partial
from typing import Any

import pytest
from django.db import IntegrityError, connection, transaction

from agents.protocol import FailureMode, WorkResult
from agents.supervisor.sweep import tagged
from agents.tools.marks import mark_of
from audit.context import Actor
from audit.models import DecisionRecord
from plans import services
from plans.errors import HostsUnknown, IllegalTransition
from plans.execution import attempt, narrowing, reaper
from plans.execution.finish import finish
from plans.execution.output import StepContext
from plans.models import Attempt, Event, Plan, Step
from plans.selectors.partial_result import partial_result
from tests import factories
from tests.engine import claim, names, stage, statuses, together, tries
from tests.factories import step
from tests.homelab import Homelab, playbook

pytestmark = [pytest.mark.django_db, pytest.mark.e2e_03]


@pytest.fixture
def who(approver):
    return Actor.person(approver)


@pytest.fixture
def lab(tmp_path):
    """Playbooks whose work leaves lines in a file, one for each time it was done; anvil fails until it is mended."""
    effect = f"- shell: echo {{{{ inventory_hostname }}}} >> {tmp_path}/effects"
    mended = f"- name: Break\n  command: test -e {tmp_path}/mended\n  when: inventory_hostname == 'anvil'"
    slow = "- name: Wait\n  command: sleep 311.7"
    files = {
        "both.yml": playbook("both", effect, mended, hosts="all"),
        "cut.yml": playbook("cut", effect, mended, hosts="all", variables="  any_errors_fatal: true\n"),
        "slow.yml": playbook("slow", effect, slow, hosts="all"),
    }
    homelab = Homelab(tmp_path, files)
    homelab.read()
    return homelab


@pytest.fixture
def effects(tmp_path):
    def read():
        return sorted((tmp_path / "effects").read_text().split())

    return read


@pytest.fixture
def mend(tmp_path):
    return (tmp_path / "mended").touch


def runs(path, key="a", **more):
    return step(key, "ansible.playbook", input={"playbook": path, "variables": {}}, **more)


class TestUnfinishedHosts:
    def test_a_resume_does_nothing_again_on_finished_hosts(self, approved, engine, who, lab, effects, mend):
        plan = approved(runs("both.yml"), step("after", depends_on=["a"]))
        engine.run()
        assert (stage(plan), effects()) == ("failed", ["anvil", "forge"])
        left = left_of(plan, who)
        assert {one.host: str(one.state) for one in left.checkpoint.hosts} == {"anvil": "failed", "forge": "finished"}
        assert left.checkpoint.sentence == "Its task “Break” failed on anvil."
        assert {way.kind: way.hosts for way in left.recoveries}["resume"] == ("anvil",)
        mend()
        services.retry_step(actor=who, plan_id=plan.pk, key="a", hosts="unfinished", reason="mended")
        second = Attempt.objects.get(plan=plan, step__key="a", number=2)
        assert second.only_hosts == ["anvil"]
        engine.run()
        assert stage(plan) == "completed"
        assert effects() == ["anvil", "anvil", "forge"]
        record = DecisionRecord.objects.get(type="step.narrowed")
        assert (record.reason, record.metadata["hosts"]) == ("mended", "anvil")

    def test_a_whole_plan_goes_on_with_its_unfinished_hosts(self, approved, engine, who, lab, effects, mend):
        plan = approved(runs("both.yml"), step("b", "diagnostic.fail", input={"times": 1, "transient": False}))
        engine.run()
        mend()
        services.retry_plan(actor=who, plan_id=plan.pk, hosts="unfinished")
        engine.run()
        assert (stage(plan), effects()) == ("completed", ["anvil", "anvil", "forge"])

    def test_a_retry_as_a_whole_runs_on_all_hosts(self, approved, engine, who, lab, effects, mend):
        plan = approved(runs("both.yml"))
        engine.run()
        mend()
        services.retry_step(actor=who, plan_id=plan.pk, key="a")
        engine.run()
        assert (stage(plan), effects()) == ("completed", ["anvil", "anvil", "forge", "forge"])

    def test_a_play_that_was_cut_short_says_that_it_does_not_know(self, approved, engine, who, lab):
        plan = approved(runs("cut.yml"))
        engine.run()
        resume = {way.kind: way for way in left_of(plan, who).recoveries}["resume"]
        assert not resume.allowed and "no host is known to be finished" in resume.why_not
        with pytest.raises(HostsUnknown, match="no host is known to be finished"):
            services.retry_step(actor=who, plan_id=plan.pk, key="a", hosts="unfinished")
        assert (stage(plan), tries(plan, "a")) == ("failed", [(1, "failed")])

    def test_a_step_without_hosts_has_none_to_go_on_with(self, approved, engine, who):
        plan = approved(step("a", "diagnostic.fail", input={"times": 9, "transient": False}))
        engine.run()
        for act in (services.retry_plan, services.retry_step):
            with pytest.raises(HostsUnknown, match="names no hosts"):
                act(
                    actor=who,
                    plan_id=plan.pk,
                    hosts="unfinished",
                    **({"key": "a"} if act is services.retry_step else {}),
                )

    def test_the_try_by_itself_after_a_narrowed_one_is_as_narrow(self, approved, engine, who, lab, effects):
        plan = approved(runs("both.yml", retry={"attempts": 5, "first_wait_seconds": 60}))
        engine.run()
        services.retry_step(actor=who, plan_id=plan.pk, key="a", hosts="unfinished")
        ((pk, token, _),) = engine.dispatch()
        held = claim(pk, token)
        end_transiently(held)
        third = Attempt.objects.get(plan=plan, number=3)
        assert (third.status, third.only_hosts) == ("due", ["anvil"])
        engine.run(patiently=True)
        assert effects() == ["anvil", "anvil", "forge"]

    def test_words_name_the_hosts_and_none_beyond_them_is_worked_on(self, engine, agent, requester, who, lab, approver):
        factories.make_policy()
        request = services.submit_request(actor=Actor.person(requester), text="Deploy both")
        plan = factories.approve(Plan.objects.get(request=request), approver)
        only = Step.objects.get(plan=plan)
        assert only.hosts == ["anvil", "forge"]
        ((pk, token, _),) = engine.dispatch()
        Attempt.objects.filter(pk=pk).update(only_hosts=["stranger", "forge"])
        runs_as = narrowing.playbook_of(claim(pk, token))
        assert runs_as is not None and runs_as.limit == "forge"

    def test_the_database_knows_no_try_on_no_host(self, approved):
        plan = approved(step("a"))
        with pytest.raises(IntegrityError), transaction.atomic():
            Attempt.objects.filter(plan=plan).update(only_hosts=[])


class TestCheckpoints:
    def test_they_are_kept_about_once_a_second_and_not_after_the_lease(self, approved, engine):
        plan = approved(step("a"))
        ((pk, token, _),) = engine.dispatch()
        held = claim(pk, token)
        context = StepContext(pk, held.token, plan.pk, "a")
        asked = []

        def reached(number):
            def so_far():
                asked.append(number)
                return {"task": f"Task {number}"}

            return so_far

        for number in range(1, 200):
            context.checkpoint(reached(number))
        assert asked == [1]
        context._kept -= 2
        context.beat()
        assert asked == [1, 199]
        assert Attempt.objects.get(pk=pk).progress == {"task": "Task 199"}
        Attempt.objects.filter(pk=pk).update(token=held.token + 1)
        context._kept -= 2
        context.checkpoint(reached(200))
        assert context.lost
        assert Attempt.objects.get(pk=pk).progress == {"task": "Task 199"}

    def test_what_no_database_stores_or_nobody_should_read_is_taken_out(self, approved, engine):
        plan = approved(step("a"))
        ((pk, token, _),) = engine.dispatch()
        held = claim(pk, token)
        context = StepContext(pk, held.token, plan.pk, "a")
        context.checkpoint(lambda: {"task": "a\x00b password=hunter22", "hosts": {"x\ud800": {"ok": 1}}})
        assert not context.lost
        kept = Attempt.objects.get(pk=pk).progress
        assert "hunter22" not in str(kept) and "\x00" not in kept["task"] and kept["task"].startswith("a")

    def test_an_agent_that_dies_leaves_how_far_it_came(self, transactional_db, approved, engine, who, lab):
        plan, worker = running(approved, engine)
        attempt_row = Attempt.objects.get(plan=plan)
        assert attempt_row.status == "running"
        assert attempt_row.progress["task"] == "Wait"
        assert set(attempt_row.progress["hosts"]) == {"anvil", "forge"}
        Attempt.objects.filter(plan=plan).update(lease_until=None)
        reaper.sweep()
        worker.join(10)
        assert not worker.is_alive()
        assert (stage(plan), statuses(plan)) == ("failed", {"a": "unknown"})
        found, left = partial_result(plan_of(plan), who), left_of(plan, who)
        assert left.checkpoint.sentence == "It had reached its task 2, “Wait”."
        assert "a has an outcome that is not known at its task 2, “Wait” on anvil and forge." in found.sentence
        assert [(way.kind, way.allowed) for way in left.recoveries] == [
            ("retry", True),
            ("resume", False),
            ("skip", True),
        ]

    def test_a_cancelled_playbook_is_gone_in_time_and_says_how_far_it_was(
        self, transactional_db, approved, engine, who, lab
    ):
        plan, worker = running(approved, engine)
        assert tagged(prefix=mark_of("infra-1"))
        began = time.monotonic()
        services.cancel_plan(actor=who, plan_id=plan.pk, reason="not today")
        worker.join(10)
        assert time.monotonic() - began < 5
        assert tagged(prefix=mark_of("infra-1")) == {}
        assert (stage(plan), tries(plan, "a")) == ("cancelled", [(1, "cancelled")])
        found = partial_result(plan_of(plan), who)
        assert found.sentence == (
            "No step was completed. a was stopped at its task 2, “Wait” on anvil and forge. Nothing was undone."
        )
        assert not found.recoverable and "stays cancelled" in found.because
        assert left_of(plan, who).recoveries == ()


class TestWaitingForTheNextTry:
    @pytest.fixture
    def plan(self, approved, engine):
        """Its step failed once, and is tried again in an hour or so."""
        flaky = step("a", "diagnostic.fail", input={"times": 1}, retry={"attempts": 3, "first_wait_seconds": 60})
        plan = approved(flaky, step("b", depends_on=["a"]))
        engine.run()
        assert statuses(plan) == {"a": "waiting", "b": "waiting"}
        return plan

    def test_it_says_which_try_comes_when_and_what_one_can_do(self, plan, who):
        left = left_of(plan, who)
        assert (left.tries, left.next_try, left.most_tries) == (1, 2, 3)
        assert left.next_at == Attempt.objects.get(plan=plan, number=2).next_at
        assert [(way.kind, way.allowed) for way in left.recoveries] == [("try_now", True), ("give_up", True)]
        assert left.trouble.transient

    def test_a_person_brings_it_forward(self, plan, engine, who):
        assert engine.dispatch() == []
        services.retry_step(actor=who, plan_id=plan.pk, key="a", reason="the network is back")
        engine.run()
        assert (stage(plan), tries(plan, "a")) == ("completed", [(1, "failed"), (2, "completed")])
        record = DecisionRecord.objects.get(type="step.brought_forward")
        assert (record.reason, record.metadata["number"]) == ("the network is back", 2)

    def test_it_is_brought_forward_once(self, plan, who):
        services.retry_step(actor=who, plan_id=plan.pk, key="a")
        with pytest.raises(IllegalTransition, match="only failed or unknown steps"):
            services.retry_step(actor=who, plan_id=plan.pk, key="a")

    def test_without_a_free_agent_it_waits_for_one_instead(self, plan, engine, who, agent):
        type(agent).objects.update(status="maintenance")
        services.retry_step(actor=who, plan_id=plan.pk, key="a")
        assert "Waits" not in Step.objects.get(plan=plan, key="a").waiting_for
        type(agent).objects.update(status="ready")
        engine.run()
        assert stage(plan) == "completed"

    def test_a_person_gives_up_and_the_step_fails_now(self, plan, engine, who):
        services.give_up_step(actor=who, plan_id=plan.pk, key="a", reason="the host is gone")
        assert (stage(plan), statuses(plan)) == ("failed", {"a": "failed", "b": "waiting"})
        assert tries(plan, "a") == [(1, "failed"), (2, "cancelled")]
        failed = Step.objects.get(plan=plan, key="a")
        assert failed.error.endswith("Given up by approver: the host is gone") and "on purpose" in failed.error
        assert DecisionRecord.objects.get(type="step.given_up").reason == "the host is gone"
        engine.run(patiently=True)
        assert tries(plan, "a") == [(1, "failed"), (2, "cancelled")]

    def test_after_giving_up_one_can_still_try_again(self, plan, engine, who):
        services.give_up_step(actor=who, plan_id=plan.pk, key="a", reason="no")
        services.retry_step(actor=who, plan_id=plan.pk, key="a")
        engine.run()
        assert (stage(plan), tries(plan, "a")[-1]) == ("completed", (3, "completed"))

    def test_a_plan_that_can_do_without_goes_on_when_one_gives_up(self, approved, engine, who):
        flaky = step(
            "a", "diagnostic.fail", input={"times": 1}, retry={"first_wait_seconds": 60}, on_failure="continue"
        )
        plan = approved(flaky, step("b", depends_on=["a"]))
        engine.run()
        services.give_up_step(actor=who, plan_id=plan.pk, key="a", reason="no need")
        engine.run()
        assert (stage(plan), statuses(plan)) == ("completed", {"a": "failed", "b": "completed"})

    def test_nothing_is_brought_forward_while_the_plan_is_paused(self, plan, who):
        services.pause_plan(actor=who, plan_id=plan.pk)
        with pytest.raises(IllegalTransition, match="is paused"):
            services.retry_step(actor=who, plan_id=plan.pk, key="a")
        left = left_of(plan, who)
        assert {way.why_not for way in left.recoveries} == {"The plan is paused: resume it first."}

    def test_a_waiting_step_is_not_narrowed(self, plan, who):
        with pytest.raises(IllegalTransition, match="waits for try 2 already"):
            services.retry_step(actor=who, plan_id=plan.pk, key="a", hosts="unfinished")

    @pytest.mark.parametrize("key", ["b", "a"])
    def test_only_a_step_that_waits_for_a_try_is_given_up(self, plan, who, key):
        if key == "a":
            services.retry_step(actor=who, plan_id=plan.pk, key="a")
        with pytest.raises(IllegalTransition, match="does not wait for another try"):
            services.give_up_step(actor=who, plan_id=plan.pk, key=key, reason="no")

    def test_readers_are_told(self, plan, who):
        before = Event.objects.filter(plan_id=plan.pk).count()
        services.retry_step(actor=who, plan_id=plan.pk, key="a")
        assert Event.objects.filter(plan_id=plan.pk).count() > before


def test_two_people_who_end_a_wait_at_the_same_moment_get_one_outcome(
    transactional_db, requester, approver, agent, engine, who
):
    other = Actor.person(requester)
    for _ in range(10):
        flaky = step("a", "diagnostic.fail", input={"times": 1}, retry={"attempts": 3, "first_wait_seconds": 60})
        plan = factories.approve(factories.make_plan(requester, [flaky]), approver)
        engine.run()
        answers = together(
            partial(services.retry_step, actor=who, plan_id=plan.pk, key="a"),
            partial(services.give_up_step, actor=other, plan_id=plan.pk, key="a", reason="gone"),
            partial(services.give_up_step, actor=who, plan_id=plan.pk, key="a", reason="gone too"),
        )
        engine.run()
        given_up = DecisionRecord.objects.filter(trace_id=plan.trace_id, type="step.given_up").count()
        forward = DecisionRecord.objects.filter(trace_id=plan.trace_id, type="step.brought_forward").count()
        assert given_up + forward == 1
        # Whoever asks for another try after it was given up gets it as a try of its own.
        assert stage(plan) in ("completed", "failed")
        assert names(answers).count("IllegalTransition") in (1, 2)
        assert len(tries(plan, "a")) == len({number for number, _ in tries(plan, "a")}) <= 3


def test_a_plan_of_many_stuck_steps_is_told_in_few_queries(approved, engine, who, django_assert_max_num_queries):
    broken = [step(f"s{n}", "diagnostic.fail", input={"times": 9, "transient": False}) for n in range(60)]
    plan = approved(*broken)
    engine.run()
    with django_assert_max_num_queries(6):
        found = partial_result(plan_of(plan), who)
    assert (len(found.begun), found.begun_left_out) == (50, 10)


def plan_of(plan):
    return Plan.objects.get(pk=plan.pk)


def left_of(plan, who, key="a") -> Any:
    """What this step left standing, for this reader."""
    found = partial_result(plan_of(plan), who).of(key)
    assert found is not None
    return found


def end_transiently(held):
    result = WorkResult.failed(FailureMode.SYSTEM, "The network was away.", transient=True)
    assert finish(held.attempt_id, token=held.token, result=result, lines=(0, ""))


def running(approved, engine):
    """A plan whose playbook is at its long task, and the thread that runs it."""
    plan = approved(runs("slow.yml"))
    ((pk, token, _),) = engine.dispatch()

    def work():
        attempt.run(pk, token=token)
        connection.close()

    worker = threading.Thread(target=work)
    worker.start()
    until = time.monotonic() + 60
    while Attempt.objects.get(pk=pk).progress.get("task") != "Wait":
        assert time.monotonic() < until and worker.is_alive()
        time.sleep(0.1)
    return plan, worker
