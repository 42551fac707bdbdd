"""`chiffon cancel`: end a plan; what runs is asked to stop, and made to."""

import argparse

from chiffon_site.cli.client import run_with_client
from chiffon_site.cli.steering import add_plan, steer


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    add_plan(parser)
    parser.add_argument("--reason", required=True, help="why; the people who asked and approved read it")


def run(args: argparse.Namespace) -> int:
    """Cancel the plan."""
    return run_with_client(args, lambda client, args: steer(client, args, "cancel", {"reason": args.reason}))
