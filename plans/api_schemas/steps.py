"""Steps, their tries, and what else can be done with them."""

from __future__ import annotations

from typing import Any, Literal
from uuid import UUID

from pydantic import Field

from audit.http import Time, Told
from plans.api_schemas.words import ReasonGiven


class RetryGiven(ReasonGiven):
    """Why, and on which hosts a playbook runs again: all it was approved for, or those that are not finished."""

    hosts: Literal["unfinished"] | None = None


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
    carried_from: int | None = Field(
        description="The revision that did it: then it is done from the start, was not tried in this one, and is not repeated."
    )
    started_at: Time | None
    finished_at: Time | None
