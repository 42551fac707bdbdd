"""The page on which a plan is changed, and what its readers see of the change, without JavaScript."""

import html
import re

import pytest
from django.urls import reverse

from audit.authority import Role
from audit.context import Actor
from plans import services
from plans.models import Plan, Revision, Step
from tests import factories
from tests.engine import Engine, stage
from tests.factories import step

pytestmark = pytest.mark.django_db
BROKEN = {"times": 9, "transient": False}


@pytest.fixture
def engine():
    factories.make_agent("infra-1", slots=4)
    return Engine()


@pytest.fixture
def failed(requester, approver, engine):
    use = step("use", input={"value": "{{ steps.find.output.value }}"}, depends_on=["fail", "find"])
    broken = step("fail", "diagnostic.fail", input=BROKEN, depends_on=["find"])
    plan = factories.approve(factories.make_plan(requester, [step("find"), broken, use]), approver)
    engine.run()
    return Plan.objects.get(pk=plan.pk)


def url(name, plan, *more):
    return reverse(f"plans:{name}", args=[plan.number, *more])


def fields(page):
    """What a browser would send of the form on a page, if nothing was touched."""
    text = page.text[page.text.index('name="digest"') - 200 :]
    found = {}
    for tag in re.findall(r"<input [^>]*>", text):
        name, value = (re.search(rf'\b{what}="([^"]*)"', tag) for what in ("name", "value"))
        if name and "checkbox" not in tag and name[1] not in ("theme", "next"):
            found[html.unescape(name[1])] = html.unescape(value[1]) if value else ""
    for name, value in re.findall(r'<textarea [^>]*name="([^"]*)"[^>]*>(.*?)</textarea>', text, re.S):
        found[html.unescape(name)] = html.unescape(value).lstrip("\n").replace("\n", "\r\n")
    for name, options in re.findall(r'<select [^>]*name="([^"]*)"[^>]*>(.*?)</select>', text, re.S):
        (chosen,) = re.findall(r'value="([^"]*)" selected', options)
        found[html.unescape(name)] = html.unescape(chosen)
    return found


def send(client, plan, address="", **changes):
    """Post the form as it is shown, with some fields changed."""
    place = url("revise", plan) + address
    named = {name.replace("__", "."): value for name, value in changes.items()}
    return client.post(place, {**fields(client.get(place)), "reason": "It was wrong", **named})


def rows(plan, number=2):
    return {row.key: row for row in Step.objects.filter(plan=plan, revision__number=number)}


def test_a_failed_plan_offers_to_be_revised_and_says_what_stays(browse, requester, failed):
    page = browse(requester).get(url("run", failed)).text
    assert "Revise the plan" in page and url("revise", failed) in page
    assert "Change what is left and approve it anew; what is done stays done." in page
    page = browse(requester).get(url("revise", failed)).text
    assert "What should be different in revision 2?" in page
    assert "<strong>find is done and not repeated</strong>" in page
    assert "If you change it, it runs again; leaving it out undoes nothing." in page


def test_what_is_left_is_changed_and_the_new_revision_waits_for_approval(browse, requester, approver, failed, engine):
    answer = send(browse(requester), failed, fail__input__times="0")
    assert (answer.status_code, answer["Location"]) == (302, url("plan", failed))
    made = rows(failed)
    assert (made["find"].status, made["fail"].input) == ("completed", {"times": 0, "transient": False})
    assert Revision.objects.get(plan=failed, number=2).because == "It was wrong"
    page = browse(approver).get(url("plan", failed)).text
    assert "What changed since revision 1" in page and "<del>9</del>" in page and "<ins>0</ins>" in page
    assert "It was wrong" in page and "2 steps are the same in both; find is done and not repeated" in page
    assert "It was done in revision 1" in page
    factories.approve(failed, approver)
    engine.run()
    assert stage(failed) == "completed"
    run = browse(requester).get(url("run", failed) + "?step=find").text
    assert "done in revision 1" in run and 'href="?step=find' in run
    output = run[run.index('id="output"') : run.index('id="result"')]
    assert "try 1" in output and "Ended" in output
    assert "3 of 3 steps done" in run


def test_values_keep_their_types(browse, requester):
    value = {
        "flag": True,
        "none": None,
        "deep": [1, {"a": "b"}],
        "text": "5",
        "number": 2.5,
        "long": "a\r\nb",
        "ref": "{{ steps.a.output }}",
    }
    plan = factories.make_plan(
        requester,
        [
            step("a"),
            step("b", input={"value": value}, depends_on=["a"]),
            step("c", "diagnostic.sleep", input={"seconds": 1}),
        ],
    )
    client = browse(requester)
    assert send(client, plan, c__input__seconds="2").status_code == 302
    made = rows(plan)
    assert (made["b"].input, made["c"].input) == ({"value": value}, {"seconds": 2})
    assert send(client, plan, c__input__seconds="0.5", a__input__value="7").status_code == 302
    made = rows(plan, 3)
    assert (made["c"].input, made["a"].input) == ({"seconds": 0.5}, {"value": "7"})
    assert (
        send(client, plan, b__input__value='{"x": [1, true]}', a__timeout_seconds="9", a__when="true").status_code
        == 302
    )
    made = rows(plan, 4)
    assert (made["b"].input, made["a"].timeout_seconds, made["a"].when) == ({"value": {"x": [1, True]}}, 9, "true")


def test_a_step_that_is_left_out_leaves_the_order_of_the_others(browse, requester):
    plan = factories.make_plan(requester, [step("a"), step("b", depends_on=["a"]), step("c", depends_on=["b"])])
    assert send(browse(requester), plan, b__leave_out="on").status_code == 302
    made = rows(plan)
    assert set(made) == {"a", "c"}
    assert [edge.upstream.key for edge in made["c"].upstream_edges.all()] == ["a"]
    page = browse(requester).get(url("plan", plan)).text
    assert "left out" in page and "changes 1 step, leaves out 1" in page


def test_goal_limit_and_budget_are_changed_beside_the_steps(browse, requester):
    plan = factories.make_plan(requester, [step("a"), step("b")], budget={"call_ceiling": 2, "policy": "warn"})
    changes = {"plan__goal": "Deploy", "plan__max_parallel": "1", "plan__call_ceiling": "5"}
    assert send(browse(requester), plan, **changes).status_code == 302
    now, revision = Plan.objects.get(pk=plan.pk), Revision.objects.get(plan=plan, number=2)
    assert (now.goal, now.max_parallel, revision.budget) == (
        "Deploy",
        1,
        {"call_ceiling": 5, "policy": "warn", "warn_at": 0.8},
    )


@pytest.mark.parametrize(
    ("field", "typed", "said", "status"),
    [
        ("fail__input__times", "many", "is no number", 400),
        ("fail__input__times", "nan", "is no finite number", 400),
        ("fail__timeout_seconds", "0", "The timeout is from 1 to", 422),
        ("fail__timeout_seconds", "9" * 400, "is no", 400),
        ("use__input__value", "{{ steps.gone.output.value }}", "does not come before", 422),
        ("use__when", "steps.", "condition", 422),
        ("plan__max_parallel", "0", "max_parallel is a whole number", 422),
        ("plan__call_ceiling", "-1", "call_ceiling is a whole number above 0", 422),
        ("plan__goal", "", "The goal is a text", 422),
        ("reason", " ", "Say why it is changed", 400),
        ("digest", "junk", "This is not the digest of a plan", 400),
        ("find__leave_out", "on", "does not come before", 422),
    ],
)
def test_what_does_not_fit_is_said_at_its_field_and_nothing_typed_is_lost(
    browse, requester, failed, field, typed, said, status
):
    answer = send(browse(requester), failed, **{"use__name": "Typed as well", field: typed})
    assert answer.status_code == status
    text = html.unescape(answer.text)
    assert said in text and 'value="Typed as well"' in text
    assert status == 422 or "Nothing was changed." in text
    if field not in ("reason", "digest", "find__leave_out"):
        name = field.replace("__", ".")
        assert f'value="{typed}"' in text and f'id="{name}-error"' in text
    if field != "reason":
        assert ">\nIt was wrong</textarea>" in text
    assert Revision.objects.filter(plan=failed).count() == 1


def test_what_somebody_else_changed_meanwhile_is_not_overwritten(browse, requester, failed):
    client = browse(requester)
    typed = {**fields(client.get(url("revise", failed))), "fail.input.times": "5", "reason": "Mine"}
    assert send(client, failed, fail__input__times="3").status_code == 302
    answer = client.post(url("revise", failed), typed)
    text = html.unescape(answer.text)
    assert answer.status_code == 409
    assert (
        "This changed while you read" in text
        and "What you had typed" in text
        and "<dt>fail, times</dt><dd><code>5</code>" in text
    )
    assert 'name="fail.input.times" value="3"' in text and "Mine</textarea>" in text
    assert Plan.objects.get(pk=failed.pk).revision_number == 2


def test_nothing_changed_is_no_revision(browse, requester, failed):
    answer = send(browse(requester), failed)
    assert answer.status_code == 422 and "Nothing of what is approved would change" in answer.text


def test_a_plan_that_goes_on_is_not_changed(browse, requester, approver, engine):
    plan = factories.approve(factories.make_plan(requester, [step("a"), step("b", depends_on=["a"])]), approver)
    client = browse(requester)
    assert "only a plan that awaits approval or has failed is revised" in client.get(url("revise", plan)).text
    assert client.post(url("revise", plan), {"reason": "x"}).status_code == 409


def test_what_was_typed_is_shown_although_the_plan_went_on_meanwhile(browse, requester, approver, failed):
    client = browse(requester)
    typed = {**fields(client.get(url("revise", failed))), "fail.input.times": "5", "reason": "Mine"}
    services.retry_step(actor=Actor.person(approver), plan_id=failed.pk, key="fail", reason="Once more")
    answer = client.post(url("revise", failed), typed)
    text = html.unescape(answer.text)
    assert answer.status_code == 409 and "can not be revised now" in text
    assert "<dt>fail, times</dt><dd><code>5</code>" in text and "<dd><code>Mine</code>" in text
    assert "The fields show the newer revision" not in text
    assert Revision.objects.filter(plan=failed).count() == 1


def test_of_a_large_plan_only_what_is_left_is_on_the_page(browse, requester, approver, engine):
    many = [step(f"k{n}") for n in range(60)]
    plan = factories.make_plan(
        requester,
        [*many, step("fail", "diagnostic.fail", input=BROKEN, depends_on=["k0"]), step("z", depends_on=["fail"])],
    )
    client = browse(requester)
    page = client.get(url("revise", plan)).text
    assert "Steps 1 to 40 of 62" in page and "?from=41" in page
    assert send(client, plan, "?from=41", z__input__value="changed").status_code == 302
    made = rows(plan)
    assert len(made) == 62 and made["z"].input == {"value": "changed"} and made["k3"].input == {"value": "k3"}
    factories.approve(plan, approver)
    engine.run()
    page = client.get(url("revise", plan)).text
    assert "The 60 steps that are done are not shown." in page and 'id="step-k0"' not in page
    assert send(client, plan, fail__input__times="0").status_code == 302
    assert sum(row.status == "completed" for row in rows(plan, 3).values()) == 60


def test_any_two_revisions_are_compared(browse, requester, approver, failed):
    client = browse(requester)
    send(client, failed, fail__input__times="3")
    send(client, failed, fail__input__times="0", use__timeout_seconds="60")
    page = browse(approver).get(url("revisions", failed) + "?a=1&b=3").text
    assert "Revision 3 changes 2 steps" in page and "<del>9</del>" in page and "<del>600</del>" in page
    page = browse(approver).get(url("revisions", failed)).text
    assert "Revision 2 beside revision 3" in page and "<del>3</del>" in page
    assert browse(approver).get(url("revisions", failed) + "?a=1&b=9").status_code == 404
    for junk in ("?a=x", "?a=-1", "?b=" + "9" * 40, "?a=%00"):
        assert browse(approver).get(url("revisions", failed) + junk).status_code in (400, 404)


def test_a_plan_that_was_never_changed_says_so(browse, requester, pending):
    page = browse(requester).get(url("revisions", pending)).text
    assert f"Plan {pending.number} was never changed" in page
    assert "Revisions <small>" not in browse(requester).get(url("plan", pending)).text


def test_who_wrote_a_revision_reads_that_somebody_else_decides(browse, requester, pending):
    both = factories.make_user("both", Role.APPROVER, Role.ADMINISTRATOR)
    services.revise_plan(actor=Actor.person(both), plan_id=pending.pk, steps=[step("b")], reason="Better so")
    page = browse(both).get(url("plan", pending)).text
    assert (
        "You wrote this revision, and the policy wants four eyes" in page and "wrote this revision (four eyes)" in page
    )
    assert f"plans/{pending.number}/" not in browse(both).get("/").text.partition('id="queue"')[2]


def test_who_may_not_ask_for_work_is_not_offered_to_revise(browse, requester, approver, pending, failed):
    assert url("revise", pending) in browse(requester).get(url("plan", pending)).text
    assert url("revise", pending) not in browse(approver).get(url("plan", pending)).text
    page = browse(approver).get(url("run", failed)).text
    assert url("revise", failed) not in page and "disabled>Revise the plan</button>" in page


def test_the_task_of_a_step_that_was_done_before_leads_to_the_one_that_did_it(browse, auditor, requester, failed):
    send(browse(requester), failed, fail__input__times="0")
    task, did = rows(failed)["find"].pk, rows(failed, 1)["find"].pk
    page = browse(auditor).get(reverse("audit:task", args=[task])).text
    assert "In git with the task that did it" in page and reverse("audit:task", args=[did]) in page
    told = browse(auditor).get(f"/api/v1/audit/tasks/{task}").json()
    assert told["row"]["carried_from"] == {"task_id": str(did), "revision": 1}


def test_the_page_asks_no_more_for_more_steps(browse, requester, count_queries):
    def asked(steps):
        plan = factories.make_plan(requester, [step(f"s{n}") for n in range(steps)])
        return count_queries(browse(requester), url("revise", plan))

    assert asked(2) == asked(30)
