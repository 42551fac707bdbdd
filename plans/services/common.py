"""What several services ask first: is the plan there for this actor, can the text be stored."""

from __future__ import annotations

from dataclasses import replace
from uuid import UUID

from audit.authority import Action, may
from audit.context import Actor
from audit.db import find
from audit.errors import NotAllowed
from audit.trail import requires_transaction
from plans.errors import IllegalTransition, NotFound, Refused
from plans.models import Plan
from plans.planning.validation import text_errors
from plans.selectors.undoing import why_not_gone_on

LONGEST_COMMENT = 2_000


def visible(actor: Actor, plan_id: UUID, *, lock: bool = False) -> Plan:
    """The plan, locked if asked for, or NotFound: there is none, or it is not for this actor."""
    plan = find(Plan, plan_id, lock=lock)
    if plan is None:
        raise NotFound("There is no such plan, or it is not for you.")
    # Whatever a token is limited to: what it may do is asked next, and whose plan this is must not be told before.
    if not may(replace(actor, scopes=None), Action.SEE_PLAN, plan):
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


@requires_transaction
def check_not_overtaken(plan: Plan) -> None:
    """Refuse that a plan goes on, or begins, from what another plan has undone, or undoes what has gone on meanwhile.

    The caller holds the plan; the one that it undoes is held here. So of a plan that goes on and the one that undoes it, whichever is
    let go on first does, and the other one is refused. Raises IllegalTransition.
    """
    if plan.undoes_id is not None:
        plan.undoes = Plan.objects.select_for_update(no_key=True).get(pk=plan.undoes_id)
    if reason := why_not_gone_on(plan):
        raise IllegalTransition(reason)
