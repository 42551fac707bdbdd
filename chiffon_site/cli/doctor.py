"""`chiffon doctor`: tries everything Chiffon leans on, one line each, and says how to mend what does not work."""

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from chiffon_site.environment import WrongEnvironment, data_dir, read_environment

OLDEST_GIT: Final = (2, 34)
OLDEST_POSTGRESQL: Final = 15
OLDEST_REDIS: Final = 7


@dataclass(frozen=True, slots=True)
class Finding:
    """What one check saw."""

    name: str
    ok: bool
    detail: str
    mend: str = ""


class _Bad(Exception):
    def __init__(self, detail: str, mend: str) -> None:
        super().__init__(detail)
        self.mend = mend


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(args: argparse.Namespace) -> int:
    """Print every finding; 0 if all is well, else 1."""
    findings = examine()
    fine = all(finding.ok for finding in findings)
    if args.json:
        print(json.dumps({"ok": fine, "checks": [asdict(finding) for finding in findings]}))
    else:
        for finding in findings:
            print(
                f"{'ok ' if finding.ok else 'BAD'}  {finding.name:<12} {finding.detail}{f' {finding.mend}' if finding.mend else ''}"
            )
    return 0 if fine else 1


def examine() -> list[Finding]:
    """Run every check, those that need the application only if its settings can be read."""
    findings = [_try(name, check) for name, check in _PLAIN.items()]
    if not all(finding.ok for finding in findings if finding.name == "settings"):
        return findings
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "chiffon_site.settings")
    import django  # it needs the settings, which the lines above have found to be readable
    from django.core.exceptions import ImproperlyConfigured

    try:
        django.setup()
    except ImproperlyConfigured as error:
        return [*findings, Finding("application", ok=False, detail=str(error), mend="")]
    return [*findings, *(_try(name, check) for name, check in _WITH_APPLICATION.items())]


def _try(name: str, check: Callable[[], str]) -> Finding:
    try:
        return Finding(name, ok=True, detail=check())
    except _Bad as bad:
        return Finding(name, ok=False, detail=str(bad), mend=bad.mend)


def _python() -> str:
    found = ".".join(str(part) for part in sys.version_info[:3])
    if not (3, 12) <= sys.version_info[:2] < (3, 15):
        raise _Bad(
            f"{found} is not supported.", "Install Python 3.12, 3.13 or 3.14, remove .venv and run make demo again."
        )
    return found


def _settings() -> str:
    try:
        read_environment()
    except WrongEnvironment as error:
        raise _Bad(str(error), "") from error
    return "every variable is readable"


def _folder() -> str:
    path = data_dir()
    if not path.exists():
        raise _Bad(
            f"{path} does not exist.",
            "Run chiffon up once, or set CHIFFON_DATA_DIR to the folder of your installation.",
        )
    if not os.access(path, os.R_OK | os.W_OK | os.X_OK):
        raise _Bad(f"{path} cannot be written.", "Give it to this account with chown, or set CHIFFON_DATA_DIR.")
    if path.stat().st_mode & 0o066:
        raise _Bad(f"{path} is open to other accounts.", f"Run chmod 700 {path}.")
    free = shutil.disk_usage(path).free
    if free < 500 * 1024 * 1024:
        raise _Bad(f"{path} has only {free // 1024**2} MiB left.", "Free some space.")
    return f"{path}, {free // 1024**3} GiB free"


def _git() -> str:
    return _program("git", OLDEST_GIT, "Install git 2.34 or newer.")


def _ansible() -> str:
    return _program("ansible-playbook", (2, 16), "Run make demo again, which installs it beside Chiffon.")


def _program(name: str, oldest: tuple[int, int], mend: str) -> str:
    path = shutil.which(
        name, path=os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
    )
    if path is None:
        raise _Bad(f"{name} is not installed.", mend)
    try:
        shown = subprocess.run([path, "--version"], capture_output=True, text=True, timeout=30, check=True).stdout
    except (OSError, subprocess.SubprocessError) as error:
        raise _Bad(f"{path} does not run ({type(error).__name__}).", mend) from error
    found = re.search(r"(\d+)\.(\d+)[.\d]*", shown)
    if not found or (int(found[1]), int(found[2])) < oldest:
        raise _Bad(f"{name} {found[0] if found else '(unknown version)'} is too old.", mend)
    return found[0]


def _database() -> str:
    from chiffon_site.observability import health  # needs Django, which is ready only now

    try:
        who = health.check_database()
    except health.NotReady as error:
        raise _Bad(str(error), "Start it: chiffon up for the embedded one; else see DATABASE_URL.") from error
    from django.db import connection

    version: int = connection.cursor().connection.info.server_version // 10000
    if version < OLDEST_POSTGRESQL:
        raise _Bad(f"PostgreSQL {version} is too old.", "Upgrade the server to PostgreSQL 15 or newer.")
    return f"PostgreSQL {version} {who}"


def _roles() -> str:
    from django.db import DatabaseError

    from chiffon_site.observability import health  # as above

    try:
        owns = health.owns_its_tables()
    except DatabaseError as error:
        raise _Bad("The roles cannot be read because the database does not answer.", "") from error
    if owns:
        raise _Bad(
            "The application's role owns its tables, so it could alter the trail.",
            "Set CHIFFON_MIGRATE_DATABASE_URL to a separate owner and start chiffon up again.",
        )
    return "the application's role owns nothing"


def _migrations() -> str:
    from chiffon_site.observability import health  # as above

    try:
        return health.check_migrations()
    except health.NotReady as error:
        raise _Bad(str(error), "Run chiffon up, which migrates.") from error


def _broker() -> str:
    from chiffon_site.observability import health  # as above

    try:
        return health.check_broker()
    except health.NotReady as error:
        raise _Bad(str(error), "Start it: chiffon up for the embedded one; else see CELERY_BROKER_URL.") from error


def _redis() -> str:
    import redis
    from django.conf import settings  # as above

    try:
        with redis.Redis.from_url(settings.CHIFFON_REDIS_URL, socket_timeout=2, socket_connect_timeout=2) as link:
            information = link.info("server")
    except redis.RedisError as error:
        raise _Bad(
            f"Redis does not answer ({error}).", "Start it: chiffon up for the embedded one; else see REDIS_URL."
        ) from error
    assert isinstance(information, dict)
    version = str(information.get("valkey_version") or information.get("redis_version", "0"))
    if int(version.split(".", maxsplit=1)[0]) < OLDEST_REDIS:
        raise _Bad(f"Redis {version} is too old.", "Upgrade it to Redis 7 or Valkey 8, or newer.")
    return f"{'Valkey' if 'valkey_version' in information else 'Redis'} {version}"


def _tools() -> str:
    from agents.tools.registry import OUR_NAME, all_tools, left_out, source_of  # as above

    if broken := left_out():
        others = len(broken) - 1
        more = f" {others} more {'is' if others == 1 else 'are'} left out, too." if others else ""
        raise _Bad(f"{broken[0]}{more}", "Mend or remove the package; the other tools work.")
    tools = all_tools()
    foreign = sum(source_of(tool) != OUR_NAME for tool in tools)
    return f"{len(tools)} are installed, {foreign} of them third-party"


_PLAIN: Final[dict[str, Callable[[], str]]] = {
    "python": _python,
    "settings": _settings,
    "data folder": _folder,
    "git": _git,
    "ansible": _ansible,
}
_WITH_APPLICATION: Final[dict[str, Callable[[], str]]] = {
    "database": _database,
    "roles": _roles,
    "migrations": _migrations,
    "redis": _redis,
    "broker": _broker,
    "tools": _tools,
}
