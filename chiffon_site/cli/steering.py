"""What the commands that steer a plan share: one call, and one sentence about what the plan is then."""

from __future__ import annotations

import argparse
from typing import Any

from chiffon_site.cli.client import DONE, Client, add_common, path_of
from chiffon_site.cli.words import plain, print_json, stage


def add_plan(parser: argparse.ArgumentParser) -> None:
    """Declare the common arguments and the plan."""
    add_common(parser)
    parser.add_argument("plan", metavar="ID", help="the plan's number or id")


def steer(client: Client, args: argparse.Namespace, verb: str, body: dict[str, Any], *, step: str | None = None) -> int:
    """Ask the server for it, and tell the plan as it is now."""
    places = ("steps", step, verb) if step is not None else (verb,)
    plan = client.post(path_of("plans", args.plan, *places), body)
    if args.json:
        print_json(plan)
        return DONE
    print(f"Plan {plan['number']} is {stage(plan['stage'])}.")
    for found in plan["steps"]:
        if found["key"] == step or (step is None and found["status"] in {"running", "failed", "unknown"}):
            print(f"  {found['key']} is {_said(found)}.")
    return DONE


def _said(step: dict[str, Any]) -> str:
    last = step["attempts"][-1] if step["attempts"] else None
    only = f", only on {', '.join(last['only_hosts'])}" if last and last["only_hosts"] else ""
    waits = f" ({plain(step['waiting_for']).rstrip('.')})" if step["waiting_for"] else ""
    return f"{stage(step['status'])}{waits}{only}"
