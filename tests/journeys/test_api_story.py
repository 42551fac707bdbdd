"""The story through the chat client's doors and by a program that reads what it missed; the other API journey is the Kuma story."""

import pytest

from tests.live.stories import sha256_of

pytestmark = [pytest.mark.integration, pytest.mark.slow, pytest.mark.e2e_01]


def door(person, demo, method, path, **more):
    answer = person.http.request(method, f"{demo.address}/api/dashboard/{path}", **more)
    assert answer.is_success, answer.text
    return answer.json()


def test_said_in_the_chat_approved_there_and_read_back_as_a_task(demo):
    told = door(demo.requester, demo, "POST", "chat", json={"message": "Check the certificates"})
    assert told["messages"][0]["text"] == "Check the certificates"
    plan = demo.plan(told["plan_id"])
    assert plan["request_id"] == told["request_id"]

    yes = {"plan_id": plan["id"], "digest": plan["digest"], "comment": "From the chat"}
    refused = demo.requester.http.post(f"{demo.address}/api/dashboard/approve", json=yes)
    assert refused.status_code == 403
    wrong = demo.approver.http.post(f"{demo.address}/api/dashboard/approve", json={**yes, "digest": "0" * 64})
    assert (wrong.status_code, wrong.json()["code"]) == (409, "digest_mismatch")
    approved = door(demo.approver, demo, "POST", "approve", json=yes)
    assert approved["dispatch_started"] is True
    assert door(demo.approver, demo, "POST", "approve", json=yes)["plan_id"] == plan["id"]  # twice is once

    done = demo.ended(plan)
    assert done["stage"] == "completed"
    assert [vote["comment"] for vote in done["approvals"]] == ["From the chat"]
    task = done["steps"][0]["task_id"]
    story = demo.until(
        lambda: found if (found := door(demo.auditor, demo, "GET", f"audit/task/{task}"))["commit"] else None
    )
    assert story["commit"]["path"] == f".audit/tasks/{task}.json"


def test_a_program_that_was_away_reads_every_line_it_missed(demo):
    lines = {"key": "talk", "tool": "diagnostic.lines", "input": {"count": 300, "per_second": 100}}
    plan = demo.approved(demo.written(lines))
    early = demo.until(lambda: demo.requester.get(f"/plans/{plan['id']}/events")["items"])
    demo.ended(plan)
    seen, after = list(early), early[-1]["cursor"]
    while (told := demo.requester.get(f"/plans/{plan['id']}/events", after=after))["items"]:
        seen += told["items"]
        after = told["items"][-1]["cursor"]
    output = [event["data"] for event in seen if event["type"] == "output"]
    assert [line["seq"] for line in output] == list(range(1, 301))
    (end,) = [event["data"] for event in seen if event["type"] == "output_end"]
    assert end == {"count": 300, "sha256": sha256_of(line["text"] for line in output)}

    attempt = demo.plan(plan["id"])["steps"][0]["attempts"][0]["id"]
    whole = demo.requester.http.get(f"/attempts/{attempt}/output", params={"format": "text"})
    assert whole.text.count("\n") == 300


def test_a_trace_joins_words_decision_and_work(demo):
    told = door(demo.requester, demo, "POST", "chat", json={"message": "Check the certificates"})
    plan = demo.ended(demo.approved(demo.plan(told["plan_id"])))
    types = {record["type"] for record in demo.auditor.get("/audit/records", trace_id=plan["trace_id"])["items"]}
    assert {"request.received", "plan.created", "plan.approved", "step.routed", "attempt.completed"} <= types
