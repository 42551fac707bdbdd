"""`chiffon user create`: the first person of an installation without the demo, and any further one."""

import argparse
import getpass
import os
import secrets
import sys

ROLES = ("requester", "approver", "auditor", "agent-admin", "administrator")


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    commands = parser.add_subparsers(dest="what", metavar="create", required=True)
    create = commands.add_parser("create", help="make a person who may sign in")
    create.add_argument("name", help="the name to sign in with")
    create.add_argument("--role", action="append", choices=ROLES, required=True, help="may be repeated")
    create.add_argument("--full-name", default="", help="how the person is called on pages")
    create.add_argument("--ask-password", action="store_true", help="type the password instead of getting one")


def run(args: argparse.Namespace) -> int:
    """Make the person. Whoever may read the data folder's secrets may do this."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "chiffon_site.settings")
    import django

    django.setup()
    from django.contrib.auth.password_validation import validate_password  # needs Django's apps, as all of these
    from django.core.exceptions import ValidationError

    from chiffon_site.accounts.people import NameTaken, create_person

    password = getpass.getpass("Password: ") if args.ask_password else secrets.token_urlsafe(12)
    try:
        validate_password(password)
        create_person(name=args.name, full_name=args.full_name, roles=args.role, password=password)
    except ValidationError as error:
        print(" ".join(error.messages), file=sys.stderr)
        return 2
    except NameTaken as error:
        print(error, file=sys.stderr)
        return 1
    print(f"{args.name} may sign in now" + ("." if args.ask_password else f", with the password {password}"))
    return 0
