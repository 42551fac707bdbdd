"""What the pages of a plan and its run say about its budget."""

import re

import pytest
from django.urls import reverse

from tests import factories
from tests.engine import Engine
from tests.factories import step

pytestmark = pytest.mark.django_db


def text_of(client, name, plan):
    page = client.get(reverse(f"plans:{name}", args=[plan.number]))
    assert page.status_code == 200
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", page.content.decode()))


def test_a_budget_is_read_before_deciding_and_watched_while_it_runs(client, requester, approver):
    factories.make_agent("infra-1", slots=4)
    keys = [f"s{n}" for n in range(5)]
    steps = [step(key, depends_on=keys[place - 1 : place] if place else []) for place, key in enumerate(keys)]
    plan = factories.make_plan(requester, steps, budget={"call_ceiling": 4, "cost_ceiling": 2.5})
    client.force_login(approver)
    read = text_of(client, "plan", plan)
    assert "4 calls, cost of 2.5" in read
    assert "at the end of it the call that would pass it is not made" in read
    assert "The budget may end before the plan does" in read
    factories.approve(plan, approver)
    engine = Engine()
    for _ in range(3):
        engine.step()
    watched = text_of(client, "run", plan)
    assert "3 of 4 calls, 75 %" in watched and "cost 0 of 2.5, 0 %" in watched
    assert "The budget comes to its end" not in watched
    engine.run()
    over = text_of(client, "run", plan)
    assert "4 of 4 calls, 100 %" in over
    assert "The budget comes to its end" in over and "The budget has met its end" in over
    assert "budget&#x27;s 4 calls are spent" in over and "A rule did not let it run." in over
    assert "4 of 4 calls, 100 %" in text_of(client, "plan", plan)


def test_a_plan_without_a_budget_shows_none(client, requester, approver):
    plan = factories.make_plan(requester)
    client.force_login(requester)
    assert "Budget none set" in text_of(client, "plan", plan)
    assert 'aria-labelledby="budget-title"' not in client.get(reverse("plans:run", args=[plan.number])).content.decode()
