"""State that many write at the same moment, on connections of their own."""

import functools
from datetime import timedelta

import pytest
from django.db.models.functions import Now

from agents.protocol import Outcome, WorkResult
from audit.authority import Role
from audit.context import Actor
from plans import services, state
from plans.enums import StateScope
from plans.execution import finish
from plans.models import Attempt, StateEntry
from plans.state import Holder, Limits
from tests import factories
from tests.engine import Engine, claim, names, together
from tests.factories import make_user, step

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.e2e_03]
DONE = WorkResult(Outcome.COMPLETED)


@pytest.fixture
def holders(transactional_db):
    """So many running attempts of one plan."""
    requester, approver = make_user("requester", Role.REQUESTER), make_user("approver", Role.APPROVER)
    factories.make_agent("infra-1", slots=64)
    engine = Engine()

    def make(count):
        steps = [step(f"s{n}", "diagnostic.sleep", input={"seconds": 1}) for n in range(count)]
        factories.approve(factories.make_plan(requester, steps), approver)
        return [Holder(pk, claim(pk, token).token) for pk, token, _ in engine.dispatch()]

    return make


def test_writers_at_once_leave_one_value_and_it_is_one_of_theirs(holders):
    asks = holders(8)
    for _ in range(3):
        writes = [functools.partial(state.remember, one, "execution", "a", n) for n, one in enumerate(asks)]
        assert together(*writes) == [None] * 8
    assert StateEntry.objects.get().value in range(8)


def test_a_scope_is_never_filled_beyond_its_limits(holders, monkeypatch):
    monkeypatch.setitem(state.LIMITS, StateScope.EXECUTION, Limits(3, 1_000, timedelta(hours=1)))
    asks = holders(8)
    for _ in range(3):
        StateEntry.objects.all().delete()
        writes = [functools.partial(state.remember, one, "execution", f"k{n}", n) for n, one in enumerate(asks)]
        assert names(together(*writes)) == ["NoneType"] * 3 + ["Refused"] * 5
        assert StateEntry.objects.count() == 3


def test_a_write_against_the_end_of_its_try_happens_whole_or_not_at_all(holders):
    for place, one in enumerate(holders(6)):
        wrote, ended = together(
            functools.partial(state.remember, one, "global", f"k{place}", place),
            functools.partial(finish.finish, one.attempt_id, token=one.token, result=DONE, lines=(0, "")),
        )
        assert ended is True
        assert wrote is None or isinstance(wrote, state.NotHeld)
        assert StateEntry.objects.filter(key=f"k{place}").exists() is (wrote is None)


def test_a_write_and_a_cancel_never_wait_for_each_other(holders):
    for _ in range(3):
        asks = holders(4)
        plan = Attempt.objects.get(pk=asks[0].attempt_id).plan
        canceller = Actor.person(plan.requester)
        writes = [functools.partial(state.remember, one, "execution", "a", 1) for one in asks]
        answers = together(
            *writes, functools.partial(services.cancel_plan, actor=canceller, plan_id=plan.pk, reason="Not today")
        )
        assert [answer for answer in answers if isinstance(answer, Exception)] == []


def test_a_clean_up_removes_nothing_that_is_written_anew_meanwhile(holders):
    (one,) = holders(1)
    for _ in range(5):
        state.remember(one, "global", "a", 1)
        StateEntry.objects.update(expires_at=Now() - timedelta(seconds=1))
        together(functools.partial(state.remember, one, "global", "a", 2), state.clean)
        assert state.recall(one, "global", "a") == (True, 2)
