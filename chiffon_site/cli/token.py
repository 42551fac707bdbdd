"""`chiffon token create`: a token for programs, made beside the data folder without any server."""

import argparse
import os
import sys
from typing import Any

from chiffon_site.cli.client import DONE, NO_SERVER, REFUSED, TOKEN_FILE
from chiffon_site.cli.words import print_json
from chiffon_site.environment import data_dir


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    commands = parser.add_subparsers(dest="what", metavar="create", required=True)
    create = commands.add_parser("create", help="make a token that acts for a person; it is shown this once")
    create.add_argument("--user", required=True, metavar="U", help="the person it acts for")
    create.add_argument("--scopes", required=True, metavar="A,B", help="what it may do, with commas between")
    create.add_argument("--name", default="command line", help="what it is called in the person's list")
    create.add_argument("--days", type=int, metavar="N", help="how long it is valid; without it, until it is revoked")
    create.add_argument("--save", action="store_true", help="keep it in the data folder for this command line")
    create.add_argument("--json", action="store_true", help='print {"token": …}')


def run(args: argparse.Namespace) -> int:
    """Make the token. Whoever may read the data folder's secrets may do this."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "chiffon_site.settings")
    import django
    from django.core.exceptions import ImproperlyConfigured

    try:
        django.setup()
    except ImproperlyConfigured as error:
        print(f"chiffon: {error}", file=sys.stderr)
        return NO_SERVER
    return _create(args)


def _create(args: argparse.Namespace) -> int:
    # These need Django's apps, which are loaded only now.
    from django.contrib.auth import get_user_model
    from django.db import DatabaseError

    from audit.context import SYSTEM
    from chiffon_site.accounts.tokens import BadToken, create_token

    try:
        user: Any = get_user_model().objects.filter(username=args.user).first()
        if user is None:
            print(f"chiffon: There is no person called {args.user}.", file=sys.stderr)
            return REFUSED
        scopes = [scope.strip() for scope in args.scopes.split(",") if scope.strip()]
        token, text = create_token(actor=SYSTEM, user=user, name=args.name, scopes=scopes, days=args.days)
    except BadToken as error:
        print(f"chiffon: {error}", file=sys.stderr)
        return REFUSED
    except DatabaseError as error:
        words = str(error).strip().splitlines()
        print(f"chiffon: The database does not answer: {words[0] if words else error!r}", file=sys.stderr)
        return NO_SERVER
    if args.save:
        _save(text)
    if args.json:
        ends = token.expires_at.isoformat() if token.expires_at else None
        print_json({"token": text, "id": str(token.pk), "user": args.user, "scopes": token.scopes, "expires_at": ends})
    else:
        print(text)
    return DONE


def _save(text: str) -> None:
    path = data_dir() / TOKEN_FILE
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="ascii") as file:
        file.write(text + "\n")
