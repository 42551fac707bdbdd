"""The agents app."""

from __future__ import annotations

from django.apps import AppConfig


class AgentsConfig(AppConfig):
    """Who can do the work."""

    name = "agents"
    verbose_name = "Agents"
