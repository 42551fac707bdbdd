"""What happens at the same moment, on connections of its own."""

import functools

import pytest
from django.db import OperationalError, connection, transaction

from agents.protocol import Outcome, WorkResult
from audit.authority import Role
from audit.models import DecisionRecord
from plans.execution import attempt, dispatcher, finish, hot_path, reaper
from plans.models import Attempt
from tests import factories
from tests.engine import Engine, claim, elsewhere, names, stage, statuses, together, tries
from tests.factories import make_user, step

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.e2e_03]
DONE = WorkResult(Outcome.COMPLETED, summary="Done.")


@pytest.fixture
def approved(transactional_db):
    requester, approver = make_user("requester", Role.REQUESTER), make_user("approver", Role.APPROVER)
    factories.make_agent("infra-1", slots=64)

    def make(*steps):
        return factories.approve(factories.make_plan(requester, steps), approver)

    return make


def test_who_begins_a_plan_waits_for_who_stops_it_and_locks_nothing_before(approved):
    plan = approved(step("a"))
    ((pk, _, _),) = Engine().dispatch()
    with elsewhere() as other:
        other.execute("SELECT chiffon_stop(%s)", [plan.pk])
        with transaction.atomic():
            connection.cursor().execute("SET LOCAL lock_timeout = '100ms'")
            with pytest.raises(OperationalError, match="lock timeout"), transaction.atomic():
                hot_path.facts(pk)
            other.execute(
                "SELECT FROM plans_plan WHERE id = %s FOR UPDATE NOWAIT", [plan.pk]
            )  # else each waited for the other


def test_of_five_deliveries_at_once_one_is_a_try(approved):
    engine = Engine()
    for _ in range(5):
        plan = approved(step("a"))
        ((pk, token, _),) = engine.dispatch()
        answers = together(*[functools.partial(attempt.run, pk, token=token)] * 5)
        assert sorted(answers) == [False] * 4 + [True]
        assert tries(plan, "a") == [(1, "completed")]
    assert DecisionRecord.objects.filter(type="attempt.started").count() == 5


def test_first_steps_that_begin_at_once_begin_the_plan_once(approved):
    engine = Engine()
    plan = approved(*(step(f"s{n}") for n in range(6)))
    answers = together(*(functools.partial(attempt.run, pk, token=token) for pk, token, _ in engine.dispatch()))
    assert answers == [True] * 6
    begun = DecisionRecord.objects.filter(trace_id=plan.trace_id, type="plan.stage_changed")
    assert [record.metadata["now"] for record in begun].count("executing") == 1
    engine.sweep()
    assert stage(plan) == "completed"


def test_last_steps_that_end_at_once_settle_the_plan_once(approved):
    engine = Engine()
    for _ in range(10):
        plan = approved(step("a"), step("b"))
        claims = [claim(pk, token) for pk, token, _ in engine.dispatch()]
        ends = [
            functools.partial(finish.finish, held.attempt_id, token=held.token, result=DONE, lines=(0, ""))
            for held in claims
        ]
        assert together(*ends) == [True, True]
        engine.sweep()
        assert stage(plan) == "completed"
        settled = DecisionRecord.objects.filter(trace_id=plan.trace_id, type="plan.stage_changed")
        assert [record.metadata["now"] for record in settled].count("completed") == 1


def test_upstreams_that_end_at_once_release_each_downstream_once(approved):
    engine = Engine()
    ups = [f"u{n}" for n in range(6)]
    for _ in range(4):
        plan = approved(*(step(key) for key in ups), *(step(f"d{n}", depends_on=ups) for n in range(4)))
        claims = [claim(pk, token) for pk, token, _ in engine.dispatch()]
        ends = [
            functools.partial(finish.finish, held.attempt_id, token=held.token, result=DONE, lines=(0, ""))
            for held in claims
        ]
        assert together(*ends) == [True] * 6
        assert [tries(plan, f"d{n}") for n in range(4)] == [[(1, "due")]] * 4
        engine.run()
        engine.sweep()
        assert stage(plan) == "completed"


def test_a_result_against_the_end_of_its_lease_has_one_outcome(approved):
    engine = Engine()
    ends = set()
    for _ in range(10):
        plan = approved(step("a"))
        ((pk, token, _),) = engine.dispatch()
        held = claim(pk, token)
        engine.forget_beats()
        ended, freed = together(
            functools.partial(finish.finish, pk, token=held.token, result=DONE, lines=(0, "")),
            reaper.interrupt_expired,
        )
        assert (ended, freed) in [(True, 0), (False, 1)]
        assert tries(plan, "a")[0] == (1, "completed" if ended else "interrupted")
        assert statuses(plan) == {"a": "completed" if ended else "waiting"}
        ends.add(ended)
        engine.run(patiently=True)
        assert stage(plan) == "completed"


def test_dispatchers_beside_each_other_publish_each_attempt_once(approved):
    plan = approved(*(step(f"s{n}") for n in range(40)))
    sent = []

    def dispatch():
        while dispatcher.dispatch(lambda task, arguments, queue: sent.append(arguments.get("attempt_id"))):
            pass

    assert names(together(dispatch, dispatch, dispatch, reaper.sweep)) == ["NoneType"] * 3 + ["int"]
    published = [pk for pk in sent if pk]
    assert sorted(published) == sorted(str(pk) for pk in Attempt.objects.filter(plan=plan).values_list("pk", flat=True))
