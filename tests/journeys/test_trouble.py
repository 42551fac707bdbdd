"""Playbooks that go wrong on real agents: what is told, what is kept, what is left."""

import subprocess

import pytest

from tests.journeys.conftest import SLEEP, only_try, playbook_step

pytestmark = [pytest.mark.integration, pytest.mark.slow, pytest.mark.e2e_03]


def sleepers():
    """Processes of the hanging playbook that live."""
    return subprocess.run(["pgrep", "-f", f"sleep {SLEEP}"], capture_output=True, text=True).stdout.split()


def test_a_failing_playbook_says_which_task_and_why(demo):
    plan = demo.written(
        playbook_step("a", "odd-fail.yml"), {"key": "b", "tool": "diagnostic.noop", "depends_on": ["a"]}
    )
    demo.approved(plan)
    done = demo.ended(plan)
    assert done["stage"] == "failed"
    assert [step["status"] for step in done["steps"]] == ["failed", "waiting"]
    assert "The disk is full." in only_try(done, "a")["error"]
    assert "The disk is full." in demo.output(only_try(done, "a"))
    assert done["steps"][1]["attempts"] == []


def test_a_playbook_past_its_time_ends_with_everything_it_started(demo):
    plan = demo.written(playbook_step("a", "odd-hang.yml", timeout_seconds=6))
    demo.approved(plan)
    demo.until(sleepers)
    done = demo.ended(plan)
    assert done["stage"] == "failed"
    assert only_try(done, "a")["failure_mode"] == "resource"
    assert not sleepers()
    assert demo.steps_processes() == []


def test_bytes_that_are_no_text_are_shown_harmless(demo):
    plan = demo.written(playbook_step("a", "odd-nul.yml"))
    demo.approved(plan)
    done = demo.ended(plan)
    assert done["stage"] == "completed", only_try(done, "a")
    text = demo.output(only_try(done, "a"))
    assert "\x00" not in text and "\x07" not in text and "hunter22" not in text
    page = demo.requester.http.get(f"{demo.address}/plans/{done['number']}/run/").text
    assert "<img src=x" not in page


def test_what_a_playbook_reports_is_the_steps_output(demo):
    plan = demo.written(playbook_step("a", "odd-stats.yml"))
    demo.approved(plan)
    done = demo.ended(plan)
    assert done["steps"][0]["output"]["stats"] == {"answer": 42}
    assert done["steps"][0]["output"]["changed"] == 0


def test_after_the_agent_is_killed_nothing_lives_on_and_a_person_decides(demo):
    plan = demo.written(
        playbook_step("a", "odd-hang.yml"), {"key": "b", "tool": "diagnostic.noop", "depends_on": ["a"]}
    )
    demo.approved(plan)
    demo.until(sleepers)
    agent = demo.plan(plan["id"])["steps"][0]["agent"]
    killed = demo.kill(agent)
    demo.until(lambda: not sleepers(), 5)
    done = demo.ended(plan, 60)
    assert done["stage"] == "failed"
    assert done["steps"][0]["status"] == "unknown"
    assert only_try(done, "a")["status"] == "interrupted"
    assert only_try(done, "a")["progress"]["tasks_reached"] == 1
    left = demo.requester.get(f"/plans/{plan['id']}/partial-result")
    assert left["recoverable"] and left["not_started"] == ["b"]
    (host,) = left["begun"][0]["checkpoint"]["hosts"]
    assert (host["host"], host["state"], host["tasks"]) == ("atlas", "unknown", {})  # it came to the end of no task
    assert demo.steps_processes() == []
    demo.back(agent, after=killed)
    demo.requester.post(f"/plans/{plan['id']}/steps/a/retry", reason="Nothing was changed.")
    demo.until(sleepers)
    second = demo.plan(plan["id"])
    assert second["stage"] == "executing"
    assert [attempt["status"] for attempt in second["steps"][0]["attempts"]] == ["interrupted", "running"]
    demo.kill(second["steps"][0]["agent"])  # it would hang for minutes
    demo.ended(plan, 60)
    demo.until(lambda: not sleepers(), 5)


def test_an_idempotent_step_of_a_killed_agent_goes_on_by_itself(demo):
    plan = demo.written({"key": "a", "tool": "diagnostic.sleep", "input": {"seconds": 5}})
    demo.approved(plan)
    agent = demo.until(lambda: demo.plan(plan["id"])["steps"][0]["agent"])
    demo.until(lambda: demo.plan(plan["id"])["stage"] == "executing")
    killed = demo.kill(agent)
    done = demo.ended(plan, 60)
    assert done["stage"] == "completed"
    assert [attempt["status"] for attempt in done["steps"][0]["attempts"]] == ["interrupted", "completed"]
    demo.back(agent, after=killed)


def test_a_drained_agent_gets_nothing_and_the_work_goes_on(demo):
    demo.admin.post("/agents/forge-01/drain", reason="A test.")
    try:
        plan = demo.written(*({"key": f"s{n}", "tool": "diagnostic.noop"} for n in range(6)))
        demo.approved(plan)
        done = demo.ended(plan)
        assert done["stage"] == "completed"
        assert {step["agent"] for step in done["steps"]} == {"forge-02"}
    finally:
        demo.admin.post("/agents/forge-01/activate", reason="The test is over.")
