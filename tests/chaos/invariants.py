"""What holds of every plan at rest, whatever was killed meanwhile. Read as the application's role, from the rows alone."""

from __future__ import annotations

import hashlib
import json
import subprocess
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from itertools import groupby, pairwise
from typing import Any

from tests.processes import AT_REST, Installation

ENDS = {"completed", "failed", "cancelled", "interrupted"}
DONE = {"completed", "skipped"}
UNCLEAR = {"failed", "unknown"}


def broken(installation: Installation, plan_id: str) -> list[str]:
    """Every invariant that a plan breaks, in words; empty if all hold."""
    (plan,) = installation.rows("SELECT * FROM plans_plan WHERE id = %s", plan_id)
    steps = installation.rows(
        "SELECT step.*, revision.number AS revision FROM plans_step step JOIN plans_revision revision ON revision.id = step.revision_id "
        "WHERE step.plan_id = %s ORDER BY revision.number, index, item_index",
        plan_id,
    )
    attempts = installation.rows("SELECT * FROM plans_attempt WHERE plan_id = %s ORDER BY step_id, number", plan_id)
    records = installation.rows(
        "SELECT sequence, type, canonical::jsonb #>> '{subject,id}' AS subject_id, canonical, encode(sha256, 'hex') AS sha256, canonical::jsonb -> 'metadata' AS metadata "
        "FROM audit_decisionrecord WHERE trace_id = (SELECT trace_id FROM plans_plan WHERE id = %s) ORDER BY sequence",
        plan_id,
    )
    lines = installation.rows(
        "SELECT attempt_id, seq, text FROM plans_outputline WHERE attempt_id IN (SELECT id FROM plans_attempt WHERE plan_id = %s) "
        "ORDER BY attempt_id, seq",
        plan_id,
    )
    locks = installation.rows("SELECT target FROM plans_targetlock WHERE plan_id = %s", plan_id)
    ledgers = installation.rows("SELECT * FROM plans_budgetledger WHERE plan_id = %s", plan_id)
    reserved = installation.rows("SELECT * FROM plans_budgetreservation WHERE ledger_id = %s", plan_id)
    (revision,) = installation.rows(
        "SELECT budget FROM plans_revision WHERE plan_id = %s ORDER BY number DESC LIMIT 1", plan_id
    )
    tries: dict[Any, list[Any]] = defaultdict(list)
    for attempt in attempts:
        tries[attempt["step_id"]].append(attempt)
    found = [
        *_rest(plan, attempts, locks),
        *_steps(plan, steps, tries),
        *_items(steps, records),
        *_fallbacks(steps, tries, records),
        *_rollback(plan, steps, tries, records),
        *_records(plan, attempts, records),
        *_tokens(steps, tries),
        *_lines(attempts, lines),
        *_spending(revision["budget"], attempts, ledgers, reserved),
    ]
    return [f"plan {plan['number']}: {what}" for what in found]


def overlaps(installation: Installation) -> list[str]:
    """Where two plans worked on one target at the same time, which the locks between plans are there to prevent."""
    rows = installation.rows(
        "SELECT target, plan.number, attempt.started_at, attempt.finished_at FROM plans_attempt attempt "
        "JOIN plans_step step ON step.id = attempt.step_id JOIN plans_plan plan ON plan.id = attempt.plan_id "
        "CROSS JOIN jsonb_array_elements_text(step.hosts) target WHERE attempt.started_at IS NOT NULL "
        "ORDER BY target, attempt.started_at"
    )
    found = []
    for target, works in groupby(rows, key=lambda row: row["target"]):
        last: dict[str, Any] | None = None  # the one that ends last of those that began so far
        for work in works:
            if last and last["number"] != work["number"] and work["started_at"] < last["finished_at"]:
                found.append(f"plans {last['number']} and {work['number']} worked on {target} at the same time")
            if last is None or work["finished_at"] > last["finished_at"]:
                last = work
    return found


def not_in_git(installation: Installation, plan_id: str) -> list[str]:
    """The tasks of a plan whose file in the audit repository is not there, or tells of another end. None may be under way."""
    rows = installation.rows(
        "SELECT DISTINCT ON (step.id) step.id, step.key, step.status, attempt.status AS outcome FROM plans_step step "
        "JOIN plans_attempt attempt ON attempt.step_id = step.id AND attempt.started_at IS NOT NULL "
        "WHERE step.plan_id = %s ORDER BY step.id, attempt.number DESC",
        plan_id,
    )
    found = []
    for row in rows:
        words = ["git", "-C", str(installation.folder / "audit"), "show", f"main:.audit/tasks/{row['id']}.json"]
        shown = subprocess.run(words, capture_output=True, check=False)
        told = json.loads(shown.stdout) if shown.returncode == 0 else None
        if told is None or (told["status"], told["execution_result"]["outcome"]) != (row["status"], row["outcome"]):
            found.append(f"what git has of {row['key']} is {told and told['status']}, not {row['status']}")
    return found


def _rest(plan: Any, attempts: Iterable[Any], locks: Iterable[Any]) -> Iterator[str]:
    if plan["stage"] not in AT_REST:
        yield f"it is not at rest but {plan['stage']}"
    if live := [attempt["status"] for attempt in attempts if attempt["status"] not in ENDS]:
        yield f"it is {plan['stage']} and has attempts that are {live}"
    if held := [lock["target"] for lock in locks]:
        yield f"it is at rest and keeps {', '.join(held)} for itself"
    if plan["waits_since"]:
        yield f"it is at rest and waits: {plan['waiting_for']}"


def _steps(plan: Any, steps: Iterable[Any], tries: dict[Any, list[Any]]) -> Iterator[str]:
    """Whatever is not a list: done is what one try did, and a plan is completed if nothing that it needs is missing."""
    for step in steps:
        mine = Counter(attempt["status"] for attempt in tries[step["id"]])
        spread = step["for_each"] is not None and step["kind"] == "step"
        if step["carried_from_id"]:  # an earlier revision did it
            if mine:
                yield f"step {step['key']} was done in an earlier revision, and tried again"
            continue
        if not spread and ((step["status"] == "completed") != (mine["completed"] == 1) or mine["completed"] > 1):
            yield f"step {step['key']} is {step['status']} and its tries are {dict(mine)}"
        if spread and mine:
            yield f"step {step['key']} runs for a list and was tried itself"
        if step["status"] == "running" or (step["status"] == "ready" and mine):
            yield f"step {step['key']} is {step['status']} and the plan is at rest"
        if step["revision"] == plan["revision_number"] and not _may_stay(plan, step):
            yield f"the plan is {plan['stage']} and {step['key']} is {step['status']}"
        if step["when"] and step["status"] == "skipped" and "condition does not hold" in step["summary"] and mine:
            yield f"step {step['key']} was skipped by its condition, and tried"


def _may_stay(plan: Any, step: Any) -> bool:
    """Whether a plan may rest with this step as it is."""
    if plan["stage"] != "completed":
        return True
    if step["kind"] == "rollback":
        return bool(step["status"] == "skipped")
    return step["status"] in DONE or (step["status"] in UNCLEAR and step["on_failure"] == "continue")


def _items(steps: list[Any], records: list[Any]) -> Iterator[str]:
    """A list that was found stays as it was found: a row for each of its items, and a step that knows how many are open."""
    told = Counter(record["subject_id"] for record in records if record["type"] == "step.fanned_out")
    for step in steps:
        if step["kind"] != "step" or step["for_each"] is None or step["carried_from_id"]:
            continue
        rows = [row for row in steps if row["parent_id"] == step["id"] and row["kind"] == "item"]
        wanted = list(enumerate(step["items"] or ()))
        if [(row["item_index"], row["item"]) for row in rows] != wanted:
            yield f"{step['key']} found {len(wanted)} items and has rows for {[row['key'] for row in rows]}"
        undone = sum(row["status"] not in DONE for row in rows)
        if step["items_open"] != undone:
            yield f"{step['key']} counts {step['items_open']} open items and {undone} are"
        if step["items"] is not None and (step["status"] == "completed") != (
            undone == 0 and step["status"] != "skipped"
        ):
            yield f"{step['key']} is {step['status']} and {undone} of its items are not done"
        if step["status"] == "completed" and step["output"] != {"items": [row["output"] for row in rows]}:
            yield f"what {step['key']} left is not what its items left"
        if told[str(step["id"])] != int(step["items"] is not None):
            yield f"{step['key']} was opened up {told[str(step['id'])]} times by its records"


def _fallbacks(steps: Iterable[Any], tries: dict[Any, list[Any]], records: list[Any]) -> Iterator[str]:
    """Each time that a fallback takes over has its record, and a step comes back to its own tool only by a person."""
    told = Counter((record["type"], record["subject_id"]) for record in records)
    for step in steps:
        ways = [way for way, _ in groupby(attempt["by_fallback"] for attempt in tries[step["id"]])]
        fell, asked = told["step.fell_back", str(step["id"])], told["step.retried", str(step["id"])]
        if any(ways) and step["fallback"] is None:
            yield f"{step['key']} has no fallback and used it"
        if not sum(ways) <= fell <= sum(ways) + asked:
            yield f"{step['key']} fell back {sum(ways)} times by its tries and {fell} times by its records"
        if sum(before and not after for before, after in pairwise(ways)) > asked:
            yield f"{step['key']} went back from its fallback to its own tool, and nobody asked for it"


def _rollback(plan: Any, steps: list[Any], tries: dict[Any, list[Any]], records: list[Any]) -> Iterator[str]:
    """Nothing is undone but in a rollback, in order, when nothing else runs, and only what was done; and then all of it."""
    undoing = [step for step in steps if step["kind"] == "rollback"]
    begun = next((record["sequence"] for record in records if record["type"] == "plan.rollback_begun"), None)
    if plan["rollback_reason"] and begun is None:
        yield "it is rolled back and no record says so"
    by_id = {step["id"]: step for step in steps}
    ran = [
        (attempt["started_at"], attempt["finished_at"], step)
        for step in undoing
        for attempt in tries[step["id"]]
        if attempt["started_at"]
    ]
    if ran and begun is None:
        yield f"{ran[0][2]['key']} ran and the plan is not rolled back"
    for step in undoing:
        if step["status"] == "completed" and by_id[step["parent_id"]]["status"] != "completed":
            yield f"{step['key']} undid what was not done"
    if ran and not any(record["type"] in ("step.retried", "step.skipped") for record in records):
        if any(ends > starts for (_, ends, _), (starts, _, _) in pairwise(ran)):
            yield f"what is undone was not undone one after the other, last first: {[step['key'] for _, _, step in ran]}"
        others = [one for step in steps if step["kind"] != "rollback" for one in tries[step["id"]] if one["started_at"]]
        if late := [one for one in others if one["finished_at"] > ran[0][0]]:
            yield f"{by_id[late[0]['step_id']]['key']} ran while the plan was rolled back"
    stuck = any(step["status"] in UNCLEAR for step in undoing)
    if plan["stage"] == "failed" and plan["rollback_reason"] and not stuck:
        for step in undoing:
            if by_id[step["parent_id"]]["status"] == "completed" and step["status"] not in DONE:
                yield f"the rollback is over and {step['key']} is {step['status']}"


def _records(plan: Any, attempts: Iterable[Any], records: list[Any]) -> Iterator[str]:
    moves = [record["metadata"] for record in records if record["type"] == "plan.stage_changed"]
    if not moves or moves[0]["was"] != "draft" or moves[-1]["now"] != plan["stage"]:
        yield f"its records end elsewhere: {[move['now'] for move in moves]}"
    if any(before["now"] != after["was"] for before, after in pairwise(moves)):
        yield f"its stage moved without a record: {moves}"
    approved = next((record["sequence"] for record in records if record["type"] == "plan.approved"), None)
    started = [record for record in records if record["type"] == "attempt.started"]
    if started and (approved is None or started[0]["sequence"] < approved):
        yield "it began before it was approved"
    ends = {
        record["metadata"]["now"]: record["sequence"] for record in records if record["type"] == "plan.stage_changed"
    }
    if started and started[-1]["sequence"] > ends.get("cancelled", started[-1]["sequence"]):
        yield "it was cancelled, and then something began"
    told = Counter((record["subject_id"], record["type"]) for record in records)
    for attempt in attempts:
        pk = str(attempt["id"])
        wanted = {"attempt.started": int(attempt["started_at"] is not None)}
        if attempt["started_at"]:
            wanted |= {f"attempt.{end}": int(attempt["status"] == end) for end in ENDS}
        if wrong := {kind: told[pk, kind] for kind, count in wanted.items() if told[pk, kind] != count}:
            yield f"try {attempt['number']} is {attempt['status']} and its records are {wrong}"
    for record in records:
        if hashlib.sha256(record["canonical"].encode()).hexdigest() != record["sha256"]:
            yield f"the hash of record {record['sequence']} ({record['type']}) is not its own"


def _tokens(steps: Iterable[Any], tries: dict[Any, list[Any]]) -> Iterator[str]:
    for step in steps:
        mine = [attempt["token"] for attempt in tries[step["id"]] if attempt["token"]]
        if any(later <= earlier for earlier, later in pairwise(mine)) or max(mine, default=0) != step["token"]:
            yield f"the tokens of {step['key']} are {mine} and the step's is {step['token']}"


def _lines(attempts: Iterable[Any], lines: Iterable[Any]) -> Iterator[str]:
    said: dict[Any, list[Any]] = {
        attempt: list(rows) for attempt, rows in groupby(lines, lambda row: row["attempt_id"])
    }
    for attempt in attempts:
        rows = said.get(attempt["id"], [])
        if [row["seq"] for row in rows] != list(range(1, attempt["line_count"] + 1)):
            yield f"try {attempt['number']} has {len(rows)} of {attempt['line_count']} lines, or not in order"
        whole = hashlib.sha256("".join(f"{row['text']}\n" for row in rows).encode()).hexdigest()
        if attempt["lines_sha256"] not in ("", whole):
            yield f"the hash over the lines of try {attempt['number']} is not theirs"


def _spending(budget: Any, attempts: Iterable[Any], ledgers: Iterable[Any], reserved: list[Any]) -> Iterator[str]:
    """At rest nothing is held any more, what was spent is the sum of the calls, and a ceiling that blocks was not passed."""
    if open_ := sum(row["settled_at"] is None for row in reserved):
        yield f"it is at rest and {open_} reservations are not settled"
    if strangers := {row["attempt_id"] for row in reserved} - {one["id"] for one in attempts if one["started_at"]}:
        yield f"something was reserved for {len(strangers)} tries that never began"
    for ledger in ledgers:
        for measure, used in (("calls", "calls"), ("cost", "cost_used"), ("tokens", "tokens_used")):
            if held := ledger[f"{measure}_held"]:
                yield f"it is at rest and holds {held} {measure}"
            spent, told = ledger[f"{measure}_spent"], sum(row[used] or 0 for row in reserved)
            if spent != told:
                yield f"it spent {spent} {measure} and its calls used {told}"
        ceiling = budget.get("call_ceiling")
        if ceiling is not None and budget.get("policy", "block") == "block" and ledger["calls_spent"] > ceiling:
            yield f"it made {ledger['calls_spent']} calls and may make {ceiling}"
