"""What a plan that stopped has left, and how one can go on."""

from __future__ import annotations

from uuid import UUID

from pydantic import Field

from audit.http import Time, Told
from plans.enums import Stage


class FailureTold(Told):
    """A failure in words."""

    mode: str
    transient: bool
    words: str
    mender: str
    sentence: str


class RecoveryTold(Told):
    """One way to go on; `allowed` says whether it is open to the caller, `why_not` what stands against it."""

    kind: str = Field(description="retry, resume, try_now, give_up, skip, revise, undo or ask_again.")
    title: str
    effect: str
    allowed: bool
    why_not: str
    hosts: list[str] = Field(description="For resume: the hosts that are left to do.")
    path: str = Field(description="For undo: the playbook that undoes what was done, if it is one alone.")


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
