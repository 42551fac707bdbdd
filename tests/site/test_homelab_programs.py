"""The small programs that the homelab's playbooks use, on their own."""

import json
import os
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from chiffon_site.embedded.services.ports import pick_free
from tests.site.sandbox import HOMELAB, wait_for

pytestmark = pytest.mark.integration


def program(name: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(HOMELAB / "files" / name), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=20)


def write_certificate(path: Path, *, begins: timedelta, ends: timedelta) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, path.stem)])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now + begins)
        .not_valid_after(now + ends)
        .sign(key, hashes.SHA256())
    )
    path.write_bytes(made.public_bytes(serialization.Encoding.PEM))


def test_cert_dates_tells_good_ending_expired_future_and_broken_ones_apart(tmp_path):
    day = timedelta(days=1)
    write_certificate(tmp_path / "good.pem", begins=-day, ends=90 * day + timedelta(hours=1))
    write_certificate(tmp_path / "soon.pem", begins=-day, ends=10 * day + timedelta(hours=1))
    write_certificate(tmp_path / "old.crt", begins=-90 * day, ends=-day)
    write_certificate(tmp_path / "next.crt", begins=day, ends=90 * day)
    write_certificate(tmp_path / "far.pem", begins=-day, ends=60 * 365 * day)  # beyond 2049: the other kind of time
    whole = (tmp_path / "good.pem").read_text().splitlines()
    (tmp_path / "cut.pem").write_text("\n".join([*whole[:3], whole[-1]]))
    (tmp_path / "empty.pem").write_text("")
    (tmp_path / "bytes.pem").write_bytes(b"\xff\x00")
    report = json.loads(program("cert_dates.py", "--warn-days", 30, tmp_path, tmp_path / "absent").stdout)
    assert {entry["file"]: entry["state"] for entry in report["certificates"]} == {
        "good.pem": "ok",
        "far.pem": "ok",
        "soon.pem": "expires soon",
        "old.crt": "expired",
        "next.crt": "not yet valid",
        "cut.pem": "unreadable",
        "empty.pem": "unreadable",
        "bytes.pem": "unreadable",
    }
    assert next(entry["days_left"] for entry in report["certificates"] if entry["file"] == "soon.pem") == 10


def test_backup_makes_an_archive_per_change_and_keeps_the_newest(tmp_path):
    source, target = tmp_path / "data", tmp_path / "backups"
    source.mkdir()
    results = []
    for content in ("one", "one", "two", "three"):
        (source / "file").write_text(content)
        results.append(json.loads(program("backup.py", source, target, "--keep", 2).stdout))
    assert [result["changed"] for result in results] == [True, False, True, True]
    assert len(list(target.iterdir())) == 2
    assert len(results[-1]["removed"]) == 1
    assert Path(results[-1]["archive"]).exists()


def test_backup_of_nothing_is_one_clear_sentence(tmp_path):
    refused = program("backup.py", tmp_path / "absent", tmp_path / "backups")
    assert refused.returncode == 1
    assert refused.stderr == f"There is nothing to back up: {tmp_path}/absent does not exist.\n"


@pytest.fixture
def monitor(tmp_path: Path) -> Iterator[tuple[Path, int, str]]:
    """A running monitor: its configuration, its process id and its address."""
    config = tmp_path / "monitors.json"
    config.write_text(json.dumps({"title": "Test", "monitors": [{"name": "One", "url": "https://one.lab"}]}))
    port = pick_free()
    command = [sys.executable, str(HOMELAB / "files" / "kuma_standin.py"), "--config", str(config), "--port", str(port)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        url = f"http://127.0.0.1:{port}"
        wait_for(lambda: monitors(url))
        yield config, process.pid, url
        process.terminate()


def monitors(url: str) -> Any:
    with urllib.request.urlopen(f"{url}/api/monitors", timeout=2) as answer:
        return json.loads(answer.read())["monitors"]


def test_the_monitor_reads_its_configuration_again_on_a_hangup(monitor):
    config, pid, url = monitor
    down = f"http://127.0.0.1:{pick_free()}"
    names = [("Here", url), ("Down", down), ("There", "https://there.lab"), ("Odd", "http://there.lab:99999")]
    config.write_text(json.dumps({"title": "<i>", "monitors": [{"name": n, "url": u} for n, u in names]}))
    os.kill(pid, signal.SIGHUP)
    seen = wait_for(lambda: (now := monitors(url)) and len(now) == 4 and all(m["checked_at"] for m in now) and now)
    assert [monitor["state"] for monitor in seen] == ["up", "down", "unknown", "unknown"]
    assert "not probed in the demo" in seen[2]["detail"]
    with urllib.request.urlopen(url, timeout=2) as page:
        assert "<i>" not in page.read().decode()


def test_a_broken_new_configuration_leaves_the_old_one_in_force(monitor):
    config, pid, url = monitor
    config.write_text('{"monitors": [{"name": "Bad", "url": "file:///etc/passwd"}]}')
    os.kill(pid, signal.SIGHUP)
    assert [seen["name"] for seen in monitors(url)] == ["One"]
    assert program("kuma_standin.py", "--check", "--config", config).returncode == 1


def test_the_monitor_answers_404_to_anything_else(monitor):
    with pytest.raises(urllib.error.HTTPError) as answer:
        urllib.request.urlopen(f"{monitor[2]}/../../etc/passwd", timeout=2)
    with answer.value:
        assert answer.value.code == 404
