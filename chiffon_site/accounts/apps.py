"""The configuration of the accounts app."""

from typing import Any

from django.apps import AppConfig
from django.db.models.signals import post_migrate

from audit.authority import Role


class AccountsConfig(AppConfig):
    """Sign-in and roles."""

    name = "chiffon_site.accounts"
    label = "accounts"
    verbose_name = "Accounts"

    def ready(self) -> None:
        """Record who signs in and out, and who fails to; after each migration, make a group of each role that lacks one."""
        from chiffon_site.accounts import recording  # users are a model, and models are complete only now

        recording.connect()
        post_migrate.connect(_add_roles, sender=self)


def _add_roles(using: str, **_: Any) -> None:
    from django.contrib.auth.models import Group  # groups are a model too

    known = set(Group.objects.using(using).values_list("name", flat=True))
    missing = [Group(name=role.value) for role in Role if role.value not in known]
    Group.objects.using(using).bulk_create(missing, ignore_conflicts=True)
