"""Lifecycles as stories that any test can start from: people, policies, agents, plans. Real services, real rows."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.contrib.auth import get_user_model
from django.contrib.auth.models import Group
from django.utils import timezone

from agents.models import Agent
from agents.tools.registry import tools_for
from audit.authority import SCOPES, Role
from audit.context import SYSTEM, Actor
from chiffon_site.accounts.tokens import create_token
from plans import services
from plans.models import ApprovalPolicy, Plan, Revision

PASSWORD = "a password for tests"  # noqa: S105


def make_user(name: str, *roles: Role, **fields: Any) -> Any:
    """A person with these roles; the same one if asked again."""
    users = get_user_model()
    user = users.objects.filter(username=name).first() or users.objects.create_user(name, password=PASSWORD, **fields)
    # A transactional test empties the groups that a migration made.
    user.groups.set([Group.objects.get_or_create(name=role.value)[0] for role in roles])
    return users.objects.get(pk=user.pk)


def make_token(user: Any, *scopes: str, days: int | None = None) -> str:
    """The text of a token of this person; with every scope if none is named."""
    return create_token(actor=SYSTEM, user=user, name="a program", scopes=scopes or SCOPES, days=days)[1]


def make_policy(*, four_eyes: bool = True, approvals_needed: int = 1) -> ApprovalPolicy:
    """The policy in force."""
    ApprovalPolicy.objects.filter(active=True).update(active=False)
    version = ApprovalPolicy.objects.filter(name="Default").count() + 1
    return ApprovalPolicy.objects.create(
        name="Default", version=version, four_eyes=four_eyes, approvals_needed=approvals_needed
    )


def make_agent(name: str = "infra-1", type_: str = "infra", **fields: Any) -> Agent:
    """An agent that was heard just now and takes work."""
    known = {"type": type_, "status": "ready", "tools": tools_for(type_), "slots": 2, "heard_at": timezone.now()}
    return Agent.objects.create(name=name, **{**known, **fields})


def step(key: str = "say", tool: str = "diagnostic.echo", **more: Any) -> dict[str, Any]:
    """A step as a program writes it."""
    value = {"input": {"value": key}} if tool == "diagnostic.echo" and "input" not in more else {}
    return {"key": key, "tool": tool, **value, **more}


def make_plan(requester: Any, steps: Iterable[dict[str, Any]] = (), goal: str = "Try an agent", **more: Any) -> Plan:
    """A plan of this person that awaits approval, by default of one diagnostic step."""
    if not ApprovalPolicy.objects.filter(active=True).exists():
        make_policy()
    made = services.create_plan(actor=Actor.person(requester), goal=goal, steps=list(steps) or [step()], **more)
    return Plan.objects.get(pk=made.pk)


def digest_of(plan: Plan) -> str:
    """The digest of the plan's current revision."""
    return Revision.objects.get(plan=plan, number=Plan.objects.get(pk=plan.pk).revision_number).digest


def approve(plan: Plan, approver: Any) -> Plan:
    """The plan, approved by this person, and therefore started."""
    services.approve_plan(actor=Actor.person(approver), plan_id=plan.pk, digest=digest_of(plan))
    return Plan.objects.get(pk=plan.pk)
