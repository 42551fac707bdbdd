"""`python -m tests`: the parts of the tests, two side by side, and one report of what they covered.

A part is one call of pytest. Those that start and kill whole installations come in calls of their own, so that none waits for
another's programs, and so does Chromium, whose driver keeps an event loop that other asynchronous tests cannot share.
"""

from __future__ import annotations

import argparse
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from chiffon_site.embedded.processes import before_exec

CHECKOUT: Final = Path(__file__).resolve().parents[1]
# The longest first, and so that two lanes end at about the same time.
_APART: Final = {
    "journeys": ("tests/cli", "tests/bench", "tests/journeys", "-m", "not browser"),
    "browser": ("tests", "-m", "browser"),
    "chaos": ("tests/chaos", "--ignore=tests/chaos/test_wide_plan.py", "-m", "not browser"),
    "site": ("tests/site", "-m", "not browser"),
    "live": ("tests/live", "-m", "not browser"),
    "wide": ("tests/chaos/test_wide_plan.py",),
}
_ELSEWHERE: Final = [word for words in _APART.values() for word in words if word.startswith("tests/")]
# It bounds how long a lock is waited for, which depends on who else wants the cores.
ALONE: Final = {"wide"}
# What these run, others cover; and to measure slows down every program that they start.
UNMEASURED: Final = {"journeys", "browser", "chaos", "wide"}
# A folder that nobody named here is inside, so that none is forgotten.
PARTS: Final = {"inside": ("tests", *(f"--ignore={path}" for path in _ELSEWHERE), "-m", "not browser"), **_APART}
_COUNTED: Final = re.compile(r"(\d+) (failed|passed|skipped|error)")
_CLOSING: Final = re.compile(rf"^=*\s*({_COUNTED.pattern}.* in [0-9.]+s.*?)[\s=]*$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Ended:
    """How a part ended, and the line in which it said so."""

    name: str
    code: int
    line: str

    @classmethod
    def of(cls, name: str, code: int, said: str) -> Ended:
        """Read what pytest said last; a part that ended badly always counts at least one error."""
        found = _CLOSING.findall(said)
        line = found[-1][0] if found else "nothing was counted"
        if code and not {"failed", "error"} & {what for _, what in _COUNTED.findall(line)}:
            line = f"1 error: it ended with exit code {code} ({line})"
        return cls(name, code, line)


def main() -> int:
    """Run the parts that were named, or all; 1 if anything failed or too little was covered."""
    parser = argparse.ArgumentParser(prog="python -m tests")
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"only these of: {', '.join(PARTS)}")
    parser.add_argument("--lanes", type=int, default=2, choices=range(1, 5), help="how many run side by side")
    args = parser.parse_args()
    if unknown := sorted(set(args.parts) - set(PARTS)):
        parser.error(f"no part is called {', '.join(unknown)}")
    signal.signal(signal.SIGINT, signal.default_int_handler)  # also where a shell started this in the background
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="chiffon-parts-") as name:
        folder = Path(name)
        ended = list(side_by_side(args.parts or list(PARTS), args.lanes, folder))
        enough = report(folder) if not args.parts else True
    print("\n".join(["", *(f"{one.name:8} {one.line}" for one in ended)]))
    print(total(ended, time.monotonic() - began), flush=True)
    return 0 if enough and not any(one.code for one in ended) else 1


def side_by_side(names: Sequence[str], lanes: int, folder: Path) -> Iterator[Ended]:
    """Run parts, so many at once; as each ends, show in one piece what it said."""
    waiting, running = list(names), dict[str, subprocess.Popen[bytes]]()
    try:
        while waiting or running:
            while waiting and len(running) < lanes and not (running and ALONE & {waiting[0], *running}):
                running[waiting[0]] = started(waiting[0], folder)
                print(f"{waiting.pop(0)} begins", flush=True)
            time.sleep(0.2)
            for name in [name for name, process in running.items() if process.poll() is not None]:
                code = running.pop(name).returncode
                said = (folder / f"{name}.log").read_text(encoding="utf-8", errors="replace")
                print(f"\n{name}\n{said.rstrip()}", flush=True)
                yield Ended.of(name, code, said)
    finally:
        stop(running.values())


def started(name: str, folder: Path) -> subprocess.Popen[bytes]:
    """Start one part. It has a session of its own, so that one Ctrl-C reaches it once and it can put everything away."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    measured = [] if name in UNMEASURED else ["--cov", "--cov-report=", "--cov-fail-under=0"]
    with (folder / f"{name}.log").open("wb") as log:
        return subprocess.Popen(
            [*command, *measured, *PARTS[name]],
            cwd=CHECKOUT,
            env={**os.environ, "COVERAGE_FILE": str(folder / f"{name}.coverage")},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=before_exec(death_signal=signal.SIGINT, parent=os.getpid()),  # noqa: PLW1509 - one thread
        )


def stop(processes: Iterable[subprocess.Popen[bytes]]) -> None:
    """End parts that still run, asked first: only they know what they started."""
    for process in processes:
        os.killpg(process.pid, signal.SIGINT)  # as a terminal would
    for process in processes:
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def report(folder: Path) -> bool:
    """One report over what all parts covered; whether it was enough."""
    files = [str(file) for file in sorted(folder.glob("*.coverage"))]
    for words in (["combine", "-q", *files], ["report"]):
        if subprocess.run([sys.executable, "-m", "coverage", *words], cwd=CHECKOUT, check=False).returncode:
            return False
    return True


def total(ended: Sequence[Ended], seconds: float) -> str:
    """One closing line over all parts, as pytest writes it."""
    counts: Counter[str] = Counter()
    for one in ended:
        counts.update({what: int(number) for number, what in _COUNTED.findall(one.line)})
    told = ", ".join(f"{counts[what]} {what}" for what in ("failed", "error", "passed", "skipped") if counts[what])
    return f"{told} in {seconds:.2f}s ({int(seconds) // 3600}:{int(seconds) // 60 % 60:02}:{int(seconds) % 60:02})"


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit("Stopped when asked to.")
