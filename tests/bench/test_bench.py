"""`python -m bench`: the shipped processes are really started and each workload really measured, as small as it goes."""

import json
import subprocess
import sys

import pytest

from tests.processes import CHECKOUT

MEASURED = {
    "W1": {"steps_per_s", "celery_steps_per_s", "ratio_to_celery", "p50_ms", "p95_ms", "statements_per_step",
           "write_transactions_per_step", "wal_kib_per_step"},
    "W2": {"steps_per_s", "celery_steps_per_s", "ratio_to_celery", "p50_ms", "p95_ms"},
    "W3": {"p50_ms", "p95_ms", "celery_p50_ms"},
    "W4": {"time_ratio", "wal_ratio"},
    "W5": {"rss_mib", "cold_s", "first_start_s"},
    "W9": {"p50_ms", "p95_ms", "bare_p50_ms", "ratio_to_ansible_playbook"},
}  # fmt: skip


@pytest.mark.integration
@pytest.mark.slow
def test_each_workload_measures_the_shipped_processes_and_says_so_in_json(tmp_path):
    output = tmp_path / "results" / "latest.jsonl"
    done = subprocess.run(
        [sys.executable, "-m", "bench", "--scale", "0.001", "--rounds", "1", "--output", str(output)],
        cwd=CHECKOUT, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    told = {line["workload"]: line for line in map(json.loads, output.read_text().splitlines())}
    assert set(told) == set(MEASURED)
    for name, fields in MEASURED.items():
        assert all(told[name][field] > 0 for field in fields), told[name]
        assert f"{name}  " in done.stdout


@pytest.mark.parametrize("words", [["--scale", "0"], ["--scale", "much"], ["--rounds", "0"], ["W7"]])
def test_what_cannot_be_measured_is_refused_before_anything_starts(words, tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "bench", *words, "--output", str(tmp_path / "out.jsonl")],
        cwd=CHECKOUT, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert "error" in done.stderr
    assert not (tmp_path / "out.jsonl").exists()
