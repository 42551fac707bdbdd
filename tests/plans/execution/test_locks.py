"""Plans that touch the same host or service work one after the other, whoever is first (RUN-10)."""

from functools import partial

import pytest

from agents.conf import DUE_CHANNEL
from audit.authority import Role
from audit.context import Actor
from audit.models import DecisionRecord
from plans import services
from plans.execution import attempt, dispatcher, locks
from plans.models import Attempt, Plan, Step, TargetLock
from plans.selectors import waits
from plans.targets import targets_of
from tests import factories
from tests.engine import Engine, claim, elsewhere, names, stage, statuses, together
from tests.plans.approval.test_tampering import change

pytestmark = [pytest.mark.django_db, pytest.mark.e2e_03]
ATLAS, KUMA = "host:atlas", "service:kuma"


def on(*hosts, key="s", **more):
    """Steps that work on these hosts, one each."""
    return [
        factories.step(f"{key}{place}", "diagnostic.noop", input={"target": host}, **more)
        for place, host in enumerate(hosts)
    ]


def held():
    return {lock.target: lock.plan.number for lock in TargetLock.objects.select_related("plan")}


def waiting(plan):
    return Plan.objects.values_list("waiting_for", flat=True).get(pk=plan.pk)


@pytest.fixture
def who(approver):
    return Actor.person(approver)


def test_a_plan_has_all_it_touches_from_its_approval_until_it_has_come_to_rest(approved, engine):
    plan = approved(*on("atlas", "boreas"))
    assert held() == {ATLAS: plan.number, "host:boreas": plan.number}
    engine.run()
    assert (stage(plan), held()) == ("completed", {})


def test_a_second_plan_on_the_same_host_waits_says_for_whom_and_goes_on_by_itself(approved, engine, requester):
    requester.first_name = "Ada"
    requester.save()
    first, second = approved(*on("atlas")), approved(*on("boreas", "atlas"))
    sentence = waiting(second)
    assert sentence.startswith(f"Waits for plan {first.number}, which works on host atlas (asked by Ada, since ")
    assert statuses(second) == {"s0": "waiting", "s1": "waiting"}
    assert {step.waiting_for for step in Step.objects.filter(plan=second)} == {sentence}
    [(pk, token, _)] = engine.dispatch()
    assert Attempt.objects.get(pk=pk).plan == first
    assert held() == {ATLAS: first.number}, "a plan that waits has nothing, not even what is free"
    attempt.run(pk, token=token)
    engine.run()
    assert (stage(first), stage(second), waiting(second), held()) == ("completed", "completed", "", {})


def test_a_service_is_locked_like_a_host(approved, engine):
    first, second = approved(factories.step("a")), None
    Step.objects.filter(plan=first).update(service="kuma")
    assert targets_of(Step.objects.filter(plan=first)) == [KUMA]
    locks.take(first, Step.objects.filter(plan=first))
    second = approved(factories.step("a"))
    Step.objects.filter(plan=second).update(service="kuma")
    assert locks.take(second, Step.objects.filter(plan=second)) is False
    assert "which works on service kuma" in waiting(second)


def test_plans_without_a_target_take_nothing_and_ask_nothing(approved, engine, django_assert_num_queries):
    plan = approved(factories.step("a"), factories.step("b"))
    with django_assert_num_queries(0):
        assert locks.take(plan, [Step(hosts=[], service="")])
    assert held() == {}
    engine.run()
    assert stage(plan) == "completed"


def test_plans_on_different_hosts_run_beside_each_other(approved, engine):
    first, second = approved(*on("atlas")), approved(*on("boreas"))
    assert {Attempt.objects.get(pk=pk).plan for pk, _, _ in engine.dispatch()} == {first, second}


@pytest.mark.parametrize("outcome", ["fail", "cancel"])
def test_a_plan_that_failed_or_was_cancelled_gives_way(approved, engine, who, outcome):
    if outcome == "fail":
        first = approved(
            factories.step("a", "diagnostic.fail", input={"target": "atlas", "times": 9, "transient": False})
        )
    else:
        first = approved(*on("atlas"))
    second = approved(*on("atlas"))
    if outcome == "cancel":
        services.cancel_plan(actor=who, plan_id=first.pk, reason="not today")
    engine.run()
    assert (stage(first), stage(second)) == ("failed" if outcome == "fail" else "cancelled", "completed")


def test_a_plan_whose_running_step_is_being_stopped_keeps_its_locks_until_it_stopped(approved, engine, who):
    first, second = approved(*on("atlas")), approved(*on("atlas"))
    [(pk, token, _)] = engine.dispatch()
    claim(pk, token)
    services.cancel_plan(actor=who, plan_id=first.pk, reason="not today")
    assert engine.dispatch() == []
    engine.forget_beats()
    engine.sweep()
    engine.run()
    assert (stage(first), stage(second)) == ("cancelled", "completed")


def test_a_paused_plan_keeps_its_locks(approved, engine, who):
    first, second = approved(*on("atlas"), *on("atlas", key="t", depends_on=["s0"])), approved(*on("atlas"))
    [(pk, token, _)] = engine.dispatch()
    claimed = claim(pk, token)
    services.pause_plan(actor=who, plan_id=first.pk)
    assert claimed and engine.dispatch() == []
    assert held() == {ATLAS: first.number}
    services.cancel_plan(actor=who, plan_id=second.pk, reason="too long")
    assert (stage(second), waiting(second)) == ("cancelled", "")


def test_a_failed_plan_that_goes_on_waits_for_whoever_works_there_now(approved, engine, who):
    first = approved(factories.step("a", "diagnostic.fail", input={"target": "atlas", "times": 1, "transient": False}))
    engine.run()
    second = approved(*on("atlas"))
    services.retry_plan(actor=who, plan_id=first.pk, reason="mended")
    assert stage(first) == "executing"
    assert f"plan {second.number}" in waiting(first)
    engine.sweep()
    assert stage(first) == "executing", "it waits; it has not failed again"
    engine.run()
    assert (stage(first), stage(second)) == ("completed", "completed")


def test_a_step_is_skipped_in_a_failed_plan_only_once_its_hosts_are_free(approved, engine, who):
    fails = factories.step("a", "diagnostic.fail", input={"target": "atlas", "times": 9, "transient": False})
    first = approved(fails, *on("atlas", depends_on=["a"]))
    engine.run()
    second = approved(*on("atlas"))
    services.skip_step(actor=who, plan_id=first.pk, key="a", reason="done by hand")
    assert (stage(first), statuses(first)["s0"]) == ("executing", "waiting")
    engine.run()
    assert (stage(first), stage(second)) == ("completed", "completed")


def test_a_refused_start_gives_way(approved, engine):
    first, second = approved(*on("atlas")), approved(*on("atlas"))
    [(pk, token, _)] = engine.dispatch()
    change(first, "UPDATE plans_step SET tool = 'diagnostic.echo' WHERE plan_id = %(plan)s")
    assert attempt.claim(pk, expects=token) is None
    assert stage(first) == "pending_approval"
    engine.run()
    assert (stage(second), held()) == ("completed", {})


def test_higher_priority_goes_first_then_who_waited_longer(approved, engine):
    holder = approved(*on("atlas"))
    waiters = [approved(*on("atlas")) for _ in range(3)]
    Plan.objects.filter(pk=waiters[2].pk).update(priority=5)
    order = []

    def next_one():
        [(pk, token, _)] = engine.dispatch()
        order.append(Attempt.objects.get(pk=pk).plan.number)
        attempt.run(pk, token=token)

    for _ in range(4):
        next_one()
    assert order == [holder.number, waiters[2].number, waiters[0].number, waiters[1].number]


def test_nobody_passes_a_plan_that_waits_for_two_hosts_and_it_is_told_so(approved, engine):
    first = approved(*on("atlas"))
    second = approved(*on("atlas", "boreas"))
    third = approved(*on("boreas"))
    assert f"plan {second.number}, which is next to work on host boreas" in waiting(third)
    assert [wait.behind and wait.behind.plan.number for wait in waits.queue()] == [first.number, second.number]
    [(pk, token, _)] = engine.dispatch()
    attempt.run(pk, token=token)
    assert {Attempt.objects.get(pk=pk).plan for pk, _, _ in engine.dispatch()} == {second}
    assert f"plan {second.number}, which works on host boreas" in waiting(third)


def test_a_paused_plan_that_waits_lets_others_pass_and_takes_its_place_again(approved, engine, who):
    first = approved(factories.step("a", "diagnostic.fail", input={"target": "atlas", "times": 1, "transient": False}))
    engine.run()
    second = approved(*on("atlas"))
    services.retry_plan(actor=who, plan_id=first.pk)
    services.pause_plan(actor=who, plan_id=first.pk)
    third = approved(*on("atlas"))
    engine.run()
    assert (stage(second), stage(third), stage(first)) == ("completed", "completed", "paused")
    services.resume_plan(actor=who, plan_id=first.pk)
    engine.run()
    assert stage(first) == "completed"


def test_an_agent_that_goes_on_by_itself_takes_nothing_of_a_plan_that_waits(approved, engine):
    first, second, other = approved(*on("atlas")), approved(*on("atlas")), approved(factories.step("a"))
    sent = {Attempt.objects.get(pk=pk).plan: (pk, token) for pk, token, _ in engine.dispatch()}
    claim(*sent[first])
    Plan.objects.filter(pk=second.pk).update(priority=5)
    Attempt.objects.filter(plan=second).update(priority=5)
    pk, token = sent[other]
    attempt.run(pk, token=token, go_on_for=5)
    assert (stage(other), stage(second), statuses(second)) == ("completed", "approved", {"s0": "waiting"})
    [waits_still] = Attempt.objects.filter(plan=second)
    agent = Attempt.objects.get(pk=pk).agent
    assert agent is not None
    assert attempt.claim(waits_still.pk, expects=0, agent_id=agent.pk, choice={}) is None


def test_an_agent_that_goes_on_by_itself_works_through_a_plan_that_has_its_hosts(approved):
    plan = approved(*on("atlas"), *on("atlas", key="t", depends_on=["s0"]), factories.step("u", depends_on=["t0"]))
    Engine(go_on_for=5).run()
    assert (stage(plan), held()) == ("completed", {})


def test_a_wait_is_recorded_once_and_its_end_too(approved, engine):
    first, second = approved(*on("atlas")), approved(*on("atlas"))
    for _ in range(3):
        locks.grant()
        engine.sweep()
    record = DecisionRecord.objects.get(type="plan.waits_for_lock")
    assert (record.subject_id, record.metadata["behind"], record.metadata["target"]) == (
        str(second.pk),
        first.number,
        ATLAS,
    )
    assert record.trace_id == second.trace_id
    engine.run()
    [taken] = DecisionRecord.objects.filter(type="plan.lock_taken")
    assert (taken.subject_id, taken.metadata["targets"]) == (str(second.pk), [ATLAS])


def test_the_sweep_frees_what_a_plan_at_rest_still_has(approved, engine):
    first = approved(*on("atlas"))
    engine.run()
    TargetLock.objects.create(target=ATLAS, plan=first)
    second = approved(*on("atlas"))
    assert engine.dispatch() == []
    assert engine.sweep() == 1
    engine.run()
    assert (stage(second), held()) == ("completed", {})


def test_the_sweep_leaves_what_is_held_by_right(approved, engine, who):
    first = approved(*on("atlas", "boreas"))
    assert engine.sweep() == 0
    [(pk, token, _), _] = engine.dispatch()
    claim(pk, token)
    services.pause_plan(actor=who, plan_id=first.pk)
    assert engine.sweep() == 0
    assert set(held()) == {ATLAS, "host:boreas"}


def test_a_name_too_long_for_an_index_is_locked_all_the_same(approved, engine):
    steps = [Step(hosts=["x" * 50_000], service=""), Step(hosts=["x" * 50_000 + "y"], service="")]
    plan = approved(factories.step("a"))
    assert locks.take(plan, steps)
    assert len(held()) == 2


class TestRaces:
    pytestmark = [pytest.mark.django_db(transaction=True)]

    @pytest.fixture
    def pending(self, transactional_db):
        requester, _ = factories.make_user("requester", Role.REQUESTER), factories.make_user("approver", Role.APPROVER)
        factories.make_agent("infra-1", slots=64)
        return lambda *steps: factories.make_plan(requester, steps)

    @staticmethod
    def approve_all(plans):
        approver = factories.make_user("approver", Role.APPROVER)
        return together(*(partial(factories.approve, plan, approver) for plan in plans))

    def test_of_plans_approved_at_once_exactly_one_has_the_host(self, pending):
        for _ in range(6):
            plans = [pending(*on("atlas", "boreas")) for _ in range(5)]
            assert names(self.approve_all(plans)) == ["Plan"] * 5
            assert len(set(held().values())) == 1
            assert Plan.objects.filter(waits_since__isnull=False).count() == 4
            Engine().run()
            assert {stage(plan) for plan in plans} == {"completed"}
            assert held() == {}

    def test_plans_in_a_circle_of_hosts_never_wait_for_each_other(self, pending):
        pairs = [("atlas", "boreas"), ("boreas", "ceres"), ("ceres", "atlas")]
        for _ in range(8):
            plans = [pending(*on(*pair)) for pair in pairs] + [pending(*on(*reversed(pair))) for pair in pairs]
            assert names(self.approve_all(plans)) == ["Plan"] * 6
            assert len(held()) == 2
            Engine().run()
            assert {stage(plan) for plan in plans} == {"completed"}

    def test_dispatchers_at_once_let_one_waiting_plan_go_on_at_a_time(self, pending):
        plans = [pending(*on("atlas")) for _ in range(4)]
        approver = factories.make_user("approver", Role.APPROVER)
        for plan in plans:
            factories.approve(plan, approver)
        running: list[list[int]] = []

        def dispatch():
            engine = Engine()
            while True:
                sent = engine.dispatch()
                if not sent:
                    return
                for pk, token, _ in sent:
                    running.append(list(set(TargetLock.objects.values_list("plan__number", flat=True))))
                    attempt.run(pk, token=token)

        for _ in range(4):
            assert names(together(dispatch, dispatch, dispatch)) == ["NoneType"] * 3
        assert {stage(plan) for plan in plans} == {"completed"}
        assert all(len(one) == 1 for one in running)
        assert DecisionRecord.objects.filter(type="plan.lock_taken").count() == 3

    def test_a_holder_that_ends_while_another_plan_begins_to_wait_is_heard(self, pending):
        approver = factories.make_user("approver", Role.APPROVER)
        for _ in range(10):
            first, second = pending(*on("atlas")), pending(*on("atlas"))
            factories.approve(first, approver)
            engine = Engine()
            [(pk, token, _)] = engine.dispatch()
            answers = together(partial(attempt.run, pk, token=token), partial(factories.approve, second, approver))
            assert names(answers) == ["Plan", "bool"]
            Engine().run()  # no sweep: a dispatcher that was rung needs none
            assert (stage(first), stage(second)) == ("completed", "completed")

    def test_a_cancel_against_a_grant_leaves_no_lock_behind(self, pending):
        approver = factories.make_user("approver", Role.APPROVER)
        for _ in range(10):
            first, second = pending(*on("atlas")), pending(*on("atlas"))
            factories.approve(first, approver)
            factories.approve(second, approver)
            services.cancel_plan(actor=Actor.person(approver), plan_id=first.pk, reason="x")
            cancel = partial(services.cancel_plan, actor=Actor.person(approver), plan_id=second.pk, reason="x")
            assert names(together(cancel, locks.grant, locks.grant)) == ["Plan", "int", "int"]
            assert (stage(second), held()) == ("cancelled", {})


def test_the_dispatcher_is_rung_when_a_lock_is_free(transactional_db, requester, approver):
    factories.make_agent("infra-1", slots=4)
    plan = factories.approve(factories.make_plan(requester, on("atlas")), approver)
    with elsewhere(autocommit=True) as ear:
        ear.execute(f"LISTEN {DUE_CHANNEL}")
        services.cancel_plan(actor=Actor.person(approver), plan_id=plan.pk, reason="x")
        assert list(ear.notifies(timeout=2, stop_after=1))
    assert dispatcher.dispatch(lambda *_: None) == 0
