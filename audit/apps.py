"""The audit app."""

from __future__ import annotations

from django.apps import AppConfig


class AuditConfig(AppConfig):
    """What happened, provably."""

    name = "audit"
    verbose_name = "Audit"

    def ready(self) -> None:
        """Register the pages of audit's own kinds of subject, and the check of its settings."""
        from django.core.checks import register

        from audit import conf, links

        links.register_own_kinds()
        register(conf.check_settings)
