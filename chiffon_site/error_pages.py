"""Errors as designed pages: what happened, what is kept, what to do. The API makes problem details of the same errors."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

from django.core.exceptions import (
    BadRequest,
    PermissionDenied,
    RequestDataTooBig,
    SuspiciousOperation,
    TooManyFieldsSent,
)
from django.db import InterfaceError, OperationalError
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from psycopg_pool import PoolTimeout

from agents.errors import AgentsError
from audit.context import current_trace
from audit.errors import NotAllowed
from plans.errors import PlansError

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Problem:
    """What an error page says. `kept`: what is not lost; `retry`: loading again may help."""

    status: int
    title: str
    sentence: str
    code: str
    kept: str = ""
    retry: bool = False
    trace: str = ""


_NOT_FOUND = "There is nothing at this address, or you may not see it; both look the same on purpose."


def problem_of(error: BaseException) -> Problem | None:
    """What to say about an error that was anticipated, or None."""
    match error:
        case NotAllowed(code="not_found"):
            return Problem(404, "Nothing here has this address", error.sentence, "not_found")
        case NotAllowed():
            return Problem(403, "You may not do this", error.sentence, error.code, "Nothing was changed.")
        case PlansError(status=404) | AgentsError(status=404):
            return Problem(404, "Nothing here has this address", error.sentence, error.code)
        case PlansError(status=409) | AgentsError(status=409):
            return Problem(
                409, "This changed while you read", error.sentence, error.code, "Nothing was changed by you."
            )
        case PlansError() | AgentsError():
            return Problem(error.status, "That can not be done", error.sentence, error.code, "Nothing was changed.")
        case Http404():
            return Problem(404, "Nothing here has this address", _NOT_FOUND, "not_found")
        case PermissionDenied():
            return Problem(403, "You may not do this", str(error) or "Your roles do not allow it.", "forbidden")
        case RequestDataTooBig() | TooManyFieldsSent():
            return Problem(
                413, "That is too much at once", "What was sent is larger than a page may send.", "too_large"
            )
        case BadRequest() | SuspiciousOperation():
            return Problem(
                400, "This request can not be read", "The address or what was sent is not well formed.", "bad_request"
            )
        case OperationalError(__cause__=PoolTimeout()):
            return Problem(
                503,
                "Too much is asked at once",
                "No connection to the database came free in time: many ask at this moment, or it does not answer.",
                "database_unavailable",
                "Running steps go on and report later. Nothing was changed.",
                retry=True,
            )
        case OperationalError() | InterfaceError():
            return Problem(
                503,
                "The database does not answer",
                "Chiffon can not read or write just now, and usually can again within a minute.",
                "database_unavailable",
                "Running steps go on and report later. What you sent may not be saved; look before you send it again.",
                retry=True,
            )
        case _:
            return None


class ErrorPages:
    """Turn anticipated errors of a view into their page, and keep every page out of shared caches."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        if "\0" in request.path and not _is_api(request):
            return _show(request, Problem(404, "Nothing here has this address", _NOT_FOUND, "not_found"))
        response = self.get_response(request)
        if response.get("Content-Type", "").startswith("text/html") and "Cache-Control" not in response:
            response["Cache-Control"] = "private, no-store"
        return response

    def process_exception(self, request: HttpRequest, exception: Exception) -> HttpResponse | None:
        """The page for an error that a view let through; None leaves it to Django, and so to the log."""
        if _is_api(request):
            return None
        problem = problem_of(exception)
        if problem is not None and problem.status >= 500:
            logger.error("%s %s: %s", request.method, request.path, exception)
        return _show(request, problem) if problem else None


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    """The page for a request that can not be read."""
    return _show(request, problem_of(exception) or Problem(400, "This request can not be read", "", "bad_request"))


def forbidden(request: HttpRequest, exception: Exception) -> HttpResponse:
    """The page for what is not allowed."""
    return _show(request, problem_of(exception) or Problem(403, "You may not do this", "", "forbidden"))


def not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    """The page for an address that is none."""
    return _show(request, Problem(404, "Nothing here has this address", _NOT_FOUND, "not_found"))


def server_error(request: HttpRequest) -> HttpResponse:
    """The page for a defect of ours, or for a database that does not answer. It asks nothing of the database."""
    error = sys.exc_info()[1]
    problem = problem_of(error) if error else None
    if problem is None or problem.status != 503:
        trace = str(current_trace() or uuid4())
        logger.error("page broke, shown as trace %s", trace)
        problem = Problem(
            500,
            "This page broke, and it is our fault",
            "The reason is in the log, under the number below.",
            "internal_error",
            "Look before you send anything again: it may or may not have been saved.",
            retry=request.method in ("GET", "HEAD"),
            trace=trace,
        )
    return _show(request, problem)


def csrf_failure(request: HttpRequest, reason: str = "") -> HttpResponse:
    """The page for a form that did not come from us, or is older than its session."""
    sentence = "The form was older than your session, or your browser sent no cookie. Load the page again and send it once more."
    return _show(
        request, Problem(403, "This form could not be trusted", sentence, "csrf_failed", "Nothing was changed.")
    )


def _is_api(request: HttpRequest) -> bool:
    return request.path.startswith("/api/")


def _show(request: HttpRequest, problem: Problem) -> HttpResponse:
    context: dict[str, Any] = {"problem": problem}
    if problem.status >= 500:
        response = render(None, "errors/plain.html", context, status=problem.status)
    else:
        user = getattr(request, "user", None)
        signed_in = bool(user and user.is_authenticated)
        shell = "base.html" if signed_in else "components/door.html"
        context |= {"shell": shell, "signed_in": signed_in, "section": ""}
        response = render(request, "errors/page.html", context, status=problem.status)
    response["Cache-Control"] = "private, no-store"
    if problem.status == 503:
        response["Retry-After"] = "20"
    return response
