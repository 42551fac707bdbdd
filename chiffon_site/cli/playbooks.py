"""`chiffon playbooks`: list playbooks, or read them anew."""

import argparse

from chiffon_site.cli.client import DONE, Client, add_common, run_with_client
from chiffon_site.cli.words import print_json, table


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    add_common(parser)
    parser.add_argument("--refresh", action="store_true", help="read the repository anew first")


def run(args: argparse.Namespace) -> int:
    """List the playbooks."""
    return run_with_client(args, _list)


def _list(client: Client, args: argparse.Namespace) -> int:
    if args.refresh:
        client.post("/playbooks/refresh", {})
    playbooks = list(client.pages("/playbooks", limit=200))
    if args.json:
        print_json({"items": playbooks})
    elif not playbooks:
        print("No playbook is known. Read the repository with: chiffon playbooks --refresh")
    else:
        rows = [
            (
                row["path"],
                row["service"] or "-",
                row["risk"],
                "missing" if row["missing"] else "problems" if row["problems"] else "ready",
                row["description"],
            )
            for row in playbooks
        ]
        print(table(("playbook", "service", "risk", "state", "what"), rows))
    return DONE
