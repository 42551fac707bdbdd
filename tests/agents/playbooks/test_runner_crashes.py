"""Whatever is killed while a playbook runs: nothing of it goes on, and nothing of it stays on the disk."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import pytest

from agents.playbooks.export import PREFIX, remove_stale_workspaces, workspace
from agents.playbooks.runner import RunStatus, run_playbook
from agents.protocol import FailureMode
from agents.supervisor.sweep import sweep, tagged

from .runs import Lab, Watcher, play

LONG = play("{name: Wait, ansible.builtin.shell: 'setsid sleep 300 & sleep 300'}")


def wait_until(true, *, within=15.0):
    deadline = time.monotonic() + within
    while not true():
        assert time.monotonic() < deadline, "it never came to that"
        time.sleep(0.02)


@pytest.fixture
def lab(tmp_path):
    return Lab(tmp_path, {"site.yml": LONG})


def test_an_agent_killed_in_the_middle_of_a_play_leaves_no_process_and_its_workspace_is_swept(lab):
    asked = lab.asked()
    owner = textwrap.dedent(f"""
        from pathlib import Path
        from tests.agents.playbooks.runs import Watcher
        from agents.playbooks.runner import PlaybookRun, run_playbook
        run = PlaybookRun({asked.repository!r}, {asked.commit!r}, {asked.tree!r}, "site.yml", "inventory.ini", {asked.tag!r}, 60)
        class Loud(Watcher):
            def line(self, stream, text): print(text, flush=True)
        run_playbook(run, Loud(), scratch=Path({str(lab.scratch)!r}))
    """)
    root = Path(__file__).parents[3]
    with subprocess.Popen([sys.executable, "-c", owner], stdout=subprocess.PIPE, cwd=root, text=True) as process:
        try:
            assert process.stdout is not None
            assert any("TASK [Wait]" in line for line in process.stdout)
            wait_until(lambda: len(tagged(tags=[asked.tag])) >= 6)
        finally:
            process.kill()
    wait_until(lambda: not tagged(tags=[asked.tag]), within=3)
    assert len(remove_stale_workspaces(lab.scratch)) == 1
    assert list(lab.scratch.iterdir()) == []


def test_a_killed_supervisor_ends_the_run_as_lost_with_no_process_left(lab):
    asked, watcher = lab.asked(), Watcher()
    outcomes = []
    thread = threading.Thread(target=lambda: outcomes.append(run_playbook(asked, watcher, scratch=lab.scratch)))
    thread.start()
    wait_until(lambda: "TASK [Wait]" in watcher.text)
    # The supervisor is the first of the tagged processes to have been started.
    os.kill(min(tagged(tags=[asked.tag])), signal.SIGKILL)
    thread.join(timeout=10)
    (outcome,) = outcomes
    assert outcome.failure is not None
    assert (outcome.status, outcome.failure.mode) == (RunStatus.LOST, FailureMode.AGENT)
    assert outcome.last_task == "Wait"
    assert tagged(tags=[asked.tag]) == {}
    assert list(lab.scratch.iterdir()) == []


def test_a_driver_that_is_killed_is_a_failure_that_may_pass(lab):
    asked, watcher = lab.asked(), Watcher()
    outcomes = []
    thread = threading.Thread(target=lambda: outcomes.append(run_playbook(asked, watcher, scratch=lab.scratch)))
    thread.start()
    wait_until(lambda: "TASK [Wait]" in watcher.text)
    os.kill(sorted(tagged(tags=[asked.tag]))[1], signal.SIGKILL)
    thread.join(timeout=10)
    (outcome,) = outcomes
    assert outcome.failure is not None
    assert outcome.status is RunStatus.FAILED
    assert (outcome.failure.mode, outcome.failure.transient) == (FailureMode.RESOURCE, True)
    assert tagged(tags=[asked.tag]) == {}


def test_a_context_that_breaks_takes_the_run_down_with_it(lab):
    class Broken(Watcher):
        def line(self, stream, text):
            raise RuntimeError("the database is gone")

    asked = lab.asked()
    try:
        with pytest.raises(RuntimeError, match="the database is gone"):
            run_playbook(asked, Broken(), scratch=lab.scratch)
        assert tagged(tags=[asked.tag]) == {}
        assert list(lab.scratch.iterdir()) == []
    finally:
        sweep(tags=[asked.tag])


def test_a_workspace_in_use_is_never_swept(tmp_path):
    with workspace(tmp_path) as place:
        assert place.private.name.startswith(PREFIX)
        assert place.private.stat().st_mode & 0o777 == 0o700
        assert remove_stale_workspaces(tmp_path) == []
        assert place.private.exists()
    assert list(tmp_path.iterdir()) == []
