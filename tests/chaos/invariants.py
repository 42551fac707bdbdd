"""What holds of every plan at rest, whatever was killed meanwhile. Read as the application's role, from the rows alone."""

from __future__ import annotations

import hashlib
from collections import Counter
from itertools import pairwise
from typing import Any

from tests.processes import AT_REST, Installation

ENDS = {"completed", "failed", "cancelled", "interrupted"}


def broken(installation: Installation, plan_id: str) -> list[str]:
    """Every invariant that a plan breaks, in words; empty if all hold."""
    (plan,) = installation.rows("SELECT id, stage, number FROM plans_plan WHERE id = %s", plan_id)
    steps = installation.rows("SELECT * FROM plans_step WHERE plan_id = %s ORDER BY index", plan_id)
    attempts = installation.rows("SELECT * FROM plans_attempt WHERE plan_id = %s ORDER BY step_id, number", plan_id)
    records = installation.rows(
        "SELECT sequence, type, subject_id, canonical::jsonb -> 'metadata' AS metadata FROM audit_decisionrecord WHERE plan_id = %s ORDER BY sequence",
        plan_id,
    )
    found = _rest(plan, steps, attempts) + _records(plan, attempts, records) + _tokens(steps, attempts)
    for attempt in attempts:
        lines = installation.rows(
            "SELECT seq, text FROM plans_outputline WHERE attempt_id = %s ORDER BY seq", attempt["id"]
        )
        found += _lines(attempt, lines)
    return [f"plan {plan['number']}: {what}" for what in found]


def _rest(plan: Any, steps: list[Any], attempts: list[Any]) -> list[str]:
    found = []
    if plan["stage"] not in AT_REST:
        found.append(f"it is not at rest but {plan['stage']}")
    if live := [attempt["status"] for attempt in attempts if attempt["status"] not in ENDS]:
        found.append(f"it is {plan['stage']} and has attempts that are {live}")
    for step in steps:
        mine = Counter(attempt["status"] for attempt in attempts if attempt["step_id"] == step["id"])
        if (step["status"] == "completed") != (mine["completed"] == 1) or mine["completed"] > 1:
            found.append(f"step {step['key']} is {step['status']} and its tries are {dict(mine)}")
    if plan["stage"] == "completed" and any(step["status"] != "completed" for step in steps):
        found.append("it is completed and a step is not")
    return found


def _records(plan: Any, attempts: list[Any], records: list[Any]) -> list[str]:
    found = []
    moves = [record["metadata"] for record in records if record["type"] == "plan.stage_changed"]
    if not moves or moves[0]["was"] != "draft" or moves[-1]["now"] != plan["stage"]:
        found.append(f"its records end elsewhere: {[move['now'] for move in moves]}")
    if any(before["now"] != after["was"] for before, after in pairwise(moves)):
        found.append(f"its stage moved without a record: {moves}")
    approved = next((record["sequence"] for record in records if record["type"] == "plan.approved"), None)
    started = [record for record in records if record["type"] == "attempt.started"]
    if started and (approved is None or started[0]["sequence"] < approved):
        found.append("it began before it was approved")
    told = Counter((record["subject_id"], record["type"]) for record in records)
    for attempt in attempts:
        pk = str(attempt["id"])
        wanted = {"attempt.started": int(attempt["started_at"] is not None)}
        if attempt["started_at"]:
            wanted |= {f"attempt.{end}": int(attempt["status"] == end) for end in ENDS}
        wrong = {kind: told[pk, kind] for kind, count in wanted.items() if told[pk, kind] != count}
        if wrong:
            found.append(f"try {attempt['number']} is {attempt['status']} and its records are {wrong}")
    return found


def _tokens(steps: list[Any], attempts: list[Any]) -> list[str]:
    found = []
    for step in steps:
        mine = [attempt["token"] for attempt in attempts if attempt["step_id"] == step["id"] and attempt["token"]]
        if any(later <= earlier for earlier, later in pairwise(mine)) or max(mine, default=0) != step["token"]:
            found.append(f"the tokens of {step['key']} are {mine} and the step's is {step['token']}")
    return found


def _lines(attempt: Any, lines: list[Any]) -> list[str]:
    found = []
    if [line["seq"] for line in lines] != list(range(1, attempt["line_count"] + 1)):
        found.append(f"try {attempt['number']} has {len(lines)} of {attempt['line_count']} lines, or not in order")
    whole = hashlib.sha256("".join(f"{line['text']}\n" for line in lines).encode()).hexdigest()
    if attempt["lines_sha256"] not in ("", whole):
        found.append(f"the hash over the lines of try {attempt['number']} is not theirs")
    return found
