"""The addresses of allauth that this installation opens: sign-in for everybody, a few more for who is signed in.

allauth reverses the names of all its pages, so each keeps its name and its address; those that we do not open ask for
a sign-in like every page, and are not there for who is signed in. An account is made and mended by an administrator.
"""

from typing import Any

from allauth.account import urls
from django.http import Http404, HttpRequest, HttpResponse
from django.urls import URLPattern

OPENED = frozenset({"account_login", "account_logout", "account_change_password", "account_reauthenticate"})


def closed(request: HttpRequest, **_: Any) -> HttpResponse:
    """Answer that there is no such page."""
    raise Http404


def _door(pattern: URLPattern) -> URLPattern:
    if pattern.name in OPENED:
        return pattern
    return URLPattern(pattern.pattern, closed, pattern.default_args, pattern.name)


urlpatterns = [_door(pattern) for pattern in urls.urlpatterns]
