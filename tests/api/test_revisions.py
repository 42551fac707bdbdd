"""A program reads a plan as it would write it, hands it back changed, and reads what each revision changed."""

import json

import pytest

from audit.models import DecisionRecord
from plans.models import Plan, Revision
from tests import factories
from tests.api.conftest import is_problem
from tests.engine import Engine
from tests.factories import step

pytestmark = pytest.mark.django_db


@pytest.fixture
def failed(requester, approver):
    factories.make_agent("infra-1", slots=4)
    broken = step("fail", "diagnostic.fail", input={"times": 9, "transient": False}, depends_on=["find"])
    plan = factories.approve(factories.make_plan(requester, [step("find"), broken]), approver)
    Engine().run()
    return plan


def test_a_program_reads_a_plan_changes_it_and_hands_it_back(as_requester, failed):
    told = as_requester.get(f"/plans/{failed.number}/program").json()
    assert set(told) == {"digest", "goal", "steps", "budget", "max_parallel"}
    told["steps"][1]["input"]["times"] = 0
    made = as_requester.post(f"/plans/{failed.pk}/revisions", {**told, "reason": "It fails no more"})
    assert made.status_code == 201
    plan = made.json()
    assert (plan["id"], plan["revision"], plan["stage"]) == (str(failed.pk), 2, "pending_approval")
    assert plan["digest"] != told["digest"] and plan["finished_at"] is None
    find, fail = plan["steps"]
    assert (find["status"], find["carried_from"], find["attempts"], find["output"]) == (
        "completed",
        1,
        [],
        {"value": "find"},
    )
    assert (fail["status"], fail["carried_from"]) == ("pending", None)


def test_to_revise_is_a_way_on_for_who_may(as_requester, as_approver, failed, plan):
    def way(program, which):
        ways = program.get(f"/plans/{which.pk}/partial-result").json()["recoveries"]
        return next(((one["title"], one["allowed"], one["why_not"]) for one in ways if one["kind"] == "revise"), None)

    assert way(as_requester, failed) == ("Revise the plan", True, "")
    title, allowed, why_not = way(as_approver, failed)
    assert (title, allowed) == ("Revise the plan", False) and "requester" in why_not
    assert way(as_requester, plan) is None


def test_each_revision_is_told_with_what_it_changed(as_requester, as_approver, failed):
    told = as_requester.get(f"/plans/{failed.number}/program").json()
    told["steps"][1]["input"] = {"times": 0}
    told["steps"].append(step("more"))
    as_requester.post(f"/plans/{failed.pk}/revisions", {**told, "reason": "Mended", "max_parallel": 3})
    page = as_approver.get(f"/plans/{failed.number}/revisions").json()
    second, first = page["items"]
    assert (first["number"], first["changes"], first["unchanged"], first["author"]) == (1, [], [], "requester")
    assert (second["because"], second["carried"], second["unchanged"]) == ("Mended", ["find"], ["find"])
    assert second["plan_changes"] == [{"name": "max_parallel", "was": None, "now": 3}]
    assert second["changes"] == [
        {"key": "fail", "change": "changed", "fields": [
            {"name": "input.times", "was": 9, "now": 0}, {"name": "input.transient", "was": False, "now": None},
        ]},
        {"key": "more", "change": "added", "fields": []},
    ]  # fmt: skip
    newest = as_approver.get(f"/plans/{failed.number}/revisions?limit=1").json()
    assert [one["number"] for one in newest["items"]] == [2]
    older = as_approver.get(f"/plans/{failed.number}/revisions?limit=1&after={newest['next']}").json()
    assert [one["number"] for one in older["items"]] == [1] and older["next"] is None


def test_pressed_twice_is_told_once(as_requester, plan):
    body = {"steps": [step("other")], "reason": "x", "digest": factories.digest_of(plan)}
    first = as_requester.post(f"/plans/{plan.pk}/revisions", body, idempotency_key="k1")
    again = as_requester.post(f"/plans/{plan.pk}/revisions", body, idempotency_key="k1")
    assert (first.status_code, again.json()) == (201, first.json())
    is_problem(as_requester.post(f"/plans/{plan.pk}/revisions", body), 409, "digest_mismatch")
    assert Plan.objects.get(pk=plan.pk).revision_number == 2


def test_what_is_no_change_says_so(as_requester, plan):
    body = {"steps": as_requester.get(f"/plans/{plan.pk}/program").json()["steps"], "reason": "x"}
    is_problem(as_requester.post(f"/plans/{plan.pk}/revisions", body), 422, "nothing_changed")


@pytest.mark.parametrize(
    "body",
    [
        {}, {"reason": "x"}, {"steps": []}, {"steps": "x", "reason": "x"}, {"steps": ["x"], "reason": "x"},
        {"steps": [], "reason": "x"}, {"steps": [step()], "reason": "x", "odd": 1}, {"steps": [step()], "reason": ""},
        {"steps": [step()], "reason": "x", "digest": 5}, {"steps": [step()], "reason": "x", "digest": "y" * 201},
        {"steps": [step()], "reason": "x" * 5000}, {"steps": [step("b")], "reason": "x", "max_parallel": "two"},
        {"steps": [step("b")], "reason": "x", "max_parallel": 0}, {"steps": [step("b")], "reason": "x", "budget": {"x": 1}},
        {"steps": [step("b")], "reason": "x", "goal": " "}, {"steps": [step("b")], "reason": "a\0"},
        {"steps": [step(f"b{n}") for n in range(10_001)], "reason": "x"},
    ],
)  # fmt: skip
def test_junk_is_refused_and_nothing_is_saved(as_requester, plan, body):
    is_problem(as_requester.post(f"/plans/{plan.pk}/revisions", body), 422)
    assert Revision.objects.filter(plan=plan).count() == 1


def test_what_is_no_number_is_no_json(as_requester, plan):
    body = json.dumps({"steps": [step(input={"value": 1})], "reason": "x"}).replace("1", "NaN", 1)
    is_problem(as_requester.post(f"/plans/{plan.pk}/revisions", body), 400)


def test_each_field_that_is_wrong_is_named(as_requester, plan):
    body = {"steps": [step("a"), step("b", "diagnostic.sleep", input={"seconds": "soon"})], "reason": "x"}
    problem = is_problem(as_requester.post(f"/plans/{plan.pk}/revisions", body), 422, "invalid_plan")
    assert problem["errors"][0]["loc"][-4:] == ["steps", 1, "input", "seconds"]
    assert DecisionRecord.objects.filter(type="plan.refused", trace_id=plan.trace_id).exists()


def test_there_is_no_revision_of_what_is_not_there_or_goes_on(as_requester, as_approver, plan):
    body = {"steps": [step("b")], "reason": "x"}
    is_problem(as_requester.post("/plans/999/revisions", body), 404)
    is_problem(as_requester.get("/plans/junk/revisions"), 404)
    is_problem(as_requester.get("/plans/999/program"), 404)
    is_problem(as_approver.post(f"/plans/{plan.pk}/revisions", body), 403)
    as_approver.post(f"/plans/{plan.pk}/approve", {"digest": factories.digest_of(plan)})
    is_problem(as_requester.post(f"/plans/{plan.pk}/revisions", body), 409, "illegal_transition")


def test_who_wrote_a_revision_does_not_wait_for_themselves(plan, as_requester, as_approver):
    from audit.authority import Role
    from tests.api.conftest import Program

    both = Program(factories.make_token(factories.make_user("both", Role.APPROVER, Role.ADMINISTRATOR)))
    both.post(f"/plans/{plan.pk}/revisions", {"steps": [step("b")], "reason": "x"})
    assert both.get("/plans?awaiting=me").json()["items"] == []
    assert [one["id"] for one in as_approver.get("/plans?awaiting=me").json()["items"]] == [str(plan.pk)]
    is_problem(both.post(f"/plans/{plan.pk}/approve", {"digest": factories.digest_of(plan)}), 403, "self_approval")
