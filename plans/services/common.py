"""What several services ask first: is the plan there for this actor, can the text be stored."""

from __future__ import annotations

from uuid import UUID

from audit.authority import Action, may
from audit.context import Actor
from audit.db import find
from audit.errors import NotAllowed
from plans.errors import IllegalTransition, NotFound, Refused
from plans.models import Plan
from plans.planning.validation import text_errors

LONGEST_COMMENT = 2_000


def visible(actor: Actor, plan_id: UUID, *, lock: bool = False) -> Plan:
    """The plan, locked if asked for, or NotFound: there is none, or it is not for this actor."""
    plan = find(Plan, plan_id, lock=lock)
    if plan is None:
        raise NotFound("There is no such plan, or it is not for you.")
    if not (answer := may(actor, Action.SEE_PLAN, plan)) and answer.code != "scope_missing":
        raise NotFound("There is no such plan, or it is not for you.")
    return plan


def operable(actor: Actor, plan_id: UUID) -> Plan:
    """The plan, if this actor may steer it. Raises NotFound and NotAllowed."""
    plan = visible(actor, plan_id)
    if not (answer := may(actor, Action.OPERATE_PLAN, plan)):
        raise NotFound(answer.sentence) if answer.hidden else NotAllowed(answer.code, answer.sentence)
    return plan


def checked(text: str, name: str) -> str:
    """A comment or reason as it may be stored. Raises Refused."""
    if len(text) > LONGEST_COMMENT:
        raise Refused("too_long", f"The {name} has more than {LONGEST_COMMENT} characters.")
    if errors := text_errors(text, [name]):
        raise Refused("bad_text", str(errors[0]["msg"]))
    return text.strip()


def reason_of(text: str, otherwise: str) -> str:
    """A reason that must be given; `otherwise` asks for it. Raises Refused."""
    reason = checked(text, "reason")
    if not reason:
        raise Refused("reason_missing", otherwise)
    return reason


def not_undone(plan: Plan) -> IllegalTransition:
    """Why a step of a plan that is or was rolled back does not go on."""
    return IllegalTransition(
        f"Plan {plan.number} was rolled back: what it had done is undone, so it does not go on. Ask for it anew."
    )
