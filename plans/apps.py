"""The plans app."""

from __future__ import annotations

from django.apps import AppConfig
from django.db.models.signals import post_migrate


class PlansConfig(AppConfig):
    """What was asked, and how it went."""

    name = "plans"
    verbose_name = "Requests and plans"

    def ready(self) -> None:
        """Register who may do what to plans and requests, and where the trail's subjects lead."""
        from plans import links, permissions  # noqa: F401 - registers rules; models are not loaded any earlier

        links.register()
        from plans import sql  # as above

        post_migrate.connect(sql.install, sender=self)
