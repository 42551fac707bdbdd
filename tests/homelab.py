"""A playbook repository for tests: real git, real files, read by the real scan."""

from __future__ import annotations

import atexit
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from functools import cache
from pathlib import Path

from agents import git, services
from agents.models import PlaybookRepository
from audit.context import SYSTEM

HOMELAB = Path(__file__).resolve().parents[1] / "examples" / "homelab"
AUTHOR = git.Person("Test", "test@example.org")
INVENTORY = "all:\n  hosts:\n    forge:\n      ansible_connection: local\n    anvil:\n      ansible_connection: local\n"


class Homelab:
    """A git repository in a folder, and the row that names it."""

    def __init__(self, folder: Path, files: Mapping[str, str] | None = None) -> None:
        """With files: just these and an inventory of two hosts; without: the example homelab."""
        self.path = folder / "playbooks"
        shutil.copytree(_made(None if files is None else tuple(files.items())), self.path, symlinks=True)
        self.row = PlaybookRepository.objects.update_or_create(name="playbooks", defaults={"location": str(self.path)})[
            0
        ]

    def commit(self, files: Mapping[str, str | None], message: str = "A change") -> str:
        """Write files (None removes one), commit, and answer the commit."""
        _write(self.path, files)
        self.git("add", "-A")
        self.git("-c", "user.name=Test", "-c", "user.email=test@example.org", "commit", "-q", "-m", message)
        return self.git("rev-parse", "HEAD")

    def git(self, *words: str) -> str:
        """Run git in the repository."""
        return subprocess.run(
            ["git", "-C", str(self.path), *words], check=True, capture_output=True, text=True
        ).stdout.strip()

    def read(self) -> PlaybookRepository:
        """Let Chiffon read it, as its scheduler does."""
        self.row = services.refresh_playbooks(actor=SYSTEM)
        return self.row


@cache
def _made(files: tuple[tuple[str, str], ...] | None) -> Path:
    """A repository of these files, made once: ten calls of git for each test add up to a minute."""
    folder = Path(tempfile.mkdtemp(prefix="chiffon-homelab-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    if files is None:
        shutil.copytree(HOMELAB, folder / "source")
    else:
        _write(folder / "source", {"inventory/hosts.yml": INVENTORY, **dict(files)})
    git.init_from_folder(folder / "source", folder / "made", AUTHOR)
    return folder / "made"


def _write(folder: Path, files: Mapping[str, str | None]) -> None:
    for name, text in files.items():
        target = folder / name
        if text is None:
            target.unlink()
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)


def playbook(service: str, *tasks: str, verb: str = "Deploy", hosts: str = "forge", variables: str = "") -> str:
    """A playbook's text; `tasks` are YAML items, by default one that says hello."""
    listed = "\n".join(f"    {line}" for task in tasks or ("- debug: msg=hello",) for line in task.splitlines())
    return (
        f"# chiffon: service={service}\n# chiffon: description={verb} {service}\n# chiffon: risk=low\n"
        f"- name: {verb} {service}\n  hosts: {hosts}\n  gather_facts: false\n{variables}  tasks:\n{listed}\n"
    )
