"""What steps remembered, on the page of their run and in the API."""

import pytest
from django.test import Client
from django.urls import reverse

from audit.authority import Role
from plans.models import StateEntry
from tests import factories
from tests.engine import Engine
from tests.factories import step

pytestmark = pytest.mark.django_db


@pytest.fixture
def plan(requester, approver):
    factories.make_agent("infra-1", slots=4)
    kept = [
        step(
            f"s{place}",
            "state.remember",
            input={"scope": scope, "key": "url", "value": f"<b>{scope}</b>"},
            depends_on=[f"s{place - 1}"] if place else [],
        )
        for place, scope in enumerate(("execution", "global", "session"))
    ]
    made = factories.approve(factories.make_plan(requester, kept), approver)
    Engine().run()
    return made


def test_the_page_of_a_run_shows_what_its_steps_remember(client, approver, plan):
    client.force_login(approver)
    page = client.get(reverse("plans:run", args=[plan.number])).content.decode()
    assert "<code>state.execution.url</code>" in page and "<code>state.global.url</code>" in page
    assert "&lt;b&gt;session&lt;/b&gt;" in page and "<b>session</b>" not in page


def test_a_run_whose_steps_remember_nothing_shows_no_state(client, requester):
    plan = factories.make_plan(requester)
    client.force_login(requester)
    assert "<strong>State</strong>" not in client.get(reverse("plans:run", args=[plan.number])).content.decode()


def api(user, path, **query):
    token = factories.make_token(user)
    return Client().get(f"/api/v1/plans/{path}/state", query, headers={"authorization": f"Bearer {token}"})


def test_the_api_tells_it_page_by_page_to_who_may_see_the_plan(requester, auditor, plan):
    told = api(requester, plan.pk).json()
    assert [(item["scope"], item["step"]) for item in told["items"]] == [
        ("session", "s2"),
        ("global", "s1"),
        ("execution", "s0"),
    ]
    assert told["items"][0] | {"written_at": 0, "expires_at": 0} == {
        "scope": "session", "key": "url", "value": "<b>session</b>", "size": 16, "step": "s2", "written_at": 0, "expires_at": 0,
    }  # fmt: skip
    first = api(requester, plan.number, limit=2).json()
    rest = api(requester, plan.number, limit=2, after=first["next"]).json()
    assert [len(first["items"]), len(rest["items"]), rest["next"]] == [2, 1, None]
    assert [item["scope"] for item in api(auditor, plan.pk, scope="global").json()["items"]] == ["global"]
    assert api(factories.make_user("stranger", Role.REQUESTER), plan.pk).status_code == 404


def test_what_another_plan_wrote_over_is_told_of_that_plan_only(requester, approver, plan):
    again = step("again", "state.remember", input={"scope": "global", "key": "url", "value": 2})
    other = factories.approve(factories.make_plan(requester, [again]), approver)
    Engine().run()
    assert [item["scope"] for item in api(requester, plan.pk).json()["items"]] == ["session", "execution"]
    assert [item["value"] for item in api(requester, other.pk).json()["items"]] == [2]
    assert StateEntry.objects.count() == 3


@pytest.mark.parametrize(
    "query", [{"scope": "world"}, {"after": "x"}, {"limit": 0}, {"limit": "1e9"}, {"after": "9" * 40}]
)
def test_a_question_that_is_none_is_refused(requester, plan, query):
    assert api(requester, plan.pk, **query).status_code == 422


@pytest.mark.parametrize("path", ["0", "9" * 30, "nothing", "0199c4e2-7b1a-7000-8000-000000000000", "%00"])
def test_a_plan_that_is_not_there_has_no_state(requester, path):
    assert api(requester, path).status_code == 404
