"""The data folder: who may use it, what it remembers between starts, and the lock that keeps a second start out."""

import fcntl
import hashlib
import json
import os
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Final

from chiffon_site.embedded.errors import CannotStart
from chiffon_site.embedded.processes import free_port, port_is_free
from chiffon_site.environment import ENVIRONMENT_FILE, SECRET_KEY_FILE

DEMO_ACCOUNTS: Final = ("requester", "approver", "auditor", "admin")
DEMO_ACCOUNTS_FILE: Final = "demo-accounts.json"
_PASSWORDS: Final = ("superuser", "owner", "application", "broker")


class DataFolder:
    """Everything an installation keeps on disk."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock: IO[str] | None = None

    @property
    def tag(self) -> str:
        """A short name that marks the processes of this installation."""
        return hashlib.sha256(str(self.path.resolve()).encode()).hexdigest()[:16]

    @property
    def logs(self) -> Path:
        """Where each child's output goes."""
        return self.path / "logs"

    @property
    def sandbox(self) -> Path:
        """Where the demo's playbooks may work."""
        return self.path / "sandbox"

    def prepare(self) -> None:
        """Make the folder and take it for this process.

        Raises CannotStart if it cannot be used or another process has it.
        """
        try:
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            self.logs.mkdir(mode=0o700, exist_ok=True)
            self._lock = (self.path / "keeper.lock").open("a+", encoding="ascii")
        except (FileExistsError, NotADirectoryError) as error:
            raise CannotStart(
                f"The data folder {self.path} cannot be made because {error.filename} is not a folder."
            ) from error
        except OSError as error:
            raise CannotStart(
                f"The data folder {self.path} cannot be written ({error.strerror}): choose one in CHIFFON_DATA_DIR."
            ) from error
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            self._lock.seek(0)
            holder = self._lock.read().strip() or "another process"
            self._lock.close()
            self._lock = None
            raise CannotStart(
                f"Chiffon already runs on {self.path} (process {holder}): stop it, or choose another CHIFFON_DATA_DIR."
            ) from error
        self._lock.truncate(0)
        self._lock.write(f"{os.getpid()}\n")
        self._lock.flush()

    def release(self) -> None:
        """Let another process have the folder."""
        if self._lock:
            self._lock.close()
            self._lock = None

    def passwords(self) -> dict[str, str]:
        """Return the passwords of the embedded servers, drawn at the first start."""
        path = self.path / "secrets.json"
        known = self.read_json(path.name)
        if any(name not in known for name in _PASSWORDS):
            known = {name: known.get(name) or secrets.token_urlsafe(24) for name in _PASSWORDS}
            self.write_json(path.name, known)
        return known

    def ports(self, names: tuple[str, ...]) -> dict[str, int]:
        """Return a free port for each name, the same as last time where it still is free."""
        known = self.read_json("ports.json")
        chosen: dict[str, int] = {}
        for name in names:
            port = int(known.get(name, "0")) if known.get(name, "0").isdigit() else 0
            while not port or port in chosen.values() or not port_is_free("127.0.0.1", port):
                port = free_port()
            chosen[name] = port
        if names:
            self.write_json("ports.json", {name: str(port) for name, port in chosen.items()})
        return chosen

    def secret_key(self) -> str:
        """Return Django's secret key, drawn at the first start."""
        path = self.path / SECRET_KEY_FILE
        try:
            return path.read_text(encoding="ascii").strip()
        except FileNotFoundError:
            key = secrets.token_urlsafe(48)
            self.write_private(path.name, key + "\n")
            return key

    def demo_accounts(self) -> dict[str, str]:
        """Return the demo's people and their passwords, drawn at the first start."""
        known = self.read_json(DEMO_ACCOUNTS_FILE)
        if set(known) != set(DEMO_ACCOUNTS):
            known = {name: known.get(name) or secrets.token_urlsafe(9) for name in DEMO_ACCOUNTS}
            self.write_json(DEMO_ACCOUNTS_FILE, known)
        return known

    def remember_environment(self, values: Mapping[str, str]) -> None:
        """Write what commands beside the folder need to find the same servers."""
        self.write_json(ENVIRONMENT_FILE, values)

    def read_json(self, name: str) -> dict[str, str]:
        """Return a file's object of texts, empty if there is no such file.

        Raises CannotStart if the file is broken.
        """
        path = self.path / name
        try:
            values = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return {}
        except (OSError, ValueError) as error:
            raise CannotStart(
                f"The file {path} in the data folder is broken ({error}): restore it from a backup."
            ) from error
        if not isinstance(values, dict):
            raise CannotStart(
                f"The file {path} in the data folder does not hold a JSON object: restore it from a backup."
            )
        return {str(key): str(value) for key, value in values.items()}

    def write_json(self, name: str, values: Mapping[str, str]) -> None:
        """Write an object that only this account may read."""
        self.write_private(name, json.dumps(dict(values), indent=1) + "\n")

    def write_private(self, name: str, text: str) -> None:
        """Replace a file at once, readable by this account only."""
        path = self.path / name
        fresh = path.with_name(path.name + ".new")
        try:
            descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            fresh.replace(path)
        except OSError as error:
            raise CannotStart(f"The file {path} cannot be written ({error.strerror}).") from error
