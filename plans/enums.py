"""Stages, statuses and risks: every word a plan, step, attempt or request can be in, with its icon and tone."""

from __future__ import annotations

from django.db.models import TextChoices


class RequestStatus(TextChoices):
    """Where a request stands."""

    RECEIVED = "received", "Received"
    NEEDS_CLARIFICATION = "needs_clarification", "Needs an answer"
    PLANNED = "planned", "Planned"
    OUT_OF_SCOPE = "out_of_scope", "Out of scope"
    FAILED = "failed", "Failed"


class Stage(TextChoices):
    """Where a plan stands. The legal moves are in lifecycle.STAGE_TRANSITIONS."""

    DRAFT = "draft", "Draft"
    PENDING_APPROVAL = "pending_approval", "Awaiting approval"
    APPROVED = "approved", "Approved"
    EXECUTING = "executing", "Executing"
    PAUSED = "paused", "Paused"
    COMPLETED = "completed", "Completed"
    FAILED = "failed", "Failed"
    CANCELLED = "cancelled", "Cancelled"
    REJECTED = "rejected", "Rejected"
    EXPIRED = "expired", "Expired"


class StepStatus(TextChoices):
    """Where a step stands."""

    PENDING = "pending", "Pending"  # how waiting is read before the plan is approved; never stored
    WAITING = "waiting", "Waiting"
    READY = "ready", "Ready"
    RUNNING = "running", "Running"
    COMPLETED = "completed", "Completed"
    FAILED = "failed", "Failed"
    SKIPPED = "skipped", "Skipped"
    CANCELLED = "cancelled", "Cancelled"
    UNKNOWN = "unknown", "Unknown"


class AttemptStatus(TextChoices):
    """Where one try at a step stands."""

    DUE = "due", "Due"
    SENT = "sent", "Sent"
    RUNNING = "running", "Running"
    COMPLETED = "completed", "Completed"
    FAILED = "failed", "Failed"
    CANCELLED = "cancelled", "Cancelled"
    INTERRUPTED = "interrupted", "Interrupted"


class Risk(TextChoices):
    """What a step or plan could break."""

    LOW = "low", "Low risk"
    MEDIUM = "medium", "Medium risk"
    HIGH = "high", "High risk"


class Complexity(TextChoices):
    """How much there is to a request."""

    SIMPLE = "simple", "Simple"
    MEDIUM = "medium", "Medium"
    COMPLEX = "complex", "Complex"


class Decision(TextChoices):
    """What a person answered to one digest."""

    APPROVED = "approved", "Approved"
    REJECTED = "rejected", "Rejected"


class OnFailure(TextChoices):
    """What a failed step means for the plan."""

    STOP = "stop", "Stop what depends on it"
    CONTINUE = "continue", "Go on without it"
    FALLBACK = "fallback", "Try its fallback"
    ROLLBACK = "rollback", "Undo what was done"


class StepKind(TextChoices):
    """What a step row is: a step of the plan, one item of a fan-out, or what undoes a step."""

    STEP = "step", "Step"
    ITEM = "item", "Item"
    ROLLBACK = "rollback", "Rollback"


class StateScope(TextChoices):
    """Whose a remembered value is."""

    GLOBAL = "global", "Everybody's"
    SESSION = "session", "The conversation's"
    EXECUTION = "execution", "The plan's"
    STEP = "step", "The step's own"


class EventType(TextChoices):
    """What a live reader is told."""

    STAGE_CHANGED = "stage_changed"
    STEP_CHANGED = "step_changed"
    AGENT_STARTED = "agent_started"
    AGENT_THINKING = "agent_thinking"
    TOOL_EXECUTING = "tool_executing"
    TOOL_COMPLETED = "tool_completed"
    AGENT_COMPLETED = "agent_completed"
    OUTPUT_END = "output_end"


FINAL_STAGES = frozenset({Stage.COMPLETED, Stage.CANCELLED, Stage.REJECTED, Stage.EXPIRED})
UNAPPROVED_STAGES = frozenset({Stage.DRAFT, Stage.PENDING_APPROVAL, Stage.REJECTED, Stage.EXPIRED})
GOING_STAGES = (Stage.APPROVED, Stage.EXECUTING)  # something of it may start
HOLDING_STAGES = frozenset({*GOING_STAGES, Stage.PAUSED})  # it keeps its hosts and services for itself
OPEN_STAGES = (Stage.EXECUTING, Stage.PAUSED, Stage.FAILED)  # it began, and what failed in it may be tried again
LIVE_ATTEMPTS = (AttemptStatus.DUE, AttemptStatus.SENT, AttemptStatus.RUNNING)
DECIDED_STEPS = frozenset({StepStatus.COMPLETED, StepStatus.FAILED, StepStatus.SKIPPED, StepStatus.CANCELLED})
