"""`chiffon approve`: approve the plan you have seen."""

import argparse
import sys

from chiffon_site.cli.client import DONE, REFUSED, Client, add_common, path_of, run_with_client
from chiffon_site.cli.show import describe
from chiffon_site.cli.words import print_json, stage


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    add_common(parser)
    parser.add_argument("plan", metavar="ID", help="the plan's number or id")
    parser.add_argument("--digest", help="the digest of what you have read; without it, of what the plan is now")
    parser.add_argument("--comment", default="", help="a remark that is kept with the approval")
    parser.add_argument("--yes", action="store_true", help="do not show the plan and ask again on a terminal")


def run(args: argparse.Namespace) -> int:
    """Show the plan, ask on a terminal, and approve exactly what was shown."""
    return run_with_client(args, _approve)


def _approve(client: Client, args: argparse.Namespace) -> int:
    digest = args.digest
    if digest is None:
        plan = client.get(path_of("plans", args.plan))
        digest = plan["digest"] or ""
        if not (args.yes or args.json) and sys.stdin.isatty() and plan["stage"] == "pending_approval":
            print(describe(plan))
            if input("\nApprove this? [y/N] ").strip().lower() not in {"y", "yes"}:
                print("Nothing was approved.")
                return REFUSED
    plan = client.post(path_of("plans", args.plan, "approve"), {"digest": digest, "comment": args.comment})
    if args.json:
        print_json(plan)
    else:
        print(f"Plan {plan['number']} is {stage(plan['stage'])}. Follow it with: chiffon watch {plan['number']}")
    return DONE
