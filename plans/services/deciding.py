"""Approve and reject: one outcome, also when two people decide at the same moment."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any
from uuid import UUID

from django.db import transaction

from audit import trail
from audit.authority import Action, check
from audit.context import Actor, acting
from audit.errors import NotAllowed
from plans import lifecycle
from plans.approval import gate
from plans.enums import Decision, Stage
from plans.errors import AlreadyDecided, DigestMismatch, PlansError, Refused, SelfApproval
from plans.execution import engine
from plans.models import Approval, ApprovalPolicy, Plan, Revision
from plans.services.common import checked, visible


def approve_plan(*, actor: Actor, plan_id: UUID, digest: str, comment: str = "") -> Plan:
    """Approve the digest that was seen. The last approval that is needed starts the plan at once.

    The same person, digest and decision again answers the first decision. Raises NotFound, NotAllowed, SelfApproval,
    DigestMismatch and AlreadyDecided; a refusal is recorded too.
    """
    return _decided(actor, plan_id, lambda plan: _approve(actor, plan, digest, checked(comment, "comment")))


def reject_plan(*, actor: Actor, plan_id: UUID, reason: str, digest: str = "") -> Plan:
    """Reject a plan for good, with a reason; with a digest, only if it is still what was seen.

    Raises NotFound, NotAllowed, Refused without a reason, DigestMismatch and AlreadyDecided; a refusal is recorded too.
    """
    return _decided(actor, plan_id, lambda plan: _reject(actor, plan, checked(reason, "reason"), digest))


def _decided(actor: Actor, plan_id: UUID, decide: Callable[[Plan], None]) -> Plan:
    """Decide under the plan's lock, so that two people at the same moment get one outcome and a clear message."""
    plan = visible(actor, plan_id)
    try:
        check(actor, Action.DECIDE_PLAN, plan)
        with acting(actor, plan.trace_id), transaction.atomic():
            plan = Plan.objects.select_for_update(of=("self",)).select_related("requester", "request").get(pk=plan_id)
            decide(plan)
    except (PlansError, NotAllowed) as error:
        with acting(actor, plan.trace_id), transaction.atomic():
            trail.record(
                "plan.decision_refused",
                subject=("plan", plan.pk),
                plan_id=plan.pk,
                service=plan.service,
                reason=error.sentence,
                code=error.code,
            )
        raise
    return plan


def _approve(actor: Actor, plan: Plan, digest: str, comment: str) -> None:
    revision = gate.current_revision(plan)
    standing = gate.standing(revision, viewer=actor.user)
    if _repeated(standing, plan, revision, Decision.APPROVED, digest):
        if plan.stage == Stage.PENDING_APPROVAL and not standing.missing:  # its start was refused: here is another
            _check_unchanged(revision)
            _start(plan, _voters(standing))
        return
    if standing.self_approval:
        raise SelfApproval("You asked for this plan, so someone else has to approve it (four eyes).")
    _check_unchanged(revision)
    _answer(actor, plan, revision, standing.policy, Decision.APPROVED, comment)
    trail.record(
        "plan.approved",
        subject=("plan", plan.pk),
        plan_id=plan.pk,
        service=plan.service,
        reason=comment,
        digest=revision.digest,
        revision=revision.number,
        policy=str(standing.policy),
        four_eyes=standing.policy.four_eyes,
    )
    if standing.missing <= 1:
        _start(plan, [*_voters(standing), _name(actor.user)])


def _start(plan: Plan, voters: Sequence[str]) -> None:
    lifecycle.transition(plan, to=Stage.APPROVED, because=f"Approved by {', '.join(voters)}.")
    engine.start(plan)


def _check_unchanged(revision: Revision) -> None:
    if difference := gate.differs(revision):
        raise DigestMismatch(difference)


def _reject(actor: Actor, plan: Plan, reason: str, digest: str) -> None:
    if not reason:
        raise Refused("reason_missing", "Say why you reject it: the requester reads this.")
    revision = gate.current_revision(plan)
    standing = gate.standing(revision, viewer=actor.user)
    if _repeated(standing, plan, revision, Decision.REJECTED, digest or revision.digest):
        return
    _answer(actor, plan, revision, standing.policy, Decision.REJECTED, reason)
    trail.record(
        "plan.rejected",
        subject=("plan", plan.pk),
        plan_id=plan.pk,
        service=plan.service,
        reason=reason,
        digest=revision.digest,
        revision=revision.number,
        policy=str(standing.policy),
    )
    lifecycle.transition(plan, to=Stage.REJECTED, because=f"Rejected by {actor.name}: {reason}")


def _repeated(standing: gate.Standing, plan: Plan, revision: Revision, decision: Decision, digest: str) -> bool:
    """Whether this very answer was given before. Raises what stands against a new one."""
    mine = [
        answer
        for answer in standing.approvals
        if standing.decided and answer.approver_id == standing.decided.approver_id
    ]
    if any(answer.decision == decision and answer.digest == digest for answer in mine):
        return True
    if plan.stage != Stage.PENDING_APPROVAL:
        raise AlreadyDecided(
            f"Plan {plan.number} is {Stage(plan.stage).label.lower()} already. {plan.stage_reason}".strip()
        )
    if digest != revision.digest:
        raise DigestMismatch(
            "The plan is no longer what you saw. Nothing was decided. Read what it is now, then decide."
        )
    return False


def _answer(
    actor: Actor, plan: Plan, revision: Revision, policy: ApprovalPolicy, decision: Decision, comment: str
) -> None:
    Approval.objects.create(
        plan=plan,
        revision=revision,
        digest=revision.digest,
        decision=decision,
        approver=actor.user,
        requester=plan.requester,
        comment=comment,
        policy=policy,
        four_eyes=policy.four_eyes,
    )


def _voters(standing: gate.Standing) -> list[str]:
    return [_name(answer.approver) for answer in standing.approvals if answer.decision == Decision.APPROVED]


def _name(person: Any) -> str:
    return str(person.get_full_name() or person.get_username())
