"""What a dispatcher looks after every few seconds: one thing that can not be mended keeps it from nothing else."""

import pytest

from agents.protocol import FailureMode, WorkResult
from plans.errors import IllegalTransition
from plans.execution import dispatcher, finish, reaper
from plans.models import Attempt, Plan
from tests.engine import claim, stage, tries
from tests.factories import step

pytestmark = [pytest.mark.django_db, pytest.mark.e2e_03]


def test_an_attempt_that_can_not_be_reclaimed_keeps_no_other_from_it(approved, engine, monkeypatch):
    plans = [approved(step("a", "diagnostic.noop", retry={"attempts": 1})) for _ in range(2)]
    for pk, token, _ in engine.dispatch():
        claim(pk, token)
    broken, real = Attempt.objects.get(plan=plans[0]).pk, finish.interrupted

    def interrupted(one, because):
        if one.pk == broken:
            raise IllegalTransition("It may not.")
        real(one, because)

    monkeypatch.setattr("plans.execution.reaper.interrupted", interrupted)
    engine.forget_beats()
    assert engine.sweep() > 0
    assert [tries(plan, "a") for plan in plans] == [[(1, "running")], [(1, "interrupted")]]


def test_a_sweep_that_fails_ends_no_dispatcher(approved, engine, monkeypatch):
    approved(step("a"))
    swept = []

    def sweep():
        swept.append(True)
        raise IllegalTransition("It may not.")

    monkeypatch.setattr(reaper, "interrupt_expired", sweep)
    monkeypatch.setattr(dispatcher, "SWEEP_SECONDS", 0.01)
    dispatcher.run(lambda *_: None, stopping=lambda: len(swept) > 1)
    assert len(swept) == 2


def test_there_is_a_sweep_also_while_there_is_always_something_to_send(approved, monkeypatch):
    approved(step("a"))
    swept = []
    monkeypatch.setattr(dispatcher, "SWEEP_SECONDS", 0.01)
    monkeypatch.setattr(dispatcher, "_sweep", lambda: swept.append(True))
    monkeypatch.setattr(dispatcher, "_act", lambda *_: 1)
    looks = iter(range(200))
    dispatcher.run(lambda *_: None, stopping=lambda: bool(swept) or next(looks, None) is None)
    assert swept


def test_what_ends_in_a_plan_that_has_ended_is_recorded(approved, engine):
    plan = approved(step("a", "diagnostic.noop", retry={"attempts": 1}), step("b", depends_on=["a"]))
    ((pk, token, _),) = engine.dispatch()
    held = claim(pk, token)
    Plan.objects.filter(pk=plan.pk).update(stage="failed")  # which nothing should do while something runs
    failed = WorkResult.failed(FailureMode.USER, "No.")
    assert finish.finish(pk, token=held.token, result=failed, lines=(0, ""))
    assert (stage(plan), tries(plan, "a")) == ("failed", [(1, "failed")])
