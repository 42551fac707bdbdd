"""Plans written by programs: from the JSON of `POST /plans` to a draft, every field's type checked and named."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from agents.models import Playbook
from agents.playbooks.facts import Facts
from agents.tools.base import Tool
from agents.tools.registry import find_tool
from plans import references
from plans.conf import MOST_STEPS
from plans.errors import InvalidPlan
from plans.planning.drafts import PlanDraft, StepDraft
from plans.retry import ONCE, RetryPolicy

# What a program may say about a step, and of which type. `key` and `tool` are needed, the rest has defaults.
_FIELDS: dict[str, tuple[type, ...]] = {
    "key": (str,),
    "tool": (str,),
    "name": (str,),
    "input": (dict,),
    "depends_on": (list,),
    "agent_type": (str,),
    "work_type": (str,),
    "timeout_seconds": (int,),
    "retry": (dict,),
    "reason": (str,),
    "resources": (dict,),
    "when": (str,),
    "on_failure": (str,),
}
Error = dict[str, Any]


def draft_from_program(goal: str, steps: Sequence[Any], budget: Mapping[str, Any] | None) -> PlanDraft:
    """The draft of a program's plan; the shape is checked here, the meaning in validation. Raises InvalidPlan."""
    errors: list[Error] = []
    if not isinstance(goal, str) or not goal.strip() or len(goal) > 2000:
        errors.append({"loc": ["goal"], "msg": "The goal is a text of 1 to 2000 characters."})
    if len(steps) > MOST_STEPS:
        raise InvalidPlan(
            [{"loc": ["steps"], "msg": f"A plan has at most {MOST_STEPS} steps; this one has {len(steps)}."}]
        )
    drafts: list[StepDraft] = []
    repositories: list[Any] = []
    for place, step in enumerate(steps):
        found = _shape_errors(step)
        if not found:
            try:
                drafts.append(_step(step, repositories))
            except ValueError as error:
                found = [{"loc": list(error.args[1]) if len(error.args) > 1 else ["retry"], "msg": f"{error.args[0]}."}]
        errors += [{"loc": ["steps", place, *item["loc"]], "msg": item["msg"]} for item in found]
    if errors:
        raise InvalidPlan(errors)
    repository = repositories[0] if repositories else None
    return PlanDraft(
        goal=goal.strip(),
        summary=f"{len(drafts)} steps written by a program.",
        steps=tuple(drafts),
        budget=dict(budget or {}),
        complexity="simple" if len(drafts) < 3 else "medium" if len(drafts) < 12 else "complex",
        repository_id=repository.pk if repository else None,
        repository=repository.name if repository else "",
        commit=repository.commit if repository else "",
        tree=repository.tree if repository else "",
        risk_facts=(
            {
                "tone": "warn",
                "icon": "unknown",
                "text": "A program wrote this plan",
                "detail": "no words to check it against",
            },
        ),
    )


def _shape_errors(step: Any) -> list[Error]:
    if not isinstance(step, Mapping):
        return [{"loc": [], "msg": "A step is an object with at least key and tool."}]
    errors = [{"loc": [name], "msg": f"A step has no field {name}."} for name in step if name not in _FIELDS]
    errors += [{"loc": [name], "msg": f"A step needs a {name}."} for name in ("key", "tool") if name not in step]
    for name, types in _FIELDS.items():
        value = step.get(name)
        if name in step and (not isinstance(value, types) or isinstance(value, bool)):
            errors.append({"loc": [name], "msg": f"{name} must be of type {types[0].__name__}."})
    if not errors and not all(isinstance(key, str) for key in step.get("depends_on", ())):
        errors.append({"loc": ["depends_on"], "msg": "depends_on is a list of keys."})
    return errors


def _step(step: Mapping[str, Any], repositories: list[Any]) -> StepDraft:
    tool = find_tool(step["tool"])
    variables, playbook, row = dict(step.get("input", {})), None, None
    if step["tool"] == "ansible.playbook":
        row = _playbook(variables.get("playbook"))
        if repositories and repositories[0].pk != row.repository_id:
            raise ValueError("All playbooks of a plan come from one repository", ["input", "playbook"])
        repositories.append(row.repository)
        playbook = {"path": row.path, "inventory": row.repository.inventory, "limit": "", "tags": []}
        variables = variables.get("variables", {})
    return StepDraft(
        key=step["key"],
        name=step.get("name") or (row.description if row else "") or step["tool"],
        tool=step["tool"],
        input=variables,
        playbook=playbook,
        depends_on=tuple(dict.fromkeys(step.get("depends_on", ()))),
        agent_type=step.get("agent_type", "infra"),
        work_type=step.get("work_type") or (f"playbook:{row.path}" if row else tool.work_type if tool else ""),
        resources=step.get("resources", {}),
        risk=row.risk if row else "low" if tool and tool.idempotent else "medium",
        timeout_seconds=step.get("timeout_seconds", 600),
        retry=RetryPolicy.from_json(step["retry"])
        if "retry" in step
        else RetryPolicy()
        if tool and tool.idempotent
        else ONCE,
        idempotent=bool(tool and tool.idempotent),
        when=step.get("when", "").strip(),
        on_failure=step.get("on_failure", "stop"),
        hosts=_hosts(row, tool, variables),
        reason=step.get("reason", "A program asked for it."),
        service=row.service if row else "",
        origins=dict.fromkeys(variables, "the program's request"),
        reversible_by=row.reversible_by if row else "",
    )


def _hosts(row: Playbook | None, tool: Tool | None, value: Mapping[str, Any]) -> tuple[str, ...]:
    """The hosts of a playbook as the inventory names them; of another tool the `target` of its input, if it takes one."""
    if row is not None:
        return Facts.from_json(row.repository.facts).hosts_of(str(row.details.get("hosts", "")))
    target = value.get("target")
    named = isinstance(target, str) and target and tool is not None and "target" in tool.input_model.model_fields
    return (str(target),) if named and not references.is_template(target) else ()


def _playbook(name: Any) -> Playbook:
    """The catalogued playbook of that id or path; a path is only ever compared with the catalogue."""
    known = Playbook.objects.select_related("repository").filter(missing=False)
    for row in known:
        if isinstance(name, str) and name in (str(row.pk), row.path):
            return row
    raise ValueError("The catalogue has no such playbook", ["input", "playbook"])
