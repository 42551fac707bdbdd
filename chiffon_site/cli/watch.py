"""`chiffon watch`: follow a plan live, each event exactly once, until it ends."""

import argparse
import sys
import time
from typing import Any, Final

from chiffon_site.cli.client import (
    DONE,
    NO_SERVER,
    REFUSED,
    Client,
    ClientProblem,
    add_common,
    path_of,
    run_with_client,
)
from chiffon_site.cli.words import output_line, plain, print_json, stage

ENDED: Final = frozenset({"completed", "failed", "cancelled", "rejected", "expired"})
SOON, SELDOM = 0.25, 1.0  # seconds between two looks, while much and while little happens
STILLNESS: Final = 3  # empty looks after the end, for events whose transaction was slow
PATIENCE: Final = 60.0  # seconds without a server


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    add_common(parser)
    parser.add_argument("plan", metavar="ID", help="the plan's number or id")


def run(args: argparse.Namespace) -> int:
    """Follow the plan; 0 if it completes, 1 if it ends otherwise."""
    return run_with_client(args, _watch)


def _watch(client: Client, args: argparse.Namespace) -> int:
    plan = client.get(path_of("plans", args.plan))
    path, cursor, was, still, wait = f"/plans/{plan['id']}", None, plan["stage"], 0, SOON
    if not args.json:
        print(f"Plan {plan['number']}, {stage(was)}: {plain(plan['goal'])}", flush=True)
    while True:
        page = _patient(client, f"{path}/events", after=cursor)
        for event in page["items"]:
            cursor = event["cursor"]
            if args.json:
                print_json(event)
            else:
                _say(event)
        cursor = page["next"] or cursor
        if page["items"]:
            still, wait = 0, SOON
            if page["next"]:
                continue
        was = _patient(client, path)["stage"]
        if was in ENDED:
            still += 1
            if still >= STILLNESS:
                break
            wait = SOON
        time.sleep(wait)
        wait = min(SELDOM, wait * 1.2)
    if not args.json:
        print(f"Plan {plan['number']} is {stage(was)}.")
    return DONE if was == "completed" else REFUSED


def _patient(client: Client, path: str, **query: Any) -> Any:
    """The answer, also if the server is away for a while: readers resume from their cursor."""
    until = time.monotonic() + PATIENCE
    said = False
    while True:
        try:
            return client.get(path, **query)
        except ClientProblem as problem:
            again = problem.code == NO_SERVER or problem.problem.get("status") in {429, 500, 503}
            if not again or time.monotonic() > until:
                raise
            if not said:
                print(f"chiffon: {problem} Trying again.", file=sys.stderr)
                said = True
            time.sleep(SELDOM)


def _say(event: dict[str, Any]) -> None:
    data, step = event["data"], plain(event["step"] or "")
    kind = event["type"]
    if kind == "output":
        print(f"{step} | {output_line(data['text'])}", flush=True)
        return
    told = {
        "stage_changed": lambda: f"Plan: {stage(str(data.get('now')))}. {plain(data.get('reason', ''))}",
        "step_changed": lambda: (
            f"{step}: {stage(str(data.get('now')))}. {plain(data.get('summary') or data.get('waiting_for') or '')}"
        ),
        "agent_started": lambda: f"{step}: {plain(data.get('agent', 'an agent'))} starts.",
        "agent_thinking": lambda: f"{step}: {plain(data.get('text', ''))}",
        "tool_executing": lambda: f"{step}: {plain(data.get('tool', 'a tool'))} runs.",
        "tool_completed": lambda: f"{step}: {plain(data.get('tool', 'the tool'))} is done.",
        "agent_completed": lambda: f"{step}: {plain(data.get('outcome', 'done'))}. {plain(data.get('summary', ''))}",
    }.get(kind)
    if told is not None:
        print(f"== {told().strip()}", flush=True)
