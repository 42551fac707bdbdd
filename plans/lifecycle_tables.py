"""Every legal move of a plan, a step and an attempt, as tables. The database triggers are made from these."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from plans.enums import AttemptStatus, RequestStatus, Stage, StepStatus

STAGE_TRANSITIONS: Final[Mapping[Stage, frozenset[Stage]]] = {
    Stage.DRAFT: frozenset({Stage.PENDING_APPROVAL, Stage.CANCELLED}),
    Stage.PENDING_APPROVAL: frozenset({Stage.DRAFT, Stage.APPROVED, Stage.REJECTED, Stage.EXPIRED, Stage.CANCELLED}),
    Stage.APPROVED: frozenset(
        {Stage.EXECUTING, Stage.PENDING_APPROVAL, Stage.EXPIRED, Stage.CANCELLED}
    ),  # back to pending: the start was refused
    Stage.EXECUTING: frozenset({Stage.PAUSED, Stage.COMPLETED, Stage.FAILED, Stage.CANCELLED}),
    Stage.PAUSED: frozenset({Stage.EXECUTING, Stage.COMPLETED, Stage.FAILED, Stage.CANCELLED}),
    Stage.FAILED: frozenset({Stage.EXECUTING, Stage.DRAFT}),  # the same digest goes on, or a new revision
}  # a stage that is absent is final

_S = StepStatus
STEP_TRANSITIONS: Final[Mapping[StepStatus, frozenset[StepStatus]]] = {
    _S.WAITING: frozenset({_S.READY, _S.RUNNING, _S.SKIPPED, _S.CANCELLED, _S.FAILED}),
    _S.READY: frozenset({_S.WAITING, _S.RUNNING, _S.SKIPPED, _S.CANCELLED, _S.FAILED}),
    _S.RUNNING: frozenset({_S.COMPLETED, _S.FAILED, _S.CANCELLED, _S.UNKNOWN, _S.WAITING, _S.READY}),
    _S.FAILED: frozenset({_S.WAITING, _S.READY, _S.SKIPPED, _S.CANCELLED}),
    _S.UNKNOWN: frozenset({_S.WAITING, _S.READY, _S.SKIPPED, _S.CANCELLED, _S.FAILED}),
}

_A = AttemptStatus
ATTEMPT_TRANSITIONS: Final[Mapping[AttemptStatus, frozenset[AttemptStatus]]] = {
    _A.DUE: frozenset({_A.SENT, _A.RUNNING, _A.CANCELLED}),
    _A.SENT: frozenset({_A.DUE, _A.RUNNING, _A.CANCELLED}),
    _A.RUNNING: frozenset({_A.COMPLETED, _A.FAILED, _A.CANCELLED, _A.INTERRUPTED}),
}

_R = RequestStatus
REQUEST_TRANSITIONS: Final[Mapping[RequestStatus, frozenset[RequestStatus]]] = {
    _R.RECEIVED: frozenset({_R.NEEDS_CLARIFICATION, _R.PLANNED, _R.OUT_OF_SCOPE, _R.FAILED}),
    _R.NEEDS_CLARIFICATION: frozenset({_R.PLANNED, _R.OUT_OF_SCOPE, _R.FAILED}),
    _R.OUT_OF_SCOPE: frozenset({_R.NEEDS_CLARIFICATION, _R.PLANNED, _R.FAILED}),
    _R.FAILED: frozenset({_R.NEEDS_CLARIFICATION, _R.PLANNED, _R.OUT_OF_SCOPE}),
}
