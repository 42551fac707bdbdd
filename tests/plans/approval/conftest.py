"""A plan that waits for its approvers."""

import pytest

from audit.context import Actor
from plans import services
from tests import factories
from tests.factories import step


@pytest.fixture
def plan(requester):
    factories.make_agent("infra-1")
    return factories.make_plan(requester, [step("a"), step("b", depends_on=["a"])])


@pytest.fixture
def digest(plan):
    return factories.digest_of(plan)


def approve(person, plan, digest, **more):
    return services.approve_plan(actor=Actor.person(person), plan_id=plan.pk, digest=digest, **more)


def reject(person, plan, **more):
    return services.reject_plan(actor=Actor.person(person), plan_id=plan.pk, **more)
