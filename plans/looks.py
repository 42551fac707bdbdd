"""How each state looks: its word, icon and tone, written once for pages, graphs and pushes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from django.db.models import TextChoices

from agents.enums import AgentStatus, BreakerState
from agents.models import Agent, Breaker
from plans.enums import AttemptStatus, RequestStatus, Risk, Stage, StepStatus
from plans.models import Attempt, Plan, Request, Revision, Step


@dataclass(frozen=True, slots=True)
class Look:
    """A word with its icon and tone. `spins`: work is happening, so the icon turns."""

    word: str
    icon: str
    tone: str
    spins: bool = False


_TABLE: Final[Sequence[tuple[TextChoices, str, str]]] = (
    (Stage.DRAFT, "draft", "idle"),
    (Stage.PENDING_APPROVAL, "hand", "you"),
    (Stage.APPROVED, "shield", "run"),
    (Stage.EXECUTING, "running", "run"),
    (Stage.PAUSED, "pause", "warn"),
    (Stage.COMPLETED, "done", "ok"),
    (Stage.FAILED, "failed", "bad"),
    (Stage.REJECTED, "rejected", "idle"),
    (Stage.CANCELLED, "cancelled", "idle"),
    (Stage.EXPIRED, "expired", "idle"),
    (StepStatus.PENDING, "draft", "idle"),
    (StepStatus.WAITING, "clock", "idle"),
    (StepStatus.READY, "play", "run"),
    (StepStatus.RUNNING, "running", "run"),
    (StepStatus.COMPLETED, "done", "ok"),
    (StepStatus.FAILED, "failed", "bad"),
    (StepStatus.SKIPPED, "skip", "idle"),
    (StepStatus.CANCELLED, "cancelled", "idle"),
    (StepStatus.UNKNOWN, "unknown", "warn"),
    (AttemptStatus.DUE, "clock", "idle"),
    (AttemptStatus.SENT, "play", "run"),
    (AttemptStatus.RUNNING, "running", "run"),
    (AttemptStatus.COMPLETED, "done", "ok"),
    (AttemptStatus.FAILED, "failed", "bad"),
    (AttemptStatus.CANCELLED, "cancelled", "idle"),
    (AttemptStatus.INTERRUPTED, "unknown", "warn"),
    (RequestStatus.RECEIVED, "clock", "run"),
    (RequestStatus.NEEDS_CLARIFICATION, "ask", "you"),
    (RequestStatus.PLANNED, "plan", "ok"),
    (RequestStatus.OUT_OF_SCOPE, "rejected", "idle"),
    (RequestStatus.FAILED, "failed", "bad"),
    (Risk.LOW, "risk-1", "idle"),
    (Risk.MEDIUM, "risk-2", "warn"),
    (Risk.HIGH, "risk-3", "bad"),
    (AgentStatus.STARTING, "clock", "run"),
    (AgentStatus.READY, "done", "ok"),
    (AgentStatus.BUSY, "running", "run"),
    (AgentStatus.DRAINING, "pause", "warn"),
    (AgentStatus.MAINTENANCE, "wrench", "idle"),
    (AgentStatus.OFFLINE, "failed", "bad"),
    (AgentStatus.TERMINATED, "cancelled", "idle"),
    (BreakerState.CLOSED, "done", "ok"),
    (BreakerState.OPEN, "failed", "bad"),
    (BreakerState.HALF_OPEN, "unknown", "warn"),
)
# States of different kinds compare equal when their values do, so the kind is part of the key.
LOOKS: Final[Mapping[tuple[type, str], Look]] = {
    (type(state), state.value): Look(str(state.label), icon, tone, spins=icon == "running")
    for state, icon, tone in _TABLE
}


def look_of(thing: Any) -> Look:
    """How the state of a plan, step, attempt, request, agent, breaker or revision looks, or of a state itself.

    A revision shows its risk. Raises KeyError for anything else.
    """
    match thing:
        case Plan():
            return LOOKS[Stage, thing.stage]
        case Step():
            return LOOKS[StepStatus, thing.status]
        case Attempt():
            return LOOKS[AttemptStatus, thing.status]
        case Request():
            return LOOKS[RequestStatus, thing.status]
        case Agent():
            return LOOKS[AgentStatus, thing.status]
        case Breaker():
            return LOOKS[BreakerState, thing.state]
        case Revision():
            return LOOKS[Risk, thing.risk]
        case _:
            return LOOKS[type(thing), thing.value]
