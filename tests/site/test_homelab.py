"""The example homelab does what its README promises, with real Ansible, in a real sandbox."""

import json
import os
import re
import subprocess
import sys
import tarfile
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.site.sandbox import HOMELAB, Sandbox, is_running, wait_for

pytestmark = [pytest.mark.integration, pytest.mark.slow]

BIN = Path(sys.executable).parent
PORTALS = yaml.safe_load((HOMELAB / "group_vars" / "all.yml").read_text())["portals"]
LITERAL = "{{ lookup('pipe', 'touch MARKER') }}"


@dataclass(frozen=True)
class Run:
    """What one call of ansible-playbook said."""

    code: int
    text: str

    @property
    def changed(self) -> int:
        # The recap after each playbook counts those before it, too; every playbook here has one host.
        return int(re.findall(r" changed=(\d+) ", self.text)[-1])

    @property
    def results(self) -> Any:
        return json.loads(re.findall(r"RUN: (\{.*\})", self.text)[-1])


class Playbooks:
    """Runs playbooks of the homelab against one sandbox, with an environment from nothing."""

    def __init__(self, sandbox: Sandbox, home: Path) -> None:
        self.sandbox = sandbox
        self.home = home

    def run(self, *playbooks: str, options: tuple[str, ...] = (), **variables: object) -> Run:
        values = self.home / "values.json"
        values.write_text(json.dumps({"sandbox_root": str(self.sandbox.root), **variables}))
        command = [str(BIN / "ansible-playbook"), *(f"{name}.yml" for name in playbooks), "-e", f"@{values}", *options]
        environment = {
            "PATH": f"{BIN}:{os.environ['PATH']}",
            "HOME": str(self.home),
            "ANSIBLE_HOME": str(self.home / "ansible"),
            "ANSIBLE_SHOW_CUSTOM_STATS": "1",
            "LANG": "C.UTF-8",
        }
        done = subprocess.run(
            command, cwd=HOMELAB, env=environment, capture_output=True, text=True, check=False, timeout=120
        )
        return Run(done.returncode, done.stdout + done.stderr)


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    made = Sandbox(tmp_path_factory.mktemp("home lab") / "sandbox")  # a path with a space, as people have
    made.start()
    yield made
    made.end()


@pytest.fixture(scope="module")
def playbooks(sandbox: Sandbox, tmp_path_factory: pytest.TempPathFactory) -> Playbooks:
    return Playbooks(sandbox, tmp_path_factory.mktemp("home"))


def get(url: str) -> str:
    with urllib.request.urlopen(url, timeout=5) as answer:
        return str(answer.read(), "utf-8")


def test_the_kuma_story(sandbox, playbooks, tmp_path):
    """Deploy, add the portals, look, do it again, back up, and remove it: one test, because each part needs the one before."""
    early = playbooks.run("kuma-config-update")
    assert early.code == 2
    assert "Kuma is not deployed here: run kuma-deploy.yml first." in early.text

    foreseen = playbooks.run("kuma-deploy", options=("--check", "--diff"))
    assert (foreseen.code, foreseen.changed) == (0, 5), foreseen.text
    assert sandbox.ask("list")["units"] == []

    first = playbooks.run("kuma-deploy", "kuma-config-update")
    assert first.code == 0, first.text
    url = sandbox.ask("status", "kuma")["unit"]["url"]
    assert first.results["url"] == url
    assert first.results["added"] == [portal["name"] for portal in PORTALS]
    assert first.results["stayed"] == []
    served = json.loads(get(f"{url}api/monitors"))["monitors"]
    assert [{"name": monitor["name"], "url": monitor["url"]} for monitor in served] == PORTALS
    wait_for(lambda: "not probed in the demo" in json.loads(get(f"{url}api/monitors"))["monitors"][-1]["detail"])
    page = get(url)
    assert all(portal["name"] in page and portal["url"] in page for portal in PORTALS)
    assert "stand-in" in page

    second = playbooks.run("kuma-deploy", "kuma-config-update")
    assert (second.code, second.changed) == (0, 0), second.text
    assert second.results["stayed"] == [portal["name"] for portal in PORTALS]

    marker = tmp_path / "marker"
    hostile = f"<b>{LITERAL.replace('MARKER', str(marker))}"
    portals = [
        {"name": {"__ansible_unsafe": hostile}, "url": {"__ansible_unsafe": url}},
        {"name": {"__ansible_unsafe": "Grafana"}, "url": {"__ansible_unsafe": "https://grafana.lab"}},
    ]
    more = playbooks.run("kuma-config-update", portals=portals)
    assert more.code == 0, more.text
    assert (more.results["added"], more.results["stayed"]) == ([hostile], ["Grafana"])
    own = wait_for(lambda: (m := json.loads(get(f"{url}api/monitors"))["monitors"][-1])["checked_at"] and m)
    assert (own["name"], own["state"]) == (hostile, "up")
    assert "<b>" not in get(url)
    assert not marker.exists()

    backup = playbooks.run("backup-job", "backup-job")
    assert (backup.code, backup.changed) == (0, 1), backup.text
    with tarfile.open(backup.results["archive"]) as archive:
        assert "kuma/config/monitors.json" in archive.getnames()

    moved = playbooks.run("kuma-deploy", kuma_port=sandbox.ask("status", "kuma")["unit"]["port"] + 1)
    assert moved.code == 0, moved.text
    assert moved.results["url"] != url
    assert json.loads(get(f"{moved.results['url']}healthz"))["monitors"] == len(PORTALS) + 1

    pid = sandbox.ask("status", "kuma")["unit"]["pid"]
    foreseen = playbooks.run("kuma-remove", options=("--check",))
    assert (foreseen.code, foreseen.changed) == (0, 3), foreseen.text
    assert is_running(pid)
    removed = playbooks.run("kuma-remove", "kuma-remove")
    assert (removed.code, removed.changed) == (0, 3), removed.text
    assert not is_running(pid)
    assert not (sandbox.root / "kuma").exists()
    assert sandbox.ask("list")["units"] == []


@pytest.mark.parametrize(
    "portals",
    [
        [],
        "https://grafana.lab",
        {"name": "Grafana", "url": "https://grafana.lab"},
        [{"name": "Grafana", "url": "javascript:alert(1)"}, {"name": "Gitea"}],
    ],
)
def test_portals_that_are_no_list_of_names_and_urls_are_refused(playbooks, portals):
    refused = playbooks.run("kuma-config-update", portals=portals)
    assert refused.code == 2
    assert "portals must be a list of at least one {name, url}" in refused.text


def test_postgres_setup_writes_the_files_once(sandbox, playbooks):
    done = playbooks.run("postgres-setup", "postgres-setup", postgres_database="paperless")
    assert (done.code, done.changed) == (0, 3), done.text
    sql = (sandbox.root / "postgres" / "databases" / "paperless.sql").read_text()
    assert 'CREATE DATABASE "paperless" OWNER "paperless";' in sql
    refused = playbooks.run("postgres-setup", postgres_database='x"; DROP DATABASE y; --')
    assert refused.code == 2
    assert "postgres_database must be given, a name of a-z" in refused.text


def test_cert_check_fails_on_an_expired_or_broken_certificate_and_names_it(sandbox, playbooks):
    assert playbooks.run("cert-check").results == {"checked": 1, "expiring": []}
    folder = sandbox.root / "certs"
    folder.mkdir()
    (folder / "broken.pem").write_text("-----BEGIN CERTIFICATE-----\nMAAA\n-----END CERTIFICATE-----\n")
    refused = playbooks.run("cert-check")
    assert refused.code == 2
    assert "Expired, not yet valid or unreadable: broken.pem" in refused.text


def test_without_a_sandbox_nothing_runs_and_the_reason_is_said(playbooks):
    refused = playbooks.run("kuma-remove", sandbox_root="")
    assert refused.code == 2
    assert "set sandbox_root, or the environment variable CHIFFON_SANDBOX" in refused.text.replace("\n", " ")


def test_ansible_lint_finds_nothing():
    command = [str(BIN / "ansible-lint"), "--offline", "--nocolor", "-q"]
    environment = {**os.environ, "PATH": f"{BIN}:{os.environ['PATH']}"}
    done = subprocess.run(
        command, cwd=HOMELAB, env=environment, capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stdout
