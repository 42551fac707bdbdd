"""The pages of agents and playbooks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final
from uuid import UUID

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_POST, require_safe

from agents import documentation, pages, services
from agents.enums import AgentStatus, BreakerState
from agents.errors import AgentsError, NoSuchAgent, NoSuchBreaker, NoSuchPlaybook, NoSuchTool
from agents.models import Agent
from audit.authority import Action, check, may
from audit.context import Actor

_STEERING: Final[dict[str, tuple[Callable[..., Agent], str]]] = {
    "drain": (services.drain_agent, "{} finishes what it runs and gets nothing new."),
    "maintenance": (services.set_maintenance, "{} is in maintenance until someone activates it."),
    "activate": (services.activate_agent, "{} takes work again."),
}


def _page(
    request: HttpRequest, template: str, section: str, context: dict[str, Any], status: int = 200
) -> HttpResponse:
    return render(request, template, {"section": section, **context}, status=status)


@require_safe
def agents(request: HttpRequest) -> HttpResponse:
    """Who can work, what they run, and which circuit breakers keep tries back."""
    actor = Actor.person(request.user)
    check(actor, Action.SEE_AGENTS)
    breakers = pages.breakers_to_show()
    context = {
        "fleet": pages.fleet(),
        "breakers": breakers,
        "breakers_open": sum(one.state != BreakerState.CLOSED for one in breakers),
        "may_manage": bool(may(actor, Action.MANAGE_AGENTS)),
    }
    return _page(request, "agents/agents.html", "agents", context)


@require_POST
def reset_breaker(request: HttpRequest, breaker_id: UUID) -> HttpResponse:
    """Close a circuit breaker, with a reason."""
    reason = request.POST.get("reason", "").strip()[:500]
    try:
        breaker = services.reset_breaker(actor=Actor.person(request.user), breaker_id=breaker_id, reason=reason)
    except NoSuchBreaker:
        raise
    except AgentsError as error:
        messages.error(request, error.sentence)
    else:
        messages.success(request, f"The breaker of {breaker} is closed.")
    return redirect(f"{reverse('agents:list')}#breakers")


def agent(request: HttpRequest, name: str) -> HttpResponse:
    """One agent; posting to it drains it, puts it into maintenance or activates it."""
    actor = Actor.person(request.user)
    check(actor, Action.SEE_AGENTS)
    refusal: dict[str, Any] | None = None
    if request.method == "POST":
        check(actor, Action.MANAGE_AGENTS)
        verb, said = _STEERING.get(request.POST.get("do", ""), (None, ""))
        if verb is None:
            refusal = {
                "sentence": "An agent can drain, go into maintenance or be activated.",
                "code": "bad_input",
                "status": 400,
            }
        else:
            try:
                verb(actor=actor, name=name, reason=request.POST.get("reason", "").strip()[:500])
            except NoSuchAgent:
                raise
            except AgentsError as error:
                refusal = {"sentence": error.sentence, "code": error.code, "status": error.status}
            else:
                messages.success(request, said.format(name))
                return redirect("agents:agent", name)
    found = pages.agent_page(name)
    if found is None:
        raise NoSuchAgent(f"No agent is called {name}.")
    status = AgentStatus(found.row.agent.status)
    context = {
        "shown": found,
        "refusal": refusal,
        "may_manage": bool(may(actor, Action.MANAGE_AGENTS)),
        "can_drain": status in (AgentStatus.READY, AgentStatus.BUSY, AgentStatus.STARTING),
        "can_maintain": status not in (AgentStatus.MAINTENANCE, AgentStatus.TERMINATED),
        "can_activate": status in (AgentStatus.DRAINING, AgentStatus.MAINTENANCE),
    }
    return _page(request, "agents/agent.html", "agents", context, status=refusal["status"] if refusal else 200)


@require_safe
def tools(request: HttpRequest) -> HttpResponse:
    """What steps can use, how it fared, and which third-party tools are left out."""
    check(Actor.person(request.user), Action.SEE_AGENTS)
    return _page(request, "agents/tools.html", "tools", {"list": documentation.tool_list()})


@require_safe
def tool(request: HttpRequest, name: str) -> HttpResponse:
    """The documentation of one tool."""
    check(Actor.person(request.user), Action.SEE_AGENTS)
    found = documentation.tool_page(name)
    if found is None:
        raise NoSuchTool("No tool of that name is installed.")
    return _page(request, "agents/tool.html", "tools", {"shown": found})


@require_safe
def playbooks(request: HttpRequest) -> HttpResponse:
    """What can be asked for, and which files can not be used as they are."""
    actor = Actor.person(request.user)
    check(actor, Action.SEE_PLAYBOOKS)
    words, service, after = (request.GET.get(name, "").replace("\0", "")[:200] for name in ("q", "service", "after"))
    context = {
        "list": pages.playbook_list(words=words, service=service, after=after),
        "words": words,
        "service": service,
        "after": after,
        "may_refresh": bool(may(actor, Action.REFRESH_PLAYBOOKS)),
        "may_ask": bool(may(actor, Action.ASK)),
    }
    return _page(request, "agents/playbooks.html", "playbooks", context)


@require_POST
def refresh(request: HttpRequest) -> HttpResponse:
    """Read the playbook repository anew."""
    actor = Actor.person(request.user)
    check(actor, Action.REFRESH_PLAYBOOKS)
    try:
        repository = services.refresh_playbooks(actor=actor)
    except AgentsError as error:
        messages.error(request, f"{error.sentence} What was found before stays.")
    else:
        messages.success(request, f"The playbooks were read at commit {repository.commit[:7]}.")
    return redirect("agents:playbooks")


@require_safe
def playbook(request: HttpRequest, playbook_id: UUID) -> HttpResponse:
    """One playbook: what it does, what it needs, who used it, its text."""
    actor = Actor.person(request.user)
    check(actor, Action.SEE_PLAYBOOKS)
    found = pages.playbook_page(playbook_id, actor)
    if found is None:
        raise NoSuchPlaybook("There is no such playbook in the catalogue.")
    context = {"shown": found, "may_ask": bool(may(actor, Action.ASK))}
    return _page(request, "agents/playbook.html", "playbooks", context)
