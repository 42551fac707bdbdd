"""The audit app."""

from __future__ import annotations

from django.apps import AppConfig


class AuditConfig(AppConfig):
    """What happened, provably."""

    name = "audit"
    verbose_name = "Audit"
