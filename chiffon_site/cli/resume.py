"""`chiffon resume`: let a paused plan go on."""

import argparse

from chiffon_site.cli.client import run_with_client
from chiffon_site.cli.steering import add_plan, steer


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    add_plan(parser)
    parser.add_argument("--reason", default="", help="why; it stays in the trail")


def run(args: argparse.Namespace) -> int:
    """Resume the plan."""
    return run_with_client(args, lambda client, args: steer(client, args, "resume", {"reason": args.reason}))
