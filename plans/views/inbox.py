"""The inbox: what waits for the person who looks."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from django.views.decorators.http import require_safe

from audit.authority import Action, check
from plans.forms import LONGEST_NUMBER, whole_number
from plans.selectors.inbox import TABS, inbox_page
from plans.views.common import actor_of, page


@require_safe
def inbox(request: HttpRequest) -> HttpResponse:
    """Plans to decide, questions to answer, runs that stopped, and what this person decided."""
    actor = actor_of(request)
    check(actor, Action.SEE_PLANS)
    wanted = request.GET.get("tab", "me")
    glance = whole_number(request.GET.get("plan"), most=LONGEST_NUMBER)
    found = inbox_page(actor, wanted if wanted in TABS else "me", glance)
    template = "plans/inbox.html"
    if request.headers.get("HX-Target") == "glance":
        template = "plans/inbox.html#glance"
    return page(request, template, "inbox", {"inbox": found})
