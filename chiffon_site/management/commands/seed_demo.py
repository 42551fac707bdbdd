"""`manage.py seed_demo`: the people, the policy and the playbook repository of the demo story."""

from pathlib import Path
from typing import Any

from django.conf import settings
from django.contrib.auth import get_user_model
from django.core.management.base import BaseCommand, CommandError

from agents import git, services
from audit.authority import Role
from audit.context import SYSTEM
from chiffon_site.accounts.people import create_person
from chiffon_site.embedded.folder import DataFolder
from chiffon_site.environment import BASE_DIR
from chiffon_site.jobs import ensure_repository

PEOPLE = {
    "requester": ("Mara Lindqvist", (Role.REQUESTER,)),
    "approver": ("Priya Raman", (Role.APPROVER,)),
    "auditor": ("Jonas Weber", (Role.AUDITOR,)),
    "admin": ("Ines Okafor", (Role.ADMINISTRATOR, Role.AGENT_ADMIN)),
}
HOMELAB = BASE_DIR / "examples" / "homelab"
AUTHOR = git.Person("Chiffon demo", "demo@chiffon.invalid")


class Command(BaseCommand):
    """Write the demo's data where it is missing; what is there stays."""

    help = "Write the demo's people, policy and playbook repository where they are missing."

    def handle(self, *_args: Any, **_options: Any) -> None:
        """Seed. Safe to repeat."""
        folder = Path(settings.CHIFFON_DATA_DIR)
        accounts = DataFolder(folder).demo_accounts()
        for name, (full_name, roles) in PEOPLE.items():
            if name not in accounts:
                raise CommandError(f"The data folder has no password for {name}; start with chiffon up --demo.")
            if not get_user_model().objects.filter(username=name).exists():
                create_person(
                    name=name,
                    full_name=full_name,
                    roles=[role.value for role in roles],
                    password=accounts[name],
                    email=f"{name}@example.org",
                )
        self._playbooks(folder / "playbooks")

    def _playbooks(self, sample: Path) -> None:
        """Read the configured repository, or the sample, which becomes a real git repository in the data folder."""
        where = settings.CHIFFON_PLAYBOOK_REPO
        if not where and not sample.exists():
            git.init_from_folder(HOMELAB, sample, AUTHOR, "The sample homelab")
        ensure_repository(where or str(sample))
        services.refresh_playbooks(actor=SYSTEM)
