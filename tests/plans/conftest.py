"""A plan that ran, or failed, and the requester who changes it."""

import pytest

from audit.context import Actor
from plans import services
from plans.models import Plan
from tests import factories
from tests.engine import Engine


@pytest.fixture
def engine():
    factories.make_agent("infra-1", slots=4)
    return Engine()


@pytest.fixture
def who(requester):
    return Actor.person(requester)


@pytest.fixture
def done(requester, approver, engine):
    """A plan of these steps that ran as far as it comes."""

    def made(*steps, **more):
        plan = factories.approve(factories.make_plan(requester, list(steps), **more), approver)
        engine.run()
        return Plan.objects.get(pk=plan.pk)

    return made


@pytest.fixture
def failed(done):
    """A plan of these steps that ran to where it fails."""

    def made(*steps, **more):
        plan = done(*steps, **more)
        assert plan.stage == "failed"
        return plan

    return made


@pytest.fixture
def revise(who):
    def made(plan, *steps, reason="The port was wrong", **more):
        return services.revise_plan(actor=who, plan_id=plan.pk, steps=list(steps), reason=reason, **more)

    return made
