"""The shapes that the API takes and tells, a module for each resource. The contract names the fields."""

from __future__ import annotations

from plans.api_schemas.following import (
    LONGEST_CURSOR,
    MOST_LINES,
    EventFilters,
    EventsTold,
    EventTold,
    LineTold,
    OutputFilters,
    OutputTold,
)
from plans.api_schemas.plans import (
    ApprovalTold,
    ApproveGiven,
    PlanFilters,
    PlanGiven,
    PlansTold,
    PlanTold,
    PolicyTold,
    RejectGiven,
)
from plans.api_schemas.recovery import (
    BegunTold,
    CheckpointTold,
    FailureTold,
    HostReachedTold,
    PartialResultTold,
    RecoveryTold,
)
from plans.api_schemas.requests import (
    MessageGiven,
    MessageTold,
    RequestFilters,
    RequestGiven,
    RequestsTold,
    RequestTold,
)
from plans.api_schemas.revisions import (
    FieldChangeTold,
    ProgramTold,
    RevisionFilters,
    RevisionGiven,
    RevisionsTold,
    RevisionTold,
    StepChangeTold,
)
from plans.api_schemas.state import StateFilters, StatesTold, StateTold
from plans.api_schemas.steps import ActionTold, AttemptTold, RetryGiven, RetryTold, StepTold
from plans.api_schemas.words import LONGEST_REMARK, Digest, ReasonGiven, ReasonNeeded, Remark, Text

__all__ = [
    "LONGEST_CURSOR",
    "LONGEST_REMARK",
    "MOST_LINES",
    "ActionTold",
    "ApprovalTold",
    "ApproveGiven",
    "AttemptTold",
    "BegunTold",
    "CheckpointTold",
    "Digest",
    "EventFilters",
    "EventTold",
    "EventsTold",
    "FailureTold",
    "FieldChangeTold",
    "HostReachedTold",
    "LineTold",
    "MessageGiven",
    "MessageTold",
    "OutputFilters",
    "OutputTold",
    "PartialResultTold",
    "PlanFilters",
    "PlanGiven",
    "PlanTold",
    "PlansTold",
    "PolicyTold",
    "ProgramTold",
    "ReasonGiven",
    "ReasonNeeded",
    "RecoveryTold",
    "RejectGiven",
    "Remark",
    "RequestFilters",
    "RequestGiven",
    "RequestTold",
    "RequestsTold",
    "RetryGiven",
    "RetryTold",
    "RevisionFilters",
    "RevisionGiven",
    "RevisionTold",
    "RevisionsTold",
    "StateFilters",
    "StateTold",
    "StatesTold",
    "StepChangeTold",
    "StepTold",
    "Text",
]
