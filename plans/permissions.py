"""Who may see or do what to which request or plan. These are the rules behind audit.authority.may()."""

from __future__ import annotations

from typing import Any

from django.db.models import QuerySet

from audit.authority import YES, Action, Answer, Role, roles_of, rule
from audit.context import Actor
from plans.models import Plan, PlanQuerySet, Request

# These roles see every plan; a requester sees their own.
SEE_ALL_PLANS = frozenset({Role.APPROVER, Role.AUDITOR, Role.ADMINISTRATOR})
SEE_ALL_REQUESTS = frozenset({Role.AUDITOR, Role.ADMINISTRATOR})
_HIDDEN = Answer(False, "not_found", "There is no such thing, or it is not for you.", hidden=True)


def _is_requester(actor: Actor, subject: Plan | Request) -> bool:
    return actor.user is not None and subject.requester_id == actor.user.pk


@rule(Action.SEE_PLAN)
def _see_plan(actor: Actor, roles: frozenset[Role], plan: Any) -> Answer:
    return YES if roles & SEE_ALL_PLANS or _is_requester(actor, plan) else _HIDDEN


@rule(Action.SEE_TRACE)
def _see_trace(actor: Actor, roles: frozenset[Role], plan: Any) -> Answer:
    return YES if roles & SEE_ALL_PLANS or _is_requester(actor, plan) else _HIDDEN


@rule(Action.SEE_REQUEST)
def _see_request(actor: Actor, roles: frozenset[Role], request: Any) -> Answer:
    """A conversation is its requester's. Who decides about its plan reads the words on the plan's page."""
    return YES if roles & SEE_ALL_REQUESTS or _is_requester(actor, request) else _HIDDEN


@rule(Action.ANSWER_REQUEST)
def _answer_request(actor: Actor, roles: frozenset[Role], request: Any) -> Answer:
    if _is_requester(actor, request):
        return YES
    if roles & SEE_ALL_REQUESTS:
        return Answer(False, "forbidden", "Only the requester answers in their conversation.")
    return _HIDDEN


@rule(Action.DECIDE_PLAN)
def _decide_plan(actor: Actor, roles: frozenset[Role], plan: Any) -> Answer:
    """The role decides here. Four eyes depends on the policy and is asked by the approval gate."""
    return YES


@rule(Action.OPERATE_PLAN)
def _operate_plan(actor: Actor, roles: frozenset[Role], plan: Any) -> Answer:
    return YES if roles & {Role.APPROVER, Role.ADMINISTRATOR} or _is_requester(actor, plan) else _HIDDEN


def visible_plans(actor: Actor) -> PlanQuerySet:
    """The plans this actor may see."""
    if actor.kind == "system" or roles_of(actor.user) & SEE_ALL_PLANS:
        return Plan.objects.all()
    return Plan.objects.filter(requester=actor.user) if actor.user and roles_of(actor.user) else Plan.objects.none()


def visible_requests(actor: Actor) -> QuerySet[Request]:
    """The requests this actor may see."""
    if actor.kind == "system" or roles_of(actor.user) & SEE_ALL_REQUESTS:
        return Request.objects.all()
    return (
        Request.objects.filter(requester=actor.user) if actor.user and roles_of(actor.user) else Request.objects.none()
    )
