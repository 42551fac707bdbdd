"""The tables of legal moves are the only ones: Python and PostgreSQL know the same."""

import itertools
from typing import Any

import pytest
from django.db import ProgrammingError, transaction

from agents.enums import AgentStatus, JobStatus
from agents.errors import IllegalAgentMove
from agents.lifecycle import move_agent
from agents.lifecycle_tables import AGENT_TRANSITIONS, JOB_TRANSITIONS
from agents.models import Agent, Job
from audit.errors import NoTransaction
from audit.models import DecisionRecord
from plans import lifecycle
from plans.enums import FINAL_STAGES, AttemptStatus, RequestStatus, Stage, StepStatus
from plans.errors import IllegalTransition, StaleTransition
from plans.lifecycle_tables import ATTEMPT_TRANSITIONS, REQUEST_TRANSITIONS, STAGE_TRANSITIONS, STEP_TRANSITIONS
from plans.models import Attempt, Event, Plan, Request, Revision, Session, Step
from tests import factories

pytestmark = pytest.mark.django_db


def a_plan(requester, stage=Stage.DRAFT):
    plan = Plan.objects.create(requester=requester, goal="Try", stage=stage)
    plan.refresh_from_db()
    return plan


def a_step(requester, status=StepStatus.PENDING):
    plan = a_plan(requester, Stage.EXECUTING)
    revision = Revision.objects.create(plan=plan, number=1)
    return Step.objects.create(
        plan=plan, revision=revision, index=1, key="a", name="a", tool="diagnostic.noop", status=status
    )


def an_attempt(requester, status):
    agent = Agent.objects.filter(name="infra-1").first() or factories.make_agent()
    step = a_step(requester)
    return Attempt.objects.create(step=step, plan=step.plan, number=1, status=status, agent=agent, token=1)


def a_request(requester, status):
    made = Request.objects.create(
        session=Session.objects.create(owner=requester), requester=requester, text="x", status=status
    )
    made.refresh_from_db()
    return made


def an_agent(requester, status):
    return factories.make_agent(f"agent-{status}-{Agent.objects.count()}", status=status)


def a_job(requester, status):
    return Job.objects.create(kind="test", status=status)


LIFECYCLES: dict[str, Any] = {
    "plan": (a_plan, "stage", Stage, STAGE_TRANSITIONS),
    "step": (a_step, "status", StepStatus, STEP_TRANSITIONS),
    "attempt": (an_attempt, "status", AttemptStatus, ATTEMPT_TRANSITIONS),
    "request": (a_request, "status", RequestStatus, REQUEST_TRANSITIONS),
    "agent": (an_agent, "status", AgentStatus, AGENT_TRANSITIONS),
    "job": (a_job, "status", JobStatus, JOB_TRANSITIONS),
}


def moves_that_the_database_takes(row, field, words):
    taken = set()
    was = getattr(row, field)
    for to in words:
        try:
            with transaction.atomic():
                assert type(row).objects.filter(pk=row.pk).update(**{field: to}) == 1
                taken.add(str(to))
                raise Undo
        except Undo:
            pass
        except ProgrammingError as error:
            assert "Invalid transition" in str(error)  # noqa: PT017 - several are tried in one test
    taken.discard(str(was))
    return taken


class Undo(Exception):
    """Takes a trial back."""


@pytest.mark.parametrize("name", LIFECYCLES)
def test_the_database_takes_exactly_the_moves_of_the_table(name, requester):
    make, field, words, table = LIFECYCLES[name]
    for was in words:
        row = make(requester, was)
        expected = {str(to) for to in table.get(was, ())}
        assert moves_that_the_database_takes(row, field, words) == expected, f"{name} from {was}"


@pytest.mark.parametrize(("was", "to"), list(itertools.product(Stage, Stage)))
def test_a_plan_moves_only_by_the_table_and_leaves_one_record(was, to, requester):
    plan = a_plan(requester, was)
    if to not in STAGE_TRANSITIONS.get(was, ()):
        with pytest.raises(IllegalTransition, match=f"Plan {plan.number} is"):
            lifecycle.transition(plan, to=to, because="a test")
        assert not DecisionRecord.objects.filter(trace_id=plan.trace_id).exists()
        assert not Event.objects.filter(plan_id=plan.pk).exists()
        assert Plan.objects.get(pk=plan.pk).stage == was
        return
    lifecycle.transition(plan, to=to, because="a test")
    record = DecisionRecord.objects.get(trace_id=plan.trace_id, type="plan.stage_changed")
    assert (record.metadata["was"], record.metadata["now"], record.reason) == (was, to, "a test")
    event = Event.objects.get(plan_id=plan.pk)
    assert event.data == {"was": str(was), "now": str(to), "reason": "a test"}
    plan.refresh_from_db()
    assert (plan.stage, plan.stage_reason) == (to, "a test")
    assert (plan.finished_at is not None) == (to in FINAL_STAGES or to is Stage.FAILED)


@pytest.mark.parametrize(("was", "to"), list(itertools.product(StepStatus, StepStatus)))
def test_a_step_moves_only_by_the_table(was, to, requester):
    step = a_step(requester, was)
    if to in STEP_TRANSITIONS.get(was, ()):
        lifecycle.move_step(step, to=to, waiting_for="x")
        assert Event.objects.get(step_key="a").data["now"] == to
    else:
        with pytest.raises(IllegalTransition):
            lifecycle.move_step(step, to=to)
        assert Step.objects.get(pk=step.pk).status == was


@pytest.mark.parametrize(("was", "to"), list(itertools.product(RequestStatus, RequestStatus)))
def test_a_request_moves_only_by_the_table(was, to, requester):
    request = a_request(requester, was)
    if to is was or to in REQUEST_TRANSITIONS.get(was, ()):
        lifecycle.move_request(request, to=to)
        assert Request.objects.get(pk=request.pk).status == to
    else:
        with pytest.raises(IllegalTransition):
            lifecycle.move_request(request, to=to)


@pytest.mark.parametrize(("was", "to"), list(itertools.product(AgentStatus, AgentStatus)))
def test_an_agent_moves_only_by_the_table(was, to, requester):
    agent = an_agent(requester, was)
    if to is was or to in AGENT_TRANSITIONS.get(was, ()):
        assert move_agent(agent, to=to, because="a test")
        assert Agent.objects.get(pk=agent.pk).status == to
    else:
        with pytest.raises(IllegalAgentMove):
            move_agent(agent, to=to, because="a test")


def test_who_believes_an_old_stage_loses(requester):
    plan = a_plan(requester, Stage.PENDING_APPROVAL)
    stale = Plan.objects.get(pk=plan.pk)
    lifecycle.transition(plan, to=Stage.APPROVED, because="first")
    with pytest.raises(StaleTransition):
        lifecycle.transition(stale, to=Stage.REJECTED, because="second")
    assert Plan.objects.get(pk=plan.pk).stage == Stage.APPROVED
    assert DecisionRecord.objects.filter(type="plan.stage_changed").count() == 1


def test_who_believes_an_old_status_of_a_step_loses(requester):
    step = a_step(requester, StepStatus.READY)
    stale = Step.objects.get(pk=step.pk)
    lifecycle.move_step(step, to=StepStatus.RUNNING)
    with pytest.raises(StaleTransition):
        lifecycle.move_step(stale, to=StepStatus.WAITING)


@pytest.mark.django_db(transaction=True)
def test_nothing_moves_outside_a_transaction(transactional_db):
    from tests.factories import make_user

    plan = a_plan(make_user("requester"), Stage.DRAFT)
    with pytest.raises(NoTransaction):
        lifecycle.transition(plan, to=Stage.PENDING_APPROVAL, because="a test")
    assert Plan.objects.get(pk=plan.pk).stage == Stage.DRAFT
