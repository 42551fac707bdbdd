"""`python -m bench [W1 W3 …] [--scale 0.1]`: measure, tell, and write bench/results/latest.jsonl."""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from bench import work
from bench.figures import Result, table, write_lines
from bench.installation import CHECKOUT, Installation
from bench.playbooks import make_repository
from bench.raw import RawCelery
from bench.workloads.common import Bench
from bench.workloads.idle import w5
from bench.workloads.latency import w3, w4
from bench.workloads.playbook import w9
from bench.workloads.throughput import w1, w2

# W5 first: later nothing would be idle and memory would be that of processes that have worked.
WORKLOADS: Final[dict[str, Callable[[Bench], Result]]] = {
    "W5": w5,
    "W1": w1,
    "W2": w2,
    "W3": w3,
    "W4": w4,
    "W9": w9,
}
_BESIDE_CELERY: Final = frozenset({"W1", "W2", "W3", "W4"})
RESULTS: Final = CHECKOUT / "bench" / "results" / "latest.jsonl"
_RAW_DATABASE: Final = 5  # of the same Valkey; Chiffon uses the first two


def main(words: Sequence[str] | None = None) -> int:
    """Run the workloads that are asked for; 1 if one could not be measured."""
    args = _parser().parse_args(words)
    wanted = [name for name in WORKLOADS if name in args.workloads] or list(WORKLOADS)
    # Told to end, it ends what it started, too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("Stopped when asked to."))
    folder = Path(tempfile.mkdtemp(prefix="chiffon-bench-", dir=args.folder))
    try:
        results = _measure(folder, wanted, args)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    print(f"Written to {args.output}")
    return 1 if any(result.failed for result in results) else 0


def _measure(folder: Path, wanted: Sequence[str], args: argparse.Namespace) -> list[Result]:
    make_repository(folder / "playbooks")
    installation = Installation(folder / "data", playbooks=folder / "playbooks")
    raw: RawCelery | None = None
    try:
        _say("Starting Chiffon for the first time …")
        first = installation.start()
        installation.stop()
        _say("Starting it again …")
        later = installation.start()
        work.connect(installation)
        raw = RawCelery(installation.broker(_RAW_DATABASE), folder)
        bench = Bench(installation, raw, args.scale, args.rounds, first, later)
        results: list[Result] = []
        for name in wanted:
            results.append(_one(name, bench))
            # At once: who stops a long run keeps what was measured until then.
            print(table(results[-1:]) + "\n", flush=True)
            write_lines(sorted(results, key=lambda result: result.workload), args.output)
    finally:
        if raw:
            raw.stop()
        installation.stop()
    return results


def _one(name: str, bench: Bench) -> Result:
    """One workload; if it cannot be measured, that is its result and the others go on."""
    facts = {
        "scale": bench.scale,
        "measured_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "cores": os.cpu_count(),
        "load_before": round(os.getloadavg()[0], 2),
        "python": platform.python_version(),
    }
    _say(f"{name} … (load {facts['load_before']})")
    began = time.monotonic()
    try:
        if name in _BESIDE_CELERY and not bench.raw.running:
            bench.raw.start()
            work.warm_up()
        result = WORKLOADS[name](bench)
    except Exception as error:  # whatever it was, the other workloads are still worth measuring
        traceback.print_exc()
        why = f"{type(error).__name__}: {error}"
        return Result(name, "could not be measured", {"error": why, **facts}, (("because", why),))
    took = round(time.monotonic() - began, 1)
    return Result(name, result.title, {**result.fields, **facts, "took_s": took}, result.lines)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    known = ", ".join(sorted(WORKLOADS))
    parser.add_argument("workloads", nargs="*", type=_workload, metavar="W", help=f"which of {known}; all if none")
    parser.add_argument("--scale", type=_scale, default=1.0, help="the sizes' factor, as 0.1; 1 is what is reported")
    parser.add_argument("--rounds", type=int, default=5, choices=range(1, 11), help="turns of Chiffon and raw Celery")
    parser.add_argument("--output", type=Path, default=RESULTS, help="where the JSON lines go")
    parser.add_argument("--folder", type=Path, default=None, help="where the data goes; the disk matters")
    return parser


def _scale(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value <= 10:
        raise argparse.ArgumentTypeError("the scale is above 0 and at most 10")
    return value


def _workload(text: str) -> str:
    if text.upper() not in WORKLOADS:
        raise argparse.ArgumentTypeError(f"there is no workload {text}; there are {', '.join(sorted(WORKLOADS))}")
    return text.upper()


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
