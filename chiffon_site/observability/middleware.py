"""Opens the trace of every HTTP request, and names it in the answer."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Final, cast
from uuid import UUID

from asgiref.sync import iscoroutinefunction, markcoroutinefunction
from django.http import HttpRequest
from django.http.response import HttpResponseBase

from audit.context import acting, current_actor
from audit.ids import uuid7

HEADER: Final = "X-Trace-Id"
GetResponse = Callable[[HttpRequest], HttpResponseBase | Awaitable[HttpResponseBase]]


@dataclass(slots=True)
class Caller:
    """The trace of a request, and who sent it; the name is filled in as soon as it is known."""

    trace_id: UUID
    name: str = ""


_caller: ContextVar[Caller | None] = ContextVar("caller", default=None)


def caller_of(request: object) -> Caller | None:
    """The caller of this request, or of the one that is being answered now; None outside of any."""
    return getattr(request, "traced_caller", None) or _caller.get()


class TraceMiddleware:
    """The first middleware: whatever is logged or recorded below it has a trace, and the answer says which."""

    sync_capable = True
    async_capable = True

    def __init__(self, get_response: GetResponse) -> None:
        self._get_response = get_response
        self._is_async = iscoroutinefunction(get_response)
        if self._is_async:
            markcoroutinefunction(self)

    def __call__(self, request: HttpRequest) -> HttpResponseBase | Awaitable[HttpResponseBase]:
        if self._is_async:
            return self._answer_async(request)
        with _opened(request) as trace:
            response = cast("HttpResponseBase", self._get_response(request))
            response[HEADER] = str(trace)
            return response

    async def _answer_async(self, request: HttpRequest) -> HttpResponseBase:
        with _opened(request) as trace:
            response = await cast("Awaitable[HttpResponseBase]", self._get_response(request))
            response[HEADER] = str(trace)
            return response

    def process_view(self, request: HttpRequest, view: Any, args: Any, kwargs: Any) -> None:
        """Note who calls, where that is asked anyway: a probe must not need the database for its log lines."""
        caller = _caller.get()
        if caller is not None and getattr(view, "login_required", True) and request.user.is_authenticated:
            caller.name = request.user.get_username()


@contextmanager
def _opened(request: HttpRequest) -> Iterator[UUID]:
    # An id sent from outside is not taken over: it would end up in records that are believed.
    trace = uuid7()
    caller = Caller(trace)
    token = _caller.set(caller)
    # Django logs failed requests after the last middleware has returned, and hands the request to the log.
    request.traced_caller = caller  # type: ignore[attr-defined]
    try:
        with acting(current_actor(), trace):
            yield trace
    finally:
        _caller.reset(token)
