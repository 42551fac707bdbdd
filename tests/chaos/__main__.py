"""`python -m tests.chaos`: all that takes too long for `make test`; exit code 1 if anything is broken.

One part alone: `--only crash-points`, `kills`, `frozen` or `soak`. The seed is printed, and repeats the choices of a run.
"""

import argparse
import random
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.chaos import crash_loop, frozen, kills, soak
from tests.chaos.rigged import RiggedHouse

HOUSES = 4  # installations that share the crash points: most of a round is waiting
KILLED_PLANS = 50
FROZEN_SECONDS = 60
SECONDS = 600.0  # of the soak


def main() -> int:
    """Run what was asked for, one part after the other."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos")
    parser.add_argument("--only", choices=PARTS, help="only this part")
    parser.add_argument("--seconds", type=float, default=SECONDS, help="how long the soak kills programs")
    parser.add_argument("--seed", type=int, default=None, help="of the soak and of the kills; by default a new one")
    args = parser.parse_args()
    args.seed = random.randrange(10**6) if args.seed is None else args.seed
    signal.signal(signal.SIGINT, signal.default_int_handler)  # also where a shell started this in the background
    _say(f"seed {args.seed}")
    broken = []
    with tempfile.TemporaryDirectory(prefix="chiffon-chaos-") as name:
        for part in [args.only] if args.only else PARTS:
            _say(f"\n{part} begins")
            began = time.monotonic()
            folder = Path(name) / part
            folder.mkdir()
            sound = PARTS[part](folder, args)
            _say(f"{part} {'holds' if sound else 'IS BROKEN'}, after {time.monotonic() - began:.0f} s")
            broken += [] if sound else [part]
    return 1 if broken else 0


def crash_points(folder: Path, _args: argparse.Namespace) -> bool:
    """Every crash point of every program, told one by one; whether all left the plans as if nothing had happened."""
    rounds = crash_loop.Whole(_say).run([folder / str(number) for number in range(HOUSES)])
    deaths = sum(len(done.orders) for done in rounds if done.reached)
    wrong = [done for done in rounds if done.problems]
    missed, lost = crash_loop.missed(rounds), [str(done.orders[-1]) for done in rounds if not done.reached]
    _say(f"{len(rounds)} rounds, {deaths} deaths at crash points; {len(wrong) or 'none'} left a difference.")
    _say(f"Nobody came again to {len(lost)} points: {', '.join(lost) or '-'}.")
    if missed:
        _say(f"What the loop is for and did not come to: {', '.join(missed)}.")
    return not wrong and not missed


def kill_all(folder: Path, args: argparse.Namespace) -> bool:
    """Each program in turn, while fifty plans run."""
    with _house(folder) as house:
        done = kills.run(house, plans=KILLED_PLANS, seed=args.seed)
    _say(done.told())
    return not done.problems


def freeze(folder: Path, _args: argparse.Namespace) -> bool:
    """A broker that stands still for a minute."""
    with _house(folder) as house:
        found = frozen.run(house, seconds=FROZEN_SECONDS)
    _say(found.told())
    return not found.problems


def soak_long(folder: Path, args: argparse.Namespace) -> bool:
    """Random plans and random kills for ten minutes."""
    with _house(folder) as house:
        done = soak.run(house, seconds=args.seconds, seed=args.seed)
    if args.seconds >= SECONDS:  # long enough that everything must have happened
        done.problems += [
            f"{what} never happened, so nothing is known of it." for what, count in done.trials.items() if not count
        ]
    _say(done.told())
    return not done.problems


PARTS = {"crash-points": crash_points, "kills": kill_all, "frozen": freeze, "soak": soak_long}


@contextmanager
def _house(folder: Path) -> Iterator[RiggedHouse]:
    house = RiggedHouse(folder)
    try:
        house.start()
        yield house
    finally:
        house.stop()


def _say(text: str) -> None:
    print(text, flush=True)


if __name__ == "__main__":
    sys.exit(main())
