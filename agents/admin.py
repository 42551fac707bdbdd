"""Agents, playbooks, what can be asked for, and background jobs, to read."""

from __future__ import annotations

from django.contrib import admin

from agents.models import Agent, Breaker, Job, Offering, Playbook, PlaybookRepository, ToolRecord
from audit.admin_base import ReadingRoom, list_url, row_url
from audit.links import page


@admin.register(Agent)
class AgentAdmin(ReadingRoom):
    """Who can do the work."""

    list_display = ("name", "type", "status", "status_reason", "slots", "host", "version", "heard_at")
    list_filter = ("type", "status")
    words = ("name", "host", "status_reason")

    def links(self, obj: Agent) -> list[tuple[str, str]]:
        """What it tried, what was recorded about it, its page."""
        return [
            ("Its tries", list_url("plans_attempt", agent__id__exact=obj.pk)),
            ("Its records", list_url("audit_decisionrecord", actor__exact=obj.name)),
            ("Its page", page("agents:agent", obj.name)),
        ]


@admin.register(PlaybookRepository)
class PlaybookRepositoryAdmin(ReadingRoom):
    """Where playbooks come from."""

    list_display = ("name", "location", "commit", "scanned_at", "problem")
    words = ("name", "location", "commit")

    def links(self, obj: PlaybookRepository) -> list[tuple[str, str]]:
        """What was found in it."""
        return [
            ("Its playbooks", list_url("agents_playbook", repository__id__exact=obj.pk)),
            ("Its page", page("agents:playbooks")),
        ]


@admin.register(Playbook)
class PlaybookAdmin(ReadingRoom):
    """What can be run."""

    list_display = ("path", "repository", "service", "risk", "task_count", "missing", "scanned_at")
    list_filter = ("risk", "missing")
    related = ("repository",)
    words = ("path", "service", "description")
    ids = ("pk", "repository")

    def links(self, obj: Playbook) -> list[tuple[str, str]]:
        """What it offers, where it lies, its page."""
        return [
            ("What it offers", list_url("agents_offering", playbook__id__exact=obj.pk)),
            (f"Its repository {obj.repository}", row_url(obj.repository)),
            ("Its page", page("agents:playbook", obj.pk)),
        ]


@admin.register(Offering)
class OfferingAdmin(ReadingRoom):
    """What can be asked for."""

    list_display = ("key", "title", "verb", "service", "playbook", "available")
    list_filter = ("available",)
    related = ("playbook", "playbook__repository")
    words = ("key", "title", "service", "verb")
    ids = ("pk", "playbook")

    def links(self, obj: Offering) -> list[tuple[str, str]]:
        """The playbook behind it."""
        return [(f"Its playbook {obj.playbook}", row_url(obj.playbook))]


@admin.register(Job)
class JobAdmin(ReadingRoom):
    """Work in the background."""

    list_display = ("kind", "key", "status", "tries", "next_at", "finished_at", "error")
    list_filter = ("status", "finished_at")
    words = ("kind", "key", "error")
    ids = ("pk", "trace_id")

    def links(self, obj: Job) -> list[tuple[str, str]]:
        """The trace it belongs to."""
        return [("Its trace", page("audit:trace", obj.trace_id) if obj.trace_id else "")]


@admin.register(Breaker)
class BreakerAdmin(ReadingRoom):
    """Circuit breakers, as they were at their last change."""

    list_display = ("tool", "target", "state", "failures", "since", "until", "last_error")
    list_filter = ("state",)
    words = ("tool", "target", "last_error")
    ids = ("pk",)

    def links(self, obj: Breaker) -> list[tuple[str, str]]:
        """What waits for it, its changes, its page."""
        return [
            ("Tries that wait for it", list_url("plans_attempt", held_by__id__exact=obj.pk, status__exact="due")),
            ("Its records", list_url("audit_decisionrecord", subject__exact=f"breaker:{obj.pk}")),
            ("Its page", page("agents:list")),
        ]


@admin.register(ToolRecord)
class ToolRecordAdmin(ReadingRoom):
    """How tools fared, version by version."""

    list_display = ("name", "version", "calls", "succeeded", "from_cache", "last_called_at", "measured_at")
    words = ("name", "version")

    def links(self, obj: ToolRecord) -> list[tuple[str, str]]:
        """Its steps, its page."""
        return [
            ("Its steps", list_url("plans_step", tool__exact=obj.name)),
            ("Its page", page("agents:tool", obj.name)),
        ]
