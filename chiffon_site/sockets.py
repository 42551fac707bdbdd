"""The door of every WebSocket: where it comes from, and who stands behind it.

A browser sends the session's cookie from any site, so a socket that leans on the cookie must come from one of our own pages. A
program shows its token in a header, which no foreign page can do, so it needs no origin.
"""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable, Iterable
from http.cookies import CookieError, SimpleCookie
from importlib import import_module
from types import SimpleNamespace
from typing import Any, Final
from urllib.parse import urlsplit

from channels.routing import URLRouter
from django.conf import settings
from django.contrib.auth import get_user
from django.urls import re_path

from audit.context import Actor
from chiffon_site.accounts.tokens import find_token
from plans.consumers.base import Nowhere
from plans.urls_ws import websocket_urlpatterns

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[Any]]
Send = Callable[[dict[str, Any]], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]

_USUAL_PORTS: Final = {"http": 80, "https": 443}


class Door:
    """Lets a socket in with `scope["actor_now"]`, the function that says who it is at the moment it is asked."""

    def __init__(self, inner: Application, origins: Iterable[str]) -> None:
        self.inner = inner
        self.origins = frozenset(filter(None, map(origin_of, origins)))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        origins = _headers(scope, b"origin")
        authorizations = _headers(scope, b"authorization")
        foreign = any(origin_of(origin) not in self.origins for origin in origins)
        if foreign or len(origins) > 1 or len(authorizations) > 1 or not (origins or authorizations):
            await Nowhere()(scope, receive, send)
            return
        if authorizations:
            actor_now = functools.partial(actor_by_token, authorizations[0])
        else:
            actor_now = functools.partial(actor_by_session, "; ".join(_headers(scope, b"cookie")))
        await self.inner({**scope, "actor_now": actor_now}, receive, send)


def sockets(origins: Iterable[str]) -> Application:
    """The application behind every WebSocket, for pages from these origins and programs from anywhere."""
    everywhere_else = re_path(r"", Nowhere.as_asgi())
    router: Application = URLRouter([*websocket_urlpatterns, everywhere_else])
    return Door(router, origins)


def origin_of(text: str) -> tuple[str, str, int] | None:
    """Scheme, host and port of an origin; None for what is none, such as `null`."""
    try:
        parts = urlsplit(text.strip().lower())
        port = parts.port or _USUAL_PORTS.get(parts.scheme)
    except ValueError:
        return None
    if not parts.hostname or port is None or parts.scheme not in _USUAL_PORTS:
        return None
    return parts.scheme, parts.hostname, port


def actor_by_token(authorization: str) -> Actor | None:
    """Who shows this header; None if the token is unknown, expired or revoked. Asks the database."""
    scheme, _, text = authorization.partition(" ")
    token = find_token(text.strip()) if scheme.lower() == "bearer" else None
    return Actor.person(token.user, frozenset(token.scopes)) if token else None


def actor_by_session(cookies: str) -> Actor | None:
    """Whose session these cookies name; None if it ended. Asks the database."""
    try:
        morsel = SimpleCookie(cookies).get(settings.SESSION_COOKIE_NAME)
    except CookieError:
        return None
    if morsel is None:
        return None
    session = import_module(settings.SESSION_ENGINE).SessionStore(morsel.value)
    user = get_user(SimpleNamespace(session=session))  # type: ignore[arg-type]  # of a request it reads the session only
    return Actor.person(user) if user.is_authenticated and user.is_active else None


def _headers(scope: Scope, name: bytes) -> list[str]:
    return [value.decode("latin1") for key, value in scope.get("headers", []) if key == name]
