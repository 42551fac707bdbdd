"""`chiffon undo`: write the plan that undoes what another has done; it waits for approval like any other."""

import argparse

from chiffon_site.cli.client import DONE, Client, path_of, run_with_client
from chiffon_site.cli.steering import add_plan
from chiffon_site.cli.words import plain, print_json


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    add_plan(parser)
    parser.add_argument("--reason", default="", help="why; whoever approves the new plan reads it")


def run(args: argparse.Namespace) -> int:
    """Ask for the plan that undoes it."""
    return run_with_client(args, _undo)


def _undo(client: Client, args: argparse.Namespace) -> int:
    plan = client.post(path_of("plans", args.plan, "undo"), {"reason": args.reason})
    if args.json:
        print_json(plan)
        return DONE
    print(f"Plan {plan['number']} waits for approval: {plain(plan['goal'])}")
    for step in plan["steps"]:
        print(f"  {step['key']}")
    print(f"Read it with: chiffon show {plan['number']}")
    return DONE
