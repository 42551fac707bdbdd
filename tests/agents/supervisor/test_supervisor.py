"""A supervised command is relayed completely, bounded, and never outlives its owner."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from agents.supervisor.client import Supervised
from agents.supervisor.lines import LineCutter
from agents.supervisor.processes import is_alive
from agents.supervisor.spec import Spec, SpecError
from agents.supervisor.sweep import sweep, tagged

from .conftest import read_all, survivors, wait_for_line

FAMILY = "setsid sleep 300 & (setsid sh -c 'sleep 300 & sleep 300' &) ; echo ready; sleep 300"


def lines_of(messages, stream="stdout"):
    return [m["text"] for m in messages if m["t"] == "line" and m["stream"] == stream]


def test_lines_events_exit_code_and_figures_arrive(start):
    messages = read_all(start("sh", "-c", "echo out; echo err >&2; echo '{\"a\": 1}' >&$CHIFFON_EVENT_FD; exit 7"))
    assert lines_of(messages) == ["out"]
    assert lines_of(messages, "stderr") == ["err"]
    assert [m["data"] for m in messages if m["t"] == "event"] == [{"a": 1}]
    last = messages[-1]
    assert (last["t"], last["code"], last["reason"]) == ("exit", 7, "exited")
    assert last["wall_seconds"] > 0
    assert last["cpu_seconds"] >= 0
    assert last["peak_rss_bytes"] > 0


def test_the_environment_is_exactly_what_was_given_plus_the_tag_and_the_event_descriptor(start, tag):
    messages = read_all(start("env"))
    names = {line.partition("=")[0] for line in lines_of(messages)}
    assert names == {"PATH", "CHIFFON_RUN", "CHIFFON_EVENT_FD"}
    assert f"CHIFFON_RUN={tag}" in lines_of(messages)


def test_hundred_thousand_lines_arrive_complete_and_in_order(start):
    assert lines_of(read_all(start("seq", "1", "100000"))) == [str(n) for n in range(1, 100_001)]


def test_a_slow_reader_loses_nothing_and_holds_the_command_back(start):
    supervised = start("sh", "-c", "seq 1 400000; echo done >&2", beat_seconds=30)
    time.sleep(0.7)
    messages = read_all(supervised, within=90)
    assert len(lines_of(messages)) == 400_000
    assert lines_of(messages, "stderr") == ["done"]


def test_nul_invalid_utf8_and_a_line_without_end_arrive_as_text(start):
    messages = read_all(start("printf", r"a\0b\n\377\376ok\nlast"))
    assert lines_of(messages) == ["a\0b", "\ufffd\ufffdok", "last"]


def test_a_megabyte_line_is_cut_and_says_so(start):
    script = "head -c 1000000 /dev/zero | tr '\\0' x; echo; echo after"
    long, after = lines_of(read_all(start("sh", "-c", script)))
    assert long.startswith("x" * 16384 + " [line cut here: 983616 more bytes]")
    assert after == "after"


def test_a_cut_inside_a_character_leaves_no_broken_character():
    assert LineCutter(limit=3).feed("aéé\n".encode()) == ["aé [line cut here: 2 more bytes]"]
    assert LineCutter(limit=2).feed("aéé\n".encode()) == ["a [line cut here: 3 more bytes]"]


@pytest.mark.parametrize("junk", ["no json", "[1]", "42", "[" * 5000, ""])
def test_junk_on_the_event_pipe_is_reported_and_harms_nothing(start, junk):
    messages = read_all(start("sh", "-c", f"echo '{junk}' >&3; echo '{{\"ok\": true}}' >&3"))
    assert [m["data"] for m in messages if m["t"] == "event"] == [{"ok": True}]
    assert messages[-1]["code"] == 0


def test_a_command_that_does_not_exist_says_so(start):
    last = read_all(start("/does/not/exist"))[-1]
    assert last["code"] == 127
    assert last["error"] == "The command '/does/not/exist' could not be started: No such file or directory."


def test_a_command_killed_by_a_signal_names_the_signal(start):
    last = read_all(start("sh", "-c", "kill -SEGV $$"))[-1]
    assert (last["code"], last["reason"], last["error"]) == (-11, "signal", "The command was ended by SIGSEGV.")


def test_memory_limit_ends_the_command_not_the_supervisor(start):
    hog = [sys.executable, "-S", "-c", "x = bytearray(600_000_000)"]
    last = read_all(start(*hog, rlimits={"RLIMIT_AS": (300_000_000, 300_000_000)}))[-1]
    assert last["reason"] == "exited"
    assert last["code"] == 1


def test_what_the_command_leaves_behind_ends_with_it(start, tag):
    messages = read_all(start("sh", "-c", "setsid sleep 300 & (setsid sleep 300 &); echo gone"))
    assert (messages[-1]["code"], lines_of(messages)) == (0, ["gone"])
    assert survivors(tag) == {}


def test_cancel_ends_the_whole_tree_setsid_grandchildren_included(start, tag):
    supervised = start("sh", "-c", FAMILY)
    wait_for_line(supervised, "ready")
    assert len(tagged(tags=[tag])) >= 4
    supervised.cancel()
    assert read_all(supervised, within=6)[-1]["reason"] == "cancelled"
    assert survivors(tag) == {}


def test_cancel_is_polite_first_so_that_a_command_may_tidy_up(start):
    supervised = start("sh", "-c", "trap 'echo tidied; exit 3' TERM; echo ready; while :; do sleep 0.05; done")
    wait_for_line(supervised, "ready")
    supervised.cancel()
    messages = read_all(supervised)
    assert lines_of(messages) == ["tidied"]
    assert (messages[-1]["reason"], messages[-1]["code"]) == ("cancelled", 3)


def test_a_command_that_ignores_politeness_is_killed_after_the_grace(start, tag):
    supervised = start("sh", "-c", "trap '' TERM; echo ready; while :; do sleep 1; done", grace_seconds=0.3)
    wait_for_line(supervised, "ready")
    began = time.monotonic()
    supervised.cancel()
    last = read_all(supervised)[-1]
    assert (last["reason"], last["code"]) == ("cancelled", -9)
    assert time.monotonic() - began < 3
    assert survivors(tag) == {}


def test_timeout_ends_the_whole_tree_and_says_timeout(start, tag):
    last = read_all(start("sh", "-c", FAMILY, timeout_seconds=0.5, grace_seconds=0.5))[-1]
    assert last["reason"] == "timeout"
    assert 0.5 <= last["wall_seconds"] < 4
    assert survivors(tag) == {}


def test_missing_beats_end_the_tree(start, tag):
    last = read_all(start("sh", "-c", FAMILY, beat_seconds=0.5), beat=False)[-1]
    assert last["reason"] == "abandoned"
    assert survivors(tag) == {}


def test_beats_keep_the_tree_alive(start):
    last = read_all(start("sleep", "1.5", beat_seconds=0.5))[-1]
    assert (last["reason"], last["code"]) == ("exited", 0)


def test_closing_ends_the_tree(start, tag):
    supervised = start("sh", "-c", FAMILY)
    wait_for_line(supervised, "ready")
    supervised.close()
    supervised.close()
    assert survivors(tag) == {}


def test_the_tree_dies_when_its_owner_is_killed(tag, tmp_path):
    owner = textwrap.dedent(f"""
        from agents.supervisor.client import Supervised
        from agents.supervisor.spec import Spec
        s = Supervised.start(Spec(argv=["sh", "-c", {FAMILY!r}], cwd="/", env={{"PATH": "/usr/bin:/bin"}}, tag={tag!r}))
        while True:
            m = s.next(1)
            if m: print(m, flush=True)
    """)
    root = Path(__file__).parents[3]
    with subprocess.Popen([sys.executable, "-c", owner], stdout=subprocess.PIPE, cwd=root) as process:
        try:
            assert process.stdout is not None
            assert b"ready" in process.stdout.readline()
            assert len(tagged(tags=[tag])) >= 4
        finally:
            process.kill()
    assert survivors(tag, within=2.0) == {}


def test_a_killed_supervisor_is_reported_as_lost_and_its_tree_is_swept(start, tag):
    supervised = start("sh", "-c", FAMILY)
    wait_for_line(supervised, "ready")
    os.kill(supervised.pid, signal.SIGKILL)
    last = read_all(supervised)[-1]
    assert (last["reason"], last["code"]) == ("lost", None)
    assert survivors(tag) == {}
    assert supervised.next(0) is None


def test_a_start_up_sweep_removes_orphans_but_not_what_is_kept(tmp_path):
    mine, other = f"sweep-{tmp_path.name}-a:1", f"sweep-{tmp_path.name}-b:1"
    orphans = [
        subprocess.Popen(["sleep", "300"], env={"PATH": "/usr/bin:/bin", "CHIFFON_RUN": tag}, start_new_session=True)
        for tag in (mine, mine, other)
    ]
    try:
        assert sweep(prefix=f"sweep-{tmp_path.name}-", keep={other}) == sorted(p.pid for p in orphans[:2])
        assert [is_alive(p.pid) for p in orphans] == [False, False, True]
    finally:
        for process in orphans:
            process.kill()
            process.wait()


def test_a_sweep_without_a_mark_is_refused():
    with pytest.raises(ValueError, match="needs tags or a prefix"):
        sweep(prefix="")


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"argv": []}, "'argv' must be a list"),
        ({"argv": ["a\0b"]}, "without NUL"),
        ({"cwd": ""}, "'cwd' must be text"),
        ({"env": {"A=B": "c"}}, "'env' has an unusable entry"),
        ({"timeout_seconds": -1}, "'timeout_seconds' must be a number"),
        ({"timeout_seconds": True}, "'timeout_seconds' must be a number"),
        ({"rlimits": {"RLIMIT_NOPE": [1, 1]}}, "'rlimits' has an unusable entry"),
        ({"colour": "red"}, "unknown parts: colour"),
    ],
)
def test_a_wrong_specification_is_refused_in_a_sentence(change, sentence):
    import json

    good = {"argv": ["true"], "cwd": "/", "env": {}, "tag": "t"}
    assert Spec.from_json(json.dumps(good).encode()).argv == ["true"]
    with pytest.raises(SpecError, match=sentence):
        Spec.from_json(json.dumps({**good, **change}).encode())


def test_a_refused_specification_starts_nothing_and_ends_the_run(tag):
    with Supervised.start(Spec(argv=[], cwd="/", env={}, tag=tag)) as supervised:
        last = read_all(supervised)[-1]
    assert (last["reason"], last["code"]) == ("refused", None)


def test_the_supervisor_is_ready_fast(start):
    best = min(_seconds_of(start) for _ in range(5))
    assert best < 0.25  # 0.04 s on an idle machine


def _seconds_of(start):
    began = time.perf_counter()
    read_all(start("true"))
    return time.perf_counter() - began
