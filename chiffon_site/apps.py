"""The application's own configuration."""

from django.apps import AppConfig


class ChiffonSiteConfig(AppConfig):
    """Binds the Celery application as soon as Django is ready, so that shared tasks find it."""

    name = "chiffon_site"
    verbose_name = "Chiffon"

    def ready(self) -> None:
        """Import the Celery application for its side effect: it becomes the default one."""
        from chiffon_site import celery  # noqa: F401 - needs the settings, which are complete only now
