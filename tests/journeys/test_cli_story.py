"""The story by the command line alone, beside the data folder: ask, read, approve, follow, prove."""

import json

import pytest

pytestmark = [pytest.mark.integration, pytest.mark.slow, pytest.mark.e2e_01]


@pytest.fixture
def chiffon(demo):
    """Runs `chiffon` for a person of the demo, with a token that reaches as far as the role."""

    def run(person, *words, code=0):
        ran = demo.ran(*words, CHIFFON_SERVER=demo.address, CHIFFON_TOKEN=demo.person(person).token)
        assert ran.returncode == code, ran.stdout + ran.stderr
        assert "Traceback" not in ran.stderr
        return ran.stdout if "--json" not in words else [json.loads(line) for line in ran.stdout.splitlines()]

    return run


def test_asked_read_approved_and_followed_to_its_end(demo, chiffon):
    said = chiffon("requester", "ask", "Check the certificates")
    number = said.partition("chiffon show ")[2].split()[0]
    assert f"Plan {number}: 1 step" in said

    assert number in chiffon("approver", "plans", "--awaiting")
    shown = chiffon("approver", "show", number)
    assert "cert-check.yml" in shown and "awaiting approval" in shown
    (plan,) = chiffon("approver", "show", number, "--json")
    assert plan["digest"] in shown
    assert plan["steps"][0]["attempts"] == []

    chiffon("requester", "approve", number, code=1)
    chiffon("approver", "approve", number, "--digest", plan["digest"], "--comment", "By the command line")

    events = chiffon("requester", "watch", number, "--json")
    stages = [event["data"]["now"] for event in events if event["type"] == "stage_changed"]
    assert stages[-3:] == ["approved", "executing", "completed"]
    output = [event["data"] for event in events if event["type"] == "output"]
    assert [line["seq"] for line in output] == list(range(1, len(output) + 1))
    assert any("PLAY RECAP" in line["text"] for line in output)
    (end,) = [event["data"] for event in events if event["type"] == "output_end"]
    assert end["count"] == len(output)
    assert len({event["cursor"] for event in events}) == len(events)

    again = chiffon("requester", "watch", number)
    assert again.count("PLAY RECAP") == 1
    (done,) = chiffon("auditor", "show", number, "--json")
    assert (done["stage"], done["approvals"][0]["comment"]) == ("completed", "By the command line")
    task = demo.until(lambda: _committed(demo, done["steps"][0]["task_id"]))
    assert task["commit"]["commit"]


def test_a_question_is_answered_by_the_command_line(chiffon):
    asked = chiffon("requester", "ask", "Set up a database")
    assert "Answer with: chiffon ask --request" in asked
    request = asked.partition("--request ")[2].split()[0]
    told = chiffon("requester", "ask", "--request", request, "a_name_of_mine", "--json")[0]
    assert told["id"] == request
    assert told["status"] in {"planned", "needs_clarification"}


def test_what_was_rejected_is_said_to_who_follows(demo, chiffon):
    number = str(demo.written({"key": "say", "tool": "diagnostic.noop"})["number"])
    chiffon("approver", "reject", number, "--reason", "Not on a Friday")
    assert "rejected" in chiffon("requester", "watch", number, code=1)
    (plan,) = chiffon("requester", "show", number, "--json")
    assert "Not on a Friday" in json.dumps(plan)


def _committed(demo, task):
    told = demo.auditor.get(f"/audit/tasks/{task}")
    return told if told.get("commit") else None
