"""To undo what a plan at rest has done: a plan of its own, which waits for approval like any other.

Everything known by now is written into it, so whoever approves it reads real values and no references. A value that looks like a
reference, because a step answered with one, is written so that it stands for itself: see _literal.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any, Final
from uuid import UUID

from django.db import transaction

from agents.models import Playbook
from audit import trail
from audit.authority import Action, check
from audit.context import Actor, acting
from plans import references
from plans.enums import StepKind
from plans.errors import IllegalTransition
from plans.execution import engine
from plans.models import Plan, Step
from plans.planning.saving import save_plan
from plans.selectors.undoing import Undoing, undo_key, undoing_of, undone_by
from plans.services.asking import refusals_on_record, valid_draft
from plans.services.common import checked, operable

Json = dict[str, Any]
_OPENS: Final = re.compile(r"\{(?=[{%#])")


def undo_plan(*, actor: Actor, plan_id: UUID, reason: str = "") -> Plan:
    """Write the plan that undoes what another has done, the last step first. Nothing runs before it is approved.

    Raises NotFound, NotAllowed, IllegalTransition if there is nothing to undo or another plan undid it, or waits to, and InvalidPlan,
    which is on record then.
    """
    plan = operable(actor, plan_id)
    check(actor, Action.ASK)
    reason = checked(reason, "reason")
    with (
        refusals_on_record(actor, ("plan", plan_id), trace_id=plan.trace_id, service=plan.service),
        acting(actor, plan.trace_id),
        transaction.atomic(),
    ):
        plan = Plan.objects.select_for_update(no_key=True).get(pk=plan_id)  # so that two at once write one plan
        undoing = undoing_of(plan)
        if not undoing.rows:
            raise IllegalTransition(
                undoing.why_not
                or f"Plan {plan.number} has done nothing that says how it is undone, or is not at rest yet."
            )
        goal = f"Undo plan {plan.number}: {plan.goal}"
        draft = valid_draft(goal[:2000], _program(plan, undoing), None, None)
        draft = replace(draft, summary=undoing.tale, risk_facts=(_fact(plan), *draft.risk_facts[1:]))
        because = f"Undoes what plan {plan.number} did." + (f" {reason}" if reason else "")
        made = save_plan(draft, requester=actor.user, request=None, because=because, undoes=plan)
        trail.record(
            "plan.undo_asked",
            subject=("plan", plan.pk),
            service=plan.service,
            reason=reason,
            number=made.number,
            steps=undoing.keys,
        )
    return made


def _fact(plan: Plan) -> Json:
    """Where the plan comes from, in place of the program that wrote any other of this kind."""
    text, detail = f"It was written from what plan {plan.number} did", "what else changed since then is not known"
    return {"tone": "warn", "icon": "undo", "text": text, "detail": detail}


def _program(plan: Plan, undoing: Undoing) -> list[Json]:
    """The steps that undo a plan as a program would write them, one after the other. Raises IllegalTransition."""
    steps: list[Json] = []
    for row in undoing.rows:
        key = undone_by(row)
        try:
            value = _input(plan, row)
        except references.Unresolvable as error:
            raise IllegalTransition(f"What undoes {key} can not be written down any more: {error}") from error
        steps.append(
            {
                "key": undo_key(key),
                "name": f"Undo {key}",
                "tool": row.tool,
                "input": value,
                "depends_on": [steps[-1]["key"]] if steps else [],
                "agent_type": row.agent_type,
                "timeout_seconds": row.timeout_seconds,
                "retry": row.retry,
                "reason": f"Undoes {key} of plan {plan.number}.",
            }
        )
    return steps


def _input(plan: Plan, row: Step) -> Json:
    if row.kind == StepKind.ROLLBACK:
        value = _resolved(plan, row, row.input)
        return {"playbook": row.playbook["path"], "variables": value} if row.playbook else value
    undo = Playbook.objects.filter(path=row.reversible_by, missing=False).first()
    known = {variable.get("name") for variable in (undo.details.get("variables", ()) if undo else ())}
    values = {name: value for name, value in row.input.items() if name in known}
    return {"playbook": row.reversible_by, "variables": _resolved(plan, row, values)}


def _resolved(plan: Plan, row: Step, value: Json) -> Json:
    resolved: Json = _literal(references.resolve(value, engine.scope_of(row.revision_id, plan.pk, row.pk, value)))
    return resolved


def _literal(value: Any) -> Any:
    """A JSON value in which nothing refers to anything: `{{ x }}` becomes `{{ '{' }}{ x }}`, which comes out as the text it was."""
    if isinstance(value, list):
        return [_literal(item) for item in value]
    if isinstance(value, dict):
        return {key: _literal(item) for key, item in value.items()}
    return _OPENS.sub("{{ '{' }}", value) if isinstance(value, str) else value
