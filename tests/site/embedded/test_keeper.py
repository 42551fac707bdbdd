"""The keeper starts, restarts, gives up and stops, and leaves nothing behind. Real processes, a keeper of its own for each test."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from chiffon_site.embedded.processes import tagged, wait_until

CHECKOUT = Path(__file__).resolve().parents[3]
# Runs the children named in argv[2] (JSON: name -> command) and prints the reason if the keeper gives up.
KEEPER = """
import json, sys
from pathlib import Path
from chiffon_site.embedded.errors import CannotStart
from chiffon_site.embedded.keeper import Child, Keeper
logs = Path(sys.argv[1])
try:
    with Keeper(logs=logs, tag=sys.argv[3]) as keeper:
        for name, command in json.loads(sys.argv[2]).items():
            keeper.start(Child(name, command, {"PATH": "/usr/bin:/bin"}))
        print("started", flush=True)
        keeper.watch()
except CannotStart as error:
    print(error, flush=True)
    sys.exit(1)
"""


class RunningKeeper:
    def __init__(self, logs: Path, tag: str, children: dict[str, list[str]]):
        self.logs, self.tag = logs, tag
        arguments = [sys.executable, "-c", KEEPER, str(logs), json.dumps(children), tag]
        self.process = subprocess.Popen(
            arguments, cwd=CHECKOUT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == "started\n"

    def children(self) -> list[psutil.Process]:
        return tagged(self.tag)

    def stop(self, number=signal.SIGINT) -> float:
        began = time.monotonic()
        self.process.send_signal(number)
        self.process.wait(15)
        return time.monotonic() - began


@pytest.fixture
def keep(tmp_path):
    running = []

    def start(**children):
        running.append(RunningKeeper(tmp_path, f"test-{os.getpid()}-{tmp_path.name}", children))
        return running[-1]

    yield start
    for keeper in running:
        keeper.process.kill()
        keeper.process.communicate()
        for left in keeper.children():
            left.kill()


def test_child_that_dies_is_started_again(keep):
    keeper = keep(sleeper=["sleep", "60"])
    assert wait_until(lambda: len(keeper.children()) == 1, seconds=5)
    first = keeper.children()[0]
    first.kill()
    assert wait_until(lambda: [child.pid for child in keeper.children()] not in ([], [first.pid]), seconds=5)
    keeper.stop()
    assert keeper.process.returncode == 0
    assert keeper.children() == []


def test_five_deaths_in_a_minute_stop_everything_with_the_reason(keep):
    keeper = keep(steady=["sleep", "60"], sick=["sh", "-c", "echo the disk is on fire; exit 3"])
    output, _ = keeper.process.communicate(timeout=20)
    assert keeper.process.returncode == 1
    assert "sick died 5 times within a minute and ended with exit code 3" in output
    assert output.count("the disk is on fire") == 5
    assert keeper.children() == []


@pytest.mark.parametrize("stuck", ["deaf", "stopped", "runaway"])
def test_one_signal_ends_everything_within_ten_seconds_also_what_is_stuck(keep, stuck):
    deaf = ["sh", "-c", "trap '' TERM INT; while :; do sleep 1; done"]
    runaway = ["sh", "-c", "setsid sh -c 'trap \"\" TERM; sleep 61' & exec sleep 60"]
    keeper = keep(child={"deaf": deaf, "stopped": ["sleep", "60"], "runaway": runaway}[stuck])
    assert wait_until(lambda: len(keeper.children()) >= (2 if stuck == "runaway" else 1), seconds=5)
    time.sleep(0.3)  # the shell needs a moment to set its trap
    if stuck == "stopped":
        keeper.children()[0].suspend()
    assert keeper.stop(signal.SIGTERM) < 10
    assert keeper.process.returncode == 0
    assert keeper.children() == []


def test_children_die_with_a_keeper_that_is_killed(keep):
    keeper = keep(one=["sleep", "60"], two=["sleep", "60"])
    assert wait_until(lambda: len(keeper.children()) == 2, seconds=5)
    keeper.process.kill()
    assert wait_until(lambda: keeper.children() == [], seconds=3)


def test_next_start_ends_what_a_killed_keeper_left_behind(keep, tmp_path):
    tag = f"test-{os.getpid()}-{tmp_path.name}"
    leftover = subprocess.Popen(["sleep", "60"], env={"PATH": "/usr/bin:/bin", "CHIFFON_KEEPER": tag})
    keep(one=["sleep", "60"])
    assert leftover.wait(5) == -signal.SIGTERM


def test_each_start_begins_a_log_and_keeps_the_last_ones(keep, tmp_path):
    for number in range(2):
        keeper = keep(talker=["sh", "-c", f"echo start {number}; exec sleep 60"])
        assert wait_until(lambda: (tmp_path / "talker.log").read_text() != "", seconds=5)
        keeper.stop()
    assert (tmp_path / "talker.log").read_text() == "start 1\n"
    assert (tmp_path / "talker.log.1").read_text() == "start 0\n"
