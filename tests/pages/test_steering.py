"""The pages that cancel, pause, resume and skip: they ask once more, and say what stands against it."""

import pytest
from django.urls import reverse

from audit.authority import Role
from tests import factories
from tests.engine import Engine, stage
from tests.factories import step

pytestmark = pytest.mark.django_db


@pytest.fixture
def running(requester, approver):
    factories.make_agent("infra-1", slots=4)
    plan = factories.approve(
        factories.make_plan(
            requester,
            [
                step("a", "diagnostic.fail", input={"times": 9, "transient": False}),
                step("b"),
                step("c", depends_on=["a"]),
            ],
        ),
        approver,
    )
    plan.refresh_from_db()
    return plan


def url(name, plan, *more):
    return reverse(f"plans:{name}", args=[plan.number, *more])


def test_a_plan_is_cancelled_from_its_page_with_a_reason(client, requester, running):
    client.force_login(requester)
    asked = client.get(url("cancel", running))
    assert b"Nothing new starts" in asked.content and stage(running) == "approved"
    assert client.post(url("cancel", running), {"reason": ""}).status_code == 400
    done = client.post(url("cancel", running), {"reason": "not today"}, follow=True)
    assert b"is being cancelled" in done.content
    assert stage(running) == "cancelled"


def test_a_second_cancel_is_told_what_stands_against_it(client, requester, running):
    client.force_login(requester)
    client.post(url("cancel", running), {"reason": "one"})
    again = client.post(url("cancel", running), {"reason": "two, as typed"})
    assert again.status_code == 409
    assert b"nothing is left to cancel" in again.content and b"two, as typed" in again.content


def test_a_run_is_paused_and_resumed_and_offers_only_what_is_possible(client, approver, running):
    client.force_login(approver)
    Engine().run()
    page = client.get(url("run", running)).content
    assert b"Skip a" in page and b"Cancel" not in page  # it has failed: nothing is left to cancel
    assert client.post(url("pause", running)).status_code == 409
    client.post(url("skip_step", running, "a"), {"reason": "by hand"})
    page = client.get(url("run", running)).content
    assert b"Pause" in page and b"Cancel" in page
    client.post(url("pause", running))
    assert stage(running) == "paused"
    assert b"Resume" in client.get(url("run", running)).content
    client.post(url("resume", running))
    assert stage(running) == "executing"


@pytest.mark.parametrize("name", ["cancel", "pause", "resume"])
def test_reading_the_page_changes_nothing_and_strangers_find_none(client, auditor, running, name):
    stranger = factories.make_user("stranger", Role.REQUESTER)
    client.force_login(stranger)
    assert client.get(url(name, running)).status_code == 404
    client.force_login(auditor)
    assert client.post(url(name, running), {"reason": "x"}).status_code == 403
    assert stage(running) == "approved"


def test_only_who_may_approve_skips(client, requester, approver, running):
    client.force_login(requester)
    assert client.post(url("skip_step", running, "b"), {"reason": "x"}).status_code == 403
    client.force_login(approver)
    assert client.get(url("skip_step", running, "nope")).status_code == 404
