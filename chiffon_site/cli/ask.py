"""`chiffon ask`: ask for work in words, or answer a question about it."""

import argparse
from typing import Any

from chiffon_site.cli.client import DONE, REFUSED, Client, ClientProblem, add_common, path_of, run_with_client
from chiffon_site.cli.words import plain, print_json


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    add_common(parser)
    parser.add_argument("text", metavar="TEXT", help="what you want done, in plain words")
    parser.add_argument("--session", metavar="ID", help="go on in this conversation")
    parser.add_argument("--request", metavar="ID", help="the text answers the question about this request")


def run(args: argparse.Namespace) -> int:
    """Ask, and say what was understood."""
    return run_with_client(args, _ask)


def _ask(client: Client, args: argparse.Namespace) -> int:
    if args.request:
        request = client.post(path_of("requests", args.request, "messages"), {"text": args.text})
    else:
        more = {"session_id": args.session} if args.session else {}
        request = client.post("/requests", {"text": args.text, **more})
    if args.json:
        print_json(request)
    else:
        _say(request, _plan_of(client, request))
    return REFUSED if request["status"] in {"out_of_scope", "failed"} else DONE


def _plan_of(client: Client, request: dict[str, Any]) -> dict[str, Any] | None:
    """The plan that was made; None also for a token that may ask and not read."""
    try:
        plan: dict[str, Any] | None = client.get(path_of("plans", request["plan_id"])) if request["plan_id"] else None
    except ClientProblem:
        return None
    return plan


def _say(request: dict[str, Any], plan: dict[str, Any] | None) -> None:
    for message in request["messages"] or []:
        if message["author"] is None:
            print(plain(message["text"]))
    for ambiguity in (request["decomposition"] or {}).get("ambiguities") or []:
        if request["status"] == "needs_clarification":
            for option in ambiguity.get("options") or []:
                print(f"  {plain(option.get('label', ''))}  {plain(option.get('detail', ''))}".rstrip())
    if request["status"] == "needs_clarification":
        print(f'Answer with: chiffon ask --request {request["id"]} "YOUR ANSWER"')
    if plan is not None:
        steps = len(plan["steps"])
        print(
            f"Plan {plan['number']}: {steps} step{'s' if steps != 1 else ''}, {plan['risk']} risk. {plain(plan['goal'])}"
        )
        print(f"Read it with: chiffon show {plan['number']}")
