"""Requests, conversations and the chat client's three routes."""

import subprocess
import uuid

import pytest

from agents import services as agents_services
from agents.models import PlaybookRepository
from audit.context import SYSTEM
from plans.models import Plan
from tests import factories
from tests.api.conftest import Program, is_problem

KUMA = "Deploy Kuma Uptime to homelab and add our existing portals to the config"


@pytest.fixture
def homelab(db, tmp_path, checkout):
    """The example playbooks as a git repository, read in."""
    folder = tmp_path / "homelab"
    subprocess.run(["cp", "-r", str(checkout / "examples" / "homelab"), str(folder)], check=True)
    for command in (
        ["init", "-q", "-b", "main"],
        ["add", "-A"],
        ["-c", "user.name=t", "-c", "user.email=t@example.org", "commit", "-q", "-m", "All"],
    ):
        subprocess.run(["git", "-C", str(folder), *command], check=True)
    PlaybookRepository.objects.create(name="homelab", location=str(folder))
    factories.make_policy()
    return agents_services.refresh_playbooks(actor=SYSTEM)


def test_words_become_a_plan_that_awaits_approval(homelab, as_requester):
    answer = as_requester.post("/requests", {"text": KUMA})
    assert answer.status_code == 201, answer.content
    request = answer.json()
    assert request["status"] == "planned", request
    assert {"subtasks", "ambiguities", "out_of_scope", "complexity", "decomposer"} <= set(request["decomposition"])
    assert [task["order"] for task in request["decomposition"]["subtasks"]] == [1, 2]
    plan = as_requester.get(f"/plans/{request['plan_id']}").json()
    assert plan["stage"] == "pending_approval"
    assert plan["request_id"] == request["id"] and plan["trace_id"] == request["trace_id"]
    assert [step["playbook"]["path"] for step in plan["steps"]] == ["kuma-deploy.yml", "kuma-config-update.yml"]
    assert plan["steps"][1]["depends_on"] == [plan["steps"][0]["key"]]
    assert as_requester.get(f"/requests/{request['id']}").json() == request
    assert [item["id"] for item in as_requester.get("/requests").json()["items"]] == [request["id"]]


def test_a_request_is_its_requesters(homelab, as_requester, as_approver, as_auditor):
    request = as_requester.post("/requests", {"text": KUMA}).json()
    is_problem(as_approver.get(f"/requests/{request['id']}"), 404)
    assert as_auditor.get(f"/requests/{request['id']}").status_code == 200
    assert as_approver.get("/requests").json()["items"] == []
    is_problem(as_auditor.post(f"/requests/{request['id']}/messages", {"text": "yes"}), 403)


def test_an_answer_that_nobody_asked_for_is_a_conflict(homelab, as_requester):
    request = as_requester.post("/requests", {"text": KUMA}).json()
    is_problem(as_requester.post(f"/requests/{request['id']}/messages", {"text": "yes"}), 409)


def test_an_unknown_request_is_not_found(as_requester):
    is_problem(as_requester.get(f"/requests/{uuid.uuid4()}"), 404)
    is_problem(as_requester.post(f"/requests/{uuid.uuid4()}/messages", {"text": "yes"}), 404)
    is_problem(as_requester.get("/requests/7"), 422)


def test_a_token_that_may_only_ask_is_told_what_came_of_it(homelab, requester):
    program = Program(factories.make_token(requester, "requests:write"))
    request = program.post("/requests", {"text": KUMA})
    assert request.status_code == 201
    is_problem(program.get(f"/requests/{request.json()['id']}"), 403, "scope_missing")


def test_the_chat_asks_and_approves(homelab, requester, approver):
    chat = Program(factories.make_token(requester), prefix="/api/dashboard")
    said = chat.post("/chat", {"message": KUMA})
    assert said.status_code == 200, said.content
    answer = said.json()
    assert {"session_id", "request_id", "plan_id", "messages"} == set(answer)
    assert answer["messages"][0]["text"] == KUMA
    plan = Plan.objects.get(pk=answer["plan_id"])
    approving = Program(factories.make_token(approver), prefix="/api/dashboard")
    done = approving.post("/approve", {"plan_id": str(plan.pk), "digest": factories.digest_of(plan)})
    assert done.status_code == 200, done.content
    assert done.json()["plan_id"] == str(plan.pk)
    assert done.json()["dispatch_started"] is True
    again = chat.post("/chat", {"message": "Check the certificates", "session_id": answer["session_id"]})
    assert again.json()["session_id"] == answer["session_id"]


def test_the_chat_tells_a_task(homelab, requester):
    plan = factories.make_plan(requester)
    chat = Program(factories.make_token(requester), prefix="/api/dashboard")
    task = chat.get(f"/audit/task/{plan.steps.get().pk}")
    assert task.status_code == 200, task.content
    assert {"task_id", "row", "records", "commit"} <= set(task.json())
    is_problem(chat.get(f"/audit/task/{uuid.uuid4()}"), 404)
