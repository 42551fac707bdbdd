"""Plans, and the answers to them."""

from __future__ import annotations

from typing import Annotated, Any, Literal
from uuid import UUID

from ninja import Schema
from pydantic import Field

from audit.http import USUAL_PAGE, After, Given, Limit, Time, Told
from plans.api_schemas.steps import StepTold
from plans.api_schemas.words import Digest, Remark
from plans.enums import OnFailure, Stage

_ACTION: dict[str, Any] = {
    "type": "object",
    "required": ["tool"],
    "properties": {"tool": {"type": "string"}, "input": {"type": "object"}},
}


Goal = Annotated[str, Field(max_length=20_000)]
MaxParallel = Annotated[int, Field(description="How many steps of the plan may run at once.")]
Steps = Annotated[
    list[Any],  # each is checked where it is read, which knows how many there may be
    Field(
        json_schema_extra={
            "items": {
                "type": "object",
                "required": ["key", "tool"],
                "properties": {
                    "key": {"type": "string"},
                    "tool": {"type": "string"},
                    "name": {"type": "string"},
                    "input": {"type": "object"},
                    "depends_on": {"type": "array", "items": {"type": "string"}},
                    "agent_type": {"type": "string"},
                    "work_type": {"type": "string"},
                    "resources": {"type": "object"},
                    "timeout_seconds": {"type": "integer"},
                    "retry": {"type": "object"},
                    "reason": {"type": "string"},
                    "when": {
                        "type": "string",
                        "description": "A condition over earlier results, such as steps.check.output.count > 0.",
                    },
                    "for_each": {
                        "type": ["array", "string"],
                        "description": "A list, or one reference to one: the step runs once for each item, all in "
                        "parallel, with {{ item }} and {{ index }} in its input. Its output is {items: [outputs]}.",
                    },
                    "on_failure": {"enum": [str(value) for value in OnFailure]},
                    "fallback": _ACTION,
                    "rollback": _ACTION,
                },
            }
        },
    ),
]


class PlanGiven(Given):
    """A plan written by a program. Each step is checked; what is wrong is told at once, up to a hundred errors."""

    goal: Goal
    steps: Steps
    budget: dict[str, Any] | None = None
    max_parallel: MaxParallel | None = None


class ApproveGiven(Given):
    """The answer yes, to one digest."""

    digest: Digest
    comment: Remark = ""


class RejectGiven(Given):
    """The answer no, and why."""

    reason: Remark
    digest: Digest = ""


class PlanFilters(Schema):
    """Which plans."""

    stage: Stage | None = None
    requester: Annotated[str, Field(max_length=150, description="A user name, or me.")] | None = None
    awaiting: Annotated[Literal["me"], Field(description="Those that wait for the caller's decision.")] | None = None
    after: After | None = None
    limit: Limit = USUAL_PAGE


class ApprovalTold(Told):
    """A recorded answer to one digest."""

    approver: str
    decision: str
    revision: int
    digest: str
    comment: str
    policy: str
    at: Time


class PolicyTold(Told):
    """The approval policy that applies, or that applied when the plan was decided."""

    name: str
    version: int
    approvals_needed: int
    four_eyes: bool


class PlanTold(Told):
    """A plan in its current revision."""

    id: UUID
    number: int
    request_id: UUID | None
    trace_id: UUID
    requester: str
    revision: int
    stage: Stage
    stage_reason: str
    waiting_for: str | None = Field(description="Which plan it waits for, because that one works on the same hosts.")
    priority: int
    digest: str | None = Field(description="64 lowercase hexadecimal digits; null while it is a draft.")
    goal: str
    summary: str
    service: str
    complexity: str
    risk: str
    risk_facts: list[dict[str, Any]]
    estimated_seconds: int | None
    budget: dict[str, Any]
    max_parallel: int | None
    rollback_reason: str | None = Field(description="Why what was done is undone, or was.")
    commit: str | None = Field(description="The playbook repository's commit that was planned with.")
    policy: PolicyTold | None
    approvals: list[ApprovalTold]
    steps: list[StepTold]
    created_at: Time
    submitted_at: Time | None
    started_at: Time | None
    finished_at: Time | None


class PlansTold(Told):
    """A page of plans."""

    items: list[PlanTold]
    next: str | None
