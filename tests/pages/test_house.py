"""The pages of agents, playbooks, the policy and the inbox, and the pages of errors."""

import pytest
from django.db import InterfaceError, OperationalError
from django.db.models.functions import Now
from django.http import Http404, HttpResponse
from django.urls import reverse
from psycopg_pool import PoolTimeout

from agents.models import Agent, Playbook
from chiffon_site.error_pages import ErrorPages, problem_of, server_error
from plans.models import ApprovalPolicy, Plan, Revision
from tests import factories


def test_an_agent_is_drained_and_activated_by_who_may(browse, admin, requester):
    factories.make_agent("forge-01")
    address = reverse("agents:agent", args=["forge-01"])
    assert "Steer it" not in browse(requester).get(address).text
    assert browse(requester).post(address, {"do": "drain"}).status_code == 403
    assert browse(admin).post(address, {"do": "drain", "reason": "new disk"}).status_code == 302
    assert Agent.objects.get().status == "draining"
    page = browse(admin).get(address).text
    assert "gets no new work" in page
    assert "new disk" in page
    assert browse(admin).post(address, {"do": "explode"}).status_code == 400
    assert browse(admin).post(address, {"do": "activate"}).status_code == 302
    assert Agent.objects.get().status == "ready"


def test_an_agent_without_a_heartbeat_says_unknown(browse, requester):
    factories.make_agent("quiet", heard_at=None, load={})
    assert "unknown" in browse(requester).get(reverse("agents:list")).text
    assert "never heard" in browse(requester).get(reverse("agents:agent", args=["quiet"])).text


def test_no_agent_at_all_says_how_to_start_one(browse, requester):
    assert "chiffon agent --name" in browse(requester).get(reverse("agents:list")).text


def test_the_catalogue_says_what_can_be_asked_for_and_what_is_odd(browse, requester, catalogue):
    client = browse(requester)
    page = client.get(reverse("agents:playbooks")).text
    assert "kuma-deploy.yml" in page
    assert "broken.yml" in page
    assert "7 playbooks, 6 can be asked for" in page
    assert "Some files can not be used as they are" in page
    found = client.get(reverse("agents:playbooks"), {"q": "certificate"}).text
    assert "cert-check.yml" in found
    assert client.get(reverse("agents:playbooks"), {"q": "\x00", "after": "zzz", "service": "'"}).status_code == 200


def test_a_playbook_shows_its_source_as_text_at_its_commit(browse, requester, catalogue):
    playbook = Playbook.objects.get(path="kuma-deploy.yml")
    page = browse(requester).get(reverse("agents:playbook", args=[playbook.pk])).text
    assert "# chiffon: service=kuma" in page
    assert catalogue.commit[:7] in page
    assert "kuma-remove.yml" in page


def test_a_playbook_whose_repository_is_gone_still_has_a_page(browse, requester, catalogue):
    type(catalogue).objects.update(location="/no/such/folder")
    playbook = Playbook.objects.get(path="kuma-deploy.yml")
    answer = browse(requester).get(reverse("agents:playbook", args=[playbook.pk]))
    assert answer.status_code == 200
    assert "as it was at commit" in answer.text
    assert "kuma-deploy.yml" in answer.text


def test_only_who_may_has_the_playbooks_read_anew(browse, requester, admin, catalogue):
    address = reverse("agents:refresh_playbooks")
    assert browse(requester).post(address).status_code == 403
    assert "were read at commit" in browse(admin).post(address, follow=True).text
    type(catalogue).objects.update(location="/no/such/folder")
    assert "What was found before stays" in browse(admin).post(address, follow=True).text
    assert browse(admin).get(address).status_code == 405


def test_the_policy_is_changed_by_an_administrator_with_a_reason(browse, admin, approver):
    factories.make_policy()
    address = reverse("plans:policy")
    assert "Write the next version" not in browse(approver).get(address).text
    change = {"approvals_needed": "2", "because": "two of us now"}
    assert browse(approver).post(address, change).status_code == 403
    for wrong in ({**change, "approvals_needed": "0"}, {**change, "because": " "}, {**change, "approvals_needed": "x"}):
        assert browse(admin).post(address, wrong).status_code == 400
    assert browse(admin).post(address, change).status_code == 302
    policy = ApprovalPolicy.objects.get(active=True)
    assert (policy.approvals_needed, policy.four_eyes, policy.because) == (2, False, "two of us now")
    assert "2 people must agree" in browse(approver).get(address).text


def test_the_inbox_shows_what_waits_for_whom(browse, requester, approver, pending):
    assert "1 thing waits for you" in browse(approver).get(reverse("plans:inbox")).text
    mine = browse(requester).get(reverse("plans:inbox")).text
    assert "Nothing waits for you" in mine
    assert pending.goal in browse(requester).get(reverse("plans:inbox"), {"tab": "all"}).text
    factories.approve(pending, approver)
    assert "Nothing waits for you" in browse(approver).get(reverse("plans:inbox")).text
    assert pending.goal in browse(approver).get(reverse("plans:inbox"), {"tab": "decided"}).text


def test_the_riskiest_plan_comes_first_and_then_the_oldest(browse, requester, approver):
    factories.make_policy()
    goals: list[str] = []
    for risk in ("low", "medium", "high", "medium"):
        plan = Plan.objects.create(requester=requester, goal=f"{risk} number {len(goals)}")
        Revision.objects.create(plan=plan, number=1, digest=f"{len(goals)}" * 64, risk=risk)
        Plan.objects.filter(pk=plan.pk).update(stage="pending_approval", submitted_at=Now())
        goals.append(plan.goal)
    page = browse(approver).get(reverse("plans:inbox")).text
    assert sorted(goals, key=lambda goal: page.index(f">{goal}</a>")) == [goals[2], goals[1], goals[3], goals[0]]


def test_a_run_that_stopped_is_under_its_tab(browse, requester, failed_run):
    assert "No route to host" in browse(requester).get(reverse("plans:inbox"), {"tab": "runs"}).text


def test_the_glance_is_fetched_alone(browse, approver, pending):
    answer = browse(approver).get(
        reverse("plans:inbox"), {"plan": pending.number}, headers={"HX-Request": "true", "HX-Target": "glance"}
    )
    assert answer.text.strip().startswith('<aside class="stack stick" id="glance"')
    assert browse(approver).get(reverse("plans:inbox"), {"plan": "9" * 40, "tab": "?"}).status_code == 200


@pytest.mark.parametrize("error", [OperationalError("server closed the connection"), InterfaceError("closed")])
def test_a_database_that_does_not_answer_is_a_page_that_says_what_goes_on(rf, error):
    answer = ErrorPages(HttpResponse).process_exception(rf.get("/plans/"), error)
    assert answer is not None
    assert answer.status_code == 503
    assert answer["Retry-After"] == "20"
    assert "Running steps go on" in answer.text
    assert "server closed" not in answer.text


def test_a_page_for_which_no_connection_came_free_says_that_many_are_asking(rf):
    error = OperationalError("couldn't get a connection after 2.00 sec")
    error.__cause__ = PoolTimeout()
    answer = ErrorPages(HttpResponse).process_exception(rf.get("/plans/"), error)
    assert answer is not None
    assert answer.status_code == 503
    assert "Too much is asked at once" in answer.text


def test_a_defect_is_a_page_with_a_number_and_no_traceback(rf):
    try:
        raise ZeroDivisionError("a secret detail")
    except ZeroDivisionError:
        answer = server_error(rf.get("/plans/"))
    assert answer.status_code == 500
    assert "our fault" in answer.text
    assert "secret detail" not in answer.text


def test_the_api_makes_its_own_answers(rf):
    assert ErrorPages(HttpResponse).process_exception(rf.get("/api/v1/plans"), Http404()) is None


def test_what_was_not_anticipated_is_left_to_the_log():
    assert problem_of(ZeroDivisionError()) is None


def test_an_agent_that_works_needs_no_reason_and_one_that_does_not_has_it(browse, requester):
    agent = factories.make_agent("forge-01", status_reason="It sent a heartbeat.")
    address = reverse("agents:agent", args=["forge-01"])
    assert "It sent a heartbeat." not in browse(requester).get(address).text
    Agent.objects.filter(pk=agent.pk).update(status="maintenance", status_reason="New disk.")
    assert "New disk." in browse(requester).get(address).text


def test_what_variables_are_for_is_shown_where_the_playbook_says_it(browse, requester, catalogue):
    playbook = Playbook.objects.get(path="kuma-deploy.yml")
    address = reverse("agents:playbook", args=[playbook.pk])
    variable = {"name": "kuma_port", "type": "int", "required": False, "default": 3001}
    for described, shown in (({}, False), ({"description": "Where Kuma listens."}, True)):
        playbook.details["variables"] = [variable | described]
        playbook.save(update_fields=["details"])
        page = browse(requester).get(address).text
        assert ('<th scope="col">Says</th>' in page) is shown
        assert ("Where Kuma listens." in page) is shown


def test_the_glance_of_an_empty_inbox_has_its_place_for_what_comes(browse, approver):
    assert '<aside id="glance" hidden></aside>' in browse(approver).get(reverse("plans:inbox")).text
