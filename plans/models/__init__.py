"""Fields, constraints and facts about one row. What may happen to a row is said in lifecycle and services."""

from __future__ import annotations

from plans.models.approval import Approval, ApprovalPolicy
from plans.models.attempt import Attempt, OutputLine, RoutingChoice, UnwrittenTask
from plans.models.budget import BudgetLedger, BudgetReservation
from plans.models.event import Event, events_of, unfold
from plans.models.lock import TargetLock
from plans.models.plan import IN_ORDER, Dependency, Plan, PlanQuerySet, Revision, Step, Work
from plans.models.request import Message, Request, Session
from plans.models.state import StateEntry

__all__ = [
    "IN_ORDER",
    "Approval",
    "ApprovalPolicy",
    "Attempt",
    "BudgetLedger",
    "BudgetReservation",
    "Dependency",
    "Event",
    "Message",
    "OutputLine",
    "Plan",
    "PlanQuerySet",
    "Request",
    "Revision",
    "RoutingChoice",
    "Session",
    "StateEntry",
    "Step",
    "TargetLock",
    "UnwrittenTask",
    "Work",
    "events_of",
    "unfold",
]
