"""`chiffon watch`: follow a plan live, each event exactly once, until it ends."""

import argparse
import sys
import time
from typing import Any, Final

from chiffon_site.cli.client import DONE, REFUSED, Client, ClientProblem, add_common, path_of, run_with_client
from chiffon_site.cli.live import happenings, passes
from chiffon_site.cli.words import output_line, plain, print_json, stage

ENDED: Final = frozenset({"completed", "failed", "cancelled", "rejected", "expired"})
STILLNESS: Final = 30.0  # seconds without news after the end, while some end of a try was not shown


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    add_common(parser)
    parser.add_argument("plan", metavar="ID", help="the plan's number or id")


def run(args: argparse.Namespace) -> int:
    """Follow the plan; 0 if it completes, 1 if it ends otherwise."""
    return run_with_client(args, _watch)


def _watch(client: Client, args: argparse.Namespace) -> int:
    plan = client.get(path_of("plans", args.plan))
    seen = Seen(plan["stage"])
    still_since = time.monotonic()
    if not args.json:
        print(f"Plan {plan['number']}, {stage(seen.stage)}: {plain(plan['goal'])}", flush=True)
    for event in happenings(client, plan["id"]):
        if event is not None:
            still_since = time.monotonic()
            seen.take(event)
            if args.json:
                print_json(event)
            else:
                _say(event)
        elif seen.stage in ENDED:
            try:
                plan = client.get(f"/plans/{plan['id']}")
            except ClientProblem as problem:
                if not passes(problem):
                    raise
                continue  # who follows the plan meets the same trouble, and waits
            if seen.whole(plan):
                break
            if time.monotonic() - still_since > STILLNESS:
                print("chiffon: The plan has ended; the last of what happened is not to be had.", file=sys.stderr)
                break
    if not args.json:
        print(f"Plan {plan['number']} is {stage(plan['stage'])}.")
    return DONE if plan["stage"] == "completed" else REFUSED


class Seen:
    """What was shown so far, to know when that is everything: steps that end side by side are told one after the other."""

    def __init__(self, stage: str) -> None:
        self.stage = stage
        self._ended: set[str] = set()

    def take(self, event: dict[str, Any]) -> None:
        """One event was shown."""
        if event["type"] == "stage_changed":
            self.stage = str(event["data"].get("now"))
        elif event["type"] == "output_end":
            self._ended.add(str(event["attempt"]))

    def whole(self, plan: dict[str, Any]) -> bool:
        """Whether the plan is at rest, its last stage was shown, and so was the end of every try that began."""
        began = {try_["id"] for step in plan["steps"] for try_ in step["attempts"] if try_["started_at"]}
        return plan["stage"] == self.stage and self.stage in ENDED and began <= self._ended


def _say(event: dict[str, Any]) -> None:
    data, step = event["data"], plain(event["step"] or "")
    kind = event["type"]
    if kind == "output":
        print(f"{step} | {output_line(data['text'])}", flush=True)
        return
    told = {
        "stage_changed": lambda: f"{_of_plan(data)}. {plain(data.get('reason', ''))}",
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


def _of_plan(data: dict[str, Any]) -> str:
    """What an event says of a whole plan: that its budget is met, that it is coming to a stop, or its stage."""
    if data.get("budget"):
        return "Budget"
    return f"Plan: {'being cancelled' if data.get('stopping') else stage(str(data.get('now')))}"
