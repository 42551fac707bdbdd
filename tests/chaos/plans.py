"""Random plans of everything a plan can say, the person who looks after them, and what their effects must have been."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator
from typing import Any

from tests.chaos.rigged import RiggedHouse

RETRY = {"attempts": 10, "first_wait_seconds": 0.2, "longest_wait_seconds": 1}
HOSTS = ("atlas", "forge", "nas")
# Most plans have none; one never meets its ceilings, one goes on beyond them, one is stopped at them.
BUDGETS = (
    *[None] * 5, {"call_ceiling": 1000, "cost_ceiling": 1000}, {"call_ceiling": 2, "policy": "warn"}, {"call_ceiling": 4}
)  # fmt: skip
Step = dict[str, Any]


class Author:
    """Writes plans by chance: each step may be tried often enough to outlive the kills.

    One that may not be repeated says so, too: that is for failures that did nothing, not for an end that nobody knows.
    """

    def __init__(self, house: RiggedHouse, chance: random.Random) -> None:
        self._house = house
        self._file = str(house.effects)
        self._never = str(house.effects.with_name("never"))
        self._chance = chance

    def plan(self) -> Any:
        """A new plan, written by a program."""
        return self._house.written(*self.steps(), budget=self._chance.choice(BUDGETS))

    def steps(self) -> list[Step]:
        """A few steps of every kind; now and then the last one fails, and what was done is undone."""
        steps: list[Step] = []
        for number in range(self._chance.randint(3, 6)):
            before = self._chance.sample(range(number), k=min(number, self._chance.randint(0, 2)))
            depends = [f"s{place}" for place in sorted(before)]
            step = {"key": f"s{number}", **self._kind(depends), "depends_on": depends}
            if self._chance.random() < 0.2:
                step["rollback"] = self._again()
            steps.append(step)
        if any("rollback" in step for step in steps) and self._chance.random() < 0.5:
            last = {
                "tool": "effects.again",
                "input": {"file": self._file, "needs": self._never},
                "retry": {"attempts": 1},
            }
            steps.append(
                {"key": "last", **last, "depends_on": [step["key"] for step in steps], "on_failure": "rollback"}
            )
        return steps

    def _kind(self, depends: list[str]) -> Step:
        kinds = (
            {"tool": "diagnostic.noop", "retry": RETRY},
            {"tool": "diagnostic.sleep", "input": {"seconds": 0.5}, "retry": RETRY},
            {"tool": "diagnostic.lines", "input": {"count": 300, "per_second": 400}, "retry": RETRY},
            {"tool": "diagnostic.fail", "input": {"times": 1}, "retry": RETRY},
            {**self._again(before=0.2, target=self._chance.choice(HOSTS)), "retry": RETRY},
            {"tool": "effects.once", "input": {"file": self._file, "before": 0.1, "after": 0.1}, "retry": RETRY},
            {**self._again(before=0.1), "for_each": [1, 2, 3][: self._chance.randint(0, 3)], "retry": RETRY},
            {**self._again(), "when": self._condition(depends), "retry": RETRY},
            {"tool": "effects.once", "input": {"file": self._file, "needs": self._never}, "on_failure": "fallback",
             "fallback": self._again(before=0.1)},
            {"tool": "effects.once", "input": {"file": self._file, "needs": self._never}, "on_failure": "continue"},
        )  # fmt: skip
        return dict(self._chance.choice(kinds))

    def _again(self, **more: Any) -> Step:
        return {"tool": "effects.again", "input": {"file": self._file, **more}}

    def _condition(self, depends: list[str]) -> str:
        """One that holds, or one that does not."""
        word = self._chance.choice(("==", "!="))
        return " and ".join(f"steps.{key}.status {word} 'completed'" for key in depends) or f"1 {word} 1"


def look_after(house: RiggedHouse, plan_id: str) -> int:
    """Ask for another try of every step whose outcome nobody knows, as a person would who has looked. How many."""
    unknown = house.rows(
        "SELECT key FROM plans_step step JOIN plans_plan plan ON plan.id = step.plan_id WHERE plan.id = %s "
        "AND plan.stage = 'failed' AND step.status = 'unknown' AND step.kind <> 'item' ORDER BY index LIMIT 1",
        plan_id,
    )
    for step in unknown:
        house.requester.post(f"/plans/{plan_id}/steps/{step['key']}/retry", reason="I looked.")
    return len(unknown)


def miscounted(house: RiggedHouse, plan_id: str) -> Iterator[str]:
    """Every effect that was there too often, never, or without a try that was allowed to have it."""
    steps = house.rows("SELECT * FROM plans_step WHERE plan_id = %s ORDER BY index, item_index", plan_id)
    tries = house.rows(
        "SELECT step.key, number, attempt.token, attempt.status, attempt.by_fallback FROM plans_attempt attempt "
        "JOIN plans_step step ON step.id = attempt.step_id WHERE attempt.plan_id = %s AND attempt.started_at IS NOT NULL",
        plan_id,
    )
    asked = Counter(
        row["subject_id"]
        for row in house.rows(
            "SELECT canonical::jsonb #>> '{subject,id}' AS subject_id FROM audit_decisionrecord WHERE type = 'step.retried' "
            "AND trace_id = (SELECT trace_id FROM plans_plan WHERE id = %s)",
            plan_id,
        )
    )
    seen = house.traces(plan_id)
    began = {(row["key"], row["number"], row["token"]) for row in tries}
    for trace, times in Counter((trace.key, trace.number, trace.token) for trace in seen).items():
        if times > 1:
            yield f"one try had its effect {times} times: {trace}"
        if trace not in began:
            yield f"an effect of a try that nobody claimed: {trace}"
    done = Counter((trace.key, trace.tool) for trace in seen)
    for step in steps:
        more = asked[str(step["id"])] + asked[str(step["parent_id"])]
        if done[step["key"], "effects.once"] > 1 + more:
            yield f"{step['key']} may not be repeated and was done {done[step['key'], 'effects.once']} times, {more} by a person"
        for one in tries:
            tool = step["fallback"]["tool"] if one["by_fallback"] and step["fallback"] else step["tool"]
            if (
                one["key"] == step["key"]
                and one["status"] == "completed"
                and tool.startswith("effects.")
                and not done[step["key"], tool]
            ):
                yield f"{step['key']} is completed by {tool} and nothing was done"
