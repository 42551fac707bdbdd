"""The embedded PostgreSQL starts as any account, keeps its data, and says what is wrong with a folder."""

import os
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path

import psycopg
import pytest

from chiffon_site.embedded import postgres, roles
from chiffon_site.embedded.errors import CannotStart
from chiffon_site.embedded.postgres import FORGETFUL, Account, Cluster
from chiffon_site.embedded.processes import free_port, wait_until
from tests.servers import started

ACCOUNTS = [Account.NAMESPACE, Account.NOBODY] if os.geteuid() == 0 else [Account.OWN]


@pytest.fixture
def open_folder():
    """A data folder in a place that every account may enter."""
    yield from made_open()


@pytest.fixture(scope="module")
def open_packages():
    """The packages of PostgreSQL where every account may run them, also if this checkout is for its owner alone."""
    for folder in made_open():
        installed = postgres.binaries().parents[1]
        for package in installed.parent.glob(f"{installed.name}*"):
            if package.suffix in {"", ".libs"}:
                shutil.copytree(package, folder / package.name, symlinks=True)
        yield folder


@pytest.fixture
def open_programs(open_packages, monkeypatch):
    """Run those, and not the ones of the checkout."""
    monkeypatch.syspath_prepend(open_packages)
    assert postgres.binaries().is_relative_to(open_packages)


def made_open():
    """A folder that every account may enter, until it is no longer needed."""
    places = [Path(place) for place in (tempfile.gettempdir(), "/tmp", "/var/tmp")]
    folder = Path(tempfile.mkdtemp(prefix="chiffon-pg-", dir=next(place for place in places if is_open(place))))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


def is_open(place):
    """Whether every account may enter a place."""
    return place.is_dir() and all(each.stat().st_mode & 0o001 for each in (place, *place.parents))


@pytest.mark.parametrize("account", ACCOUNTS)
def test_data_outlives_a_killed_server_and_its_port_is_taken_over(open_folder, open_programs, account):
    if account is Account.NAMESPACE and postgres.usual_account() is not Account.NAMESPACE:
        pytest.skip("this machine bars user namespaces")
    cluster = Cluster(open_folder / "postgres", free_port(), "secret", account=account)  # durable, as shipped
    assert postgres.prepare(cluster)
    with started(cluster.command(), open_folder / "log", signal.SIGINT) as server:
        assert wait_until(cluster.is_ready, seconds=20), (open_folder / "log").read_text()
        with psycopg.connect(cluster.url(), autocommit=True) as link:
            link.execute("CREATE TABLE kept (word text)")
            link.execute("INSERT INTO kept VALUES ('still here')")
        server.kill()
        server.wait()
    assert not postgres.prepare(cluster)
    with started(cluster.command(), open_folder / "log", signal.SIGINT):
        assert wait_until(cluster.is_ready, seconds=20), (open_folder / "log").read_text()
        with psycopg.connect(cluster.url()) as link:
            assert link.execute("SELECT word FROM kept").fetchall() == [("still here",)]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has to become somebody else")
def test_server_does_not_run_as_root(open_folder, open_programs):
    cluster = Cluster(open_folder / "postgres", free_port(), "secret", FORGETFUL, Account.NOBODY)
    postgres.prepare(cluster)
    with started(cluster.command(), open_folder / "log", signal.SIGINT) as server:
        assert wait_until(cluster.is_ready, seconds=20), (open_folder / "log").read_text()
        assert Path(f"/proc/{server.pid}").stat().st_uid != 0


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has to become somebody else")
def test_folder_that_nobody_may_enter_is_named(open_folder):
    closed = open_folder / "closed"
    closed.mkdir(mode=0o700)
    (closed / "data").mkdir(mode=0o700)
    with pytest.raises(CannotStart, match=f"nobody must be able to enter {closed}"):
        postgres.prepare(Cluster(closed / "data" / "postgres", free_port(), "secret", account=Account.NOBODY))


def test_database_of_another_major_version_is_refused(tmp_path):
    folder = tmp_path / "postgres"
    (folder / "global").mkdir(parents=True)
    (folder / "global" / "pg_control").touch()
    (folder / "PG_VERSION").write_text("14\n")
    with pytest.raises(CannotStart, match=r"was made by PostgreSQL 14, but this Chiffon brings 18"):
        postgres.prepare(Cluster(folder, free_port(), "secret"))


def test_broken_database_folder_is_named_and_left_alone(tmp_path):
    folder = tmp_path / "postgres"
    folder.mkdir()
    (folder / "precious").write_text("data")
    with pytest.raises(CannotStart, match="is broken"):
        postgres.prepare(Cluster(folder, free_port(), "secret"))
    assert (folder / "precious").read_text() == "data"


def test_interrupted_creation_is_begun_again(open_folder):
    (open_folder / "postgres.new").mkdir()
    (open_folder / "postgres.new" / "half").touch()
    assert postgres.prepare(Cluster(open_folder / "postgres", free_port(), "secret"))
    assert (open_folder / "postgres" / "PG_VERSION").exists()
    assert not (open_folder / "initdb-password").exists()


def test_port_file_of_a_dead_server_does_not_prevent_the_start(open_folder):
    cluster = Cluster(open_folder / "postgres", free_port(), "secret", FORGETFUL)
    postgres.prepare(cluster)
    dead = subprocess.Popen(["true"])
    dead.wait()
    (cluster.folder / "postmaster.pid").write_text(f"{os.getpid()}\n{cluster.folder}\n")  # alive, but no server
    postgres.prepare(cluster)
    assert not (cluster.folder / "postmaster.pid").exists()


def test_roles_may_be_made_twice(embedded_servers, django_db_setup, django_db_blocker):
    from django.db import connection

    with django_db_blocker.unblock():
        values = connection.settings_dict
    superuser = f"postgres://{postgres.SUPERUSER}:{values['PASSWORD']}@{values['HOST']}:{values['PORT']}/postgres"
    for _ in range(2):
        roles.create_roles(superuser, owner_password=values["PASSWORD"], application_password=values["PASSWORD"])
    with psycopg.connect(superuser) as link:
        rights = link.execute(
            "SELECT rolname, rolsuper, rolcreaterole, rolbypassrls FROM pg_roles WHERE rolname LIKE 'chiffon%' ORDER BY 1"
        ).fetchall()
    assert rights == [
        ("chiffon_app", False, False, False),
        ("chiffon_owner", False, False, False),
        ("chiffon_superuser", True, True, True),
    ]
