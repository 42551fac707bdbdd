"""`chiffon agents`: list agents."""

import argparse

from chiffon_site.cli.client import DONE, Client, add_common, run_with_client
from chiffon_site.cli.words import clock, print_json, table


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    add_common(parser)


def run(args: argparse.Namespace) -> int:
    """List the agents."""
    return run_with_client(args, _list)


def _list(client: Client, args: argparse.Namespace) -> int:
    agents = list(client.pages("/agents", limit=200))
    if args.json:
        print_json({"items": agents})
    elif not agents:
        print("No agent has registered yet. Start one with: chiffon agent --name N --type infra")
    else:
        rows = [
            (
                agent["name"],
                agent["type"],
                agent["status"],
                f"{agent['busy']}/{agent['slots']}",
                clock(agent["heard_at"]),
            )
            for agent in agents
        ]
        print(table(("agent", "type", "status", "busy", "heard"), rows))
    return DONE
