"""A running plan, with an engine that is turned by hand."""

import pytest

from tests import factories
from tests.engine import Engine


@pytest.fixture
def engine():
    return Engine()


@pytest.fixture
def agent(db):
    return factories.make_agent("infra-1", slots=4)


@pytest.fixture
def approved(requester, approver, agent):
    """Make a plan of these steps and approve it."""

    def make(*steps, **more):
        return factories.approve(factories.make_plan(requester, steps, **more), approver)

    return make
