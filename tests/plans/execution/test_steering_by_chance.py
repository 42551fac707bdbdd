"""Plans by chance, steered by chance: what is offered can be done, and no plan ever stands still."""

import random
from contextlib import suppress

import pytest

from audit.context import Actor
from plans import services
from plans.errors import InvalidPlan
from plans.models import Attempt, Plan, Step
from plans.selectors.partial_result import partial_result
from tests.engine import stage, statuses
from tests.plans.execution.steps import failing, say

pytestmark = [pytest.mark.django_db, pytest.mark.e2e_03]
UNDO = {"tool": "diagnostic.echo", "input": {"value": "undone"}}


def steps_by(chance):
    """A few steps that fail in every way, after each other by chance."""
    steps = []
    for number in range(chance.randint(2, 6)):
        key, before = (
            f"s{number}",
            chance.sample([f"s{one}" for one in range(number)], k=min(number, chance.randint(0, 2))),
        )
        times = chance.choice((0, 0, 1, 2, 9))
        more = {"depends_on": before, "on_failure": chance.choice(("stop", "continue", "rollback", "stop"))}
        if chance.random() < 0.3:
            more["for_each"] = chance.choice(([], [1], [1, 2, 3], [1, 2]))
        if chance.random() < 0.25:
            more["rollback"] = chance.choice((UNDO, failing("x", 1) | {}))
            more["rollback"] = {name: more["rollback"][name] for name in ("tool", "input")}
        if chance.random() < 0.2:
            more |= {"on_failure": "fallback", "fallback": UNDO}
        if before and chance.random() < 0.25:
            more["when"] = chance.choice(("steps.{}.status == 'completed'", "steps.{}.output.value.no > 1", "true")).format(before[0])  # fmt: skip
        retry = chance.choice(({"attempts": 1}, {"attempts": 2, "first_wait_seconds": 30}))
        steps.append(
            failing(key, times, transient=chance.random() < 0.5, retry=retry, **more) if times else say(key, **more)
        )
    return steps


def moves_of(plan, requester, approver):
    """What the partial result offers, each as a call."""
    calls = []
    for person in (requester, approver):
        who = Actor.person(person)
        for step in partial_result(plan, who).begun:
            for way in step.recoveries:
                given = {"actor": who, "plan_id": plan.pk, "key": step.key}
                if way.allowed and way.kind in ("retry", "try_now"):
                    calls.append((way.kind, step.key, lambda given=given: services.retry_step(**given)))
                if way.allowed and way.kind == "skip":
                    calls.append(
                        (way.kind, step.key, lambda given=given: services.skip_step(**given, reason="by chance"))
                    )
                if way.allowed and way.kind == "give_up":
                    calls.append(
                        (way.kind, step.key, lambda given=given: services.give_up_step(**given, reason="by chance"))
                    )
    return calls


@pytest.mark.parametrize("seed", range(30))
def test_what_is_offered_can_be_done_and_no_plan_stands_still(seed, approved, engine, requester, approver):
    chance = random.Random(seed)
    plan = None
    while plan is None:
        told = [steps_by(chance)]
        with suppress(InvalidPlan):  # a rollback of nothing, or an output that may be missing
            plan = approved(*told[0], max_parallel=chance.choice((None, 1, 2)))
    for _ in range(8):
        for _ in range(chance.randint(0, 6)):
            engine.step()
        if chance.random() < 0.5:
            engine.run(patiently=True)
            engine.sweep()
            engine.run(patiently=True)
            assert stage(plan) in ("completed", "failed", "cancelled"), (told, statuses(plan))
            assert not Attempt.objects.filter(plan=plan, status__in=["due", "sent", "running"]).exists(), told
        plan = Plan.objects.get(pk=plan.pk)
        if plan.stage in ("completed", "cancelled"):
            break
        calls = moves_of(plan, requester, approver)
        if plan.stage == "failed" and any(kind == "retry" for kind, _, _ in calls) and chance.random() < 0.3:
            calls = [
                ("retry", "plan", lambda plan=plan: services.retry_plan(actor=Actor.person(requester), plan_id=plan.pk))
            ]
        if calls:
            kind, key, call = chance.choice(calls)
            told.append((kind, key))
            call()
        elif plan.stage == "executing":
            told.append(("paused and resumed", ""))
            services.pause_plan(actor=Actor.person(requester), plan_id=plan.pk)
            engine.step()
            services.resume_plan(actor=Actor.person(requester), plan_id=plan.pk)
    engine.run(patiently=True)
    engine.sweep()
    engine.run(patiently=True)
    assert stage(plan) in ("completed", "failed"), (told, statuses(plan))
    if stage(plan) == "completed":
        done = Step.objects.filter(plan=plan, kind="step").exclude(status__in=["completed", "skipped"])
        assert set(done.values_list("on_failure", flat=True)) <= {"continue"}, told
