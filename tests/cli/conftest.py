"""The command line as a process of its own, against a real server on the test database."""

import json
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from chiffon_site.embedded.processes import free_port, wait_until
from tests.servers import started


@dataclass
class Ran:
    """What a command said and how it ended."""

    code: int
    out: str
    err: str

    @property
    def json(self):
        return json.loads(self.out)


@pytest.fixture(scope="session")
def web(process_environment, tmp_path_factory):
    """The address of a web process of ours."""
    port = free_port()
    folder = tmp_path_factory.mktemp("web")
    log = folder / "web.log"
    command = [
        "env",
        f"CHIFFON_PORT={port}",
        "CHIFFON_PROCESS=web",
        *[f"{name}={value}" for name, value in process_environment.items() if name in _PASSED],
        f"PYTHONPATH={Path.cwd()}",
        sys.executable, "-m", "daphne", "-b", "127.0.0.1", "-p", str(port), "chiffon_site.asgi:application",
    ]  # fmt: skip
    address = f"http://127.0.0.1:{port}"
    with started(command, log):
        assert wait_until(lambda: _answers(address), seconds=30), log.read_text()
        yield address


_PASSED = (
    "DATABASE_URL",
    "REDIS_URL",
    "CELERY_BROKER_URL",
    "CHIFFON_SECRET_KEY",
    "DJANGO_SETTINGS_MODULE",
    "CHIFFON_DATA_DIR",
)


def _answers(address):
    try:
        return httpx.get(f"{address}/healthz", timeout=2).status_code == 200
    except httpx.HTTPError:
        return False


class Chiffon:
    """Runs `chiffon` with one token."""

    def __init__(self, environment):
        self.environment = environment

    def command(self, *words):
        return [sys.executable, "-m", "chiffon_site.cli", *words]

    def __call__(self, *words, stdin=None):
        done = subprocess.run(
            self.command(*words), env=self.environment, capture_output=True, text=True, timeout=60,
            input=stdin if stdin is not None else "",
        )  # fmt: skip
        assert "Traceback" not in done.stderr, done.stderr
        return Ran(done.returncode, done.stdout, done.stderr)

    @contextmanager
    def running(self, *words):
        process = subprocess.Popen(
            self.command(*words), env=self.environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        try:
            yield process
        finally:
            process.kill()
            process.communicate()


@pytest.fixture
def chiffon(web, process_environment, transactional_db):
    """Makes a command line: `chiffon(token)`."""

    def make(token="", **more):
        environment = {**process_environment, "CHIFFON_SERVER": web, "CHIFFON_TOKEN": token, **more}
        return Chiffon({name: value for name, value in environment.items() if value is not None})

    return make
