"""Tokens for programs: made, found, revoked. A token is shown once and kept as its hash."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Iterable
from datetime import timedelta
from typing import Any, Final
from uuid import UUID

from django.db import transaction
from django.db.models import Q
from django.db.models.functions import Now

from audit import trail
from audit.authority import SCOPES, Action, check
from audit.context import Actor, acting
from chiffon_site.accounts.models import ApiToken

PREFIX: Final = "chf_"
_SHOWN: Final = 8
LONGEST_NAME: Final = 100
LONGEST_LIFE_DAYS: Final = 3650


class BadToken(ValueError):
    """A token cannot be made as asked; the message says why."""

    code = "bad_token"


def create_token(
    *, actor: Actor, user: Any, name: str, scopes: Iterable[str], days: int | None = None
) -> tuple[ApiToken, str]:
    """Make a token that acts for a user, and return it with its secret text, which is kept nowhere.

    `days` is how long it is valid; None means until it is revoked. Scopes beyond the person's role are granted but
    powerless. Raises BadToken, and NotAllowed for a token of somebody else.
    """
    check(actor, Action.MANAGE_TOKENS)
    if actor.kind == "person" and actor.user.pk != user.pk:
        raise BadToken("A person makes tokens for themselves only.")
    wanted = sorted(set(scopes))
    name = name.strip()
    if not name or len(name) > LONGEST_NAME or not name.isprintable():
        raise BadToken(f"A token needs a name of 1 to {LONGEST_NAME} printable characters.")
    if not wanted:
        raise BadToken(f"A token needs at least one scope: {', '.join(sorted(SCOPES))}.")
    if unknown := [scope for scope in wanted if scope not in SCOPES]:
        raise BadToken(f"There is no scope {unknown[0]!r}; there are {', '.join(sorted(SCOPES))}.")
    if days is not None and not 1 <= days <= LONGEST_LIFE_DAYS:
        raise BadToken(f"A token is valid for 1 to {LONGEST_LIFE_DAYS} days.")
    text = PREFIX + secrets.token_urlsafe(32)
    with transaction.atomic(), acting(actor):
        token = ApiToken(
            user=user,
            name=name,
            start=text[:_SHOWN],
            sha256=_hash(text),
            scopes=wanted,
            expires_at=Now() + timedelta(days=days) if days is not None else None,
        )
        token.save(force_insert=True)
        trail.record("token.created", subject=("token", token.pk), name=name, scopes=wanted, user=user.get_username())
    token.refresh_from_db()
    return token, text


def find_token(text: str) -> ApiToken | None:
    """The token with this text, if it is valid now and its person is active; last use is noted to the minute."""
    if not text.startswith(PREFIX) or not text.isascii():
        return None
    token = (
        ApiToken.objects.select_related("user")
        .filter(Q(expires_at=None) | Q(expires_at__gt=Now()), sha256=_hash(text), revoked_at=None, user__is_active=True)
        .first()
    )
    if token is not None:
        stale = Q(last_used_at=None) | Q(last_used_at__lt=Now() - timedelta(minutes=1))
        ApiToken.objects.filter(stale, pk=token.pk).update(last_used_at=Now())
    return token


def revoke_token(*, actor: Actor, token_id: UUID) -> ApiToken | None:
    """End one's own token at once. Revoking it again changes nothing; None if one has no such token."""
    check(actor, Action.MANAGE_TOKENS)
    token = ApiToken.objects.filter(pk=token_id, user=actor.user).first()
    if token is None:
        return None
    with transaction.atomic(), acting(actor):
        if ApiToken.objects.filter(pk=token.pk, revoked_at=None).update(revoked_at=Now()):
            trail.record("token.revoked", subject=("token", token.pk), name=token.name)
    token.refresh_from_db()
    return token


def _hash(text: str) -> str:
    # A token holds 256 random bits, so a plain hash is as good as a slow one and lets the database find it.
    return hashlib.sha256(text.encode()).hexdigest()
