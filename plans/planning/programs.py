"""Plans written by programs: from the JSON of `POST /plans` to a draft, every field's type checked and named."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from agents.models import Playbook, PlaybookRepository
from agents.playbooks.catalogue import Variable
from agents.playbooks.facts import Facts
from agents.tools.base import Tool
from agents.tools.registry import find_tool
from plans import references
from plans.budget import completed, whole
from plans.conf import MOST_STEPS
from plans.errors import InvalidPlan, brief
from plans.planning.drafts import ActionDraft, Kept, PlanDraft, StepDraft
from plans.planning.vocabulary import vocabulary_facts
from plans.retry import ONCE, RetryPolicy

PLAYBOOK_TOOL: Final = "ansible.playbook"
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
    "for_each": (list, str),
    "fallback": (dict,),
    "rollback": (dict,),
}
_ACTION_FIELDS: dict[str, tuple[type, ...]] = {"tool": (str,), "input": (dict,)}
_WORDS: dict[type, str] = {list: "a list", str: "a text"}
Error = dict[str, Any]


def draft_from_program(
    goal: str,
    steps: Sequence[Any],
    budget: Mapping[str, Any] | None,
    max_parallel: int | None = None,
    *,
    kept: Mapping[str, Kept] | None = None,
) -> PlanDraft:
    """The draft of a program's plan; the shape is checked here, the meaning in validation. Raises InvalidPlan.

    `kept` is what the steps of the revision before say beyond a program's words, by key.
    """
    errors: list[Error] = []
    if not isinstance(goal, str) or not goal.strip() or len(goal) > 2000:
        errors.append({"loc": ["goal"], "msg": "The goal is a text of 1 to 2000 characters."})
    if len(steps) > MOST_STEPS:
        raise InvalidPlan(
            [{"loc": ["steps"], "msg": f"A plan has at most {MOST_STEPS} steps; this one has {len(steps)}."}]
        )
    drafts: list[StepDraft] = []
    reader = _Reader(
        declared_undo=any(isinstance(step, Mapping) and step.get("on_failure") == "rollback" for step in steps),
        kept=kept or {},
    )
    for place, step in enumerate(steps):
        found = _shape_errors(step)
        if not found:
            try:
                drafts.append(reader.step(step))
            except ValueError as error:
                found = [{"loc": list(error.args[1]) if len(error.args) > 1 else ["retry"], "msg": f"{error.args[0]}."}]
        errors += [{"loc": ["steps", place, *item["loc"]], "msg": item["msg"]} for item in found]
    if errors:
        raise InvalidPlan(errors)
    repository = reader.repository
    return PlanDraft(
        goal=goal.strip(),
        summary=f"{len(drafts)} step{'' if len(drafts) == 1 else 's'} written by a program.",
        steps=tuple(drafts),
        max_parallel=max_parallel,
        budget=completed(budget or {}),
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
            *vocabulary_facts(drafts),
            *_budget_facts(budget or {}, drafts),
        ),
    )


def _budget_facts(told: Mapping[str, Any], drafts: Sequence[StepDraft]) -> list[dict[str, Any]]:
    """What can be foreseen of a budget: a call for each step, or item of a list that is known; conditions may spare some."""
    may, least = whole(told.get("call_ceiling")), 0
    for draft in drafts:
        least += 1 if draft.for_each is None else len(draft.for_each) if isinstance(draft.for_each, list) else 0
    if not may or may >= least:
        return []
    detail = f"its steps are {least} calls at least, and {may} may be made"
    return [{"tone": "warn", "icon": "warning", "text": "The budget may end before the plan does", "detail": detail}]


def _shape_errors(step: Any) -> list[Error]:
    if not isinstance(step, Mapping):
        return [{"loc": [], "msg": "A step is an object with at least key and tool."}]
    errors = _field_errors(step, _FIELDS, ("key", "tool"), "A step")
    for name in ("fallback", "rollback"):
        if isinstance(action := step.get(name), Mapping):
            found = _field_errors(action, _ACTION_FIELDS, ("tool",), f"A {name}")
            errors += [{"loc": [name, *error["loc"]], "msg": error["msg"]} for error in found]
    if not errors and not all(isinstance(key, str) for key in step.get("depends_on", ())):
        errors.append({"loc": ["depends_on"], "msg": "depends_on is a list of keys."})
    return errors


def _field_errors(
    given: Mapping[str, Any], fields: Mapping[str, tuple[type, ...]], needed: Sequence[str], what: str
) -> list[Error]:
    errors = [{"loc": [name], "msg": f"{what} has no field {brief(name)}."} for name in given if name not in fields]
    errors += [{"loc": [name], "msg": f"{what} needs a {name}."} for name in needed if name not in given]
    for name, types in fields.items():
        value = given.get(name)
        if name == "for_each" and isinstance(value, Mapping):
            errors.append({"loc": [name], "msg": "for_each is a list, or one reference to one; it can not be nested."})
        elif name in given and (not isinstance(value, types) or isinstance(value, bool)):
            words = " or ".join(_WORDS[type_] for type_ in types) if len(types) > 1 else f"of type {types[0].__name__}"
            errors.append({"loc": [name], "msg": f"{name} must be {words}."})
    return errors


@dataclass(frozen=True, slots=True)
class _Means:
    """A tool as a step, a fallback or a rollback names it, with the catalogue's row if it runs a playbook."""

    tool: Tool | None
    name: str
    input: dict[str, Any]
    row: Playbook | None = None
    limit: str = ""
    tags: tuple[str, ...] = ()

    @property
    def playbook(self) -> dict[str, Any] | None:
        if self.row is None:
            return None
        return {
            "path": self.row.path,
            "inventory": self.row.repository.inventory,
            "limit": self.limit,
            "tags": list(self.tags),
            **({"types": types} if (types := self._types()) else {}),
        }

    @property
    def takes(self) -> tuple[Variable, ...]:
        """The variables that its playbook can be given."""
        known = self.row.details.get("variables", ()) if self.row else ()
        return tuple(Variable.from_json(variable) for variable in known)

    def _types(self) -> dict[str, str]:
        """The types of the variables whose values are only known when the step starts."""
        awaited = (variable for variable in self.takes if references.has_any(self.input.get(variable.name)))
        return {variable.name: variable.type for variable in awaited}

    @property
    def hosts(self) -> tuple[str, ...]:
        """Those of a playbook as the inventory names them; of another tool the `target` of its input, if it takes one."""
        if self.row is not None:
            facts = Facts.from_json(self.row.repository.facts)
            return facts.hosts_of(str(self.row.details.get("hosts", "")), self.limit)
        target = self.input.get("target")
        takes_one = self.tool is not None and "target" in self.tool.input_model.model_fields
        named = isinstance(target, str) and target and takes_one and not references.is_template(target)
        return (str(target),) if named else ()

    @property
    def work_type(self) -> str:
        return f"playbook:{self.row.path}" if self.row else self.tool.work_type if self.tool else ""

    @property
    def idempotent(self) -> bool:
        return bool(self.tool and self.tool.idempotent)

    @property
    def risk(self) -> str:
        return self.row.risk if self.row else "low" if self.idempotent else "medium"

    @property
    def retry(self) -> RetryPolicy:
        return RetryPolicy() if self.idempotent else ONCE

    def action(self) -> ActionDraft:
        """As a fallback or a rollback."""
        return ActionDraft(
            self.name, self.input, self.playbook, self.work_type, self.idempotent, self.retry, self.risk, self.takes
        )


class _Reader:
    """Reads the steps of one plan: their playbooks come from one repository, and are looked up once."""

    def __init__(self, *, declared_undo: bool, kept: Mapping[str, Kept]) -> None:
        self.repository: PlaybookRepository | None = None
        self._kept = kept
        self._declared_undo = declared_undo  # a playbook's own word for what undoes it is taken
        self._catalogue: list[Playbook] | None = None

    def step(self, step: Mapping[str, Any]) -> StepDraft:
        """One step, whose shape was checked. Raises ValueError with the place."""
        means = self._means(step["tool"], step.get("input", {}), [])
        row = means.row
        kept = self._kept.get(step["key"])
        if kept and (kept.tool, kept.path) != (step["tool"], row.path if row else ""):
            kept = None  # it does something else now
        if kept:
            means = replace(means, limit=kept.limit, tags=kept.tags)
        fallback = self._action(step, "fallback", means.limit)
        return StepDraft(
            key=step["key"],
            name=step.get("name") or (kept.name if kept else "") or (row.description if row else "") or step["tool"],
            tool=step["tool"],
            input=means.input,
            playbook=means.playbook,
            depends_on=tuple(dict.fromkeys(step.get("depends_on", ()))),
            agent_type=step.get("agent_type", "infra"),
            work_type=step.get("work_type") or means.work_type,
            resources=step.get("resources", {}),
            risk=max(means.risk, fallback.risk if fallback else "low", key=("low", "medium", "high").index),
            timeout_seconds=step.get("timeout_seconds", 600),
            retry=RetryPolicy.from_json(step["retry"]) if "retry" in step else means.retry,
            idempotent=kept.idempotent if kept else means.idempotent,
            when=step.get("when", "").strip(),
            on_failure=step.get("on_failure", "stop"),
            hosts=means.hosts,
            for_each=each.strip() if isinstance(each := step.get("for_each"), str) else each,
            fallback=fallback,
            rollback=self._action(step, "rollback", means.limit) or self._declared(means),
            reason=step.get("reason", kept.reason if kept else "A program asked for it."),
            service=row.service if row else "",
            origins=_origins(means.input, kept),
            estimated_seconds=kept.estimated_seconds if kept else None,
            reversible_by=row.reversible_by if row else "",
            spans=kept.spans if kept else (),
            takes=means.takes,
        )

    def _action(self, step: Mapping[str, Any], name: str, limit: str) -> ActionDraft | None:
        """What a step falls back on, or what undoes it: never on more hosts than the step itself."""
        given = step.get(name)
        if not given:
            return None
        means = self._means(given["tool"], given.get("input", {}), [name])
        return (replace(means, limit=limit) if means.row else means).action()

    def _declared(self, means: _Means) -> ActionDraft | None:
        """What a playbook itself says undoes it, with those of its values that the other one knows."""
        row = means.row
        if not self._declared_undo or row is None or not row.reversible_by:
            return None
        undo = self._playbook(row.reversible_by)
        if undo is None:
            raise ValueError(
                f"{row.path} says that {row.reversible_by} undoes it, and the catalogue has no such playbook",
                ["input", "playbook"],
            )
        known = {variable.get("name") for variable in undo.details.get("variables", ())}
        values = {name: value for name, value in means.input.items() if name in known}
        return _Means(means.tool, means.name, values, undo, means.limit).action()

    def _means(self, tool: str, given: Mapping[str, Any], loc: Sequence[str]) -> _Means:
        if tool != PLAYBOOK_TOOL:
            return _Means(find_tool(tool), tool, dict(given))
        row = self._playbook(given.get("playbook"))
        if row is None:
            raise ValueError("The catalogue has no such playbook", [*loc, "input", "playbook"])
        if self.repository is not None and self.repository.pk != row.repository_id:
            raise ValueError("All playbooks of a plan come from one repository", [*loc, "input", "playbook"])
        self.repository = row.repository
        variables = given.get("variables", {})
        # Nor a reference to one: its names are compared with the catalogue.
        if not isinstance(variables, dict):
            raise ValueError(  # noqa: TRY004  (read as any other error with its place)
                "The variables are an object of names and values", [*loc, "input", "variables"]
            )
        return _Means(find_tool(tool), tool, variables, row)

    def _playbook(self, name: Any) -> Playbook | None:
        """The catalogued playbook of that id or path; a path is only ever compared with the catalogue."""
        if self._catalogue is None:
            self._catalogue = list(Playbook.objects.select_related("repository").filter(missing=False))
        found = (row for row in self._catalogue if isinstance(name, str) and name in (str(row.pk), row.path))
        return next(found, None)


def _origins(values: Mapping[str, Any], kept: Kept | None) -> dict[str, str]:
    """Where each value comes from: as before, while it is the same."""
    old = kept.origins if kept else {}
    return {
        name: old[name] if kept and name in old and kept.input.get(name) == value else "the program's request"
        for name, value in values.items()
    }
