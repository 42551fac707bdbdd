"""A plan that failed for good goes on as a new revision, on real processes: no effect is there twice, also when they are killed."""

import pytest

from tests.chaos.invariants import broken, not_in_git

pytestmark = [pytest.mark.chaos, pytest.mark.integration, pytest.mark.slow]


def written(house, *, needs):
    """Three steps with effects, one after the other; the middle one fails before it did anything, and the last reads the first."""
    file = str(house.effects)
    once = {"tool": "effects.once", "retry": {"attempts": 1}}
    return [
        {"key": "first", **once, "input": {"file": file}},
        {"key": "middle", **once, "input": {"file": file, "needs": needs}, "depends_on": ["first"]},
        {
            "key": "tell",
            "tool": "diagnostic.echo",
            "input": {"value": "{{ steps.first.output.done }}"},
            "depends_on": ["middle", "first"],
        },
    ]


def revised(house, plan, **change):
    """The plan as a program reads it, with other values for its middle step, handed back."""
    program = house.requester.get(f"/plans/{plan['id']}/program")
    step = next(step for step in program["steps"] if step["key"] == "middle")
    step["input"] |= change
    return house.requester.post(f"/plans/{plan['id']}/revisions", reason="What it needs is never there", **program)


def counted(house, plan):
    """How often each step of a plan had its effect."""
    keys = [trace.key for trace in house.traces(plan["id"])]
    return {key: keys.count(key) for key in dict.fromkeys(keys)}


def test_what_failed_is_mended_approved_by_another_person_and_what_was_done_is_not_done_again(house):
    plan = house.ended(house.approved(house.written(*written(house, needs=str(house.effects.with_name("never"))))))
    assert plan["stage"] == "failed" and counted(house, plan) == {"first": 1}
    new = revised(house, plan, needs="")
    assert (new["stage"], new["revision"]) == ("pending_approval", 2) and new["digest"] != plan["digest"]
    refused = house.requester.http.post(f"/plans/{plan['id']}/approve", json={"digest": new["digest"]})
    assert refused.status_code == 403
    stale = house.approver.http.post(f"/plans/{plan['id']}/approve", json={"digest": plan["digest"]})
    assert stale.json()["code"] == "digest_mismatch"
    plan = house.ended(house.approved(new))
    assert plan["stage"] == "completed"
    assert counted(house, plan) == {"first": 1, "middle": 1}
    first, middle, tell = plan["steps"]
    assert (first["carried_from"], first["attempts"], tell["output"]) == (1, [], {"value": True})
    assert [attempt["status"] for attempt in middle["attempts"]] == ["completed"]
    house.until(lambda: not not_in_git(house, plan["id"]))
    assert broken(house, plan["id"]) == []


def test_an_agent_that_is_killed_in_the_new_revision_repeats_nothing_either(house):
    plan = house.ended(house.approved(house.written(*written(house, needs=str(house.effects.with_name("never"))))))
    new = house.approved(revised(house, plan, needs="", after=1.5))
    agent = house.until(
        lambda: next((step["agent"] for step in house.plan(new["id"])["steps"] if step["status"] == "running"), None)
    )
    house.until(lambda: counted(house, plan).get("middle"))
    house.kill(agent)
    plan = house.ended(new, seconds=120)
    assert (plan["stage"], [step["status"] for step in plan["steps"]]) == (
        "failed",
        ["completed", "unknown", "waiting"],
    )
    house.approver.post(f"/plans/{plan['id']}/steps/middle/skip", reason="Its line is there: it was done")
    plan = house.ended(plan)
    assert plan["stage"] == "completed" and counted(house, plan) == {"first": 1, "middle": 1}
