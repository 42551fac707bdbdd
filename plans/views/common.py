"""What every page of this app does first: who asks, and for which object."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render

from audit.authority import Action, check
from audit.context import Actor
from plans import live
from plans.errors import NotFound
from plans.models import Plan, Request


def actor_of(request: HttpRequest) -> Actor:
    """The person who asks for the page."""
    return Actor.person(request.user)


def find_plan(actor: Actor, number: int, action: Action = Action.SEE_PLAN) -> Plan:
    """The plan with this number. Raises NotFound, also if it must look as if it did not exist; NotAllowed."""
    plan = Plan.objects.select_related("requester", "request").filter(number=number).first()
    if plan is None:
        raise NotFound(f"There is no plan {number}, or you may not see it; both look the same on purpose.")
    check(actor, Action.SEE_PLAN, plan)  # first: what may not be seen is not found, whatever one wanted to do to it
    check(actor, action, plan)
    return plan


def follow_plan(actor: Actor, number: int) -> tuple[Plan, str]:
    """The plan, read after its live cursor was taken: what happens meanwhile is in it, or arrives over the socket, or both.

    Raises as find_plan().
    """
    cursor = live.cursor_now(find_plan(actor, number))
    return find_plan(actor, number), cursor


def find_request(actor: Actor, request_id: UUID) -> Request:
    """The request with this id. Raises NotFound, also if it must look as if it did not exist."""
    found = Request.objects.select_related("requester", "session").filter(pk=request_id).first()
    if found is None:
        raise NotFound("There is no such request, or you may not see it; both look the same on purpose.")
    check(actor, Action.SEE_REQUEST, found)
    return found


def page(
    request: HttpRequest, template: str, section: str, context: dict[str, Any], *, status: int = 200
) -> HttpResponse:
    """A page of the console: `section` is its entry in the rail."""
    return render(request, template, {"section": section, **context}, status=status)
