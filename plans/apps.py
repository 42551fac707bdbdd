"""The plans app."""

from __future__ import annotations

from django.apps import AppConfig


class PlansConfig(AppConfig):
    """What was asked, and how it went."""

    name = "plans"
    verbose_name = "Plans"
