"""`chiffon`: finds the command's module, lets it declare its arguments, and runs it.

A command is a module of this package (with _ for -) with `configure(parser)` and `run(args) -> int`. It is imported only when it is asked for, so
that a client command does not pay for the server's imports.
"""

import argparse
import importlib
import importlib.util
import sys
from collections.abc import Sequence
from typing import Final

COMMANDS: Final[dict[str, str]] = {
    "up": "start everything, with --demo also the demo",
    "agent": "run one agent",
    "ask": "ask for work in words",
    "plans": "list plans",
    "show": "show one plan",
    "approve": "approve the plan you have seen",
    "reject": "reject a plan, with a reason",
    "watch": "follow a plan live",
    "cancel": "end a plan, with a reason",
    "pause": "start nothing new of a plan",
    "resume": "let a paused plan go on",
    "retry": "go on where a plan failed",
    "skip": "leave a step out, with a reason",
    "give-up": "do not wait for a step's next try",
    "revise": "change a plan that awaits approval or has failed",
    "undo": "write the plan that undoes what a plan has done",
    "agents": "list agents",
    "playbooks": "list playbooks, or read them anew",
    "audit": "verify or export the trail",
    "token": "create a token for programs",
    "user": "create a person who may sign in",
    "doctor": "check this installation and say how to mend it",
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    parser = argparse.ArgumentParser(
        prog="chiffon", description="Ask for infrastructure work, approve an exact plan, watch it run."
    )
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    asked = next((word for word in arguments if not word.startswith("-")), "")
    for name, what in COMMANDS.items():
        place = f"chiffon_site.cli.{name.replace('-', '_')}"
        if importlib.util.find_spec(place) is None:
            continue
        sub = commands.add_parser(name, help=what, description=what[0].upper() + what[1:] + ".")
        if name == asked:
            module = importlib.import_module(place)
            module.configure(sub)
            sub.set_defaults(run=module.run)
    args = parser.parse_args(arguments)
    try:
        return int(args.run(args))
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        return 141
