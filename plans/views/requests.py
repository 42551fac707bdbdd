"""Asking for work in words, and the conversation that follows."""

from __future__ import annotations

from uuid import UUID

from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.views.decorators.http import require_GET, require_POST

from agents.models import Agent, Offering, Playbook
from audit.authority import Action, check
from plans import services
from plans.enums import RequestStatus
from plans.errors import BadText, PlansError
from plans.forms import PageFilter, whole_number
from plans.selectors.lists import request_list
from plans.selectors.request_page import request_page, words_of
from plans.views.common import actor_of, find_request, page

EXAMPLES = 4


def requests(request: HttpRequest) -> HttpResponse:
    """The list of requests; posting to it asks for work."""
    if request.method == "POST":
        return _ask(request)
    actor = actor_of(request)
    check(actor, Action.SEE_PLANS)
    form = PageFilter(request.GET)
    before = form.cleaned_data["before"] if form.is_valid() else None
    status = request.GET.get("status", "")
    found = request_list(actor, status=status, before=before)
    context = {"list": found, "status": status, "statuses": RequestStatus.choices}
    return page(request, "plans/requests.html", "requests", context, status=200 if form.is_valid() else 400)


@require_GET
def new_request(request: HttpRequest) -> HttpResponse:
    """The empty page on which a conversation begins."""
    actor = actor_of(request)
    check(actor, Action.ASK)
    return _composer(request, text=words_of(actor, whole_number(request.GET.get("again"))))


def _ask(request: HttpRequest) -> HttpResponse:
    actor, text = actor_of(request), request.POST.get("text", "")
    try:
        asked = services.submit_request(actor=actor, text=text)
    except BadText as error:
        return _composer(request, text=text, error=error)
    return redirect("plans:request", asked.pk)


def _composer(request: HttpRequest, text: str = "", error: PlansError | None = None) -> HttpResponse:
    offered = Offering.objects.filter(available=True, playbook__missing=False)
    context = {
        "text": text[:20_000],
        "error": error,
        "offerings": list(
            offered.select_related("playbook").order_by("playbook__path", "key").distinct("playbook__path")[:EXAMPLES]
        ),
        "playbook_count": Playbook.objects.filter(missing=False).count(),
        "agents_ready": Agent.objects.filter(status__in=["ready", "busy"]).count(),
    }
    return page(request, "plans/new_request.html", "requests", context, status=error.status if error else 200)


def conversation(request: HttpRequest, request_id: UUID) -> HttpResponse:
    """One conversation; posting to it answers."""
    actor = actor_of(request)
    asked = find_request(actor, request_id)
    if request.method == "POST":
        return _answer(request, asked.pk)
    return page(request, "plans/request.html", "requests", {"talk": request_page(asked, actor)})


@require_POST
def _answer(request: HttpRequest, request_id: UUID) -> HttpResponse:
    actor, text = actor_of(request), request.POST.get("text", "")
    check(actor, Action.ANSWER_REQUEST, find_request(actor, request_id))
    try:
        answered = services.answer_request(actor=actor, request_id=request_id, text=text)
    except PlansError as error:
        if error.status == 404:
            raise
        talk = request_page(find_request(actor, request_id), actor)
        context = {"talk": talk, "text": text[:20_000], "error": error}
        return page(request, "plans/request.html", "requests", context, status=error.status)
    return redirect("plans:request", answered.pk)
