"""The approval policy in words, and who it asks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from django.contrib.auth import get_user_model

from audit.authority import Action, Role, may
from audit.context import Actor
from plans.models import ApprovalPolicy, Plan

NAMED_PEOPLE = 8
NOT_ONES_OWN: Final = (
    "You asked for this plan, or wrote its revision, so someone else has to change what was approved (four eyes)."
)


@dataclass(frozen=True, slots=True)
class PolicyPage:
    """The policy in force, the ones before it, and who may decide under it."""

    policy: ApprovalPolicy | None
    versions: list[ApprovalPolicy]
    approvers: list[Any]
    more_approvers: int
    may_change: bool
    may_change_sentence: str


def active_policy() -> ApprovalPolicy | None:
    """The approval policy in force, or None before the first one was made."""
    return ApprovalPolicy.objects.filter(active=True).select_related("author").first()


def approvers(limit: int = NAMED_PEOPLE) -> tuple[list[Any], int]:
    """The first people who hold the approver's role, and how many more there are."""
    people = get_user_model().objects.filter(groups__name=Role.APPROVER.value, is_active=True).order_by("username")
    named = list(people[: limit + 1])
    more = people.count() - limit if len(named) > limit else 0
    return named[:limit], more


def policy_page(actor: Actor) -> PolicyPage:
    """What the page of the approval policy shows."""
    versions = list(ApprovalPolicy.objects.select_related("author").order_by("-created_at", "-version")[:50])
    named, more = approvers(20)
    answer = may(actor, Action.CHANGE_POLICY)
    return PolicyPage(
        policy=next((version for version in versions if version.active), None),
        versions=versions,
        approvers=named,
        more_approvers=more,
        may_change=bool(answer),
        may_change_sentence=answer.sentence,
    )


def is_own(plan: Plan, person: Any) -> bool:
    """Whether the policy wants four eyes, and this person asked for the plan or wrote the revision that runs."""
    if person is None:
        return False
    written = plan.revisions.filter(number=plan.revision_number, author=person.pk)
    mine = plan.requester_id == person.pk or written.exists()
    return mine and ApprovalPolicy.objects.filter(active=True, four_eyes=True).exists()
