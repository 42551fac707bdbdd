"""One installation: which programs it consists of, in what order they start, and what happens between."""

import hashlib
import importlib.metadata
import os
import signal
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

import psycopg

from chiffon_site.embedded import postgres, roles
from chiffon_site.embedded.errors import CannotStart
from chiffon_site.embedded.folder import DataFolder
from chiffon_site.embedded.keeper import Child, Keeper
from chiffon_site.embedded.postgres import Cluster
from chiffon_site.embedded.processes import port_is_free
from chiffon_site.embedded.valkey import Valkey
from chiffon_site.environment import BASE_DIR, Environment

AGENTS: Final = ("forge-01", "forge-02")
AGENT_TYPE: Final = "infra"
READY_SECONDS: Final = 60.0
MIGRATE_SECONDS: Final = 600.0
_MANAGE: Final = (sys.executable, str(BASE_DIR / "manage.py"))
# Passed on to the children as they are; what Chiffon itself decides comes on top.
_KEPT_VARIABLES: Final = ("PATH", "HOME", "USER", "LOGNAME", "LANG", "LC_ALL", "TMPDIR", "SSH_AUTH_SOCK", "VIRTUAL_ENV")
_KEPT_PREFIXES: Final = ("CHIFFON_", "OTEL_", "SSL_", "GIT_SSH")


class Installation:
    """Starts everything that one command promises."""

    def __init__(
        self, environment: Environment, *, given: Mapping[str, str], demo: bool, say: Callable[[str], None]
    ) -> None:
        self._environment = environment
        self._given = given
        self._demo = demo
        self._say = say
        self._folder = DataFolder(environment.data_dir)

    def run(self) -> None:
        """Start everything, say that it is ready, and keep it running until somebody wants the end.

        Raises CannotStart with one sentence.
        """
        self._check_port()
        self._folder.prepare()
        try:
            with Keeper(logs=self._folder.logs, tag=self._folder.tag) as keeper:
                self._start(keeper)
                keeper.watch()
        finally:
            self._folder.release()

    def _start(self, keeper: Keeper) -> None:
        embedded_database = not self._environment.database_url
        embedded_broker = not self._environment.redis_url
        names = (("postgres",) if embedded_database else ()) + (("valkey",) if embedded_broker else ())
        ports = self._folder.ports(names)
        passwords = self._folder.passwords() if names else {}

        database_url, owner_url = self._environment.database_url, self._environment.migrate_database_url
        servers: list[Child] = []
        cluster: Cluster | None = None
        if embedded_database:
            cluster = Cluster(self._folder.path / "postgres", ports["postgres"], passwords["superuser"])
            postgres.prepare(cluster)
            servers.append(_postgres_child(cluster))
            database_url = cluster.url(roles.APPLICATION, passwords["application"], roles.DATABASE)
            owner_url = cluster.url(roles.OWNER, passwords["owner"], roles.DATABASE)
        redis_url, broker_url = self._environment.redis_url, self._environment.broker_url
        if embedded_broker:
            valkey = Valkey(self._folder.path / "valkey", ports["valkey"], passwords["broker"])
            valkey.prepare()
            servers.append(_valkey_child(valkey))
            redis_url, broker_url = valkey.url(0), broker_url or valkey.url(1)

        variables = {
            "DATABASE_URL": database_url,
            "REDIS_URL": redis_url,
            "CELERY_BROKER_URL": broker_url,
            "CHIFFON_PORT": str(self._environment.port),
            "CHIFFON_BIND": self._environment.bind,
            "CHIFFON_PUBLIC_URL": self._environment.public_url,
        }
        if not self._given.get("CHIFFON_SECRET_KEY"):
            self._folder.secret_key()
        self._folder.remember_environment(variables)
        variables |= {"CHIFFON_DATA_DIR": str(self._folder.path)}
        if self._demo:
            self._folder.demo_accounts()
            self._folder.sandbox.mkdir(mode=0o700, exist_ok=True)
            variables |= {"CHIFFON_SANDBOX": str(self._folder.sandbox)}

        for child in servers:
            keeper.start(child)
        for child in servers:
            keeper.wait_ready(child)
        if cluster is not None:
            try:
                roles.create_roles(
                    cluster.url(), owner_password=passwords["owner"], application_password=passwords["application"]
                )
            except psycopg.Error as error:
                raise CannotStart(f"The database roles cannot be made: {_first_line(error)}") from error
        self._migrate(keeper, variables, owner_url)
        programs = self._programs(variables)
        for child in programs:
            keeper.start(child)
        for child in programs:
            keeper.wait_ready(child)
        self._say(f"Chiffon is ready at {_local_address(self._environment)}")
        if self._demo:
            for name, password in self._folder.demo_accounts().items():
                self._say(f"  {name:<10} {password}")

    def _check_port(self) -> None:
        bind, port = self._environment.bind, self._environment.port
        host = "127.0.0.1" if bind == "localhost" else bind
        if not port_is_free(host, port):
            raise CannotStart(
                f"Port {port} on {bind} is taken or not allowed: stop what uses it, or choose another one in CHIFFON_PORT."
            )

    def _migrate(self, keeper: Keeper, variables: Mapping[str, str], owner_url: str) -> None:
        """Migrate, grant and seed when the code or the database is another one than at the last start."""
        database = variables["DATABASE_URL"]
        fingerprint = _fingerprint(database, owner_url, demo=self._demo)
        if self._folder.read_json("migrated.json").get("fingerprint") == fingerprint:
            return
        self._say("Preparing the database …")
        as_owner = self._child_environment({**variables, "DATABASE_URL": owner_url or database}, "command")
        keeper.run("migrate", [*_MANAGE, "migrate", "--noinput", "-v", "1"], as_owner, within_seconds=MIGRATE_SECONDS)
        if owner_url:
            try:
                roles.grant(owner_url, _user_of(database))
            except psycopg.Error as error:
                raise CannotStart(
                    f"The application's database role cannot be given its rights: {_first_line(error)}"
                ) from error
        if self._demo and has_command("seed_demo"):
            self._say("Writing the demo's people, policies and playbooks …")
            keeper.run(
                "seed_demo", [*_MANAGE, "seed_demo"], self._child_environment(variables, "command"), within_seconds=120
            )
        self._folder.write_json("migrated.json", {"fingerprint": fingerprint})

    def _programs(self, variables: Mapping[str, str]) -> list[Child]:
        """Return the table of programs; a command that this release does not have is left out."""
        python = sys.executable
        daphne = [
            python,
            "-m",
            "daphne",
            "-b",
            self._environment.bind,
            "-p",
            str(self._environment.port),
            "--no-server-name",
        ]
        daphne += ["-v", "0"]  # no line for every request; what fails is logged by Django, with its trace
        # The first limit holds for what we send too, and a snapshot of a large plan is long; the second for what comes.
        daphne += ["--websocket-max-message-size", "16777216", "--websocket-max-frame-size", "65536"]
        daphne += ["--ping-interval", "20", "--ping-timeout", "30", "--application-close-timeout", "3"]
        daphne += ["chiffon_site.asgi:application"]
        address = _local_address(self._environment)
        table: list[Child] = [
            Child(
                "web",
                daphne,
                self._child_environment(variables, "web"),
                is_ready=lambda: _answers(address + "/readyz"),
                ready_within_seconds=READY_SECONDS,
                folder=BASE_DIR,
            )
        ]
        for name in ("dispatcher", "worker"):
            if has_command(name):
                table.append(Child(name, [*_MANAGE, name], self._child_environment(variables, name), folder=BASE_DIR))
        if has_client_command("agent"):
            for name in AGENTS:
                command = [python, "-m", "chiffon_site.cli", "agent", "--name", name, "--type", AGENT_TYPE]
                table.append(Child(name, command, self._child_environment(variables, "agent"), folder=BASE_DIR))
        if self._demo and (BASE_DIR / "chiffon_site" / "embedded" / "services" / "__main__.py").exists():
            command = [python, "-m", "chiffon_site.embedded.services", "--root", str(self._folder.sandbox)]
            table.append(Child("services", command, self._child_environment({}, "command"), folder=BASE_DIR))
        return table

    def _child_environment(self, variables: Mapping[str, str], process: str) -> dict[str, str]:
        kept = {
            name: value
            for name, value in self._given.items()
            if name in _KEPT_VARIABLES or name.startswith(_KEPT_PREFIXES)
        }
        for name in ("CHIFFON_MIGRATE_DATABASE_URL",):
            kept.pop(name, None)  # the owner's password is for the migration alone
        return {
            **kept,
            **variables,
            "CHIFFON_PROCESS": process,
            "DJANGO_SETTINGS_MODULE": "chiffon_site.settings",
            "PYTHONUNBUFFERED": "1",
            "PATH": os.pathsep.join([str(Path(sys.executable).parent), kept.get("PATH", os.defpath)]),
        }


def has_command(name: str) -> bool:
    """Whether one of our apps brings the management command."""
    return any(
        (BASE_DIR / app / "management" / "commands" / f"{name}.py").exists()
        for app in ("chiffon_site", "plans", "agents", "audit")
    )


def has_client_command(name: str) -> bool:
    """Whether the command line brings the command."""
    return (BASE_DIR / "chiffon_site" / "cli" / f"{name}.py").exists()


def _postgres_child(cluster: Cluster) -> Child:
    return Child(
        "postgres",
        cluster.command(),
        {
            "LC_ALL": "C.UTF-8",
            "PATH": os.environ.get("PATH", os.defpath),
            # glibc's: a backend keeps what each statement needs, instead of taking it from the system and giving it back.
            "MALLOC_TOP_PAD_": str(4 * 2**20),
            "MALLOC_TRIM_THRESHOLD_": str(64 * 2**20),
        },
        is_ready=cluster.is_ready,
        is_server=True,
        stop_signal=signal.SIGINT,  # fast: it does not wait for clients
        death_signal=signal.SIGINT,
    )


def _valkey_child(valkey: Valkey) -> Child:
    return Child(
        "valkey",
        valkey.command(),
        {"PATH": os.defpath},
        is_ready=valkey.is_ready,
        is_server=True,
        death_signal=signal.SIGTERM,
    )


def _local_address(environment: Environment) -> str:
    host = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(environment.bind, environment.bind)  # noqa: S104 - translated, not bound
    return f"http://{f'[{host}]' if ':' in host and not host.startswith('[') else host}:{environment.port}"


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=3) as response:
            return bool(response.status == 200)
    except (urllib.error.URLError, OSError, ValueError):
        return False


def _fingerprint(database_url: str, owner_url: str, *, demo: bool) -> str:
    digest = hashlib.sha256()
    for word in (
        database_url,
        owner_url,
        str(demo),
        *(f"{name}={importlib.metadata.version(name)}" for name in ("django", "django-allauth")),
    ):
        digest.update(word.encode() + b"\0")
    # The seed and the grants belong to it: a release that changes them has to run them once.
    folders = (BASE_DIR / app for app in ("chiffon_site", "plans", "agents", "audit"))
    files = [
        path
        for folder in folders
        for path in folder.rglob("*.py")
        if path.parent.name in {"migrations", "commands", "demo"}
    ]
    files += [BASE_DIR / "audit" / "conf.py", BASE_DIR / "chiffon_site" / "embedded" / "roles.py"]
    for path in sorted(files):
        digest.update(str(path.relative_to(BASE_DIR)).encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()


def _user_of(url: str) -> str:
    return str(psycopg.conninfo.conninfo_to_dict(url).get("user", roles.APPLICATION))


def _first_line(error: BaseException) -> str:
    return (str(error) or type(error).__name__).strip().splitlines()[0]
