"""`chiffon agent`: one agent on this machine."""

import argparse
import os
import sys
from importlib.metadata import version


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("--name", required=True, help="its name: lower case letters, digits and -")
    parser.add_argument("--type", default="infra", choices=["infra", "code", "research", "desktop"])
    parser.add_argument("--slots", type=int, default=2, help="how many steps it runs at once")
    parser.add_argument("--label", action="append", default=[], help="something steps may ask for; may be repeated")


def run(args: argparse.Namespace) -> int:
    """Be an agent until told to stop; what prevents it is said in one sentence."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "chiffon_site.settings")
    os.environ.setdefault("CHIFFON_PROCESS", "agent")
    import django

    django.setup()
    from agents.errors import AgentsError
    from agents.worker import NAME, run_agent
    from chiffon_site.celery import app
    from chiffon_site.patience import wait_for_database
    from plans.execution.reaper import take_over

    if not NAME.fullmatch(args.name) or not 1 <= args.slots <= 64:
        print("An agent's name is made of lower case letters, digits and -; it has 1 to 64 slots.", file=sys.stderr)
        return 2
    wait_for_database()
    try:
        return run_agent(
            app,
            name=args.name,
            type_=args.type,
            slots=args.slots,
            labels=args.label,
            version=version("chiffon"),
            started=lambda agent: take_over(agent.pk),
        )
    except AgentsError as error:
        print(error.sentence, file=sys.stderr)
        return 1
