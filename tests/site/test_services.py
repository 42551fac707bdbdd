"""The service manager of the sandbox keeps units alive, and leaves nothing behind."""

import json
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.site.sandbox import CHECKOUT, Sandbox, is_running, wait_for

pytestmark = pytest.mark.integration


@pytest.fixture
def sandbox(tmp_path: Path) -> Iterator[Sandbox]:
    # Longer than a socket's address may be, as a data folder deep in a home directory is.
    made = Sandbox(tmp_path / ("deep" * 30) / "sandbox")
    made.start(SECRET_OF_THE_KEEPER="s3cret")
    yield made
    made.end()


def said_by(unit: dict[str, Any]) -> Any:
    with urllib.request.urlopen(unit["url"], timeout=2) as answer:
        return json.loads(answer.read())


def test_a_started_unit_serves_on_its_port_with_an_environment_from_nothing(sandbox):
    sandbox.write_unit("web", Environment="MODE=demo")
    answer = sandbox.ask("start", "web")
    assert (answer["ok"], answer["changed"], answer["unit"]["state"]) == (True, True, "running")
    seen = wait_for(lambda: said_by(answer["unit"]))
    assert seen["pid"] == answer["unit"]["pid"]
    assert seen["environ"]["MODE"] == "demo"
    assert seen["environ"]["PORT"] == str(answer["unit"]["port"])
    assert "SECRET_OF_THE_KEEPER" not in seen["environ"]


def test_starting_and_stopping_twice_changes_nothing(sandbox):
    sandbox.write_unit("web")
    assert [sandbox.ask("start", "web")["changed"] for _ in range(2)] == [True, False]
    assert [sandbox.ask("stop", "web")["changed"] for _ in range(2)] == [True, False]
    assert sandbox.ask("status", "web")["unit"]["state"] == "stopped"


def test_a_killed_unit_comes_back_on_the_same_port(sandbox):
    sandbox.write_unit("web")
    first = sandbox.ask("start", "web")["unit"]
    wait_for(lambda: said_by(first))
    subprocess.run(["kill", "-9", str(first["pid"])], check=True)
    second = wait_for(
        lambda: (
            (now := sandbox.ask("status", "web")["unit"])["state"] == "running" and now["pid"] != first["pid"] and now
        )
    )
    assert (second["port"], second["restarts"], second["last_exit"]) == (first["port"], 1, -9)
    assert wait_for(lambda: said_by(second))["pid"] == second["pid"]


def test_a_unit_that_always_crashes_is_tried_again_ever_more_slowly_and_says_why(sandbox):
    sandbox.write_unit("web", "crash")
    sandbox.ask("start", "web")
    seen = wait_for(lambda: (now := sandbox.ask("status", "web")["unit"])["restarts"] >= 2 and now)
    assert seen["last_exit"] == 3
    assert "ended with 3" in sandbox.ask("status", "web")["unit"]["problem"] or seen["state"] == "running"
    assert sandbox.ask("stop", "web")["unit"]["state"] == "stopped"
    time.sleep(0.6)
    assert sandbox.ask("status", "web")["unit"]["state"] == "stopped"


def test_a_unit_with_restart_on_failure_may_end_well(sandbox):
    sandbox.write_unit("once", Restart="no")
    (sandbox.root / "once" / "program.py").write_text("print('done')\n")
    sandbox.ask("start", "once")
    wait_for(lambda: sandbox.ask("status", "once")["unit"]["state"] == "exited")
    assert (sandbox.root / "logs" / "once.log").read_text() == "done\n"


def test_reload_sends_a_hangup_and_keeps_the_process(sandbox):
    sandbox.write_unit("web")
    unit = sandbox.ask("start", "web")["unit"]
    wait_for(lambda: said_by(unit))
    assert sandbox.ask("reload", "web")["changed"]
    assert wait_for(lambda: (seen := said_by(unit))["hups"] == 1 and seen)["pid"] == unit["pid"]
    sandbox.ask("stop", "web")
    refused = sandbox.ask("reload", "web")
    assert (refused["ok"], refused["code"]) == (False, "not_running")


def test_restart_makes_a_new_process_on_the_same_port(sandbox):
    sandbox.write_unit("web")
    first = sandbox.ask("start", "web")["unit"]
    second = sandbox.ask("restart", "web")["unit"]
    assert second["pid"] != first["pid"]
    assert second["port"] == first["port"]
    assert not is_running(first["pid"])


def test_the_next_manager_starts_again_what_ran_and_leaves_stopped_what_was_stopped(sandbox):
    for name in ("kept", "idle", "manual"):
        sandbox.write_unit(name)
        sandbox.ask("start", name)
    manual = sandbox.root / "units" / "manual.service"
    manual.write_text(manual.read_text() + "[Install]\nEnabled=no\n")
    sandbox.ask("stop", "idle")
    before = sandbox.ask("status", "kept")["unit"]
    sandbox.end()
    assert not is_running(before["pid"])
    sandbox.start()
    units = {unit["name"]: unit for unit in sandbox.ask("list")["units"]}
    assert {name: unit["state"] for name, unit in units.items()} == {
        "kept": "running",
        "idle": "stopped",
        "manual": "stopped",
    }
    assert units["kept"]["port"] == before["port"]


def test_a_remembered_port_that_is_taken_is_replaced(sandbox):
    sandbox.write_unit("web")
    port = sandbox.ask("start", "web")["unit"]["port"]
    sandbox.ask("stop", "web")
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        other.bind(("127.0.0.1", port))
        other.listen()
        assert sandbox.ask("start", "web")["unit"]["port"] != port


def test_a_fixed_port_that_is_taken_is_one_clear_sentence(sandbox):
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        sandbox.write_unit("web", Port=str(port))
        refused = sandbox.ask("start", "web")
    assert refused == {"ok": False, "code": "port_taken", "error": f"Unit web wants port {port}, which is taken."}


def test_sigterm_ends_stubborn_units_and_their_hidden_grandchildren_within_three_seconds(sandbox):
    sandbox.write_unit("stubborn", "ignore-term grandchild")
    sandbox.write_unit("stopped")
    stubborn, halted = sandbox.ask("start", "stubborn")["unit"], sandbox.ask("start", "stopped")["unit"]
    wait_for(lambda: said_by(stubborn))
    subprocess.run(["kill", "-STOP", str(halted["pid"])], check=True)
    grandchild = int((sandbox.root / "stubborn" / "grandchild").read_text())
    assert is_running(grandchild)
    assert sandbox.end() < 3
    assert not any(is_running(pid) for pid in (stubborn["pid"], halted["pid"], grandchild))
    assert not (sandbox.root / "manager.sock").exists()


def test_units_die_with_a_killed_manager_and_its_successor_ends_what_hid(sandbox):
    sandbox.write_unit("web", "grandchild")
    unit = sandbox.ask("start", "web")["unit"]
    wait_for(lambda: said_by(unit))
    grandchild = int((sandbox.root / "web" / "grandchild").read_text())
    sandbox.end(kill=True)
    wait_for(lambda: not is_running(unit["pid"]))
    sandbox.start()
    assert not is_running(grandchild)
    again = sandbox.ask("status", "web")["unit"]
    assert (again["state"], again["port"]) == ("running", unit["port"])


def test_a_second_manager_of_the_same_folder_is_refused_with_one_sentence(sandbox):
    command = [sys.executable, "-m", "chiffon_site.embedded.services", "--root", str(sandbox.root)]
    second = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, check=False, timeout=10)
    assert second.returncode == 1
    assert "another service manager already runs there" in second.stderr
    assert len(second.stderr.splitlines()) == 1
    assert sandbox.ask("ping")["ok"]


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\n",
        b"not json\n",
        b"[]\n",
        b"GET / HTTP/1.1\r\n\r\n",
        b"[" * 50_000 + b"\n",
        b"x" * 200_000 + b"\n",
        b"\xff\n",
    ],
)
def test_a_malformed_request_is_refused_and_the_manager_goes_on(sandbox, data):
    try:
        assert sandbox.send(data)["code"] == "bad_request"
    except ConnectionError:
        pass  # what is far too large may be cut off before all of it was sent
    assert sandbox.ask("ping")["ok"]


def test_a_client_that_says_nothing_does_not_hold_up_the_others(sandbox):
    with socket.socket(socket.AF_UNIX) as silent:
        silent.connect(f"/proc/{sandbox.manager.pid}/cwd/manager.sock")
        began = time.monotonic()
        assert sandbox.ask("ping")["ok"]
        assert time.monotonic() - began < 3


@pytest.mark.parametrize("name", ["../../etc/passwd", "Kuma", "", None, 3, "none"])
def test_a_bad_or_unknown_unit_is_refused(sandbox, name):
    for operation in ("start", "stop", "restart", "reload"):
        assert sandbox.ask(operation, name)["code"] in {"bad_name", "unknown_unit", "not_running"}
    assert sandbox.ask("explode", "web")["code"] == "bad_operation"


def test_a_unit_without_its_program_is_refused_by_name(sandbox):
    sandbox.write_unit("web")
    (sandbox.root / "web" / "program.py").unlink()
    refused = sandbox.ask("start", "web")
    assert refused["code"] == "not_startable"
    assert "has no program" in refused["error"]


def test_daemon_reload_names_broken_units_and_forgets_removed_ones(sandbox):
    sandbox.write_unit("web")
    sandbox.ask("start", "web")
    sandbox.ask("stop", "web")
    (sandbox.root / "units" / "web.service").unlink()
    (sandbox.root / "units" / "broken.service").write_text("[Service]\nExecStart=rm -rf /\n")
    answer = sandbox.ask("daemon-reload")
    assert answer["forgotten"] == ["web"]
    assert "ExecStart is" in answer["problems"]["broken"]
    assert json.loads((sandbox.root / "state.json").read_text())["units"] == {}


def test_an_unreadable_memory_is_kept_aside_and_does_not_stop_the_start(sandbox):
    sandbox.end()
    (sandbox.root / "state.json").write_text("{broken")
    sandbox.start()
    assert sandbox.ask("list")["units"] == []
    assert (sandbox.root / "state.broken").read_text() == "{broken"


def test_the_manager_stays_small(sandbox):
    status = Path(f"/proc/{sandbox.manager.pid}/status").read_text()
    resident = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS"))
    assert resident < 25 * 1024


def test_the_playbooks_client_prints_the_answer_or_one_sentence(sandbox):
    sandbox.write_unit("web")
    assert json.loads(sandbox.ctl("start", "web").stdout)["unit"]["state"] == "running"
    refused = sandbox.ctl("start", "Bad Name")
    assert (refused.returncode, refused.stdout) == (1, "")
    assert refused.stderr.startswith("A unit's name is")
    sandbox.end()
    alone = sandbox.ctl("status", "web")
    assert alone.returncode == 1
    assert "is not running" in alone.stderr
    assert len(alone.stderr.splitlines()) == 1
