"""Plans through the API: made, listed, decided, read."""

import uuid

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from audit.models import DecisionRecord
from plans.models import Approval, Attempt, Plan
from tests import factories
from tests.api.conftest import is_problem
from tests.engine import Engine

STEP_FIELDS = {
    "key", "task_id", "index", "name", "tool", "input", "depends_on", "agent_type", "work_type", "resources", "risk",
    "timeout_seconds", "retry", "when", "on_failure", "status", "agent", "routing", "attempts", "output", "error", "preview",
}  # fmt: skip
PLAN_FIELDS = {
    "id", "number", "request_id", "trace_id", "revision", "stage", "priority", "digest", "goal", "summary", "complexity",
    "risk", "estimated_seconds", "budget", "policy", "approvals", "steps",
}  # fmt: skip
RETRY_FIELDS = {"strategy", "attempts", "first_wait_seconds", "factor", "longest_wait_seconds"}


def test_a_program_writes_a_plan_with_the_least_it_can(as_requester, requester):
    factories.make_policy()
    made = as_requester.post("/plans", {"goal": "Try an agent", "steps": [{"key": "a", "tool": "diagnostic.noop"}]})
    assert made.status_code == 201, made.content
    plan = made.json()
    assert plan.keys() >= PLAN_FIELDS
    assert plan["steps"][0].keys() >= STEP_FIELDS
    assert plan["steps"][0]["retry"].keys() == RETRY_FIELDS
    assert plan["stage"] == "pending_approval"
    assert len(plan["digest"]) == 64 and plan["digest"] == plan["digest"].lower()
    assert plan["steps"][0]["status"] == "pending"
    assert plan["policy"]["four_eyes"] is True
    assert as_requester.get(f"/plans/{plan['id']}").json() == plan


def test_a_plan_is_found_by_its_number_too(as_requester, plan):
    assert as_requester.get(f"/plans/{plan.number}").json()["id"] == str(plan.pk)


@pytest.mark.parametrize("id", ["0", "-1", "1e3", "abc", "9" * 15, "9" * 400, str(uuid.uuid4()), "%00", "..%2f..", "٣"])
def test_an_unknown_id_is_not_found(as_requester, plan, id):
    is_problem(as_requester.get(f"/plans/{id}"), 404)


@pytest.mark.parametrize(
    "steps",
    [
        [],
        [{"key": "a"}],
        [{"key": "a", "tool": "no.such.tool"}],
        [factories.step("a"), factories.step("a")],
        [factories.step("a", depends_on=["b"])],
        [factories.step("a", depends_on=["a"])],
        [factories.step("a", depends_on=["b"]), factories.step("b", depends_on=["a"])],
        [factories.step("a", input={"value": "{{ lookup('pipe', 'id') }}"})],
        [factories.step("a", input={"value": {"{{ x }}": [1]}})],
        [factories.step("a", tool="diagnostic.sleep", input={"seconds": "5"})],
        [factories.step("a", timeout_seconds=0)],
        [factories.step("a", retry={"attempts": 10**6})],
        [factories.step("a", surprise=True)],
        ["a"],
        [None],
    ],
)
def test_an_invalid_plan_is_refused_whole(as_requester, requester, steps):
    before = Plan.objects.count()
    problem = is_problem(as_requester.post("/plans", {"goal": "Try", "steps": steps}), 422)
    assert problem["errors"] and all({"loc", "msg"} == set(error) for error in problem["errors"])
    assert problem["errors"][0]["loc"][0] == "body"
    assert Plan.objects.count() == before


@pytest.mark.parametrize(
    "budget", [{"cost_ceiling": -1}, {"call_ceiling": "10"}, {"token_ceiling": 1e308}, {"x": 1}, [], 5]
)
def test_a_budget_that_is_none_is_refused(as_requester, budget):
    body = {"goal": "Try", "steps": [factories.step()], "budget": budget}
    is_problem(as_requester.post("/plans", body), 422)


def test_a_budget_is_told_with_what_is_spent_and_what_is_left_open(as_requester, as_approver):
    factories.make_agent("infra-1", slots=4)
    factories.make_policy()
    body = {"goal": "Try", "steps": [factories.step("a"), factories.step("b", depends_on=["a"])]}
    made = as_requester.post("/plans", body | {"budget": {"call_ceiling": 1, "cost_ceiling": None}}).json()
    nothing = {"cost": 0, "calls": 0, "tokens": 0}
    known = {"call_ceiling": 1, "policy": "block", "warn_at": 0.8}
    assert made["budget"] == {**known, "spent": nothing, "reserved": nothing}
    as_approver.post(f"/plans/{made['id']}/approve", {"digest": made["digest"]})
    Engine().run()
    told = as_requester.get(f"/plans/{made['id']}").json()
    assert told["stage"] == "failed"
    assert told["budget"] == {**known, "spent": {"cost": 0, "calls": 1, "tokens": 0}, "reserved": nothing}
    assert told["steps"][1]["attempts"][0]["failure_mode"] == "policy"
    assert as_requester.post("/plans", body).json()["budget"] == {}


class TestDeciding:
    def test_the_digest_that_was_seen_is_approved_once(self, as_approver, plan):
        digest = factories.digest_of(plan)
        first = as_approver.post(f"/plans/{plan.pk}/approve", {"digest": digest, "comment": "Go"})
        assert first.status_code == 200
        assert first.json()["stage"] in {"approved", "executing"}
        again = as_approver.post(f"/plans/{plan.pk}/approve", {"digest": digest})
        assert again.status_code == 200
        assert again.json()["approvals"] == first.json()["approvals"]
        assert again.json()["approvals"][0]["comment"] == "Go"
        assert Approval.objects.count() == 1

    @pytest.mark.parametrize("digest", ["", "0" * 64, "A" * 64, "x"])
    def test_another_digest_is_a_conflict_and_recorded(self, as_approver, plan, digest):
        is_problem(as_approver.post(f"/plans/{plan.pk}/approve", {"digest": digest}), 409, "digest_mismatch")
        assert not Approval.objects.exists()
        assert DecisionRecord.objects.filter(type="plan.decision_refused", trace_id=plan.trace_id).count() == 1

    def test_the_digest_of_another_plan_is_a_conflict(self, as_approver, requester, plan):
        other = factories.make_plan(requester, [factories.step("other")])
        answer = as_approver.post(f"/plans/{plan.pk}/approve", {"digest": factories.digest_of(other)})
        is_problem(answer, 409, "digest_mismatch")

    def test_a_decision_after_the_decision_is_too_late(self, as_approver, plan):
        digest = factories.digest_of(plan)
        assert as_approver.post(f"/plans/{plan.pk}/reject", {"reason": "Not now"}).status_code == 200
        is_problem(as_approver.post(f"/plans/{plan.pk}/approve", {"digest": digest}), 409, "already_decided")

    def test_a_rejection_needs_a_reason(self, as_approver, plan):
        for body in ({}, {"reason": ""}, {"reason": "  \n "}, {"reason": None}):
            is_problem(as_approver.post(f"/plans/{plan.pk}/reject", body), 422)
        rejected = as_approver.post(f"/plans/{plan.pk}/reject", {"reason": "Not now"}).json()
        assert rejected["stage"] == "rejected"
        assert rejected["approvals"][0]["decision"] == "rejected"

    def test_nobody_approves_their_own_plan(self, requester):
        from audit.authority import Role
        from tests.api.conftest import Program

        both = factories.make_user("both", Role.REQUESTER, Role.APPROVER)
        plan = factories.make_plan(both)
        program = Program(factories.make_token(both))
        answer = program.post(f"/plans/{plan.pk}/approve", {"digest": factories.digest_of(plan)})
        is_problem(answer, 403, "self_approval")

    def test_a_requester_is_no_approver(self, as_requester, plan):
        answer = as_requester.post(f"/plans/{plan.pk}/approve", {"digest": factories.digest_of(plan)})
        is_problem(answer, 403, "not_an_approver")

    def test_looking_does_not_approve(self, as_approver, plan):
        answer = as_approver.get(f"/plans/{plan.pk}/approve")
        is_problem(answer, 405, "method_not_allowed")
        assert "POST" in answer["Allow"]

    def test_a_step_that_has_not_failed_is_not_retried(self, as_requester, plan):
        answer = as_requester.post(f"/plans/{plan.pk}/steps/say/retry")
        is_problem(answer, 409)
        is_problem(as_requester.post(f"/plans/{plan.pk}/steps/nothing/retry", {"reason": "again"}), 404)


class TestLists:
    @pytest.fixture
    def plans(self, requester, approver):
        made = [factories.make_plan(requester, [factories.step(f"s{n}")]) for n in range(5)]
        factories.approve(made[0], approver)
        return made

    def test_are_paged_newest_first_without_gap_or_repeat(self, as_requester, plans):
        seen, after = [], None
        while True:
            page = as_requester.get("/plans?limit=2" + (f"&after={after}" if after else "")).json()
            seen += [plan["number"] for plan in page["items"]]
            after = page["next"]
            if after is None:
                break
        assert seen == sorted((plan.number for plan in plans), reverse=True)

    def test_end_a_page_early_rather_than_tell_more_than_a_megabyte(self, as_requester, plans):
        for plan in plans:
            plan.steps.update(output={"text": "x" * 400_000})
        page = as_requester.get("/plans").json()
        pages = [[plan["number"] for plan in page["items"]]]
        while page["next"]:
            page = as_requester.get(f"/plans?after={page['next']}").json()
            pages.append([plan["number"] for plan in page["items"]])
        assert [len(page) for page in pages] == [2, 2, 1]
        assert sum(pages, []) == sorted((plan.number for plan in plans), reverse=True)
        assert {len(step["output"]["text"]) for plan in page["items"] for step in plan["steps"]} == {400_000}

    def test_tell_a_plan_that_is_larger_than_a_page_alone(self, as_requester, plans):
        plans[-1].steps.update(output={"text": "x" * 2_000_000})
        page = as_requester.get("/plans").json()
        assert [plan["number"] for plan in page["items"]] == [plans[-1].number]
        assert len(as_requester.get(f"/plans?after={page['next']}").json()["items"]) == 4

    def test_are_filtered(self, as_requester, as_approver, plans):
        waiting = as_approver.get("/plans?awaiting=me").json()["items"]
        assert {plan["number"] for plan in waiting} == {plan.number for plan in plans[1:]}
        assert as_requester.get("/plans?awaiting=me").json()["items"] == []
        assert len(as_requester.get("/plans?stage=pending_approval").json()["items"]) == 4
        assert len(as_approver.get("/plans?requester=requester").json()["items"]) == 5
        assert as_approver.get("/plans?requester=nobody").json()["items"] == []
        assert len(as_requester.get("/plans?requester=me").json()["items"]) == 5

    def test_cost_the_same_for_one_plan_and_for_many(self, as_approver, plans):
        def queries(limit):
            with CaptureQueriesContext(connection) as context:
                as_approver.get(f"/plans?limit={limit}")
            return len(context)

        queries(1)
        assert queries(1) == queries(5)

    @pytest.mark.parametrize(
        "query",
        [
            "stage=nothing", "awaiting=you", "limit=0", "limit=-1", "limit=1e9", "limit=1000000000000", "after=-1",
            "after=x", "after=1;drop", "after=" + "9" * 40, "after=%00", "requester=%00", "requester=" + "x" * 200,
        ],
    )  # fmt: skip
    def test_say_which_parameter_is_wrong(self, as_requester, query):
        problem = is_problem(as_requester.get(f"/plans?{query}"), 422)
        assert problem["errors"][0]["loc"] == ["query", query.partition("=")[0]]

    def test_know_only_the_filters_they_name(self, as_requester, plans):
        query = "requester__password__startswith=md5&order=requester__password&id=1%20OR%201=1"
        found = is_problem(as_requester.get(f"/plans?{query}"), 422)["errors"]
        assert [error["loc"][1] for error in found] == ["requester__password__startswith", "order", "id"]


class TestReading:
    def test_an_attempt_tells_its_lines_as_json_and_as_text(self, as_requester, plan):
        from plans.models import OutputLine

        attempt = Attempt.objects.create(step=plan.steps.get(), plan=plan, number=1, status="completed")
        lines = [OutputLine(attempt_id=attempt.pk, seq=n, stream="stdout", text=f"line {n}") for n in range(1, 8)]
        OutputLine.objects.bulk_create(lines)
        first = as_requester.get(f"/attempts/{attempt.pk}/output?limit=5").json()
        rest = as_requester.get(f"/attempts/{attempt.pk}/output?limit=5&after={first['next']}").json()
        assert [line["seq"] for line in first["items"] + rest["items"]] == list(range(1, 8))
        assert rest["next"] is None and rest["ended"] is False
        text = as_requester.get(f"/attempts/{attempt.pk}/output?format=text&after=5")
        assert text.content == b"line 6\nline 7\n"
        assert text["Content-Type"].startswith("text/plain")
        assert "after=5" in as_requester.get(f"/attempts/{attempt.pk}/output?format=text&limit=5")["Link"]

    @pytest.mark.parametrize("query", ["after=-1", "after=99999999999", "after=x", "format=html", "limit=0"])
    def test_output_says_which_parameter_is_wrong(self, as_requester, plan, query):
        attempt = Attempt.objects.create(step=plan.steps.get(), plan=plan, number=1, status="completed")
        is_problem(as_requester.get(f"/attempts/{attempt.pk}/output?{query}"), 422)

    def test_an_unknown_attempt_is_not_found(self, as_requester):
        is_problem(as_requester.get(f"/attempts/{uuid.uuid4()}/output"), 404)

    @pytest.mark.parametrize("cursor", ["x", "-1", "%00", "x" * 5000, "W10"])
    def test_a_made_up_cursor_is_refused(self, as_requester, plan, cursor):
        is_problem(as_requester.get(f"/plans/{plan.pk}/events?after={cursor}"), 422)


@pytest.mark.django_db(transaction=True)
def test_events_go_on_from_a_cursor_without_gap_or_repeat(transactional_db):
    from audit.authority import Role
    from tests.api.conftest import Program

    requester = factories.make_user("requester", Role.REQUESTER)
    plan = factories.make_plan(requester)
    factories.approve(plan, factories.make_user("approver", Role.APPROVER))
    program = Program(factories.make_token(requester))
    everything = program.get(f"/plans/{plan.pk}/events").json()["items"]
    assert everything and {"cursor", "type", "plan_id", "step", "attempt", "at", "data"} == set(everything[0])
    for position, event in enumerate(everything):
        rest = program.get(f"/plans/{plan.pk}/events?after={event['cursor']}").json()["items"]
        assert [item["cursor"] for item in rest] == [item["cursor"] for item in everything[position + 1 :]]
