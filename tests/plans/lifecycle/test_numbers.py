"""The numbers that execution counts with can not go below zero, and a step is tried by one at a time: the database sees to it."""

import pytest
from django.db import IntegrityError

from plans.models import Attempt, Step
from tests import factories

pytestmark = pytest.mark.django_db


@pytest.fixture
def step(requester):
    return Step.objects.get(plan=factories.make_plan(requester, [factories.step("a")]))


@pytest.mark.parametrize("number", ["index", "unmet", "token", "attempts_made", "items_open", "estimated_seconds"])
def test_no_number_of_a_step_goes_below_zero(step, number):
    with pytest.raises(IntegrityError, match="negative"):
        Step.objects.filter(pk=step.pk).update(**{number: -1})


@pytest.mark.parametrize("number", ["number", "expects_token", "token", "line_count"])
def test_no_number_of_an_attempt_goes_below_zero(step, number):
    attempt = Attempt.objects.create(step=step, plan=step.plan, number=1, token=1)
    with pytest.raises(IntegrityError, match="negative"):
        Attempt.objects.filter(pk=attempt.pk).update(**{number: -1})


def test_a_step_has_one_live_attempt(step):
    Attempt.objects.create(step=step, plan=step.plan, number=1)
    with pytest.raises(IntegrityError, match="one_live_attempt_per_step"):
        Attempt.objects.create(step=step, plan=step.plan, number=2)
