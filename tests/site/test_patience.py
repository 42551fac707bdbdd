"""Programs that start while the database is being restarted wait for it."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from django.db import OperationalError, connection

from chiffon_site.patience import wait_for_database

CHECKOUT = Path(__file__).resolve().parents[2]
PROGRAMS = (
    ("manage.py", "dispatcher"),
    ("manage.py", "worker"),
    ("-m", "chiffon_site.cli", "agent", "--name", "early"),
)


@pytest.fixture
def nowhere():
    """A port on which nothing listens, and nothing will."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield taken.getsockname()[1]


@pytest.mark.parametrize("words", PROGRAMS)
def test_a_program_that_starts_without_a_database_says_so_and_lives(words, nowhere, embedded_servers):
    url = f"postgres://somebody:x@127.0.0.1:{nowhere}/chiffon"
    program = subprocess.Popen(
        [sys.executable, *words], cwd=CHECKOUT, env={**os.environ, "DATABASE_URL": url, "DJANGO_SETTINGS_MODULE": "tests.settings"},
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    try:
        assert program.stdout is not None
        said = next((line for line in program.stdout if "waiting for it" in line), "")
        assert said, "it ended without a word about the database"
        assert program.poll() is None
    finally:
        program.kill()
        program.communicate()


@pytest.mark.django_db(transaction=True)
def test_waiting_ends_as_soon_as_the_database_is_back(nowhere, monkeypatch):
    right, pauses = connection.settings_dict["PORT"], []

    def back_after_two(seconds):
        pauses.append(seconds)
        if len(pauses) == 2:
            connection.settings_dict["PORT"] = right

    connection.close()
    monkeypatch.setitem(connection.settings_dict, "PORT", nowhere)
    monkeypatch.setattr("chiffon_site.patience.time.sleep", back_after_two)
    wait_for_database()
    assert len(pauses) == 2


@pytest.mark.django_db(transaction=True)
def test_waiting_has_an_end(nowhere, monkeypatch):
    connection.close()
    monkeypatch.setitem(connection.settings_dict, "PORT", nowhere)
    with pytest.raises(OperationalError):
        wait_for_database(seconds=0.3)
