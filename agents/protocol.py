"""The versioned language between plans and agents: a WorkRequest goes in, a WorkResult comes out.

Pure data: nothing here knows Django, Celery or a database. A failed attempt is data, never an exception.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final

PROTOCOL_VERSION: Final = 1

Json = dict[str, Any]


class FailureMode(StrEnum):
    """Whose trouble it was: it decides who can mend it, and whether trying again can help."""

    AGENT = "agent"  # the worker itself died, lost its lease or lacks the tool
    SYSTEM = "system"  # network, target or service trouble
    RESOURCE = "resource"  # time, memory, disk or quota ran out
    POLICY = "policy"  # something refused to let it run
    USER = "user"  # the work as asked for cannot succeed


class Outcome(StrEnum):
    """How one attempt ended. Interrupted: its processes are gone, and what they did is not fully known."""

    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"
    INTERRUPTED = "interrupted"


@dataclass(frozen=True, slots=True)
class Failure:
    """Why an attempt failed, and whether trying again can help."""

    mode: FailureMode
    message: str
    transient: bool = False

    def to_json(self) -> Json:
        """The failure as plain data for a result, a record or an API answer."""
        return {"mode": str(self.mode), "message": self.message, "transient": self.transient}


@dataclass(frozen=True, slots=True)
class ResourcesUsed:
    """What the process tree of an attempt really used. Seconds and bytes; None is "not measured".

    `cost` and `tokens` are what a call that costs something used up; where they are not measured, a plan with a budget
    is charged what was reserved.
    """

    wall_seconds: float | None = None
    cpu_seconds: float | None = None
    peak_rss_bytes: int | None = None
    cost: float | None = None
    tokens: int | None = None

    def to_json(self) -> Json:
        """The figures as plain data: what was measured, and what it cost where it cost something."""
        measured: Json = {
            "wall_seconds": _to_a_tenth_of_a_millisecond(self.wall_seconds),
            "cpu_seconds": _to_a_tenth_of_a_millisecond(self.cpu_seconds),
            "peak_rss_bytes": self.peak_rss_bytes,
        }
        costs: Json = {"cost": self.cost, "tokens": self.tokens}
        return {name: value for name, value in measured.items() if value is not None} | {
            name: value for name, value in costs.items() if _is_amount(value)
        }


def _to_a_tenth_of_a_millisecond(seconds: float | None) -> float | None:
    """No clock here tells more, and the digits would be in every record."""
    return round(seconds, 4) if isinstance(seconds, float) else seconds


def _is_amount(value: Any) -> bool:
    """Whether a tool's word for what it used can be kept at all: a finite number that is not below zero."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value < float("inf")


@dataclass(frozen=True, slots=True)
class PlaybookRef:
    """The exact playbook that was approved: a file in a commit, checked again by its tree hash."""

    repository: str  # path or URL that this agent can read
    commit: str
    tree: str
    path: str
    inventory: str
    limit: str = ""
    tags: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class WorkRequest:
    """Everything an agent needs to try one step once."""

    attempt_id: str
    agent: str
    token: int
    number: int  # 1 for the first try
    trace_id: str
    plan_id: str
    step_key: str
    tool: str
    work_type: str
    timeout_seconds: float
    input: Json = field(default_factory=dict)
    playbook: PlaybookRef | None = None
    protocol: int = PROTOCOL_VERSION


@dataclass(frozen=True, slots=True)
class WorkResult:
    """How one attempt ended, as data. `summary` is one sentence for a person."""

    outcome: Outcome
    output: Json = field(default_factory=dict)
    summary: str = ""
    failure: Failure | None = None
    resources: ResourcesUsed = field(default_factory=ResourcesUsed)
    services_touched: tuple[str, ...] = ()
    progress: Json = field(default_factory=dict)  # what was reached: last task, hosts, per-host statistics

    @classmethod
    def failed(cls, mode: FailureMode, message: str, *, transient: bool = False, **more: Any) -> WorkResult:
        """A failed result in one line; `more` are further WorkResult fields."""
        return cls(outcome=Outcome.FAILED, failure=Failure(mode, message, transient), summary=message, **more)
