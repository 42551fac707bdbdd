"""Sign-ins, failed sign-ins and sign-outs as decision records. Django's signals are strangers to us, so we listen."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from allauth.account.adapter import get_adapter
from django.contrib.auth import get_user_model
from django.contrib.auth.signals import user_logged_in, user_logged_out, user_login_failed
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.http import HttpRequest

from audit import trail
from audit.context import SYSTEM, Actor, acting

STRANGER: Final = "someone unknown"  # a mistyped name may be a password, so it is not kept


def connect() -> None:
    """Listen to Django's three signals; a second call changes nothing."""
    user_logged_in.connect(_signed_in, dispatch_uid="chiffon.signed_in")
    user_login_failed.connect(_sign_in_failed, dispatch_uid="chiffon.sign_in_failed")
    user_logged_out.connect(_signed_out, dispatch_uid="chiffon.signed_out")


def _signed_in(*, user: Any, request: HttpRequest | None = None, **_: object) -> None:
    with transaction.atomic(), acting(Actor.person(user)):
        trail.record("person.signed_in", subject=("person", user.get_username()), address=_address(request))


def _sign_in_failed(*, credentials: Mapping[str, Any], request: HttpRequest | None = None, **_: object) -> None:
    given = str(credentials.get("username") or credentials.get("login") or "").replace("\0", "")[:150]
    user = get_user_model().objects.filter(username=given).first() if given else None
    reason = (
        "nobody has that name" if user is None else "wrong password" if user.is_active else "the account is disabled"
    )
    name = user.get_username() if user else STRANGER
    with transaction.atomic(), acting(SYSTEM):
        trail.record("person.sign_in_failed", subject=("person", name), reason=reason, address=_address(request))


def _signed_out(*, user: Any, request: HttpRequest | None = None, **_: object) -> None:
    if user is None:
        return  # the session had ended before
    with transaction.atomic(), acting(Actor.person(user)):
        trail.record("person.signed_out", subject=("person", user.get_username()), address=_address(request))


def _address(request: HttpRequest | None) -> str:
    """Where the connection came from, as the limits on signing in count it: a header is believed only behind a trusted proxy."""
    if request is None:
        return "no request"
    try:
        return str(get_adapter().get_client_ip(request))
    except PermissionDenied:  # nobody said, or it is no address
        return "unknown"
