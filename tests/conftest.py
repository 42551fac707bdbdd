"""What every test may ask for."""

import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest
from django.db import connection
from pytest_django import DjangoDbBlocker

from audit.authority import Role
from chiffon_site.embedded import roles
from plans.execution import fleet
from tests import servers

# How long an example takes depends on who else wants the cores; speed is for the benchmarks.
hypothesis.settings.register_profile("patient", deadline=None)
hypothesis.settings.load_profile("patient")


def pytest_configure() -> None:
    """A shell lets what it starts in the background ignore Ctrl-C, and so would every program that a test starts."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The test database is made only for tests that say so; whoever asks for its address says it that way."""
    for item in items:
        if "application_url" in getattr(item, "fixturenames", ()) and not item.get_closest_marker("django_db"):
            item.add_marker(pytest.mark.django_db)


@pytest.fixture(scope="session")
def embedded_servers() -> Iterator[None]:
    """PostgreSQL and Valkey, started when the first test needs them; pure tests never pay for them."""
    with servers.running():
        yield
    if all(name in os.environ for name in servers.PORTS):
        shutil.rmtree(os.environ["CHIFFON_DATA_DIR"], ignore_errors=True)


@pytest.fixture(scope="session")
def django_db_modify_db_settings(embedded_servers: None) -> None:
    """Django's test database is made on the servers of this run."""


@pytest.fixture(scope="session")
def application_url(django_db_setup: None, django_db_blocker: DjangoDbBlocker) -> str:
    """The address of the test database for the application's role, which owns nothing and may not alter the trail."""
    with django_db_blocker.unblock():
        values = connection.settings_dict
        owner = f"postgres://{values['USER']}:{values['PASSWORD']}@{values['HOST']}:{values['PORT']}/{values['NAME']}"
    roles.grant(owner)
    return owner.replace(f"//{values['USER']}:{values['PASSWORD']}@", f"//{roles.APPLICATION}:{servers.PASSWORD}@")


@pytest.fixture(scope="session")
def process_environment(application_url: str) -> dict[str, str]:
    """The environment for a real process of ours (web, dispatcher, worker, agent) beside the test database."""
    return {**os.environ, "DATABASE_URL": application_url, "DJANGO_SETTINGS_MODULE": "chiffon_site.settings"}


@pytest.fixture(autouse=True)
def nothing_remembered() -> None:
    """What a process remembers of one database is not true of the next test's."""
    fleet.forget()


@pytest.fixture
def checkout() -> Path:
    """The folder that holds manage.py."""
    return Path(__file__).resolve().parent.parent


@pytest.fixture
def packages(tmp_path, monkeypatch):
    """A folder of the path that packages with tools can be installed into."""
    from tests.packages import Packages  # as below

    folder = tmp_path / "installed"
    folder.mkdir()
    monkeypatch.syspath_prepend(folder)
    made = Packages(folder)
    yield made
    made.remove()


@pytest.fixture
def requester(db):
    """A person who asks for work."""
    return _person("requester", Role.REQUESTER)


@pytest.fixture
def approver(db):
    """A person who decides."""
    return _person("approver", Role.APPROVER)


@pytest.fixture
def auditor(db):
    """A person who reads the trail."""
    return _person("auditor", Role.AUDITOR)


@pytest.fixture
def admin(db):
    """A person who runs the installation."""
    return _person("admin", Role.ADMINISTRATOR)


def _person(name, role):
    from tests.factories import make_user  # models exist only once Django is ready

    return make_user(name, role)
