"""`make test` runs every test in one of its parts, and fails if any of them does."""

import subprocess
import sys

import pytest

from tests.__main__ import CHECKOUT, PARTS, Ended, side_by_side, total


def test_every_folder_of_tests_is_in_one_part():
    inside, *apart = PARTS.values()
    named = {word for words in apart for word in words if word.startswith("tests/")}
    assert {word.removeprefix("--ignore=") for word in inside if word.startswith("--ignore=")} == named
    assert all((CHECKOUT / path).exists() for path in named)
    left_out = {word.removeprefix("--ignore=") for words in apart for word in words if word.startswith("--ignore=")}
    assert left_out <= named
    assert inside[0] == "tests"


@pytest.mark.parametrize(
    ("code", "said", "line"),
    [
        (0, "...\n12 passed, 3 deselected in 5.01s\n", "12 passed, 3 deselected in 5.01s"),
        (0, "==== 12 passed, 1 skipped in 71.82s (0:01:11) ====\n", "12 passed, 1 skipped in 71.82s (0:01:11)"),
        (1, "FAILED x - 3 passed in 4s of it\n1 failed, 2 errors in 5.01s\n", "1 failed, 2 errors in 5.01s"),
        (5, "no tests ran in 0.01s\n", "1 error: it ended with exit code 5 (nothing was counted)"),
        (3, "12 passed in 5.01s\nINTERNALERROR> boom\n", "1 error: it ended with exit code 3 (12 passed in 5.01s)"),
        (-9, "", "1 error: it ended with exit code -9 (nothing was counted)"),
    ],
)
def test_a_part_tells_what_pytest_counted_and_never_hides_a_bad_end(code, said, line):
    assert Ended.of("part", code, said).line == line


def test_the_closing_line_counts_over_all_parts():
    lines = ["1340 passed, 1 skipped in 90.00s (0:01:30)", "2 failed, 8 passed, 2 errors in 9.00s", "1 error: no tests"]
    ended = [Ended("part", 0, line) for line in lines]
    assert total(ended, 3723.5) == "2 failed, 3 error, 1348 passed, 1 skipped in 3723.50s (1:02:03)"


def test_a_part_that_fails_is_seen_beside_one_that_does_not(tmp_path, monkeypatch):
    (tmp_path / "test_bad.py").write_text("def test_bad(): assert False\n")
    (tmp_path / "test_good.py").write_text("def test_good(): pass\n")
    for name in ("good", "bad"):
        monkeypatch.setitem(PARTS, name, (str(tmp_path / f"test_{name}.py"), "--no-cov", f"--rootdir={tmp_path}"))
    ended = {one.name: one for one in side_by_side(["good", "bad"], 2, tmp_path)}
    assert ended["good"].code == 0
    assert ended["bad"].code == 1
    assert ended["bad"].line.startswith("1 failed in ")


def test_what_bounds_waits_has_the_machine_to_itself(tmp_path, monkeypatch):
    log = tmp_path / "log"
    text = "import time\ndef test_it():\n    with open({!r}, 'a') as log: log.write('begin '); time.sleep(.3); log.write('end ')\n"
    for name in ("one", "wide"):
        (tmp_path / f"test_{name}.py").write_text(text.format(str(log)))
        monkeypatch.setitem(PARTS, name, (str(tmp_path / f"test_{name}.py"), "--no-cov", f"--rootdir={tmp_path}"))
    assert [one.code for one in side_by_side(["one", "wide", "one"], 3, tmp_path)] == [0, 0, 0]
    assert log.read_text() == "begin end begin end begin end "


def test_an_unknown_part_is_named():
    done = subprocess.run([sys.executable, "-m", "tests", "nonsense"], cwd=CHECKOUT, capture_output=True, text=True)
    assert done.returncode == 2
    assert "no part is called nonsense" in done.stderr
