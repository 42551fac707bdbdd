"""The API as one application: the apps' routers under one version, with one way to sign in."""

from __future__ import annotations

from typing import Any, Final

from django.conf import settings
from django.http import HttpRequest
from ninja.security import APIKeyCookie, HttpBearer

from agents.api import agents, playbooks, tools
from agents.api_breakers import breakers
from audit.api import audit
from audit.context import Actor
from audit.http import caller
from chiffon_site.api.bodies import StrictParser
from chiffon_site.api.dashboard import dashboard
from chiffon_site.api.guard import checked
from chiffon_site.api.openapi import DocumentedAPI
from plans.api import attempts, plans, requests

VERSION: Final = "v1"


class Token(HttpBearer):
    """A token in the Authorization header. The door has checked it already; this is for the document."""

    def __call__(self, request: HttpRequest) -> Any:
        return caller() if "Authorization" in request.headers else None

    def authenticate(self, request: HttpRequest, token: str) -> Actor:
        """The caller that the door found."""
        return caller()


class Session(APIKeyCookie):
    """The cookie of a person who signed in, with X-CSRFToken where something changes."""

    param_name = settings.SESSION_COOKIE_NAME

    def __call__(self, request: HttpRequest) -> Any:
        return caller()

    def authenticate(self, request: HttpRequest, key: str | None) -> Actor:
        """The caller that the door found."""
        return caller()


api = DocumentedAPI(
    title="Chiffon",
    version=VERSION,
    description=(
        "Ask for infrastructure work in words, approve the exact plan, watch it run, prove it afterwards. "
        "Errors are problem details (RFC 9457); times are RFC 3339 in UTC; lists are paged by the cursor `next`. "
        "A list or a plan shows only what the caller may see. At least 50 calls a second are free for each token."
    ),
    urls_namespace="api",
    openapi_url="/v1/openapi.json",
    docs_url=None,
    parser=StrictParser(),
    auth=[Token(), Session()],
)
api.add_decorator(checked, mode="view")
api.add_router("/v1/requests", requests)
api.add_router("/v1/plans", plans)
api.add_router("/v1/attempts", attempts)
api.add_router("/v1/agents", agents)
api.add_router("/v1/breakers", breakers)
api.add_router("/v1/tools", tools)
api.add_router("/v1/playbooks", playbooks)
api.add_router("/v1/audit", audit)
api.add_router("/dashboard", dashboard)
