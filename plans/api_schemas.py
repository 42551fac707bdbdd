"""The shapes of requests, plans, steps and attempts as the API takes and tells them. The contract names the fields."""

from __future__ import annotations

from typing import Annotated, Any, Literal
from uuid import UUID

from ninja import Schema
from pydantic import Field

from audit.http import USUAL_PAGE, After, Given, Limit, Time, Told
from plans.enums import OnFailure, RequestStatus, Stage, StateScope

LONGEST_CURSOR = 131_072
LONGEST_REMARK = 4_000
MOST_LINES = 1_000
Text = Annotated[str, Field(max_length=200_000)]  # how long a request may be is the service's to say
Remark = Annotated[str, Field(max_length=LONGEST_REMARK)]
Digest = Annotated[str, Field(max_length=200, description="The digest of what you have seen, 64 hexadecimal digits.")]


class RequestGiven(Given):
    """A request in words; with a session it goes on in that conversation."""

    text: Text
    session_id: Annotated[UUID, Field(strict=False)] | None = None


class MessageGiven(Given):
    """An answer to a question."""

    text: Text


_ACTION: dict[str, Any] = {
    "type": "object",
    "required": ["tool"],
    "properties": {"tool": {"type": "string"}, "input": {"type": "object"}},
}


class PlanGiven(Given):
    """A plan written by a program. Each step is checked, and everything that is wrong is told at once."""

    goal: Annotated[str, Field(max_length=20_000)]
    steps: Annotated[
        list[dict[str, Any]],
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
    budget: dict[str, Any] | None = None
    max_parallel: Annotated[int, Field(description="How many steps of the plan may run at once.")] | None = None


class ApproveGiven(Given):
    """The answer yes, to one digest."""

    digest: Digest
    comment: Remark = ""


class RejectGiven(Given):
    """The answer no, and why."""

    reason: Remark
    digest: Digest = ""


class ReasonGiven(Given):
    """Why."""

    reason: Remark = ""


class RetryGiven(ReasonGiven):
    """Why, and on which hosts a playbook runs again: all it was approved for, or those that are not finished."""

    hosts: Literal["unfinished"] | None = None


class ReasonNeeded(Given):
    """Why; it is kept in the trail."""

    reason: Remark


class RequestFilters(Schema):
    """Which requests."""

    status: RequestStatus | None = None
    after: After | None = None
    limit: Limit = USUAL_PAGE


class PlanFilters(Schema):
    """Which plans."""

    stage: Stage | None = None
    requester: Annotated[str, Field(max_length=150, description="A user name, or me.")] | None = None
    awaiting: Annotated[Literal["me"], Field(description="Those that wait for the caller's decision.")] | None = None
    after: After | None = None
    limit: Limit = USUAL_PAGE


class StateFilters(Schema):
    """Which remembered values."""

    scope: StateScope | None = None
    after: After | None = None
    limit: Limit = USUAL_PAGE


class EventFilters(Schema):
    """Where to go on."""

    after: Annotated[str, Field(max_length=LONGEST_CURSOR, description="The cursor of the last event seen.")] | None = (
        None
    )
    limit: Annotated[int, Field(ge=1, le=MOST_LINES)] = 500


class OutputFilters(Schema):
    """Where to go on, and how to write it."""

    after: Annotated[int, Field(ge=0, le=2**31 - 1, description="The seq of the last line seen.")] = 0
    limit: Annotated[int, Field(ge=1, le=MOST_LINES)] = 500
    format: Literal["json", "text"] = "json"


class MessageTold(Told):
    """One thing said in a conversation. `author` is null where Chiffon speaks."""

    id: UUID
    author: str | None
    kind: str
    text: str
    data: dict[str, Any]
    at: Time


class RequestTold(Told):
    """A request and what was understood."""

    id: UUID
    number: int
    trace_id: UUID
    session_id: UUID
    text: str
    status: RequestStatus
    decomposition: dict[str, Any] | None
    plan_id: UUID | None
    requester: str
    created_at: Time
    messages: list[MessageTold] | None = Field(
        None, description="The conversation; only where one request is asked for."
    )


class RequestsTold(Told):
    """A page of requests."""

    items: list[RequestTold]
    next: str | None


class RetryTold(Told):
    """How a step is tried again. Waits are seconds."""

    strategy: str
    attempts: int
    first_wait_seconds: float
    factor: float
    longest_wait_seconds: float


class AttemptTold(Told):
    """One try at a step."""

    id: UUID
    number: int
    status: str
    agent: str | None
    tool: str
    by_fallback: bool = Field(description="Whether it used the step's fallback instead of its own tool.")
    failure_mode: str | None
    transient: bool = Field(description="Whether the failure may pass by itself.")
    error: str | None
    only_hosts: list[str] | None = Field(description="The hosts it was narrowed to; null: all it was approved for.")
    progress: dict[str, Any] = Field(description="How far it came; for a playbook the task and hosts it reached.")
    next_at: Time | None = Field(description="When it begins, for a try that waits for its time.")
    started_at: Time | None
    finished_at: Time | None


class ActionTold(Told):
    """A tool with its input."""

    tool: str
    input: dict[str, Any]
    playbook: dict[str, Any] | None


class StepTold(Told):
    """One piece of work of a plan, and how it went.

    `kind` is `step`; `item` for one item of a fan-out, told after its step; or `rollback` for what undoes a step.
    """

    key: str
    kind: str
    parent: str | None = Field(description="The step that it is an item of, or undoes.")
    task_id: UUID
    index: int
    name: str
    tool: str
    input: dict[str, Any]
    origins: dict[str, Any]
    playbook: dict[str, Any] | None
    hosts: list[str]
    depends_on: list[str]
    agent_type: str
    work_type: str
    resources: dict[str, Any]
    risk: str
    timeout_seconds: int
    retry: RetryTold
    when: str | None
    on_failure: str
    for_each: list[Any] | str | None
    items: list[Any] | None = Field(description="The list that for_each led to, once that is known.")
    item: Any
    item_index: int | None
    fallback: ActionTold | None
    reason: str
    status: str
    waiting_for: str | None
    agent: str | None
    routing: dict[str, Any] | None
    attempts: list[AttemptTold]
    output: Any
    summary: str
    error: str | None
    preview: Any
    started_at: Time | None
    finished_at: Time | None


class FailureTold(Told):
    """A failure in words."""

    mode: str
    transient: bool
    words: str
    mender: str
    sentence: str


class RecoveryTold(Told):
    """One way to go on; `allowed` says whether it is open to the caller, `why_not` what stands against it."""

    kind: str = Field(description="retry, resume, try_now, give_up, skip, undo or ask_again.")
    title: str
    effect: str
    allowed: bool
    why_not: str
    hosts: list[str] = Field(description="For resume: the hosts that are left to do.")
    path: str = Field(description="For undo: the playbook that undoes what was done.")


class HostReachedTold(Told):
    """How far one host is with a step, and how many tasks went how in the last try."""

    host: str
    state: str = Field(description="finished, failed, unreachable, unknown or not reached.")
    tasks: dict[str, int]


class CheckpointTold(Told):
    """How far the last try at a playbook step came."""

    task: str | None
    tasks_reached: int
    hosts: list[HostReachedTold]
    hosts_left_out: int
    sentence: str


class BegunTold(Told):
    """A step that began and did not complete."""

    key: str
    name: str
    status: str
    tries: int
    most_tries: int
    agent: str | None
    error: str | None
    failure: FailureTold | None
    only_hosts: list[str] | None
    checkpoint: CheckpointTold | None
    next_try: int | None = Field(description="The number of the try it waits for.")
    next_at: Time | None
    recoveries: list[RecoveryTold]


class PartialResultTold(Told):
    """What a plan has done, what it began, what it did not start, and how one can go on."""

    plan_id: UUID
    number: int
    stage: Stage
    sentence: str
    recoverable: bool
    because: str
    completed: list[str]
    skipped: list[str]
    not_started: list[str]
    begun: list[BegunTold]
    begun_left_out: int
    recoveries: list[RecoveryTold]


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


class StateTold(Told):
    """A value that a step of the plan remembered; later steps read it as `{{ state.SCOPE.KEY }}`."""

    scope: StateScope
    key: str
    value: Any
    size: int = Field(description="Bytes of the value as JSON.")
    step: str
    written_at: Time
    expires_at: Time


class StatesTold(Told):
    """A page of what the plan's steps remembered."""

    items: list[StateTold]
    next: str | None


class EventTold(Told):
    """One thing that happened to a plan; the same shape as on the WebSocket."""

    cursor: str
    type: str
    plan_id: UUID
    step: str | None
    attempt: UUID | None
    at: str
    data: dict[str, Any]


class EventsTold(Told):
    """What happened after a cursor. `next` is null where nothing more is known yet: go on from the last event's cursor."""

    items: list[EventTold]
    next: str | None


class LineTold(Told):
    """One line of output, with its colours as SGR codes."""

    seq: int
    stream: str
    text: str
    at: Time


class OutputTold(Told):
    """Lines after a seq. `ended` says that no line will follow; then `count` and `sha256` are over all lines."""

    items: list[LineTold]
    next: str | None
    ended: bool
    count: int | None
    sha256: str | None
