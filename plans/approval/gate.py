"""ApprovalGate: what is needed, who has spoken, does the digest still match."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol
from uuid import UUID

from django.db import connection

from plans.digest import STEP_FIELDS, VERSION, belongs, digest_of, header_content, step_content
from plans.enums import Decision, StepKind
from plans.models import Approval, ApprovalPolicy, Plan, Revision

_ROWS = """
SELECT to_jsonb(step) || jsonb_build_object('depends_on', (
    SELECT coalesce(jsonb_agg(upstream.key ORDER BY upstream.key COLLATE "C"), '[]') FROM plans_dependency edge
    JOIN plans_step upstream ON upstream.id = edge.upstream_id WHERE edge.downstream_id = step.id),
    'undoes', coalesce((SELECT key FROM plans_step undone WHERE undone.id = step.parent_id), ''))
FROM plans_step step WHERE step.revision_id = %s AND step.kind <> 'item' ORDER BY step.index
"""
# What an item does is what its step says; only these are its own.
_SHARED: Final = tuple(
    name for name in STEP_FIELDS if name not in ("key", "kind", "undoes", "depends_on", "for_each", "preview")
)
_CHANGED: Final = "Step {} is not what was approved: it was changed afterwards."
_NO_VOTES = "Nobody, or not enough people, approved this digest."
_MOST_SEEN = 10_000
_seen: set[tuple[UUID, str]] = set()


class StepFacts(Protocol):
    """What the gate looks at of a claimed step: what it was approved as, and where it stands under the digest."""

    @property
    def key(self) -> str: ...
    @property
    def index(self) -> int: ...
    @property
    def proof(self) -> Sequence[str]: ...
    @property
    def approved(self) -> Mapping[str, Any]: ...


class ItemFacts(StepFacts, Protocol):
    """What it looks at besides of a step that may be one item of a fan-out: that step, and the list it found."""

    @property
    def kind(self) -> str: ...
    @property
    def item(self) -> Any: ...
    @property
    def item_index(self) -> int | None: ...
    @property
    def of(self) -> StepFacts | None: ...
    @property
    def items(self) -> Sequence[Any]: ...


class ClaimedFacts(Protocol):
    """What the gate looks at of a claimed attempt; execution, which is above this room, has the class."""

    @property
    def revision_id(self) -> UUID: ...
    @property
    def digest(self) -> str: ...
    @property
    def steps(self) -> int: ...
    @property
    def step(self) -> ItemFacts: ...


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
    found = Revision.objects.select_related("repository").get(plan=plan, number=plan.revision_number)
    found.plan = plan
    return found


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
    steps = _rows(revision)
    header = header_content(
        repository=revision.header.get("repository", ""),
        commit=revision.commit,
        tree=revision.tree,
        budget=revision.budget,
        steps=len(steps),
        max_parallel=revision.plan.max_parallel,
        version=revision.header.get("v", VERSION),
    )
    contents = [step_content(step) for step in steps]
    if digest_of(header, contents) == revision.digest:
        return ""
    for step, content in zip(steps, contents, strict=True):
        where = {"index": step["index"], "siblings": step["proof"]}
        if not belongs(content, steps=len(steps), digest=revision.digest, **where):
            return _CHANGED.format(step["key"])
    return "The plan is not what was approved: its playbooks, budget, limit or number of steps changed afterwards."


def refusal_to_begin(plan: Plan, attempt_id: UUID) -> str:
    """Why a plan may not begin with this attempt; empty if it may. Everything is recomputed and compared with what was approved."""
    revision = Revision.objects.get(steps__attempts=attempt_id)
    revision.plan = plan
    if revision.number != plan.revision_number:
        return f"Revision {revision.number} is no longer the current one."
    if not _votes_known(revision.pk, revision.digest):
        return _NO_VOTES
    return differs(revision)


def refusal_to_run(claimed: ClaimedFacts) -> str:
    """Why a claimed step may not run; empty if it may.

    What is compared is what the agent is about to use: the step as it was claimed and its path to the approved digest. Nobody
    can change it afterwards, because nothing is read again.
    """
    if not _votes_known(claimed.revision_id, claimed.digest):
        return _NO_VOTES
    step = claimed.step
    if step.kind == StepKind.ITEM:
        return _item_refusal(step, claimed)
    return "" if _is_leaf(step, claimed) else _CHANGED.format(step.key)


def _is_leaf(step: StepFacts, claimed: ClaimedFacts) -> bool:
    """Whether a step is a leaf of the approved digest."""
    return belongs(step.approved, index=step.index, steps=claimed.steps, siblings=step.proof, digest=claimed.digest)


def _item_refusal(item: ItemFacts, claimed: ClaimedFacts) -> str:
    """Why one item of a fan-out may not run: its step was approved, it does the same, and for an item of the list."""
    step = item.of
    if step is None or not _is_leaf(step, claimed):
        return _CHANGED.format(step.key if step else item.key)
    if any(item.approved.get(name) != step.approved.get(name) for name in _SHARED):
        return _CHANGED.format(item.key)
    written, place = step.approved["for_each"], item.item_index
    if isinstance(written, list) and list(item.items) != written:
        return f"The list of {step.key} is not what was approved: it was changed afterwards."
    if place is None or place >= len(item.items) or item.items[place] != item.item or item.key != f"{step.key}.{place}":
        return f"Step {item.key} is not for an item of the list that {step.key} found."
    return ""


def _votes_known(revision_id: UUID, digest: str) -> bool:
    """As _has_its_votes; a yes is remembered, because neither an approval nor a digest can be taken back."""
    if (revision_id, digest) not in _seen:
        if not _has_its_votes(revision_id, digest):
            return False
        if len(_seen) >= _MOST_SEEN:
            _seen.clear()
        _seen.add((revision_id, digest))
    return True


def _has_its_votes(revision_id: UUID, digest: str) -> bool:
    approved = Approval.objects.filter(revision_id=revision_id, digest=digest, decision=Decision.APPROVED)
    votes = list(approved.values_list("policy__approvals_needed", flat=True))
    return bool(votes) and len(votes) >= max(votes)


def _rows(revision: Revision) -> list[dict[str, Any]]:
    """The steps of a revision as they are stored, with the keys each depends on, in order."""
    with connection.cursor() as cursor:
        cursor.execute(_ROWS, [revision.pk])
        return [json.loads(row) if isinstance(row, str) else row for (row,) in cursor.fetchall()]
