"""What an agent holds while it works: one attempt, everything that was approved about its step, and a token."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID

from agents.protocol import PlaybookRef
from plans.digest import STEP_FIELDS, step_content
from plans.enums import StepKind


@dataclass(frozen=True, slots=True)
class ClaimedStep:
    """A step as it was when it was claimed: all that its run needs. What it was approved as is in `approved`."""

    id: UUID
    key: str
    index: int
    tool: str
    input: dict[str, Any]
    playbook: dict[str, Any] | None
    work_type: str
    timeout_seconds: int
    service: str
    hosts: tuple[str, ...]
    proof: tuple[str, ...]
    approved: Mapping[str, Any]
    kind: str = StepKind.STEP
    item: Any = None
    item_index: int | None = None
    of: ClaimedStep | None = None  # the step that it is an item of, or undoes
    items: tuple[Any, ...] = ()  # the list that step found

    @classmethod
    def from_row(
        cls,
        row: Mapping[str, Any],
        *,
        by_fallback: bool = False,
        parent: Mapping[str, Any] | None = None,
    ) -> ClaimedStep:
        """A step as chiffon_step_told says it, with its parent. `by_fallback`: its fallback does the work."""
        of = cls.from_row(parent) if parent else None
        fields = {name: row[name] for name in STEP_FIELDS if name not in ("depends_on", "undoes")}
        fields["undoes"] = of.key if of and row["kind"] == StepKind.ROLLBACK else ""
        means = row["fallback"] if by_fallback and row["fallback"] else row
        return cls(
            id=UUID(row["id"]),
            key=row["key"],
            index=row["index"],
            tool=means["tool"],
            input=means["input"],
            playbook=means["playbook"],
            work_type=means["work_type"],
            timeout_seconds=row["timeout_seconds"],
            service=row["service"],
            hosts=tuple(row["hosts"]),
            proof=tuple(row["proof"]),
            approved=step_content({**fields, "depends_on": row["depends_on"]}),
            kind=row["kind"],
            item=row["item"],
            item_index=row["item_index"],
            of=of,
            items=tuple((parent["items"] if parent else None) or ()),
        )

    @property
    def scope(self) -> dict[str, Any]:
        """What its references read besides the steps before it."""
        return {"item": self.item, "index": self.item_index} if self.kind == StepKind.ITEM else {}


@dataclass(frozen=True, slots=True)
class Claimed:
    """An attempt that is ours until its lease ends."""

    attempt_id: UUID
    number: int
    token: int
    agent_id: UUID
    agent: str
    need: str  # what the step asks of an agent, as the router's choices are kept by it
    plan_id: UUID
    trace_id: UUID
    requester_id: int
    revision_id: UUID
    digest: str
    steps: int  # of the whole revision
    budget: Mapping[str, Any]  # empty without one
    commit: str
    tree: str
    location: str | None  # of the playbook repository, for a step that runs a playbook
    step: ClaimedStep

    @classmethod
    def from_row(cls, row: Mapping[str, Any], before: Claimed | None = None) -> Claimed:
        """What the database says of an attempt that was just claimed (chiffon_claimed in plans/sql/hot_path.sql).

        Of the next step of the same plan it does not say again what holds for all of it: that is as it was `before`.
        """
        own = {
            "attempt_id": UUID(row["attempt"]),
            "number": row["number"],
            "token": row["token"],
            "need": row["need"],
            "location": row["location"],
            "step": ClaimedStep.from_row(row["step"], by_fallback=row["by_fallback"], parent=row["parent"]),
        }
        if "plan" not in row:
            assert before is not None
            return replace(before, **own)
        return cls(
            **own,
            agent_id=UUID(row["agent"]),
            agent=row["agent_name"],
            plan_id=UUID(row["plan"]),
            trace_id=UUID(row["trace"]),
            requester_id=row["requester"],
            revision_id=UUID(row["revision"]),
            digest=row["digest"],
            steps=int(row["steps"] or 0),
            budget=row["budget"] or {},
            commit=row["commit"],
            tree=row["tree"],
        )

    @property
    def playbook(self) -> PlaybookRef | None:
        """The exact playbook that was approved, if the step runs one."""
        wanted = self.step.playbook
        if not wanted or self.location is None:
            return None
        return PlaybookRef(
            repository=self.location,
            commit=self.commit,
            tree=self.tree,
            path=wanted["path"],
            inventory=wanted.get("inventory", ""),
            limit=wanted.get("limit", ""),
            tags=tuple(wanted.get("tags", ())),
        )
