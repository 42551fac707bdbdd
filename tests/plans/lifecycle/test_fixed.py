"""What a step was approved with can be changed by nobody, and its numbers can not go below zero: the database refuses it."""

import pytest
from django.db import IntegrityError, ProgrammingError, transaction

from plans.enums import Stage, StepStatus
from plans.models import Attempt, Plan, Revision, Step

pytestmark = pytest.mark.django_db


@pytest.fixture
def step(requester):
    plan = Plan.objects.create(requester=requester, goal="Try", stage=Stage.PENDING_APPROVAL, max_parallel=2)
    revision = Revision.objects.create(plan=plan, number=1)
    return Step.objects.create(
        plan=plan, revision=revision, index=1, key="a", name="a", tool="diagnostic.noop", leaf="f" * 64, items=["x"]
    )


@pytest.mark.parametrize(
    "change",
    [
        {"tool": "playbook.run"},
        {"input": {"value": 2}},
        {"hosts": ["elsewhere"]},
        {"timeout_seconds": 1},
        {"retry": {"attempts": 9}},
        {"when": "true"},
        {"leaf": "e" * 64},
        {"items": ["y"]},
    ],
    ids=lambda change: next(iter(change)),
)
def test_what_was_approved_stays(step, change):
    with pytest.raises(ProgrammingError, match="Cannot update"), transaction.atomic():
        Step.objects.filter(pk=step.pk).update(**change)
    with pytest.raises(ProgrammingError, match="Cannot update"), transaction.atomic():
        Step.objects.filter(pk=step.pk).update(status=StepStatus.WAITING, **change)
    assert Step.objects.get(pk=step.pk).status == StepStatus.PENDING


def test_how_many_steps_run_at_once_stays(step):
    with pytest.raises(ProgrammingError, match="Cannot update"):
        Plan.objects.filter(pk=step.plan_id).update(max_parallel=100)


@pytest.mark.parametrize("number", ["unmet", "token", "attempts_made", "items_open", "estimated_seconds"])
def test_no_number_of_a_step_goes_below_zero(step, number):
    with pytest.raises(IntegrityError, match="negative"):
        Step.objects.filter(pk=step.pk).update(**{number: -1})


@pytest.mark.parametrize("number", ["number", "expects_token", "token", "line_count"])
def test_no_number_of_an_attempt_goes_below_zero(step, number):
    attempt = Attempt.objects.create(step=step, plan=step.plan, number=1, token=1)
    with pytest.raises(IntegrityError, match="negative"):
        Attempt.objects.filter(pk=attempt.pk).update(**{number: -1})
