"""The revisions of a plan: what is given for a new one, what differs, and the plan as a program writes it."""

from __future__ import annotations

from typing import Annotated, Any, Final

from ninja import Schema
from pydantic import Field

from audit.http import After, Given, Time, Told
from plans.api_schemas.plans import Goal, MaxParallel, Steps
from plans.api_schemas.words import Digest, Remark

MOST_REVISIONS: Final = 20  # in a page: each is compared with the one before
Limit = Annotated[int, Field(ge=1, le=MOST_REVISIONS, description="How many items at most.")]


class RevisionGiven(Given):
    """All steps of the new revision, and why. What is not said of goal, budget and limit stays as it is."""

    steps: Steps
    reason: Remark
    digest: Annotated[Digest, Field(description="Of the revision you have read: another one is not replaced.")] = ""
    goal: Goal | None = None
    budget: dict[str, Any] | None = None
    max_parallel: MaxParallel | None = None


class ProgramTold(Told):
    """A plan in its current revision, as a program writes it: to be changed and handed back as a new revision."""

    digest: str
    goal: str
    steps: list[dict[str, Any]]
    budget: dict[str, Any]
    max_parallel: int | None


class FieldChangeTold(Told):
    """One value that differs; null where there was, or is, none."""

    name: str = Field(description="Such as timeout_seconds, input.port or rollback.input.value.")
    was: Any
    now: Any


class StepChangeTold(Told):
    """What became of one step."""

    key: str
    change: str = Field(description="changed, added or removed.")
    fields: list[FieldChangeTold]


class RevisionFilters(Schema):
    """Which page of the revisions."""

    after: After | None = None
    limit: Limit = MOST_REVISIONS


class RevisionTold(Told):
    """One revision, and what it changed of the one before."""

    number: int
    digest: str
    because: str
    author: str | None
    created_at: Time
    carried: list[str] = Field(description="Steps that earlier revisions have done; they are not repeated.")
    plan_changes: list[FieldChangeTold] = Field(description="What differs in the plan as a whole.")
    changes: list[StepChangeTold]
    unchanged: list[str] = Field(description="Steps that are what they were.")


class RevisionsTold(Told):
    """A page of revisions, newest first."""

    items: list[RevisionTold]
    next: str | None
