"""Types and statuses of agents, and the statuses of background jobs."""

from __future__ import annotations

from django.db.models import TextChoices


class AgentType(TextChoices):
    """What an agent is good for: types differ by tools and capabilities."""

    INFRA = "infra", "Infra"
    CODE = "code", "Code"
    RESEARCH = "research", "Research"
    DESKTOP = "desktop", "Desktop"


class AgentStatus(TextChoices):
    """An agent's life. A heartbeat may only move it between starting, ready, busy and offline."""

    STARTING = "starting", "Starting"
    READY = "ready", "Ready"
    BUSY = "busy", "Busy"
    DRAINING = "draining", "Draining"
    MAINTENANCE = "maintenance", "Maintenance"
    OFFLINE = "offline", "Offline"
    TERMINATED = "terminated", "Terminated"


class JobStatus(TextChoices):
    """Where a background job stands."""

    DUE = "due", "Due"
    SENT = "sent", "Sent"
    RUNNING = "running", "Running"
    COMPLETED = "completed", "Completed"
    FAILED = "failed", "Failed"


class BreakerState(TextChoices):
    """Where a circuit breaker stands."""

    CLOSED = "closed", "Closed"
    OPEN = "open", "Open"
    HALF_OPEN = "half_open", "Half-open"
