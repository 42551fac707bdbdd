"""A person steers a plan at the moment at which a step of it ends: no result is lost, and nothing is left behind."""

import time
from functools import partial

import pytest
from django.db import OperationalError, connection, transaction

from agents.protocol import FailureMode, Outcome, WorkResult
from audit.authority import Role
from audit.context import Actor
from plans import services
from plans.errors import IllegalTransition
from plans.execution import finish, reaper
from plans.models import Attempt
from tests import factories
from tests.engine import Engine, claim, elsewhere, stage, together, tries
from tests.factories import make_user, step
from tests.plans.execution.steps import failing, say

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.e2e_03]
DONE = WorkResult(Outcome.COMPLETED, summary="Done.")
FAILED = WorkResult.failed(FailureMode.USER, "No.")
COUNTED = {"budget": {"call_ceiling": 100}}  # its steps end the long way
ROUNDS = 15


@pytest.fixture
def people(transactional_db):
    factories.make_agent("infra-1", slots=64)
    return make_user("requester", Role.REQUESTER), make_user("approver", Role.APPROVER)


@pytest.fixture
def who(people):
    return Actor.person(people[1])


@pytest.fixture
def approved(people):
    def make(*steps, **more):
        return factories.approve(factories.make_plan(people[0], steps, **more), people[1])

    return make


def delayed(call, number):
    """The call, a little later in each round, so that it meets every part of what happens beside it."""

    def later():
        time.sleep(number % ROUNDS * 0.003)
        return call()

    return later


def end_of(held, result=DONE):
    return partial(finish.finish, held.attempt_id, token=held.token, result=result, lines=(0, ""))


def live(plan):
    return Attempt.objects.filter(plan=plan, status__in=["due", "sent", "running"]).count()


def begun(plan):
    """The attempts of a plan's first steps, claimed, by key."""
    messages = {Attempt.objects.get(pk=pk).step.key: (pk, token) for pk, token, _ in Engine().dispatch()}
    return {key: claim(*message) for key, message in messages.items()}


@pytest.mark.parametrize(
    "verb", ["cancel_plan", "pause_plan", "resume_plan", "skip_step", "give_up_step", "retry_step", "retry_plan"]
)
def test_who_steers_waits_for_what_ends_and_locks_nothing_before(approved, who, verb):
    plan = approved(say("a"))
    more = {"key": "a"} if verb.endswith("_step") else {}
    with elsewhere() as other, transaction.atomic():
        other.execute("SELECT chiffon_hold(%s)", [plan.pk])  # a step of it is just ending
        connection.cursor().execute("SET LOCAL lock_timeout = '100ms'")
        with pytest.raises(OperationalError, match="lock timeout"), transaction.atomic():
            getattr(services, verb)(actor=who, plan_id=plan.pk, reason="x", **more)
        other.execute("SELECT FROM plans_plan WHERE id = %s FOR UPDATE NOWAIT", [plan.pk])


@pytest.mark.parametrize("steer", [services.pause_plan, services.resume_plan])
def test_a_pause_and_a_resume_lose_no_result(approved, who, steer):
    for number in range(ROUNDS):
        plan = approved(say("a"), **COUNTED)
        held = begun(plan)["a"]
        if steer is services.resume_plan:
            services.pause_plan(actor=who, plan_id=plan.pk)
        ended, _ = together(end_of(held), delayed(partial(steer, actor=who, plan_id=plan.pk), number))
        assert (ended, tries(plan, "a")) == (True, [(1, "completed")])
        if stage(plan) == "paused":
            services.resume_plan(actor=who, plan_id=plan.pk)
        assert stage(plan) == "completed"


def test_a_step_skipped_while_another_ends_lets_the_plan_go_on(approved, who):
    for number in range(ROUNDS):
        plan = approved(failing("bad"), say("b"), say("c", depends_on=["bad"]), **COUNTED)
        held = begun(plan)
        end_of(held["bad"], FAILED)()
        skip = partial(services.skip_step, actor=who, plan_id=plan.pk, key="bad", reason="by hand")
        answers = together(skip, delayed(end_of(held["b"]), number))
        assert not any(isinstance(answer, Exception) for answer in answers), answers
        Engine().run()
        assert (stage(plan), live(plan)) == ("completed", 0)


def test_a_step_skipped_as_it_ends_is_refused_and_never_a_deadlock(approved, who):
    for number in range(ROUNDS):
        plan = approved(say("a"), **COUNTED)
        held = begun(plan)["a"]
        skip = partial(services.skip_step, actor=who, plan_id=plan.pk, key="a", reason="by hand")
        ended, skipped = together(end_of(held), delayed(skip, number))
        assert (ended, type(skipped).__name__, stage(plan)) == (True, "IllegalTransition", "completed")


@pytest.mark.parametrize("steer", [services.cancel_plan, services.retry_step])
def test_the_end_of_a_lease_against_a_person_leaves_nothing_behind(approved, who, steer):
    for number in range(ROUNDS):
        plan = approved(failing("bad", times=1), step("b", "diagnostic.noop", retry={"attempts": 1}))
        held = begun(plan)
        end_of(held["bad"], FAILED)()
        Engine().forget_beats()
        more = {"key": "bad"} if steer is services.retry_step else {"reason": "wrong"}
        answers = together(
            delayed(partial(steer, actor=who, plan_id=plan.pk, **more), number),
            delayed(reaper.interrupt_expired, ROUNDS - number),
        )
        too_late = isinstance(answers[0], IllegalTransition)  # it was a failed plan by then
        assert too_late or not any(isinstance(answer, Exception) for answer in answers), answers
        Engine().run()
        Engine().sweep()
        cancelled = steer is services.cancel_plan and not too_late
        assert (stage(plan), live(plan)) == ("cancelled" if cancelled else "failed", 0)
        assert tries(plan, "b")[0][1] == "interrupted"
