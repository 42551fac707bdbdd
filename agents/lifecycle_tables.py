"""Every legal move of an agent and of a job, as tables. The database triggers are made from these."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from agents.enums import AgentStatus as A
from agents.enums import JobStatus as J

_ALIVE: Final = frozenset({A.DRAINING, A.MAINTENANCE, A.OFFLINE, A.TERMINATED})

AGENT_TRANSITIONS: Final[Mapping[A, frozenset[A]]] = {
    A.STARTING: _ALIVE | {A.READY},
    A.READY: _ALIVE | {A.BUSY, A.STARTING},
    A.BUSY: _ALIVE | {A.READY, A.STARTING},
    A.DRAINING: frozenset({A.READY, A.MAINTENANCE, A.OFFLINE, A.TERMINATED, A.STARTING}),
    A.MAINTENANCE: frozenset({A.READY, A.TERMINATED}),  # silent or not, it stays in maintenance until a person says so
    A.OFFLINE: frozenset({A.STARTING, A.READY, A.DRAINING, A.MAINTENANCE, A.TERMINATED}),
    A.TERMINATED: frozenset({A.STARTING}),
}

JOB_TRANSITIONS: Final[Mapping[J, frozenset[J]]] = {
    J.DUE: frozenset({J.SENT, J.RUNNING, J.FAILED}),
    J.SENT: frozenset({J.DUE, J.RUNNING}),
    J.RUNNING: frozenset({J.DUE, J.COMPLETED, J.FAILED}),
    J.FAILED: frozenset({J.DUE}),  # asked for again by a person
}
