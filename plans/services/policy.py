"""The approval policy: a change is a new version, with its reason."""

from __future__ import annotations

from django.db import IntegrityError, transaction

from audit import trail
from audit.authority import Action, check
from audit.context import Actor, acting
from plans.errors import Conflict, Refused
from plans.models import ApprovalPolicy
from plans.services.common import checked

_OVERTAKEN = "Somebody changed the policy at the same moment. Read what it is now."


def change_policy(*, actor: Actor, approvals_needed: int, four_eyes: bool, because: str) -> ApprovalPolicy:
    """Make a new version of the approval policy and let it decide from now on. Raises NotAllowed, Refused and Conflict."""
    check(actor, Action.CHANGE_POLICY)
    because = checked(because, "because")
    if not because:
        raise Refused("reason_missing", "Say why the policy changes: auditors read this.")
    if isinstance(approvals_needed, bool) or not 1 <= approvals_needed <= 20:
        raise Refused("invalid", "The number of approvals is from 1 to 20.")
    try:
        with acting(actor), transaction.atomic():
            old = ApprovalPolicy.objects.select_for_update().filter(active=True).first()
            if old is None:  # it was the active one until the lock was given
                raise Conflict(_OVERTAKEN)
            ApprovalPolicy.objects.filter(pk=old.pk).update(active=False)
            policy = ApprovalPolicy.objects.create(
                name=old.name,
                version=old.version + 1,
                approvals_needed=approvals_needed,
                four_eyes=four_eyes,
                because=because,
                author=actor.user,
            )
            trail.record(
                "policy.changed",
                subject=("policy", policy.pk),
                reason=because,
                name=policy.name,
                version=policy.version,
                was={"approvals_needed": old.approvals_needed, "four_eyes": old.four_eyes},
                now={"approvals_needed": approvals_needed, "four_eyes": four_eyes},
            )
    except IntegrityError as error:
        raise Conflict(_OVERTAKEN) from error
    return policy
