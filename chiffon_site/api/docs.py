"""The interactive documentation: the OpenAPI document in Swagger UI, served from here, with no inline script."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils.csp import CSP
from django.views.decorators.csp import csp_override
from django.views.decorators.http import require_safe

# Swagger UI draws its arrows from data: addresses in its style sheet, and sets sizes on elements.
_POLICY: Mapping[str, Collection[str] | str] = {**settings.SECURE_CSP, "img-src": [CSP.SELF, "data:"]}


@require_safe
@csp_override(_POLICY)
def docs(request: HttpRequest) -> HttpResponse:
    """Every endpoint, with its fields and answers, to be tried as the person who is signed in."""
    return render(request, "api/docs.html")
