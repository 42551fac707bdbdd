"""What a person reads and can press where a plan stopped, without JavaScript."""

import re

import pytest
from django.urls import reverse

from agents.models import Playbook, PlaybookRepository
from audit.context import Actor
from plans import services
from plans.models import Attempt, Plan, Request, Session
from tests import factories
from tests.engine import Engine, stage
from tests.factories import step

pytestmark = pytest.mark.django_db
REACHED = {
    "task": "Restart <b>kuma</b>",
    "tasks_reached": 4,
    "hosts": {"web1": {"ok": 3, "failures": 1}, "web2": {"ok": 5}},
    "ended": True,
    "finished": ["web2"],
}


@pytest.fixture
def engine():
    factories.make_agent("infra-1", slots=4)
    return Engine()


@pytest.fixture
def make(requester, approver, engine):
    def made(*steps):
        plan = factories.approve(factories.make_plan(requester, list(steps)), approver)
        engine.run()
        return plan

    return made


@pytest.fixture
def half(make):
    """A plan whose playbook failed on one of two hosts."""
    repository = PlaybookRepository.objects.create(
        name="playbooks", location="/nowhere", commit="c" * 40, tree="t" * 40
    )
    Playbook.objects.create(repository=repository, path="kuma.yml", details={"path": "kuma.yml"})
    plan = make(
        step("before"), step("a", "ansible.playbook", input={"playbook": "kuma.yml"}), step("after", depends_on=["a"])
    )
    Attempt.objects.filter(plan=plan, step__key="a").update(progress=REACHED)
    return plan


def url(name, plan, *more):
    return reverse(f"plans:{name}", args=[plan.number, *more])


def flaky(**more):
    return step("a", "diagnostic.fail", input={"times": 1}, retry={"attempts": 3, "first_wait_seconds": 60}, **more)


def broken(key):
    return step(key, "diagnostic.fail", input={"times": 1, "transient": False})


def test_what_is_kept_is_said_first(browse, requester, make):
    plan = make(
        step("before"), step("a", "diagnostic.fail", input={"times": 1, "transient": False}, depends_on=["before"])
    )
    page = browse(requester).get(url("run", plan)).text
    assert page.index("before stays done. a failed.") < page.index("a failed after 1 try")
    assert "Whoever looks after that host or service can mend it." in page
    assert "Trying again changes nothing until it is mended." in page
    assert "before stays done. a failed." in browse(requester).get(url("plan", plan)).text


def test_each_way_on_says_what_it_does_and_what_stands_against_it(browse, requester, approver, make):
    plan = make(broken("a"))
    page = browse(requester).get(url("run", plan)).text
    assert f'href="{url("retry_step", plan, "a")}"' in page
    assert f'href="{url("skip_step", plan, "a")}"' not in page and "needs the role approver" in page
    assert f'href="{url("skip_step", plan, "a")}"' in browse(approver).get(url("run", plan)).text


def test_hosts_and_task_reached_are_shown_and_escaped(browse, requester, half):
    page = browse(requester).get(url("run", half)).text
    assert "It had reached its task 4, “Restart &lt;b&gt;kuma&lt;/b&gt;”." in page
    assert "<code>web1</code> failed" in page and "<code>web2</code> finished" in page
    assert f'href="{url("retry_step", half, "a")}?hosts=unfinished"' in page
    assert "and finished web2" in page


def test_going_on_with_the_unfinished_hosts_is_a_choice_on_the_page(browse, requester, half):
    client = browse(requester)
    asked = client.get(url("retry_step", half, "a")).text
    assert 'value="" checked' in asked and "Only web1" in asked
    assert 'value="unfinished" checked' in client.get(url("retry_step", half, "a"), {"hosts": "unfinished"}).text
    assert client.post(url("retry_step", half, "a"), {"hosts": "some"}).status_code == 400
    assert client.post(url("retry_step", half, "a"), {"hosts": "unfinished"}).status_code == 302
    made = Attempt.objects.get(plan=half, step__key="a", number=2)
    assert made.only_hosts == ["web1"]
    assert "only web1" in client.get(url("run", half), {"step": "a", "try": 2}).text


def test_where_the_hosts_are_not_known_the_page_offers_all_and_says_why(browse, requester, half):
    Attempt.objects.filter(plan=half, step__key="a").update(progress={**REACHED, "finished": []})
    asked = browse(requester).get(url("retry_step", half, "a")).text
    assert "It can only run on all its hosts. Not possible: no host is known to be finished." in asked
    assert 'name="hosts"' not in asked
    answer = browse(requester).post(url("retry_step", half, "a"), {"hosts": "unfinished"})
    assert answer.status_code == 409 and "hosts_unknown" in answer.text


def test_a_wait_counts_down_and_can_be_ended_either_way(browse, requester, make, engine):
    plan = make(flaky())
    page = browse(requester).get(url("run", plan)).text
    assert re.search(r"a: try 2 of 3 <time[^>]* data-until>in (1 min( \d+ s)?|60 s)</time>", page)
    assert "It may pass by itself." in page
    assert f'href="{url("give_up_step", plan, "a")}"' in page
    asked = browse(requester).get(url("retry_step", plan, "a")).text
    assert "Try a now?" in asked and "try 2 of 3 begins" in asked
    assert browse(requester).post(url("retry_step", plan, "a"), {}).status_code == 302
    engine.run()
    assert stage(plan) == "completed"
    assert browse(requester).post(url("retry_step", plan, "a"), {}).status_code == 409


def test_giving_up_needs_a_reason_and_then_fails_the_step(browse, requester, make):
    plan = make(flaky())
    client = browse(requester)
    assert b"It fails now" in client.get(url("give_up_step", plan, "a")).content
    assert client.post(url("give_up_step", plan, "a"), {"reason": ""}).status_code == 400
    assert client.post(url("give_up_step", plan, "a"), {"reason": "gone"}).status_code == 302
    assert stage(plan) == "failed"
    again = client.post(url("give_up_step", plan, "a"), {"reason": "gone, as typed"})
    assert again.status_code == 409 and "gone, as typed" in again.text
    assert client.get(url("give_up_step", plan, "nope")).status_code == 404


def test_several_stuck_steps_go_on_together(browse, requester, make, engine):
    plan = make(broken("a"), broken("b"))
    client = browse(requester)
    assert "Try all 2 again" in client.get(url("run", plan)).text
    assert b"runs again from its beginning" in client.get(url("retry", plan)).content
    assert client.post(url("retry", plan), {}).status_code == 302
    engine.run()
    assert stage(plan) == "completed"
    assert client.post(url("retry", plan), {}).status_code == 409


def test_the_inbox_has_one_row_for_each_run_that_needs_a_decision(browse, requester, make):
    plan = make(broken("a"), broken("b"), broken("c"))
    page = browse(requester).get(reverse("plans:inbox"), {"tab": "runs"}).text
    assert page.count(f"plan {plan.number}</span>") == 1
    assert "a and 2 more in" in page


def test_what_is_done_is_undone_from_the_page_by_a_new_plan(browse, requester, make):
    plan = make(step("a", rollback={"tool": "diagnostic.noop"}))
    client = browse(requester)
    assert url("undo", plan) in client.get(url("run", plan)).text
    assert "It undoes a." in client.get(url("undo", plan)).text
    answer = client.post(url("undo", plan), {"reason": "no longer needed"})
    made = Plan.objects.latest("number")
    assert answer.url == reverse("plans:plan", args=[made.number]) and made.pk != plan.pk
    assert "Nothing is undone yet" in client.get(answer.url).text
    bare = make(step("b"))
    assert url("undo", bare) not in client.get(url("run", bare)).text
    assert "There is nothing to undo" in client.get(url("undo", bare)).text
    refused = client.post(url("undo", bare), {"reason": "as typed"})
    assert refused.status_code == 409


def test_a_plan_says_by_which_other_it_was_undone_and_does_not_offer_it_again(
    browse, requester, approver, engine, make
):
    plan = make(step("a", rollback={"tool": "diagnostic.noop"}))
    made = services.undo_plan(actor=Actor.person(requester), plan_id=plan.pk)
    client = browse(requester)
    for said in (f"waits for approval to undo what plan {plan.number} did", f"a was undone by plan {made.number}."):
        for name in ("plan", "run"):
            page = client.get(url(name, plan)).text
            assert said in page and url("undo", plan) not in page
        assert said in client.get(url("undo", plan)).text
        if Plan.objects.get(pk=made.pk).stage == "pending_approval":
            factories.approve(made, approver)
            engine.run()


def test_a_step_is_called_by_its_key_as_it_is_written(browse, approver, make):
    plan = make(broken("a"))
    page = browse(approver).post(url("skip_step", plan, "a"), {"reason": "by hand"}, follow=True).text
    assert "a is skipped." in page and "A is skipped." not in page


def test_a_plan_whose_work_was_undone_is_revised_and_not_tried_again(browse, requester, approver, engine, make):
    plan = make(step("a", rollback={"tool": "diagnostic.noop"}), broken("b"), broken("c"))
    factories.approve(services.undo_plan(actor=Actor.person(requester), plan_id=plan.pk), approver)
    engine.run()
    page = browse(requester).get(url("run", plan)).text
    assert "a was undone by plan" in page and "<strong>a stays done" not in page and url("revise", plan) in page
    assert "No step was completed before" not in page
    assert url("retry", plan) not in page and "/b/retry/" not in page


def test_a_cancelled_plan_says_what_was_kept_before_who_cancelled_it(browse, requester, make, approver):
    plan = make(step("a"), flaky().copy() | {"key": "b", "depends_on": ["a"]})
    services.cancel_plan(actor=Actor.person(approver), plan_id=plan.pk, reason="not today")
    page = browse(requester).get(url("run", plan)).text
    kept, who = page.index("a stays done."), page.index("Cancelled by approver: not today")
    assert kept < who
    assert "Nothing was undone." in page and "stays cancelled" in page
    assert "What was planned" in browse(requester).get(url("plan", plan)).text


def test_who_reads_only_is_shown_no_way(browse, auditor, make):
    page = browse(auditor).get(url("run", make(flaky()))).text
    assert "try 2 of 3" in page and "/give-up/" not in page and "/retry/" not in page


def test_the_words_are_asked_again_by_who_may_read_them(browse, requester, stranger, approver):
    plan = factories.make_plan(requester)
    session = Session.objects.create(owner=requester)
    request = Request.objects.create(session=session, requester=requester, text="Deploy <Kuma>")
    Plan.objects.filter(pk=plan.pk).update(request=request, stage="cancelled")
    page = browse(requester).get(url("run", plan)).text
    assert f"?again={plan.number}" in page
    assert "Deploy &lt;Kuma&gt;" in browse(requester).get(reverse("plans:new_request"), {"again": plan.number}).text
    assert "Kuma&gt;" not in browse(stranger).get(reverse("plans:new_request"), {"again": plan.number}).text
    for wrong in ("x", "-1", "9" * 30, "", "0"):
        assert browse(requester).get(reverse("plans:new_request"), {"again": wrong}).status_code == 200


def test_a_completed_plan_asks_nobody_about_what_it_did_without(browse, requester, make):
    fail = step("bad", "diagnostic.fail", input={"times": 9, "transient": False}, on_failure="continue")
    plan = make(fail, step("z", depends_on=["bad"]))
    assert stage(plan) == "completed"
    page = browse(requester).get(url("run", plan)).text
    assert "needs a person" not in page
    assert "A person decides" not in page
    assert "waits for it" not in page
