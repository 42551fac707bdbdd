"""Circuit breakers and waits for other plans through the API (RUN-8, RUN-10)."""

from uuid import uuid4

import pytest

from agents.breaker import breakers
from agents.models import Breaker
from audit.models import DecisionRecord
from tests import factories
from tests.api.conftest import is_problem


@pytest.fixture
def opened(db, embedded_servers):
    """A breaker that has opened."""
    target = f"host:h-{uuid4()}"
    for _ in range(5):
        breakers().note({("ansible.playbook", target): "bad"}, "try", error="no route to host")
    return Breaker.objects.get(target=target)


def test_breakers_are_told_and_reset_with_a_reason(as_requester, as_admin, opened):
    Breaker.objects.create(tool="ansible.playbook", target="host:quiet")
    [told] = as_requester.get("/breakers?state=open").json()["items"]
    assert {**told, "since": "", "until": ""} == {
        "id": str(opened.pk), "tool": "ansible.playbook", "target": opened.target, "state": "open", "failures": 5, "held": 0,
        "since": "", "until": "", "last_error": "no route to host",
    }  # fmt: skip
    assert told["until"].endswith("Z")
    answer = as_admin.post(f"/breakers/{opened.pk}/reset", {"reason": "New cable"})
    assert (answer.status_code, answer.json()["state"], answer.json()["until"]) == (200, "closed", None)
    assert as_requester.get("/breakers?state=open").json()["items"] == []
    assert DecisionRecord.objects.get(type="breaker.reset").reason == "New cable"


def test_breakers_are_paged(as_requester):
    for number in range(3):
        Breaker.objects.create(tool="t", target=f"host:{number}")
    first = as_requester.get("/breakers?limit=2").json()
    rest = as_requester.get(f"/breakers?limit=2&after={first['next']}").json()
    assert rest["next"] is None
    seen = [row["target"] for row in first["items"] + rest["items"]]
    assert sorted(seen) == ["host:0", "host:1", "host:2"]  # those made in one millisecond come in any order


@pytest.mark.parametrize(
    "body", [{}, {"reason": ""}, {"reason": 3}, {"reason": "x" * 5000}, {"reason": "a", "b": 1}, "x"]
)
def test_a_reset_without_a_reason_is_refused(as_admin, opened, body):
    assert is_problem(as_admin.post(f"/breakers/{opened.pk}/reset", body), 400 if body == "x" else 422)
    opened.refresh_from_db()
    assert opened.state == "open"


def test_a_blank_reason_is_none(as_admin, opened):
    is_problem(as_admin.post(f"/breakers/{opened.pk}/reset", {"reason": "  "}), 422, "reason_missing")


def test_a_breaker_that_is_not_there_is_not_found(as_admin):
    is_problem(as_admin.post(f"/breakers/{uuid4()}/reset", {"reason": "x"}), 404, "not_found")
    assert as_admin.post("/breakers/nonsense/reset", {"reason": "x"}).status_code in {404, 422}


@pytest.mark.parametrize("query", ["state=broken", "after=x", "limit=0", "limit=1e9", "state=%00"])
def test_a_filter_that_cannot_be_read_is_named(as_requester, query):
    is_problem(as_requester.get(f"/breakers?{query}"), 422)


def test_a_plan_says_for_which_plan_it_waits(as_requester, requester, approver):
    def approved():
        step = factories.step("a", "diagnostic.noop", input={"target": "atlas"})
        return factories.approve(factories.make_plan(requester, [step]), approver)

    first, second = approved(), approved()
    assert as_requester.get(f"/plans/{first.pk}").json()["waiting_for"] is None
    told = as_requester.get(f"/plans/{second.pk}").json()
    assert told["waiting_for"].startswith(
        f"Waits for plan {first.number}, which works on host atlas (asked by requester"
    )
    assert (told["stage"], told["steps"][0]["status"]) == ("approved", "waiting")
    assert told["steps"][0]["waiting_for"] == told["waiting_for"]
    assert told["steps"][0]["hosts"] == ["atlas"]
