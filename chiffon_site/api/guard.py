"""The one door of the API: before an endpoint runs, it is known who calls, on which trace, and that they may call so often."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial, wraps
from typing import Any, Final

from django.contrib.auth.decorators import login_not_required
from django.http import HttpRequest, HttpResponse
from django.urls import URLPattern, URLResolver
from django.views.decorators.csrf import csrf_exempt
from ninja.utils import check_csrf

from audit.context import Actor, acting, current_trace
from audit.http import Problem
from audit.ids import uuid7
from chiffon_site.accounts.tokens import find_token
from chiffon_site.api import idempotency
from chiffon_site.api.bodies import LARGEST_BODY, check_value, read_json
from chiffon_site.api.openapi import SCOPE_OF
from chiffon_site.api.problems import from_exception, problem
from chiffon_site.api.rates import buckets

_JSON: Final = "application/json"
_READ_AS_JSON: Final = frozenset(
    {_JSON, "application/x-www-form-urlencoded"}
)  # the latter is what curl says of any body
SAFE: Final = frozenset({"GET", "HEAD", "OPTIONS"})
View = Callable[..., HttpResponse]


def guarded(view: View) -> View:
    """The view behind the door: signed in or 401, counted, and every error a problem."""

    @csrf_exempt  # cookies are checked below; a token needs no check, since no browser sends it by itself
    @login_not_required  # the middleware would redirect a program to a page
    @wraps(view)
    def door(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        trace = current_trace() or uuid7()  # the one that the answer's header names
        with acting(_NOBODY, trace):
            try:
                _check_size(request)
                caller, bucket = _who(request)
                if seconds := buckets().wait(bucket):
                    raise Problem(429, "too_many_requests", "That is too fast.", retry_after=seconds)
                _check_address(request)
                if request.body:
                    _check_form(request)
                    read_json(request.body)  # ninja would make one and the same answer of every complaint
                with acting(caller, trace):
                    return _as_problem(_answer(request, lambda: view(request, *args, **kwargs)))
            except Exception as error:
                return from_exception(request, error)

    return door


def guard_all(patterns: list[URLPattern | URLResolver]) -> list[URLPattern | URLResolver]:
    """Put every view of these paths behind the door."""
    for pattern in patterns:
        if isinstance(pattern, URLPattern):
            pattern.callback = guarded(pattern.callback)
    return patterns


def checked(run: Any) -> Callable[..., HttpResponse]:
    """An operation's `run` behind what only the operation can tell: which parameters it takes, and what a token needs for it."""
    operation = run.__self__
    queries = [model.__ninja_flatten_map__ for model in operation.models if model.__ninja_param_source__ == "query"]
    known, scope = sorted({name for names in queries for name in names}), SCOPE_OF[operation.operation_id]

    @wraps(run)
    def door(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        if known:
            _check_parameters(request, known)
        return idempotency.once(request, scope, partial(run, request, *args, **kwargs))

    return door


_NOBODY: Final = Actor("agent", "")  # may do nothing; the context's own default may do everything


def _answer(request: HttpRequest, call: Callable[[], HttpResponse]) -> HttpResponse:
    """What the call answers; to HEAD what it answers to GET, since ninja knows no HEAD. Whoever sends it leaves the body out."""
    if request.method != "HEAD":
        return call()
    request.method = "GET"
    try:
        return call()
    finally:
        request.method = "HEAD"


def _as_problem(response: HttpResponse) -> HttpResponse:
    if response.status_code < 400 or "json" in response.get("Content-Type", ""):
        return response
    plain = problem(response.status_code)  # what ninja says itself, such as a method that is not allowed
    if "Allow" in response:
        plain["Allow"] = response["Allow"]
    return plain


def _who(request: HttpRequest) -> tuple[Actor, str]:
    """Who calls, and whose bucket the call is taken from. Raises Problem 401, or 403 for a call another site may have made."""
    header = request.headers.get("Authorization")
    if header is not None:
        scheme, _, text = header.partition(" ")
        token = find_token(text.strip()) if scheme.lower() == "bearer" else None
        if token is None:
            raise Problem(401, "bad_token", "The token is unknown, expired or revoked, or its person is disabled.")
        return Actor.person(token.user, frozenset(token.scopes)), f"token:{token.pk}"
    if not request.user.is_authenticated:
        raise Problem(401, "not_signed_in", "Sign in, or send a token in the Authorization header.")
    if request.method not in SAFE and check_csrf(request) is not None:
        raise Problem(403, "csrf_failed", "The call lacks the X-CSRFToken of this session, or comes from another site.")
    return Actor.person(request.user), f"person:{request.user.pk}"


def _check_size(request: HttpRequest) -> None:
    """Go on, or raise Problem 413: by the announced length before reading, and by the real one after."""
    announced = request.headers.get("Content-Length") or "0"
    if not announced.isdigit():
        raise Problem(400, "bad_request", "The Content-Length is not a number.")
    if int(announced) > LARGEST_BODY or len(request.body) > LARGEST_BODY:
        raise Problem(413, "too_large", "The body is larger than 1 MiB.")


def _check_form(request: HttpRequest) -> None:
    """Go on, or raise Problem 415 for a body that is said to be something else than JSON in UTF-8. Nothing said is JSON."""
    media, charset = request.content_type or _JSON, (request.content_params or {}).get("charset", "utf-8")
    if media not in _READ_AS_JSON and not media.endswith("+json"):
        raise Problem(415, "unsupported_media_type", f"A body is {_JSON} here, not {media[:100]}.")
    if charset.lower() not in {"utf-8", "utf8"} or request.headers.get("Content-Encoding", "identity") != "identity":
        raise Problem(415, "unsupported_media_type", f"A body is {_JSON} in UTF-8 here, not encoded in any other way.")


def _check_parameters(request: HttpRequest, known: list[str]) -> None:
    """Go on, or raise Problem 422: a list would answer everything to a filter with a typing mistake."""
    sentence = f"There is no such parameter, only {', '.join(known)}"
    if errors := [{"loc": ["query", name], "msg": sentence} for name in request.GET if name not in known]:
        raise Problem(422, "invalid", f"{errors[0]['loc'][1]}: {sentence}.", errors=errors)


def _check_address(request: HttpRequest) -> None:
    """Go on, or raise Problem: no thing has a NUL in its name, and no filter can hold one."""
    if "\x00" in request.path:
        raise Problem(404, "not_found", "There is nothing at this address.")
    for name, values in request.GET.lists():
        check_value(name, ["query"])
        for value in values:
            check_value(value, ["query", name])
