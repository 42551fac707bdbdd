"""`python -m tests.chaos --seconds 600 --seed 7`: a long soak; exit code 1 if an invariant is broken."""

import argparse
import random
import sys
import tempfile
from pathlib import Path

from tests.chaos import soak
from tests.processes import Installation


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos")
    parser.add_argument("--seconds", type=float, default=600, help="how long to kill")
    parser.add_argument("--seed", type=int, default=None, help="repeats a run; by default a new one, which is printed")
    parser.add_argument("--plans", type=int, default=10, help="how many plans are under way at once")
    args = parser.parse_args()
    seed = random.randrange(10**6) if args.seed is None else args.seed
    print(f"seed {seed}, {args.seconds:g} s", flush=True)
    with tempfile.TemporaryDirectory(prefix="chiffon-chaos-") as folder:
        installation = Installation(Path(folder) / "data")
        installation.start()
        try:
            done = soak.run(installation, seconds=args.seconds, seed=seed, plans=args.plans)
        finally:
            installation.stop()
    print(done.told())
    return 1 if done.problems else 0


if __name__ == "__main__":
    sys.exit(main())
