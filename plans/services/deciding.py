"""Approve and reject: one outcome, also when two people decide at the same moment."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final
from uuid import UUID

from django.contrib.auth import get_user_model
from django.db import transaction

from audit import trail
from audit.authority import Action, check
from audit.context import Actor, acting, full_name
from audit.db import call
from audit.errors import NotAllowed
from audit.ids import uuid7
from plans import lifecycle
from plans.approval import gate
from plans.enums import Decision, Stage
from plans.errors import AlreadyDecided, DigestMismatch, PlansError, Refused, SelfApproval
from plans.execution import starting
from plans.models import Approval, Plan
from plans.services.common import check_not_overtaken, checked, visible

# Written out like the records that go with it.
_ANSWER: Final = (
    f"INSERT INTO {Approval._meta.db_table} (id, plan_id, revision_id, digest, decision, approver_id, requester_id, author_id, comment, "  # noqa: S608
    "policy_id, four_eyes) VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s) RETURNING id"
)


def approve_plan(*, actor: Actor, plan_id: UUID, digest: str, comment: str = "") -> Plan:
    """Approve the digest that was seen. The last approval that is needed starts the plan at once.

    The same person, digest and decision again answers the first decision. Raises NotFound, NotAllowed, SelfApproval,
    DigestMismatch, AlreadyDecided, and IllegalTransition if it builds on what was undone meanwhile, or undoes what went on meanwhile;
    a refusal is recorded too.
    """
    return _decided(actor, plan_id, lambda plan: _approve(actor, plan, digest, checked(comment, "comment")))


def reject_plan(*, actor: Actor, plan_id: UUID, reason: str, digest: str = "") -> Plan:
    """Reject a plan for good, with a reason; with a digest, only if it is still what was seen.

    Raises NotFound, NotAllowed, Refused without a reason, DigestMismatch and AlreadyDecided; a refusal is recorded too.
    """
    return _decided(actor, plan_id, lambda plan: _reject(actor, plan, checked(reason, "reason"), digest))


def _decided(actor: Actor, plan_id: UUID, decide: Callable[[Plan], None]) -> Plan:
    """Decide under the plan's lock, so that two people at the same moment get one outcome and a clear message."""
    plan = None
    try:
        with transaction.atomic():
            plan = visible(actor, plan_id, lock=True)
            with acting(actor, plan.trace_id):
                check(actor, Action.DECIDE_PLAN, plan)
                decide(plan)
    except (PlansError, NotAllowed) as error:
        if plan is not None:
            _record_refusal(actor, plan, error)
        raise
    return plan


def _record_refusal(actor: Actor, plan: Plan, error: PlansError | NotAllowed) -> None:
    with acting(actor, plan.trace_id), transaction.atomic():
        trail.record(
            "plan.decision_refused",
            subject=("plan", plan.pk),
            service=plan.service,
            reason=error.sentence,
            code=error.code,
        )


def _approve(actor: Actor, plan: Plan, digest: str, comment: str) -> None:
    standing = gate.standing(plan, viewer=actor.user)
    if _repeated(standing, plan, Decision.APPROVED, digest):
        if plan.stage == Stage.PENDING_APPROVAL and not standing.missing:  # its start was refused: here is another
            _check_unchanged(plan, standing)
            _start(plan, standing, _voters(standing))
        return
    if standing.self_approval:
        did = "asked for" if plan.requester_id == (actor.user and actor.user.pk) else "wrote this revision of"
        raise SelfApproval(f"You {did} this plan, so someone else has to approve it (four eyes).")
    _check_unchanged(plan, standing)
    _answer(actor, plan, standing, Decision.APPROVED, comment)
    trail.record(
        "plan.approved",
        subject=("plan", plan.pk),
        service=plan.service,
        reason=comment,
        digest=standing.digest,
        revision=standing.revision["number"],
        policy=standing.policy_name,
        four_eyes=standing.four_eyes,
    )
    if standing.missing <= 1:
        _start(plan, standing, [*_voters(standing), actor.called])


def _start(plan: Plan, standing: gate.Standing, voters: Sequence[str]) -> None:
    starting.start(plan, standing.revision["id"], standing.rows, because=f"Approved by {', '.join(voters)}.")


def _check_unchanged(plan: Plan, standing: gate.Standing) -> None:
    if difference := gate.differs(plan, standing):
        raise DigestMismatch(difference)
    check_not_overtaken(plan)


def _reject(actor: Actor, plan: Plan, reason: str, digest: str) -> None:
    if not reason:
        raise Refused("reason_missing", "Say why you reject it: the requester reads this.")
    standing = gate.standing(plan, viewer=actor.user)
    if _repeated(standing, plan, Decision.REJECTED, digest or standing.digest):
        return
    _answer(actor, plan, standing, Decision.REJECTED, reason)
    trail.record(
        "plan.rejected",
        subject=("plan", plan.pk),
        service=plan.service,
        reason=reason,
        digest=standing.digest,
        revision=standing.revision["number"],
        policy=standing.policy_name,
    )
    lifecycle.transition(plan, to=Stage.REJECTED, because=f"Rejected by {actor.called}: {reason}")


def _repeated(standing: gate.Standing, plan: Plan, decision: Decision, digest: str) -> bool:
    """Whether this very answer was given before. Raises what stands against a new one."""
    if any(answer.decision == decision and answer.digest == digest for answer in standing.own_answers):
        return True
    if plan.stage != Stage.PENDING_APPROVAL:
        raise AlreadyDecided(
            f"Plan {plan.number} is {Stage(plan.stage).label.lower()} already. {plan.stage_reason}".strip()
        )
    if digest != standing.digest:
        raise DigestMismatch(
            "The plan is no longer what you saw. Nothing was decided. Read what it is now, then decide."
        )
    return False


def _answer(actor: Actor, plan: Plan, standing: gate.Standing, decision: Decision, comment: str) -> None:
    call(
        _ANSWER,
        [
            uuid7(),
            plan.pk,
            standing.revision["id"],
            standing.digest,
            str(decision),
            actor.user and actor.user.pk,
            plan.requester_id,
            standing.revision["author_id"],
            comment,
            standing.policy["id"],
            standing.four_eyes,
        ],
    )


def _voters(standing: gate.Standing) -> list[str]:
    given = [answer.approver_id for answer in standing.answers if answer.counts]
    people = get_user_model().objects.in_bulk(given) if given else {}
    return [full_name(people[pk]) for pk in given]
