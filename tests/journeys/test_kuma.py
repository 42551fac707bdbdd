"""The story of the product, with real processes from the first word to the last proof."""

import json
import re
import subprocess

import httpx
import pytest

pytestmark = [pytest.mark.integration, pytest.mark.slow, pytest.mark.e2e_01]
WORDS = "Deploy Uptime Kuma to the homelab, then update its config with probes for plex and jellyfin"


@pytest.fixture(scope="module")
def story(demo):
    """The request's plan, as it waited, and as it was in the end."""
    waiting = demo.asked(WORDS)
    demo.approved(waiting)
    return waiting, demo.ended(waiting, 90)


def test_words_become_an_exact_plan(story):
    waiting, _ = story
    assert waiting["stage"] == "pending_approval"
    assert len(waiting["digest"]) == 64
    assert [step["tool"] for step in waiting["steps"]] == ["ansible.playbook"] * len(waiting["steps"])
    assert waiting["steps"][0]["key"] == "kuma-deploy"
    assert all(step["status"] == "pending" for step in waiting["steps"])


def test_the_approved_plan_runs_to_its_end(story):
    waiting, done = story
    assert done["stage"] == "completed", json.dumps(done, indent=1)
    assert done["digest"] == waiting["digest"]
    assert [step["status"] for step in done["steps"]] == ["completed"] * len(done["steps"])
    assert done["steps"][0]["agent"] in {"forge-01", "forge-02"}
    assert done["steps"][0]["output"]["changed"] > 0


def test_every_line_of_its_output_is_kept_in_order(demo, story):
    _, done = story
    for step in done["steps"]:
        attempt = step["attempts"][0]
        rows = demo.rows("SELECT seq, text FROM plans_outputline WHERE attempt_id = %s ORDER BY seq", attempt["id"])
        assert [row["seq"] for row in rows] == list(range(1, len(rows) + 1))
        assert any("PLAY RECAP" in row["text"] for row in rows)


def test_the_events_tell_the_whole_story_in_order(demo, story):
    _, done = story
    events, after = [], ""
    while True:
        told = demo.requester.get(f"/plans/{done['id']}/events", **({"after": after} if after else {}))
        events += told["items"]
        if not told["next"]:
            break
        after = told["next"]
    stages = [event["data"]["now"] for event in events if event["type"] == "stage_changed"]
    assert stages[-4:] == ["pending_approval", "approved", "executing", "completed"]
    assert len({event["cursor"] for event in events}) == len(events)


def test_each_task_has_a_row_records_and_a_commit(demo, story):
    _, done = story
    for step in done["steps"]:
        told = demo.until(lambda step=step: _committed(demo, step["task_id"]), 30)
        assert told["commit"]
        records = {record["type"] for record in told["records"]}
        assert {"attempt.started", "attempt.completed", "tasks.committed"} <= records


def _committed(demo, task):
    told = demo.auditor.get(f"/audit/tasks/{task}")
    return told if told.get("commit") else None


def test_the_audit_repository_holds_the_file_of_each_task(demo, story):
    _, done = story
    demo.until(lambda: _committed(demo, done["steps"][-1]["task_id"]), 30)
    folder = demo.folder / "audit"
    for step in done["steps"]:
        text = subprocess.run(
            ["git", "-C", str(folder), "show", f"HEAD:.audit/tasks/{step['task_id']}.json"],
            check=True, capture_output=True, text=True,
        ).stdout  # fmt: skip
        file = json.loads(text)
        assert (file["digest"], file["status"]) == (done["digest"], "completed")
        assert file["approvals"][0]["approver"] == "approver"


def test_the_same_again_changes_nothing(demo, story):
    again = demo.asked(WORDS)
    demo.approved(again)
    done = demo.ended(again, 90)
    assert done["stage"] == "completed"
    assert [step["output"]["changed"] for step in done["steps"]] == [0] * len(done["steps"])


def test_the_service_really_answers(demo, story):
    units = json.loads((demo.folder / "sandbox" / "state.json").read_text())
    ports = re.findall(r'"port": (\d+)', json.dumps(units))
    assert ports, units
    assert all(httpx.get(f"http://127.0.0.1:{port}/", timeout=10).status_code < 500 for port in ports)


def test_only_who_may_sees_it(demo, story):
    _, done = story
    with httpx.Client(base_url=demo.address) as nobody:
        assert nobody.get(f"/api/v1/plans/{done['id']}").status_code == 401
        assert nobody.get(f"/plans/{done['number']}/").status_code == 302
    own = demo.requester.http.post(f"/plans/{done['id']}/approve", json={"digest": done["digest"]})
    assert own.status_code == 403
