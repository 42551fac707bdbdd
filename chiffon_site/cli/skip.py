"""`chiffon skip`: leave a step out, with a reason."""

import argparse

from chiffon_site.cli.client import run_with_client
from chiffon_site.cli.steering import add_plan, steer


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    add_plan(parser)
    parser.add_argument("step", metavar="KEY", help="the step's key")
    parser.add_argument("--reason", required=True, help="why; it changes what was approved")


def run(args: argparse.Namespace) -> int:
    """Skip the step."""
    return run_with_client(
        args, lambda client, args: steer(client, args, "skip", {"reason": args.reason}, step=args.step)
    )
