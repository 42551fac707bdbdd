"""The agents app."""

from __future__ import annotations

from django.apps import AppConfig


class AgentsConfig(AppConfig):
    """Who can do the work."""

    name = "agents"
    verbose_name = "Agents and playbooks"

    def ready(self) -> None:
        """Register where agents and playbooks lead when a record is about them."""
        from agents import links  # models are not loaded any earlier

        links.register()
