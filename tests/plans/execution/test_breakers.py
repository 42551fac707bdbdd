"""Steps at the circuit breakers: who waits, what is said, who probes, and how it goes on (RUN-8)."""

from uuid import uuid4

import pytest
import redis
from django.conf import settings
from django.db import transaction
from django.db.models.functions import Now

from agents import services
from agents.breaker import breakers
from agents.models import Breaker
from agents.protocol import Failure, FailureMode, Outcome, WorkResult
from agents.tools.cache import FROM_CACHE
from audit.authority import Role
from audit.context import SYSTEM, Actor
from audit.models import DecisionRecord
from plans.execution import attempt, routing
from plans.execution.breakers import aims_of, note
from plans.models import Attempt, Step
from plans.services import cancel_plan
from tests import factories
from tests.engine import Engine, claim, stage, statuses, together, tries

pytestmark = [pytest.mark.django_db, pytest.mark.e2e_03]
ONCE = {"strategy": "none", "attempts": 1}


@pytest.fixture
def host():
    """A host that no other test knows."""
    return f"h-{uuid4()}"


def fails(key, host, times=9, **more):
    return factories.step(
        key, "diagnostic.fail", input={"target": host, "times": times}, retry=ONCE, on_failure="continue", **more
    )


def works(key, host, **more):
    return factories.step(key, "diagnostic.fail", input={"target": host, "times": 0}, retry=ONCE, **more)


def five(host):
    """Steps that fail one after the other until the breaker opens."""
    return [fails(f"f{n}", host, **({"depends_on": [f"f{n - 1}"]} if n else {})) for n in range(5)]


def let_time_pass(host):
    """The breaker has been open long enough, and whoever waits looks again."""
    client = redis.Redis.from_url(settings.CHIFFON_REDIS_URL)
    client.hset(f"chiffon:breaker:{{diagnostic.fail|host:{host}}}", "till", "1")
    Attempt.objects.filter(status="due", held_by__isnull=False).update(next_at=Now())


def test_a_step_waits_for_an_open_breaker_and_says_so_in_full(approved, engine, host):
    plan = approved(*five(host), works("next", host, depends_on=["f4"]))
    engine.run()
    row = Breaker.objects.get()
    step = Step.objects.get(plan=plan, key="next")
    assert (row.state, row.tool, row.target) == ("open", "diagnostic.fail", f"host:{host}")
    assert (stage(plan), step.status) == ("executing", "waiting")
    assert step.waiting_for == (
        f"The breaker of diagnostic.fail on host {host} is open until {row.until:%H:%M:%S} UTC: "
        "5 tries in a row failed; the last said “Failed on purpose, try 1 of 9 that fail.”"
    )
    held = Attempt.objects.get(step=step)
    assert (held.status, held.agent, held.held_by) == ("due", None, row)
    assert row.until is not None
    assert abs((held.next_at - row.until).total_seconds()) < 1
    record = DecisionRecord.objects.get(type="breaker.opened")
    assert (record.trace_id, record.actor) == (plan.trace_id, "infra-1")


def test_a_step_with_a_fallback_does_not_wait_for_an_open_breaker(approved, engine, host):
    instead = {"tool": "diagnostic.echo", "input": {"value": "instead"}}
    plan = approved(
        *five(host), {**works("next", host, depends_on=["f4"]), "on_failure": "fallback", "fallback": instead}
    )
    engine.run()
    assert stage(plan) == "completed"
    only = Attempt.objects.get(step__plan=plan, step__key="next")
    assert (only.number, only.status, only.by_fallback, only.work.tool) == (1, "completed", True, "diagnostic.echo")
    assert only.because.startswith("diagnostic.fail can not be tried now, so diagnostic.echo goes on: The breaker of")
    assert DecisionRecord.objects.filter(type="step.fell_back").count() == 1


def test_a_step_that_does_the_same_elsewhere_or_something_else_there_goes_on(approved, engine, host):
    plan = approved(
        *five(host),
        works("elsewhere", f"{host}x", depends_on=["f4"]),
        factories.step("other", "diagnostic.noop", input={"target": host}, depends_on=["f4"]),
        factories.step("nowhere", "diagnostic.fail", input={"times": 0}, depends_on=["f4"]),
    )
    engine.run()
    assert [statuses(plan)[key] for key in ("elsewhere", "other", "nowhere")] == ["completed"] * 3


def test_an_agent_that_goes_on_by_itself_meets_the_breakers_too(approved, host):
    free = factories.step("free", depends_on=["f4"])
    plan = approved(*five(host), free, works("next", host, depends_on=["free"]), works("late", host, depends_on=["f4"]))
    Engine(go_on_for=5).run()
    found = statuses(plan)
    assert (found["free"], found["next"], found["late"]) == ("completed", "waiting", "waiting")
    assert Attempt.objects.filter(plan=plan, held_by__isnull=False).count() == 2


def test_a_step_that_nobody_has_looked_at_yet_is_not_taken_past_an_open_breaker(approved, host):
    for _ in range(5):
        breakers().note({("diagnostic.fail", f"host:{host}"): "bad"}, "x", error="no route")
    plan = approved(*(works(f"w{n}", host) for n in range(12)))
    assert Attempt.objects.filter(plan=plan, held_by__isnull=True).count() == 4
    other = approved(factories.step("a", "diagnostic.fail", input={"times": 0}))
    first = Attempt.objects.get(plan=other)
    with transaction.atomic():
        routing.route([first])
    assert attempt.run(first.pk, token=0, go_on_for=5)
    assert (stage(other), stage(plan)) == ("completed", "approved")


def test_one_try_probes_the_others_wait_and_its_success_lets_them_go_at_once(approved, engine, host):
    plan = approved(*five(host), *(works(f"w{n}", host, depends_on=["f4"]) for n in range(3)))
    engine.run()
    let_time_pass(host)
    [(pk, token, _)] = engine.dispatch()
    others = Step.objects.filter(plan=plan, key__startswith="w", status="waiting")
    assert len(others) == 2
    for step in others:
        assert step.waiting_for.startswith(
            f"The breaker of diagnostic.fail on host {host} lets one try through, and waits for how it ends: 5 tries"
        )
    assert engine.dispatch() == []
    attempt.run(pk, token=token)
    engine.run()
    assert (stage(plan), Breaker.objects.get().state) == ("completed", "closed")
    types = DecisionRecord.objects.filter(type__startswith="breaker.").order_by("sequence")
    assert list(types.values_list("type", flat=True)) == ["breaker.opened", "breaker.half_opened", "breaker.closed"]
    assert not Attempt.objects.filter(plan=plan, held_by__isnull=False).exists()


def test_a_probe_that_fails_opens_it_again_for_longer(approved, engine, host):
    plan = approved(*five(host), fails("again", host, depends_on=["f4"]), works("w", host, depends_on=["again"]))
    engine.run()
    let_time_pass(host)
    engine.run()
    row = Breaker.objects.get()
    assert (row.state, row.failures, row.wait_seconds) == ("open", 6, 60)
    assert "6 tries in a row failed" in Step.objects.get(plan=plan, key="w").waiting_for


def test_a_probe_that_is_lost_makes_room_for_another(approved, engine, host):
    approved(*five(host), *(works(f"w{n}", host, depends_on=["f4"]) for n in range(2)))
    engine.run()
    let_time_pass(host)
    [(pk, token, _)] = engine.dispatch()
    claim(pk, token)
    Attempt.objects.filter(pk=pk).update(status="interrupted", lease_until=None)  # as if nobody had lived to say so
    Attempt.objects.filter(status="due").update(next_at=Now())
    [(other, _, _)] = engine.dispatch()
    assert other != pk


def test_a_try_that_no_agent_can_take_does_not_use_up_the_probe(approved, engine, agent, host):
    plan = approved(*five(host), works("w", host, depends_on=["f4"]))
    engine.run()
    let_time_pass(host)
    type(agent).objects.update(status="draining")
    assert engine.dispatch() == []
    assert Breaker.objects.get().state == "open"
    type(agent).objects.update(status="ready")
    engine.run()
    assert stage(plan) == "completed"


def test_a_reset_lets_what_waits_go_on_at_once(approved, engine, host):
    plan = approved(*five(host), works("next", host, depends_on=["f4"]))
    engine.run()
    keeper = Actor.person(factories.make_user("keeper", Role.AGENT_ADMIN))
    services.reset_breaker(actor=keeper, breaker_id=Breaker.objects.get().pk, reason="mended")
    engine.run()
    assert stage(plan) == "completed"


def test_a_plan_that_waits_for_a_breaker_can_be_cancelled(approved, engine, approver, host):
    plan = approved(*five(host), works("next", host, depends_on=["f4"]))
    engine.run()
    cancel_plan(actor=Actor.person(approver), plan_id=plan.pk, reason="enough")
    assert (stage(plan), tries(plan, "next")) == ("cancelled", [(1, "cancelled")])


def test_steps_without_a_target_never_meet_a_breaker(approved, engine):
    plan = approved(*(factories.step(f"f{n}", "diagnostic.fail", input={"times": 9}, retry=ONCE) for n in range(8)))
    engine.run()
    assert set(statuses(plan).values()) == {"failed"}
    assert not Breaker.objects.exists()
    assert aims_of(Step(tool="x", hosts=[], service="")) == []


def test_a_step_of_several_hosts_waits_for_each_and_blames_only_those_in_trouble(db, host):
    step = Step(tool="ansible.playbook", hosts=[f"{host}-a", f"{host}-b"], service="kuma")
    assert aims_of(step) == [("ansible.playbook", f"host:{host}-a"), ("ansible.playbook", f"host:{host}-b")]
    progress = {"hosts": {f"{host}-a": {"unreachable": 1}, f"{host}-b": {"ok": 3, "unreachable": 0, "failures": 0}}}
    failure = Failure(FailureMode.SYSTEM, "unreachable", transient=True)
    for _ in range(5):
        note(step, uuid4(), WorkResult(Outcome.FAILED, failure=failure, progress=progress))
    assert [(row.target, row.state) for row in Breaker.objects.all()] == [(f"host:{host}-a", "open")]


@pytest.mark.parametrize("progress", [{}, {"hosts": None}, {"hosts": []}, {"hosts": {"x": 3}}, {"hosts": {"x": {}}}])
def test_whatever_a_tool_says_of_its_hosts_the_failure_counts(db, host, progress):
    step = Step(tool="ansible.playbook", hosts=[host], service="")
    failure = Failure(FailureMode.SYSTEM, "unreachable", transient=True)
    for _ in range(5):
        note(step, uuid4(), WorkResult(Outcome.FAILED, failure=failure, progress=progress))
    assert Breaker.objects.get().state == "open"


def test_an_answer_from_the_cache_says_nothing_of_the_target(db, host):
    step = Step(tool="ansible.playbook", hosts=[host], service="")
    failed = WorkResult(Outcome.FAILED, failure=Failure(FailureMode.SYSTEM, "unreachable", transient=True))
    for _ in range(4):
        note(step, uuid4(), failed)
    note(step, uuid4(), WorkResult(Outcome.COMPLETED, progress={FROM_CACHE: "2026-11-30T16:00:00Z"}))
    note(step, uuid4(), failed)
    assert Breaker.objects.get().state == "open"


def test_a_step_that_names_only_a_service_is_counted_on_it(db):
    assert aims_of(Step(tool="t", hosts=[], service="kuma")) == [("t", "service:kuma")]


def test_failures_that_are_peoples_open_nothing(approved, engine, host):
    bad = {"target": host, "times": 9, "failure_mode": "user", "transient": False}
    plan = approved(
        *(factories.step(f"f{n}", "diagnostic.fail", input=bad, retry=ONCE, on_failure="continue") for n in range(7))
    )
    engine.run()
    assert set(statuses(plan).values()) == {"failed"}
    assert not Breaker.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_of_dispatchers_at_once_one_sends_the_probe(transactional_db, host):
    requester, approver = factories.make_user("requester", Role.REQUESTER), factories.make_user("a", Role.APPROVER)
    factories.make_agent("infra-1", slots=64)
    for _ in range(4):
        breakers().reset(("diagnostic.fail", f"host:{host}"))
        steps = [*five(host), *(works(f"w{n}", host, depends_on=["f4"]) for n in range(6))]
        plan = factories.approve(factories.make_plan(requester, steps), approver)
        Engine().run()
        let_time_pass(host)
        engines = [Engine() for _ in range(4)]
        together(*(engine.dispatch for engine in engines))
        assert sum(len(engine.sent) for engine in engines) == 1
        cancel_plan(actor=SYSTEM, plan_id=plan.pk, reason="next round")
