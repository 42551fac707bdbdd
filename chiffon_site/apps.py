"""The application's own configuration."""

from django.apps import AppConfig
from django.contrib.admin import apps as admin_apps


class ChiffonSiteConfig(AppConfig):
    """Binds the Celery application as soon as Django is ready, so that shared tasks find it."""

    default = True
    name = "chiffon_site"
    verbose_name = "Chiffon"

    def ready(self) -> None:
        """Import the Celery application for its side effect: it becomes the default one."""
        from chiffon_site import celery  # noqa: F401 - needs the settings, which are complete only now


class ChiffonAdminConfig(admin_apps.AdminConfig):
    """Django's admin with our site: a reading room that asks our own authorisation."""

    default = False
    default_site = "chiffon_site.admin_site.ChiffonAdminSite"
