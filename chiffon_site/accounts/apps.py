"""The configuration of the accounts app."""

from django.apps import AppConfig


class AccountsConfig(AppConfig):
    """Sign-in and roles."""

    name = "chiffon_site.accounts"
    label = "accounts"
    verbose_name = "Accounts"

    def ready(self) -> None:
        """Record who signs in and out, and who fails to."""
        from chiffon_site.accounts import recording  # users are a model, and models are complete only now

        recording.connect()
