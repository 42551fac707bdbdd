"""What people see of locks between plans and of circuit breakers (RUN-8, RUN-10)."""

from uuid import uuid4

import pytest
from django.db.models.functions import Now
from django.urls import reverse

from agents.breaker import breakers
from agents.models import Breaker
from audit.authority import Role
from plans.models import Plan
from tests import factories
from tests.engine import Engine


@pytest.fixture
def pair(requester, approver, stranger):
    """A plan that works on atlas, and one of somebody else that waits for it."""
    factories.make_agent("forge-01")

    def approved(person):
        step = factories.step("a", "diagnostic.noop", input={"target": "atlas"})
        return factories.approve(factories.make_plan(person, [step]), approver)

    return approved(requester), approved(stranger)


@pytest.mark.parametrize("view", ["plans:plan", "plans:run"])
def test_a_plan_that_waits_says_for_which_and_leads_there(browse, approver, pair, view):
    first, second = pair
    page = browse(approver).get(reverse(view, args=[second.number])).text
    assert f"Waits for plan {first.number}, which works on host atlas (asked by requester, since " in page
    assert f'<a href="{reverse("plans:run", args=[first.number])}">See plan {first.number}</a>' in page
    assert "See plan" not in browse(approver).get(reverse(view, args=[first.number])).text


@pytest.mark.parametrize("view", ["plans:plan", "plans:run"])
def test_who_may_not_open_the_other_plan_reads_whom_to_ask_and_gets_no_link(browse, stranger, pair, view):
    first, second = pair
    page = browse(stranger).get(reverse(view, args=[second.number])).text
    assert f"Waits for plan {first.number}" in page
    assert "See plan" not in page


def test_nothing_is_said_of_the_wait_once_it_is_over(browse, approver, pair):
    first, second = pair
    Engine().run()
    assert Plan.objects.get(pk=second.pk).stage == "completed"
    assert "It goes on by itself" not in browse(approver).get(reverse("plans:run", args=[second.number])).text


def test_waiting_plans_cost_a_page_no_more_queries_the_more_there_are(browse, approver, pair, requester, count_queries):
    _, second = pair
    address = reverse("plans:run", args=[second.number])
    few = count_queries(browse(approver), address)
    for _ in range(4):
        step = factories.step("a", "diagnostic.noop", input={"target": "atlas"})
        factories.approve(factories.make_plan(requester, [step]), approver)
    assert count_queries(browse(approver), address) == few


class TestBreakers:
    @pytest.fixture
    def opened(self, db, embedded_servers):
        target = f"host:h-{uuid4()}"
        for _ in range(5):
            breakers().note({("ansible.playbook", target): "bad"}, "try", error="<b>no route</b> to host")
        return Breaker.objects.get(target=target)

    @pytest.fixture
    def keeper(self, db):
        return factories.make_user("keeper", Role.AGENT_ADMIN)

    def test_they_are_shown_with_their_last_failure_as_text(self, browse, requester, opened):
        page = browse(requester).get(reverse("agents:list")).text
        assert opened.where in page
        assert "&lt;b&gt;no route&lt;/b&gt; to host" in page
        assert "5 tries in a row failed" in page
        assert "1 circuit breaker keeps tries back" in page
        assert "one try goes through <time" in page
        assert "Reset" not in page

    def test_one_whose_time_is_over_says_that_the_next_try_goes_through(self, browse, requester, opened):
        Breaker.objects.filter(pk=opened.pk).update(until=Now())
        assert "the next try goes through" in browse(requester).get(reverse("agents:list")).text

    def test_who_manages_agents_resets_one_with_a_reason(self, browse, keeper, opened):
        address = reverse("agents:reset_breaker", args=[opened.pk])
        page = browse(keeper).post(address, {"reason": "new cable"}, follow=True).text
        assert f"The breaker of {opened} is closed." in page
        assert "Every circuit breaker is closed" in page
        opened.refresh_from_db()
        assert opened.state == "closed"

    @pytest.mark.parametrize("given", [{}, {"reason": "  "}])
    def test_without_a_reason_it_stays_open_and_the_page_says_why(self, browse, keeper, opened, given):
        page = browse(keeper).post(reverse("agents:reset_breaker", args=[opened.pk]), given, follow=True).text
        assert "Say why it is reset" in page
        opened.refresh_from_db()
        assert opened.state == "open"

    def test_others_do_not_reset(self, browse, requester, opened):
        assert (
            browse(requester).post(reverse("agents:reset_breaker", args=[opened.pk]), {"reason": "x"}).status_code
            == 403
        )

    def test_one_that_is_not_there_is_not_found(self, browse, keeper):
        assert browse(keeper).post(reverse("agents:reset_breaker", args=[uuid4()]), {"reason": "x"}).status_code == 404

    def test_none_at_all_says_what_they_are_for(self, browse, requester):
        assert "No circuit breaker has opened yet" in browse(requester).get(reverse("agents:list")).text
