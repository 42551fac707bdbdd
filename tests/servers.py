"""PostgreSQL and Valkey for one run of the tests: real, on free ports, forgetting everything at the end."""

import os
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg

from chiffon_site.embedded import postgres, roles
from chiffon_site.embedded.postgres import FORGETFUL, Cluster
from chiffon_site.embedded.processes import before_exec, free_port, wait_until
from chiffon_site.embedded.valkey import Valkey

PASSWORD = "only-for-tests"
PORTS = ("CHIFFON_TEST_POSTGRES_PORT", "CHIFFON_TEST_VALKEY_PORT")


def choose_addresses() -> None:
    """Write into the environment where the servers will be, so that settings can be read before any server runs."""
    if os.environ.get("DATABASE_URL") and os.environ.get("REDIS_URL"):
        return  # the person who runs the tests has servers of their own
    # Only named here: whoever just reads the settings, such as a type checker, leaves no folder behind.
    os.environ.setdefault("CHIFFON_DATA_DIR", f"{tempfile.gettempdir()}/chiffon-tests-{os.getpid()}")
    ports = [os.environ.setdefault(name, str(free_port())) for name in PORTS]
    os.environ["DATABASE_URL"] = f"postgres://{roles.OWNER}:{PASSWORD}@127.0.0.1:{ports[0]}/{roles.DATABASE}"
    os.environ["REDIS_URL"] = f"redis://:{PASSWORD}@127.0.0.1:{ports[1]}/0"
    os.environ["CELERY_BROKER_URL"] = f"redis://:{PASSWORD}@127.0.0.1:{ports[1]}/1"


@contextmanager
def running() -> Iterator[None]:
    """Run both servers, unless the environment names others."""
    if not all(name in os.environ for name in PORTS):
        yield
        return
    folder = Path(os.environ["CHIFFON_DATA_DIR"])
    folder.mkdir(mode=0o700, exist_ok=True)
    cluster = Cluster(folder / "pg", int(os.environ[PORTS[0]]), PASSWORD, FORGETFUL)
    valkey = Valkey(folder / "valkey", int(os.environ[PORTS[1]]), PASSWORD, durable=False)
    postgres.prepare(cluster)
    valkey.prepare()
    with started(cluster.command(), folder / "pg.log", signal.SIGINT), started(valkey.command(), folder / "valkey.log"):
        assert wait_until(cluster.is_ready, seconds=30), (folder / "pg.log").read_text()
        assert wait_until(valkey.is_ready, seconds=10), (folder / "valkey.log").read_text()
        roles.create_roles(cluster.url(), owner_password=PASSWORD, application_password=PASSWORD)
        with psycopg.connect(cluster.url(), autocommit=True) as link:
            link.execute(f"ALTER ROLE {roles.OWNER} CREATEDB")  # it makes the test database
        yield


@contextmanager
def started(command: list[str], log: Path, stop: signal.Signals = signal.SIGTERM) -> Iterator[subprocess.Popen[bytes]]:
    """Run a program until the block ends; it also ends if the tests are killed."""
    with log.open("ab") as file:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            cwd="/",
            start_new_session=True,
            preexec_fn=before_exec(death_signal=stop, parent=os.getpid()),  # noqa: PLW1509 - nothing else forks here
        )
    try:
        yield process
    finally:
        process.send_signal(stop)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(5)
