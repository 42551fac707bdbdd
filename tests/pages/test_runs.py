"""The page of a run, without JavaScript: whether a person is needed, what was said, and another try."""

import pytest
from django.template.loader import render_to_string
from django.urls import reverse

from audit.context import SYSTEM, Actor
from plans import live, services
from plans.enums import EventType
from plans.execution import attempt
from plans.models import Attempt, Event, Plan, Step
from plans.selectors import run_page
from tests import factories
from tests.engine import Engine


def run(client, plan, **query):
    answer = client.get(reverse("plans:run", args=[plan.number]), query)
    assert answer.status_code == 200
    return answer.text


def test_a_failed_step_says_who_must_act_and_how(browse, requester, failed_run):
    page = run(browse(requester), failed_run)
    assert "one failed after 12 tries. A person decides how it goes on." in page
    assert "No route to host" in page
    assert "two waits for it." in page
    assert f'href="{reverse("plans:retry_step", args=[failed_run.number, "one"])}"' in page
    assert "forge-01 had the better record." in page
    assert "not asked: it is offline" in page


def test_who_may_not_try_again_is_told_who_may(browse, auditor, failed_run):
    page = run(browse(auditor), failed_run)
    assert "can try it again." in page
    assert "/retry/" not in page
    answer = browse(auditor).get(reverse("plans:retry_step", args=[failed_run.number, "one"]))
    assert answer.status_code == 403


def test_the_last_five_hundred_lines_are_shown_and_the_others_are_a_link_away(browse, requester, failed_run):
    client = browse(requester)
    page = run(client, failed_run)
    assert 'id="L1200"' in page
    assert 'id="L701"' in page
    assert 'id="L700"' not in page
    assert "700 earlier lines" in page
    around = run(client, failed_run, step="one", line=300)
    assert 'id="L300"' in around
    assert 'id="L1200"' not in around
    assert "later lines" in around
    assert "line 5 of try 11" in run(client, failed_run, **{"step": "one", "try": 11, "line": 1})


def test_output_keeps_its_colours_and_loses_its_markup(browse, requester, failed_run):
    page = run(browse(requester), failed_run)
    assert '<li id="L1200" class="hit">' in page
    assert '<span class="a-red">fatal: [h1] &lt;b&gt;no route&lt;/b&gt;</span>' in page
    assert "line=1200#L1200" in page  # the first error


@pytest.mark.parametrize(
    "query", [{"step": "nothing"}, {"try": "x"}, {"line": "-5"}, {"line": "9" * 40}, {"try": "99"}, {"step": "\x00"}]
)
def test_an_address_that_points_nowhere_still_shows_the_run(browse, requester, failed_run, query):
    assert "one failed" in run(browse(requester), failed_run, **query)


def test_another_try_is_asked_for_once_more_and_then_made(browse, requester, failed_run):
    client, address = browse(requester), reverse("plans:retry_step", args=[failed_run.number, "one"])
    question = client.get(address).text
    assert "Try one again?" in question
    assert "as try 13" in question
    tries = Attempt.objects.filter(step__key="one").count()
    answer = client.post(address, {"reason": "the route is back"})
    assert (answer.status_code, answer["Location"]) == (302, reverse("plans:run", args=[failed_run.number]))
    assert Attempt.objects.filter(step__key="one").count() == tries + 1
    assert Plan.objects.get(pk=failed_run.pk).stage == "executing"
    again = client.post(address, {"reason": ""})
    assert again.status_code == 409
    assert "illegal_transition" in again.text


def test_a_step_that_did_not_fail_can_not_be_tried_again(browse, requester, failed_run):
    answer = browse(requester).get(reverse("plans:retry_step", args=[failed_run.number, "two"]))
    assert "There is nothing to try again" in answer.text
    assert browse(requester).get(reverse("plans:retry_step", args=[failed_run.number, "no"])).status_code == 404


def test_a_step_whose_outcome_is_unknown_says_what_is_not_known(browse, requester, failed_run):
    step = Step.objects.get(plan=failed_run, key="one")
    for status in ("ready", "running", "unknown"):
        Step.objects.filter(pk=step.pk).update(status=status)
    page = run(browse(requester), failed_run)
    assert "The outcome of one is unknown." in page
    assert "may or may not have had its effect" in page


@pytest.mark.parametrize("kind", list(EventType))
def test_each_event_is_a_sentence_whatever_it_carries(browse, requester, failed_run, kind):
    Event.objects.filter(plan_id=failed_run.pk).delete()
    for data in ({}, {"now": "failed", "text": "I look", "tool": "git", "summary": 5, "outcome": "completed"}):
        Event.objects.create(plan_id=failed_run.pk, type=kind, step_key="one", data=data)
    assert "What the agents do" in run(browse(requester), failed_run)


def test_the_parts_that_are_pushed_are_those_of_the_first_paint(browse, requester, failed_run, rf):
    page = run(browse(requester), failed_run)
    request = rf.get(reverse("plans:run", args=[failed_run.number]))
    request.user = requester
    shown = {"run": run_page(failed_run, Actor.person(requester))}
    for name in ("head", "callout", "steps", "time", "result", "log_state", "log_foot"):
        part = render_to_string(f"plans/run.html#{name}", shown, request)
        assert part.count("<time") or part in page
        assert f'id="{name.replace("_", "-")}"' in part


def test_a_run_of_many_steps_lists_those_that_need_eyes(browse, requester, approver):
    plan = factories.make_plan(requester, [factories.step(f"s{n}") for n in range(120)])
    plan = factories.approve(plan, approver)
    page = run(browse(requester), plan, step="s99")
    assert 'id="step-s99"' in page
    assert "80 more steps are not listed" in page


def test_a_plan_that_never_ran_has_a_quiet_run_page(browse, requester, pending):
    page = run(browse(requester), pending)
    assert "Nothing runs before the plan is approved." in page


@pytest.mark.parametrize("name", ["plans:plan", "plans:run"])
def test_what_happens_before_the_cursor_of_a_page_is_on_the_page(browse, requester, pending, monkeypatch, name):
    taken = live.cursor_now

    def late(plan):
        services.cancel_plan(actor=Actor.person(requester), plan_id=pending.pk, reason="Just now")
        return taken(plan)

    monkeypatch.setattr(live, "cursor_now", late)  # else nothing would come between the plan and its cursor
    page = browse(requester).get(reverse(name, args=[pending.number])).content.decode()
    head = page.partition('id="head"')[2].partition("</header>")[0]
    assert "Just now" in head
    assert "Awaiting approval" not in head


def test_what_an_agent_does_is_told_once_the_newest_first(failed_run):
    Event.objects.filter(plan_id=failed_run.pk).delete()
    for kind, data in (
        ("step_changed", {"was": "pending", "now": "ready"}),
        ("step_changed", {"was": "ready", "now": "running"}),
        ("agent_started", {"agent": "forge-01", "attempt": 1}),
        ("agent_thinking", {"text": "Exports the commit."}),
        ("tool_completed", {"tool": "ansible.playbook", "summary": "5 of 10 tasks changed something on 1 host."}),
        ("output_end", {"count": 42}),
        ("agent_completed", {"outcome": "completed", "summary": "5 of 10 tasks changed something on 1 host."}),
        ("step_changed", {"was": "running", "now": "completed"}),
    ):
        Event.objects.create(plan_id=failed_run.pk, type=kind, step_key="one", data=data)
    Event.objects.create(plan_id=failed_run.pk, type="step_changed", step_key="two", data={"now": "ready"})
    told = [(view.text, view.detail) for view in run_page(failed_run, SYSTEM).events]
    assert told == [
        ("two is ready", ""),
        ("one is completed", "5 of 10 tasks changed something on 1 host."),
        ("Exports the commit.", ""),
        ("forge-01 began one", "try 1"),
    ]


def test_a_plan_that_is_being_cancelled_says_so_and_by_whom(browse, requester, approver):
    requester.first_name, requester.last_name = "Mara", "Lindqvist"
    requester.save()
    plan = factories.approve(factories.make_plan(requester), approver)
    factories.make_agent("infra-1")
    [(pk, token, _)] = Engine().dispatch()
    assert attempt.claim(pk, expects=token)
    services.cancel_plan(actor=Actor.person(requester), plan_id=plan.pk, reason="Not today")
    told = run_page(Plan.objects.get(pk=plan.pk), SYSTEM).events[0]
    assert (told.text, told.detail) == ("Plan: Being cancelled", "Cancelled by Mara Lindqvist: Not today")


def test_why_a_plan_stands_where_it_does_is_said_unless_it_simply_runs(browse, requester, approver):
    plan = factories.approve(factories.make_plan(requester, [factories.step("one")]), approver)
    Plan.objects.filter(pk=plan.pk).update(stage_reason="Told why.")
    assert "Told why." in run(browse(requester), plan)
    Plan.objects.filter(pk=plan.pk).update(stage="executing")
    assert "Told why." not in run(browse(requester), plan)
