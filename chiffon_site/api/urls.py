"""The API's paths. What is under them and is no path of ours is a problem too, never a page."""

from __future__ import annotations

from django.urls import URLPattern, URLResolver, path, re_path

from chiffon_site.api.application import api
from chiffon_site.api.docs import docs
from chiffon_site.api.guard import guard_all, guarded
from chiffon_site.api.problems import nothing_here

app_name = "api"
_patterns = api.urls[0]

urlpatterns: list[URLPattern | URLResolver] = [
    path("v1/docs", docs, name="docs"),
    *guard_all(_patterns),
    re_path(r"^.*$", guarded(nothing_here), name="nothing"),
]
