"""ApprovalGate: what is needed, who has spoken, does the digest still match."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol
from uuid import UUID

from audit.db import call_json
from plans.digest import STEP_FIELDS, VERSION, belongs, digest_of, header_content, step_content
from plans.enums import Decision, StepKind
from plans.models import Approval, ApprovalPolicy, Plan

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
class Answer:
    """What somebody answered to a revision."""

    decision: str
    digest: str
    approver_id: int
    counts: bool  # an approval of somebody who might give it today


@dataclass(frozen=True, slots=True)
class Standing:
    """Where the current revision of a plan stands with its approvers."""

    revision: Mapping[str, Any]  # its row
    rows: Sequence[Mapping[str, Any]]  # those of its steps, with the keys that each depends on, in order
    policy: Mapping[str, Any]  # the row of the policy that is asked today
    answers: tuple[Answer, ...]
    own_answers: tuple[Answer, ...]  # of the one who looks
    self_approval: bool  # the one who looks asked for it, or wrote this revision, and the policy wants four eyes
    wrote_it: bool  # the one who looks wrote this revision

    @property
    def digest(self) -> str:
        """What would be approved."""
        return str(self.revision["digest"])

    @property
    def four_eyes(self) -> bool:
        """Whether nobody approves what they asked for."""
        return bool(self.policy["four_eyes"])

    @property
    def policy_name(self) -> str:
        """The policy as ApprovalPolicy names itself."""
        return f"{self.policy['name']} v{self.policy['version']}"

    @property
    def missing(self) -> int:
        """How many approvals are still needed."""
        return max(0, int(self.policy["approvals_needed"]) - sum(answer.counts for answer in self.answers))


def standing(plan: Plan, *, viewer: Any) -> Standing:
    """What the current revision of a plan needs, what it has, and what this viewer can still add: one statement.

    Raises ApprovalPolicy.DoesNotExist before the first start.
    """
    found = call_json("SELECT chiffon_standing(%s, %s)", [plan.pk, plan.revision_number])
    if found is None:
        raise ApprovalPolicy.DoesNotExist("No policy is active.")
    answers = tuple(Answer(**answer) for answer in found.pop("answers"))
    who = viewer.pk if viewer else None  # Chiffon itself is nobody
    wrote_it = who is not None and found["revision"]["author_id"] == who
    return Standing(
        **found,
        answers=answers,
        own_answers=tuple(answer for answer in answers if answer.approver_id == who),
        self_approval=bool(found["policy"]["four_eyes"]) and (plan.requester_id == who or wrote_it),
        wrote_it=wrote_it,
    )


def differs(plan: Plan, standing: Standing) -> str:
    """How a plan differs from its digest, recomputed now; empty if it does not."""
    return _difference(standing.revision, plan.max_parallel, standing.rows)


def refusal_to_begin(facts: Mapping[str, Any]) -> str:
    """Why a plan may not begin; empty if it may. Everything is recomputed and compared with what was approved.

    `facts` are what chiffon_facts (plans/sql/course.sql) read under the plan's lock: plan, revision, rows and votes.
    """
    plan, revision, votes = facts["plan"], facts["revision"], facts["votes"]
    if revision["number"] != plan["revision_number"]:
        return f"Revision {revision['number']} is no longer the current one."
    if not votes or len(votes) < max(votes):
        return _NO_VOTES
    if not (difference := _difference(revision, plan["max_parallel"], facts["rows"])):
        _remember(UUID(revision["id"]), revision["digest"])
    return difference


def _difference(revision: Mapping[str, Any], max_parallel: int | None, rows: Sequence[Mapping[str, Any]]) -> str:
    carried = sorted(row["key"] for row in rows if row["carried"])
    header = header_content(
        repository=revision["header"].get("repository", ""),
        commit=revision["commit"],
        tree=revision["tree"],
        budget=revision["budget"],
        steps=len(rows),
        max_parallel=max_parallel,
        carried=carried,
        version=revision["header"].get("v", VERSION),
    )
    contents = [step_content(row) for row in rows]
    digest = revision["digest"]
    if digest_of(header, contents) == digest:
        return ""
    for row, content in zip(rows, contents, strict=True):
        if not belongs(content, index=row["index"], steps=len(rows), siblings=row["proof"], digest=digest):
            return _CHANGED.format(row["key"])
    if carried != revision["header"].get("carried", []):
        return "Which of its steps are done already, or what they left, is not what was approved: it was changed afterwards."
    return "The plan is not what was approved: its playbooks, budget, limit or number of steps changed afterwards."


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
        _remember(revision_id, digest)
    return True


def _remember(revision_id: UUID, digest: str) -> None:
    if len(_seen) >= _MOST_SEEN:
        _seen.clear()
    _seen.add((revision_id, digest))


def _has_its_votes(revision_id: UUID, digest: str) -> bool:
    approved = Approval.objects.filter(revision_id=revision_id, digest=digest, decision=Decision.APPROVED)
    votes = list(approved.values_list("policy__approvals_needed", flat=True))
    return bool(votes) and len(votes) >= max(votes)
