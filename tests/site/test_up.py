"""`chiffon up` as a person meets it: real processes, from an empty folder to Ctrl-C."""

import json
import os
import signal
import socket
import stat
import subprocess
import sys
import time
import urllib.request
from contextlib import suppress
from pathlib import Path

import psutil
import psycopg
import pytest

from chiffon_site.embedded.folder import DataFolder
from chiffon_site.embedded.processes import before_exec, free_port, tagged, wait_until

CHECKOUT = Path(__file__).resolve().parents[2]
OURS = ("CHIFFON_", "DATABASE_URL", "REDIS_URL", "CELERY_", "DJANGO_")


class Up:
    """One `chiffon up` on a folder of its own."""

    def __init__(self, folder: Path, **variables: str):
        self.folder = folder
        self.port = free_port()
        kept = {name: value for name, value in os.environ.items() if not name.startswith(OURS)}
        self.environment = {**kept, "CHIFFON_DATA_DIR": str(folder), "CHIFFON_PORT": str(self.port), **variables}
        self.process: subprocess.Popen[str] | None = None
        self.prefix: list[str] = []

    def command(self, *words: str) -> subprocess.CompletedProcess[str]:
        arguments = [sys.executable, "-m", "chiffon_site.cli", *words]
        return subprocess.run(
            arguments, cwd=CHECKOUT, env=self.environment, capture_output=True, text=True, timeout=120, check=False
        )

    def start(self) -> float:
        began = time.monotonic()
        arguments = [*self.prefix, sys.executable, "-m", "chiffon_site.cli", "up"]
        self.process = subprocess.Popen(
            arguments, cwd=CHECKOUT, env=self.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            preexec_fn=before_exec(death_signal=signal.SIGINT, parent=os.getpid()),  # noqa: PLW1509 - it only makes system calls
        )  # fmt: skip
        assert self.process.stdout is not None and self.process.stderr is not None
        for line in self.process.stdout:
            if line == f"Chiffon is ready at http://127.0.0.1:{self.port}\n":
                return time.monotonic() - began
        _, reason = self.process.communicate(timeout=20)
        raise AssertionError(reason)

    def stop(self) -> float:
        assert self.process is not None
        began = time.monotonic()
        self.process.send_signal(signal.SIGINT)
        self.process.communicate(timeout=20)
        return time.monotonic() - began

    def children(self) -> dict[str, psutil.Process]:
        """The leaders of the children, by the last word that tells them apart."""
        found = {}
        for child in tagged(DataFolder(self.folder).tag):
            # One that was killed may be listed and gone before it is asked.
            with suppress(psutil.Error, ProcessLookupError):
                if os.getpgid(child.pid) == child.pid:
                    found[child.name()] = child
        return found

    def answers(self, path: str = "/readyz") -> bool:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=5) as response:
                return bool(response.status == 200)
        except OSError:
            return False

    def variables(self) -> dict[str, str]:
        return dict(json.loads((self.folder / "env.json").read_text()))


@pytest.fixture(scope="module")
def up(tmp_path_factory):
    """An installation that has been started once."""
    one = Up(tmp_path_factory.mktemp("up") / "data")
    try:
        one.start()
        yield one
    finally:
        if one.process and one.process.poll() is None:
            one.stop()
    assert tagged(DataFolder(one.folder).tag) == []


@pytest.mark.integration
def test_ready_means_ready_and_only_this_account_may_read_the_secrets(up):
    assert up.answers("/healthz")
    assert up.answers("/readyz")
    for name in ("secrets.json", "env.json", "secret-key"):
        assert stat.S_IMODE((up.folder / name).stat().st_mode) == 0o600
    assert stat.S_IMODE(up.folder.stat().st_mode) & 0o066 == 0
    assert "chiffon_app" in up.variables()["DATABASE_URL"]


@pytest.mark.integration
def test_no_password_is_in_anybodys_arguments(up):
    secrets = json.loads((up.folder / "secrets.json").read_text()).values()
    lines = [" ".join(child.cmdline()) for child in tagged(DataFolder(up.folder).tag)]
    assert lines
    assert not [line for line in lines if any(secret in line for secret in secrets)]


@pytest.mark.integration
def test_doctor_finds_everything_well(up):
    done = up.command("doctor", "--json")
    report = json.loads(done.stdout)
    assert report["ok"], report
    assert done.returncode == 0


@pytest.mark.integration
@pytest.mark.parametrize("name", ["postgres", "valkey-server"])
def test_killed_server_comes_back_with_its_data(up, name):
    with psycopg.connect(up.variables()["DATABASE_URL"], autocommit=True) as link:
        link.execute("INSERT INTO auth_group (name) VALUES (%s)", [f"before {name} was killed"])
    up.children()[name].kill()
    assert wait_until(lambda: name in up.children() and up.answers(), seconds=20, every=0.2)
    with psycopg.connect(up.variables()["DATABASE_URL"]) as link:
        found = link.execute(
            "SELECT count(*) FROM auth_group WHERE name = %s", [f"before {name} was killed"]
        ).fetchone()
    assert found == (1,)


@pytest.mark.integration
def test_second_start_on_the_same_folder_is_refused_in_one_sentence(up):
    other = Up(up.folder)
    done = other.command("up")
    assert done.returncode == 1
    assert (
        done.stderr
        == f"Chiffon cannot run: Chiffon already runs on {up.folder} (process {up.process.pid}): stop it, or choose another CHIFFON_DATA_DIR.\n"
    )
    assert up.answers()


@pytest.mark.integration
def test_one_ctrl_c_ends_everything_and_the_next_start_is_quick_and_keeps_the_data(up):
    with psycopg.connect(up.variables()["DATABASE_URL"], autocommit=True) as link:
        link.execute("INSERT INTO auth_group (name) VALUES ('kept over a restart')")
    for child in up.children().values():
        if "python" in child.name():
            child.suspend()  # stuck, as far as anybody can see
    assert up.stop() < 10
    assert up.process.returncode == 0
    assert tagged(DataFolder(up.folder).tag) == []
    assert up.start() < 20  # ten on a quiet machine; the tests share theirs
    with psycopg.connect(up.variables()["DATABASE_URL"]) as link:
        assert link.execute("SELECT count(*) FROM auth_group WHERE name = 'kept over a restart'").fetchone() == (1,)


def refused(folder: Path, **variables: str) -> str:
    """Start, and return the sentence of the refusal."""
    one = Up(folder, **variables)
    done = one.command("up")
    assert done.returncode == 1, done
    assert tagged(DataFolder(folder).tag) == []
    lines = done.stderr.splitlines()
    assert len(lines) == 1, done.stderr
    return lines[0]


def test_taken_port_is_named(tmp_path):
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        port = holder.getsockname()[1]
        sentence = refused(tmp_path / "data", CHIFFON_PORT=str(port))
    assert f"Port {port} on 127.0.0.1 is taken" in sentence
    assert not (tmp_path / "data").exists()


def test_data_folder_that_is_a_file_is_named(tmp_path):
    (tmp_path / "data").write_text("")
    assert "is not a folder" in refused(tmp_path / "data")


def test_broken_database_folder_is_named(tmp_path):
    (tmp_path / "data" / "postgres").mkdir(parents=True)
    assert "is broken" in refused(tmp_path / "data")


def test_broken_secrets_are_named(tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "secrets.json").write_text("{")
    assert "secrets.json" in refused(tmp_path / "data")


def test_wrong_variable_is_named(tmp_path):
    assert "CHIFFON_BIND" in refused(tmp_path / "data", CHIFFON_BIND="the moon")


@pytest.mark.integration
def test_servers_of_ones_own_are_used_and_none_is_started(tmp_path, embedded_servers):
    """With addresses set, the same command uses those servers; here it finds a database it cannot enter, and says so."""
    one = Up(
        tmp_path / "data", DATABASE_URL="postgres://nobody:wrong@127.0.0.1:1/none", REDIS_URL=os.environ["REDIS_URL"]
    )
    done = one.command("up")
    assert done.returncode == 1
    assert "migrate failed" in done.stderr
    assert not (tmp_path / "data" / "postgres").exists()
    assert not (tmp_path / "data" / "valkey").exists()


@pytest.mark.integration
@pytest.mark.skipif(os.geteuid() != 0, reason="this account is not root anyway")
def test_an_account_that_is_not_root_can_start_it(tmp_path):
    namespace = ["unshare", "--user", "--map-user=1000", "--map-group=1000", "--"]
    if subprocess.run([*namespace, "true"], capture_output=True, check=False).returncode:
        pytest.skip("this machine bars user namespaces")
    one = Up(tmp_path / "data")
    one.prefix = namespace
    one.start()
    try:
        assert one.answers()
        assert one.children()["postgres"].cmdline()[0].endswith("/postgres")
    finally:
        one.stop()
    assert tagged(DataFolder(one.folder).tag) == []
