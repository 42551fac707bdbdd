"""`chiffon plans`: list plans."""

import argparse
from itertools import islice

from chiffon_site.cli.client import DONE, Client, add_common, run_with_client
from chiffon_site.cli.words import clock, plain, print_json, stage, table

STAGES = (
    "draft",
    "pending_approval",
    "approved",
    "executing",
    "paused",
    "completed",
    "failed",
    "cancelled",
    "rejected",
    "expired",
)
LONGEST_GOAL = 60


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    add_common(parser)
    parser.add_argument("--stage", choices=STAGES, help="only plans in this stage")
    parser.add_argument("--requester", metavar="NAME", help="only plans of this person, or of me")
    parser.add_argument("--awaiting", action="store_true", help="only plans that wait for my decision")
    parser.add_argument("--limit", type=int, default=50, metavar="N", help="at most so many, newest first (50)")


def run(args: argparse.Namespace) -> int:
    """List the plans this person may see."""
    return run_with_client(args, _list)


def _list(client: Client, args: argparse.Namespace) -> int:
    awaiting = "me" if args.awaiting else None
    wanted = max(1, args.limit)
    found = client.pages(
        "/plans", stage=args.stage, requester=args.requester, awaiting=awaiting, limit=min(wanted, 200)
    )
    plans = list(islice(found, wanted))
    if args.json:
        print_json({"items": plans})
    elif not plans:
        print("There is no such plan.")
    else:
        rows = [
            (
                plan["number"],
                stage(plan["stage"]),
                plan["risk"],
                len(plan["steps"]),
                plan["requester"],
                clock(plan["created_at"]),
                _short(plan["goal"]),
            )
            for plan in plans
        ]
        print(table(("plan", "stage", "risk", "steps", "requester", "asked", "goal"), rows))
    return DONE


def _short(goal: str) -> str:
    text = plain(goal)
    return text if len(text) <= LONGEST_GOAL else text[: LONGEST_GOAL - 1] + "…"
