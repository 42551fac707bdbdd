"""`chiffon reject`: reject a plan, with a reason."""

import argparse

from chiffon_site.cli.client import DONE, Client, add_common, path_of, run_with_client
from chiffon_site.cli.words import print_json, stage


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    add_common(parser)
    parser.add_argument("plan", metavar="ID", help="the plan's number or id")
    parser.add_argument("--reason", required=True, help="why; the requester reads it")
    parser.add_argument("--digest", default="", help="only if the plan still has this digest")


def run(args: argparse.Namespace) -> int:
    """Reject the plan."""
    return run_with_client(args, _reject)


def _reject(client: Client, args: argparse.Namespace) -> int:
    plan = client.post(path_of("plans", args.plan, "reject"), {"reason": args.reason, "digest": args.digest})
    if args.json:
        print_json(plan)
    else:
        print(f"Plan {plan['number']} is {stage(plan['stage'])}.")
    return DONE
