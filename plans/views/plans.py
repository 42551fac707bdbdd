"""The list of plans, the page of one, and the decision about it."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.forms import Form
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.views.decorators.http import require_safe

from audit.authority import Action, check
from audit.errors import NotAllowed
from plans import services
from plans.enums import Stage
from plans.errors import PlansError
from plans.forms import ApproveForm, PlanFilter, RejectForm, whole_number
from plans.selectors.lists import heading, plan_list
from plans.selectors.plan_page import plan_page
from plans.views.common import actor_of, find_plan, follow_plan, page


@require_safe
def plans(request: HttpRequest) -> HttpResponse:
    """The plans this person may see, newest first."""
    actor = actor_of(request)
    check(actor, Action.SEE_PLANS)
    form = PlanFilter(request.GET)
    valid = form.is_valid()
    wanted: dict[str, Any] = form.cleaned_data if valid else {}
    found = plan_list(
        actor,
        stage=wanted.get("stage", ""),
        requester=wanted.get("requester", ""),
        words=wanted.get("q", ""),
        before=wanted.get("before"),
    )
    context = {"list": found, "form": form, "heading": heading(found.counts), "stages": Stage.choices, "wanted": wanted}
    return page(request, "plans/plans.html", "plans", context, status=200 if valid else 400)


@require_safe
def plan(request: HttpRequest, number: int) -> HttpResponse:
    """What will happen, what could go wrong, who must still agree."""
    return _plan(request, number)


def _plan(request: HttpRequest, number: int, status: int = 200, **more: Any) -> HttpResponse:
    actor = actor_of(request)
    found, cursor = follow_plan(actor, number)
    first = whole_number(request.GET.get("from")) or 1
    shown = plan_page(found, actor, first, request.GET.get("step", ""))
    return page(request, "plans/plan.html", "plans", {"page": shown, "cursor": cursor, **more}, status=status)


def approve(request: HttpRequest, number: int) -> HttpResponse:
    """Approve the digest that was on the screen."""
    if request.method != "POST":
        return redirect("plans:plan", number)
    actor = actor_of(request)
    found = find_plan(actor, number)
    form = ApproveForm(request.POST)
    kept = request.POST.get("comment", "")[:2000]
    if not form.is_valid():
        sentence = "Nothing was approved: " + _words(form)
        return _plan(
            request, number, 400, refusal={"sentence": sentence, "code": "bad_input", "status": 400}, kept=kept
        )
    try:
        decided = services.approve_plan(
            actor=actor, plan_id=found.pk, digest=form.cleaned_data["digest"], comment=form.cleaned_data["comment"]
        )
    except (PlansError, NotAllowed) as error:
        return _refused(request, number, error, kept=kept, digest=form.cleaned_data["digest"])
    if decided.stage == Stage.PENDING_APPROVAL:
        messages.success(request, f"Your approval of plan {number} counts. It needs more before it runs.")
        return redirect("plans:plan", number)
    messages.success(request, f"Plan {number} is approved and starts.")
    return redirect("plans:run", number)


def reject(request: HttpRequest, number: int) -> HttpResponse:
    """Reject a plan, with the reason that its requester reads."""
    if request.method != "POST":
        return redirect("plans:plan", number)
    actor = actor_of(request)
    found = find_plan(actor, number)
    form = RejectForm(request.POST)
    kept = request.POST.get("reason", "")[:2000]
    if not form.is_valid():
        sentence = "Nothing was rejected. " + _words(form)
        return _plan(
            request, number, 400, refusal={"sentence": sentence, "code": "bad_input", "status": 400}, kept=kept
        )
    try:
        services.reject_plan(
            actor=actor, plan_id=found.pk, reason=form.cleaned_data["reason"], digest=form.cleaned_data["digest"]
        )
    except (PlansError, NotAllowed) as error:
        return _refused(request, number, error, kept=kept, digest=form.cleaned_data["digest"])
    messages.success(request, f"Plan {number} is rejected. Nothing of it will run.")
    return redirect("plans:plan", number)


def _refused(
    request: HttpRequest, number: int, error: PlansError | NotAllowed, *, kept: str, digest: str
) -> HttpResponse:
    """The plan as it is now, with what was faster above it and what was typed kept."""
    status = error.status if isinstance(error, PlansError) else 403
    if status == 404:
        raise error
    refusal = {"sentence": error.sentence, "code": error.code, "status": status, "read": digest}
    return _plan(request, number, status, refusal=refusal, kept=kept)


def _words(form: Form) -> str:
    """What is wrong with what was typed."""
    return " ".join(str(error) for errors in form.errors.values() for error in errors)
