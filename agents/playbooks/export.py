"""A private, short-lived workspace for one playbook run: the approved commit, read-only, and Ansible's settings."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from agents import git

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PREFIX: Final = "chiffon-run-"
LOCK: Final = "lock"
CONFIGURATION: Final = """\
[defaults]
roles_path = {tree}/roles
collections_path = {tree}/collections:/usr/share/ansible/collections
retry_files_enabled = True
retry_files_save_path = {private}/retries
host_key_checking = True
nocows = True
interpreter_python = auto_silent
fact_caching = memory
[inventory]
enable_plugins = yaml, ini
[ssh_connection]
pipelining = True
control_path_dir = {private}/cp
"""


class TreeMismatch(Exception):
    """The commit's files are not those that were approved. The message says so in one sentence."""


@dataclass(frozen=True, slots=True)
class Workspace:
    """The folders and files of one run. All of it is readable by this user only, and gone afterwards."""

    private: Path
    tree: Path
    runner: Path  # ansible-runner's private data folder
    home: Path

    @property
    def configuration(self) -> Path:
        """Our own ansible.cfg; with it set, one in the repository is never looked at."""
        return self.private / "ansible.cfg"

    @property
    def retries(self) -> Path:
        """Where Ansible writes which hosts did not come to the end."""
        return self.private / "retries"

    def fill(self, repository: str, commit: str, tree: str, *, between: Callable[[], object]) -> None:
        """Export a commit into the workspace; `between` two files something else is done.

        Raises GitError if it can not be exported, TreeMismatch if its tree is not the one that was approved.
        """
        found = git.export(repository, commit, self.tree, between=between)
        if found != tree:
            raise TreeMismatch(
                f"The files of {commit[:12]} are not those that were approved: their tree is {found[:12]}, "
                f"the approved one is {tree[:12]}."
            )

    def write_secret(self, name: str, text: str) -> Path:
        """Write a file that only this user can read, and answer its path. It appears whole or not at all."""
        path = self.private / name
        draft = path.with_name(f".{name}")
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
            file.write(text)
        draft.rename(path)
        return path

    def write_settings(self, settings: dict[str, Any]) -> None:
        """ansible-runner reads its settings from a file only, whatever its `settings` argument promises."""
        folder = self.runner / "env"
        folder.mkdir(mode=0o700, exist_ok=True)
        (folder / "settings").write_text(json.dumps(settings), encoding="utf-8")


@contextmanager
def workspace(scratch: Path | None = None) -> Iterator[Workspace]:
    """Make a workspace that holds no commit yet, and delete all of it at the end. Raises OSError if that fails."""
    private = Path(tempfile.mkdtemp(prefix=PREFIX, dir=scratch))
    lock = os.open(private / LOCK, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        place = Workspace(private, private / "tree", private / "runner", private / "home")
        for folder in (place.runner, place.home, place.retries, private / "cp"):
            folder.mkdir(mode=0o700)
        text = CONFIGURATION.format(tree=place.tree, private=private)
        place.configuration.write_text(text, encoding="utf-8")
        yield place
    finally:
        _remove(private)
        os.close(lock)


def remove_stale_workspaces(scratch: Path | None = None) -> list[Path]:
    """Delete the workspaces of runs whose process is gone, and answer them. For an agent's start."""
    removed = []
    for private in Path(scratch or tempfile.gettempdir()).glob(f"{PREFIX}*"):
        try:
            if private.stat().st_uid != os.getuid() or private.is_symlink():
                continue
            lock = os.open(private / LOCK, os.O_RDWR | os.O_NOFOLLOW)
        except OSError:
            continue
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            _remove(private)
            removed.append(private)
        except BlockingIOError:
            continue  # somebody works in it
        finally:
            os.close(lock)
    return removed


def _remove(private: Path) -> None:
    git.remove_export(private / "tree")
    for folder, _, _ in os.walk(private):
        Path(folder).chmod(0o700)
    shutil.rmtree(private, ignore_errors=True)
