"""ApprovalGate: what is needed, who has spoken, does the digest still match."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from plans.digest import belongs, header_content, seal
from plans.enums import Decision, Stage
from plans.models import Approval, ApprovalPolicy, Dependency, Plan, Revision, Step


@dataclass(frozen=True, slots=True)
class Standing:
    """Where a revision stands with its approvers."""

    policy: ApprovalPolicy
    approvals: tuple[Approval, ...]
    needed: int
    self_approval: bool  # the one who looks asked for it, and the policy wants four eyes
    decided: Approval | None  # what the one who looks answered before

    @property
    def missing(self) -> int:
        """How many approvals are still needed."""
        return max(0, self.needed - sum(answer.decision == Decision.APPROVED for answer in self.approvals))


def current_policy() -> ApprovalPolicy:
    """The policy that is asked today. Raises ApprovalPolicy.DoesNotExist before the first start."""
    return ApprovalPolicy.objects.get(active=True)


def current_revision(plan: Plan) -> Revision:
    """The revision that would run."""
    return Revision.objects.select_related("repository").get(plan=plan, number=plan.revision_number)


def standing(revision: Revision, *, viewer: Any = None) -> Standing:
    """What this revision needs, what it has, and what this viewer can still add."""
    policy = current_policy()
    answers = tuple(Approval.objects.filter(revision=revision).select_related("approver", "policy"))
    mine = next((answer for answer in reversed(answers) if viewer and answer.approver_id == viewer.pk), None)
    return Standing(
        policy=policy,
        approvals=answers,
        needed=policy.approvals_needed,
        self_approval=bool(policy.four_eyes and viewer and revision.plan.requester_id == viewer.pk),
        decided=mine,
    )


def differs(revision: Revision) -> str:
    """How the rows of a revision differ from its digest, recomputed now; empty if they do not."""
    steps = list(Step.objects.filter(revision=revision).order_by("index"))
    upstream = _upstream(revision)
    header = header_content(
        repository=revision.header.get("repository", ""),
        commit=revision.commit,
        tree=revision.tree,
        budget=revision.budget,
        steps=len(steps),
    )
    contents = [step.approved_content(upstream.get(step.key, ())) for step in steps]
    if seal(header, contents).digest == revision.digest:
        return ""
    for step, content in zip(steps, contents, strict=True):
        if not belongs(content, index=step.index, steps=len(steps), siblings=step.proof, digest=revision.digest):
            return f"Step {step.key} is not what was approved: it was changed afterwards."
    return "The plan is not what was approved: its playbooks, budget or number of steps changed afterwards."


def refusal_to_start(plan: Plan, step: Step) -> str:
    """Why a step may not start, with its plan locked or not; empty if it may.

    The first start of a plan recomputes everything; each later one its own step and the path to the approved digest.
    """
    revision = step.revision
    if revision.number != plan.revision_number:
        return f"Revision {revision.number} is no longer the current one."
    approved = Approval.objects.filter(revision=revision, digest=revision.digest, decision=Decision.APPROVED)
    needed = approved.values_list("policy__approvals_needed", flat=True)
    votes = list(needed)
    if not votes or len(votes) < max(votes):
        return "Nobody, or not enough people, approved this digest."
    if plan.stage == Stage.APPROVED:
        return differs(revision)
    upstream = list(Dependency.objects.filter(downstream=step).values_list("upstream__key", flat=True))
    steps = int(revision.header.get("steps", 0))
    content = step.approved_content(upstream)
    if belongs(content, index=step.index, steps=steps, siblings=step.proof, digest=revision.digest):
        return ""
    return f"Step {step.key} is not what was approved: it was changed afterwards."


def _upstream(revision: Revision) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    edges = Dependency.objects.filter(revision=revision).values_list("upstream__key", "downstream__key")
    for upstream, downstream in edges:
        found.setdefault(downstream, []).append(upstream)
    return found
