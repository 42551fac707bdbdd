"""A plan's revision as a program would write it, to be changed and handed back, and what of it stays done in the next one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from agents.tools.registry import find_tool
from plans.dag import layers
from plans.digest import leaf
from plans.enums import OnFailure, StepKind, StepStatus
from plans.models import Step
from plans.planning.drafts import Kept
from plans.retry import RetryPolicy

Json = dict[str, Any]
# A step that its condition, or a person, left out is decided as well: what comes after it was done without it.
FINISHED: Final = (StepStatus.COMPLETED, StepStatus.SKIPPED)


def program_of(rows: Sequence[Step], upstream: Mapping[str, Sequence[str]]) -> list[Json]:
    """The steps of a revision in a program's words. Read again, with kept_of(), they are what they were.

    `rows` are all rows of the revision in the order of work, `upstream` the keys that each step depends on.
    """
    rollbacks = {row.parent_id: row for row in rows if row.kind == StepKind.ROLLBACK}
    return [
        _written(row, sorted(upstream.get(row.key, ())), rollbacks.get(row.pk))
        for row in rows
        if row.kind == StepKind.STEP
    ]


def kept_of(rows: Iterable[Step]) -> dict[str, Kept]:
    """What the steps of a revision say beyond a program's words, by key."""
    return {
        row.key: Kept(
            name=row.name,
            tool=row.tool,
            path=_path(row.playbook),
            limit=(row.playbook or {}).get("limit", ""),
            tags=tuple((row.playbook or {}).get("tags", ())),
            idempotent=row.idempotent,
            input=row.input,
            origins=row.origins,
            reason=row.reason,
            spans=tuple((start, end) for start, end in row.span or ()),
            estimated_seconds=row.estimated_seconds,
        )
        for row in rows
        if row.kind == StepKind.STEP
    }


def carried_by(
    upstream: Mapping[str, Sequence[str]], contents: Mapping[str, Json], done: Mapping[str, Step]
) -> dict[str, Step]:
    """Which steps of a revision stay done, and by which row: those that are what they were, after nothing that runs anew.

    `upstream` are the keys that each step depends on, `contents` what the digest covers of each, and `done` the finished rows of the
    revision that ran last.
    """
    carried: dict[str, Step] = {}
    for key in (key for layer in layers(upstream) for key in layer):
        row = done.get(key)
        if row and leaf(contents[key]) == row.leaf and all(before in carried for before in upstream[key]):
            carried[key] = row
    return carried


def _written(row: Step, depends_on: Sequence[str], rollback: Step | None) -> Json:
    """One step with everything it says that is not what a program would leave unsaid."""
    tool = find_tool(row.tool)
    usual = f"playbook:{_path(row.playbook)}" if row.playbook else tool.work_type if tool else ""
    fallback = row.fallback
    return {
        "key": row.key,
        "name": row.name,
        "tool": row.tool,
        "input": _input(row.playbook, row.input),
        **({"depends_on": list(depends_on)} if depends_on else {}),
        "agent_type": row.agent_type,
        **({"work_type": row.work_type} if row.work_type != (usual or row.tool) else {}),
        "timeout_seconds": row.timeout_seconds,
        "retry": RetryPolicy.from_json(row.retry).to_json(),
        "reason": row.reason,
        **({"resources": row.resources} if row.resources else {}),
        **({"when": row.when} if row.when else {}),
        **({"on_failure": str(row.on_failure)} if row.on_failure != OnFailure.STOP else {}),
        **({"for_each": row.for_each} if row.for_each is not None else {}),
        **({"fallback": _action(fallback["tool"], fallback["playbook"], fallback["input"])} if fallback else {}),
        **({"rollback": _action(rollback.tool, rollback.playbook, rollback.input)} if rollback else {}),
    }


def _action(tool: str, playbook: Json | None, value: Json) -> Json:
    return {"tool": tool, "input": _input(playbook, value)}


def _input(playbook: Json | None, value: Json) -> Json:
    return {"playbook": _path(playbook), "variables": value} if playbook else value


def _path(playbook: Json | None) -> str:
    return str(playbook["path"]) if playbook else ""
