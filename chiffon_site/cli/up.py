"""`chiffon up`: everything on this machine, on one command."""

import argparse
import os
import sys

from chiffon_site.embedded.errors import CannotStart, Interrupted
from chiffon_site.embedded.installation import Installation
from chiffon_site.environment import WrongEnvironment, read_given


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument(
        "--demo",
        action="store_true",
        help="add people, policies, a playbook repository and a service manager to try it with",
    )


def run(args: argparse.Namespace) -> int:
    """Start everything and stay until Ctrl-C; what prevents the start is said in one sentence."""
    try:
        environment = read_given(os.environ)
        Installation(environment, given=os.environ, demo=args.demo, say=_say).run()
    except Interrupted:
        return 130
    except (CannotStart, WrongEnvironment) as error:
        print(f"Chiffon cannot run: {error}", file=sys.stderr)
        return 1
    _say("Chiffon has stopped; its data is kept.")
    return 0


def _say(line: str) -> None:
    print(line, flush=True)
