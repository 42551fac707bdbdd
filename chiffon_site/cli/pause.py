"""`chiffon pause`: start nothing new; what runs now runs to its end."""

import argparse

from chiffon_site.cli.client import run_with_client
from chiffon_site.cli.steering import add_plan, steer


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    add_plan(parser)
    parser.add_argument("--reason", default="", help="why; it stays in the trail")


def run(args: argparse.Namespace) -> int:
    """Pause the plan."""
    return run_with_client(args, lambda client, args: steer(client, args, "pause", {"reason": args.reason}))
