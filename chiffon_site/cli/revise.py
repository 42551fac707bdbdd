"""`chiffon revise`: write a plan's steps to a file, and hand them back changed; the new revision waits for approval."""

import argparse
import json
from pathlib import Path
from typing import Any, Final

from chiffon_site.cli.client import DONE, Client, ClientProblem, path_of, run_with_client
from chiffon_site.cli.steering import add_plan
from chiffon_site.cli.words import plain, print_json

_TAKEN: Final = ("steps", "digest", "goal", "budget", "max_parallel")
_WRONG_ARGUMENTS: Final = 2


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    add_plan(parser)
    parser.add_argument(
        "file", metavar="FILE", nargs="?", help="the changed plan, as --write wrote it: JSON with {steps, …}"
    )
    parser.add_argument("--write", metavar="FILE", help="write the plan as it is now to this file, and change nothing")
    parser.add_argument("--reason", default="", help="why it is changed; whoever approves it reads this")


def run(args: argparse.Namespace) -> int:
    """Write the plan to a file, or make a new revision of it from one."""
    return run_with_client(args, _revise)


def _revise(client: Client, args: argparse.Namespace) -> int:
    if bool(args.file) == bool(args.write):
        raise ClientProblem("Name the file to read, or with --write the one to write.", _WRONG_ARGUMENTS)
    if args.write:
        return _write(client, args)
    plan = client.post(path_of("plans", args.plan, "revisions"), {**_read(args.file), "reason": args.reason})
    if args.json:
        print_json(plan)
        return DONE
    done = [step["key"] for step in plan["steps"] if step["carried_from"]]
    print(f"Plan {plan['number']} has revision {plan['revision']}, which waits for approval.")
    if done:
        print(f"Not repeated: {', '.join(map(plain, done))}.")
    print(f"Read it with: chiffon show {plan['number']}")
    return DONE


def _write(client: Client, args: argparse.Namespace) -> int:
    program = client.get(path_of("plans", args.plan, "program"))
    try:
        Path(args.write).write_text(json.dumps(program, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")
    except OSError as error:
        raise ClientProblem(f"{args.write} can not be written: {error.strerror}.", _WRONG_ARGUMENTS) from error
    if args.json:
        print_json(program)
    else:
        print(
            f"{args.write} holds plan {args.plan}. Change it, then: chiffon revise {args.plan} {args.write} --reason WHY"
        )
    return DONE


def _read(name: str) -> dict[str, Any]:
    """What a file says of a plan. Raises ClientProblem."""
    try:
        told = json.loads(Path(name).read_text(encoding="utf-8"))
    except OSError as error:
        raise ClientProblem(f"{name} can not be read: {error.strerror}.", _WRONG_ARGUMENTS) from error
    except ValueError as error:
        raise ClientProblem(f"{name} holds no JSON: {error}.", _WRONG_ARGUMENTS) from error
    if not isinstance(told, dict) or not isinstance(told.get("steps"), list):
        raise ClientProblem(f"{name} holds no plan: that is an object with steps.", _WRONG_ARGUMENTS)
    if odd := next((key for key in told if key not in _TAKEN), None):
        raise ClientProblem(f"{name} says {plain(odd)!r}, which is no part of a plan.", _WRONG_ARGUMENTS)
    return told
