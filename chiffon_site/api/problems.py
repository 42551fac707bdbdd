"""Every error as application/problem+json (RFC 9457), with the trace that leads to the log line."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from http import HTTPStatus
from typing import Any, Final

from django.core.exceptions import BadRequest, RequestDataTooBig, SuspiciousOperation
from django.db import InterfaceError, OperationalError
from django.http import Http404, HttpRequest, HttpResponse
from ninja.errors import HttpError, ValidationError
from psycopg_pool import PoolTimeout

from audit.context import current_trace
from audit.errors import NotAllowed
from audit.http import Problem
from plans.errors import MOST_ERRORS, brief, told

CONTENT_TYPE: Final = "application/problem+json"
DATABASE_BACK_SECONDS: Final = 2
# The pool cannot tell whether all its connections are at work or the server takes none.
NONE_FREE: Final = (
    "No connection to the database came free in time: too many requests at once, or it does not answer. "
    "Nothing was changed; try again."
)
_log = logging.getLogger(__name__)

_CODES: Final = {
    400: "bad_request",
    401: "not_signed_in",
    403: "forbidden",
    404: "not_found",
    405: "method_not_allowed",
    409: "conflict",
    413: "too_large",
    415: "unsupported_media_type",
    422: "invalid",
    429: "too_many_requests",
    500: "internal_error",
    503: "unavailable",
}
_SENTENCES: Final = {
    400: "The request could not be read.",
    404: "There is nothing at this address.",
    405: "This address does not take this method.",
    413: "The body is larger than 1 MiB.",
    500: "Something went wrong in Chiffon. The log tells more under this trace.",
    503: "The database does not answer at the moment. Nothing was changed; try again.",
}


def problem(
    status: int,
    code: str = "",
    detail: str = "",
    *,
    errors: Sequence[dict[str, Any]] = (),
    retry_after: int | None = None,
) -> HttpResponse:
    """The answer for a problem; code and sentence have a default for each status."""
    code = code or _CODES.get(status, "error")
    trace = current_trace()
    body: dict[str, Any] = {
        "type": f"urn:chiffon:problem:{code}",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": detail or _SENTENCES.get(status, HTTPStatus(status).phrase),
        "code": code,
        "trace_id": str(trace) if trace else None,
    }
    if errors:
        body["errors"] = told(errors)
    response = HttpResponse(json.dumps(body), status=status, content_type=CONTENT_TYPE)
    response["Cache-Control"] = "no-store"
    if retry_after is not None:
        response["Retry-After"] = str(retry_after)
    if status == HTTPStatus.UNAUTHORIZED:
        response["WWW-Authenticate"] = 'Bearer realm="chiffon"'
    return response


def from_exception(request: HttpRequest, error: BaseException) -> HttpResponse:
    """The problem that fits an exception. What nobody anticipated is logged and told without its words."""
    if isinstance(error, Problem):
        return problem(error.status, error.code, error.sentence, errors=error.errors, retry_after=error.retry_after)
    if isinstance(error, NotAllowed):
        return problem(403, error.code, error.sentence)
    if isinstance(error, ValidationError):
        errors = [_field(found) for found in error.errors[:MOST_ERRORS]]
        more = f" (and {len(error.errors) - 1} more)" if len(error.errors) > 1 else ""
        return problem(422, "invalid", f"{_place(errors[0])}: {errors[0]['msg']}{more}.", errors=errors)
    if isinstance(error, HttpError):
        return problem(error.status_code, detail="" if error.status_code == HTTPStatus.BAD_REQUEST else str(error))
    if isinstance(error, Http404):
        return problem(404)
    if isinstance(error, RequestDataTooBig):
        return problem(413)
    if isinstance(error, (SuspiciousOperation, BadRequest)):
        return problem(400)
    if isinstance(error, (OperationalError, InterfaceError)):
        _log.warning("the database did not answer, trace %s: %s", current_trace(), error)
        detail = NONE_FREE if isinstance(error.__cause__, PoolTimeout) else ""
        return problem(503, detail=detail, retry_after=DATABASE_BACK_SECONDS)
    ours = _told_by_an_app(error)
    if ours is not None:
        return ours
    _log.error("%s %s failed, trace %s", request.method, request.path, current_trace(), exc_info=error)
    return problem(500)


def _told_by_an_app(error: BaseException) -> HttpResponse | None:
    """The errors of the apps carry status, code and sentence; their places in the body are the caller's."""
    status, code, sentence = (getattr(error, name, None) for name in ("status", "code", "sentence"))
    if not (isinstance(status, int) and isinstance(code, str) and isinstance(sentence, str)):
        return None
    errors = [
        {"loc": ["body", *found.get("loc", [])], "msg": str(found.get("msg", ""))}
        for found in getattr(error, "errors", ())
    ]
    return problem(status, code, sentence, errors=errors)


def _field(found: dict[str, Any]) -> dict[str, Any]:
    # ninja names the parameter of the endpoint's function as well; a caller knows nothing of that.
    loc = list(found.get("loc", ()))
    if len(loc) > 1 and loc[0] == "body":
        loc.pop(1)
    return {"loc": loc, "msg": str(found.get("msg", ""))}


def _place(found: dict[str, Any]) -> str:
    return brief(".".join(str(part) for part in found["loc"][1:])) or "body"


def nothing_here(request: HttpRequest) -> HttpResponse:
    """The answer at an address that is none."""
    return problem(404)
