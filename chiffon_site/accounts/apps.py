"""The configuration of the accounts app."""

from django.apps import AppConfig


class AccountsConfig(AppConfig):
    """Sign-in and roles."""

    name = "chiffon_site.accounts"
    label = "accounts"
    verbose_name = "Accounts"
