"""`chiffon retry`: go on where a plan failed, or begin a step's next try now."""

import argparse

from chiffon_site.cli.client import Client, run_with_client
from chiffon_site.cli.steering import add_plan, steer


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    add_plan(parser)
    parser.add_argument("--step", metavar="KEY", help="only this step; one that waits for its next try begins it now")
    parser.add_argument(
        "--unfinished-hosts",
        action="store_true",
        help="run playbooks again only on the hosts that are not finished, and leave the others alone",
    )
    parser.add_argument("--reason", default="", help="why; it stays in the trail")


def run(args: argparse.Namespace) -> int:
    """Give a step, or all that failed, another try."""
    return run_with_client(args, _retry)


def _retry(client: Client, args: argparse.Namespace) -> int:
    body = {"reason": args.reason, **({"hosts": "unfinished"} if args.unfinished_hosts else {})}
    return steer(client, args, "retry", body, step=args.step)
