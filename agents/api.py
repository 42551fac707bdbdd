"""The REST endpoints of agents, tools and playbooks."""

from __future__ import annotations

from typing import Annotated, Any
from uuid import UUID

from django.db.models import Count, Q, QuerySet
from django.http import HttpRequest
from ninja import Path, Query, Router, Schema
from pydantic import Field

from agents import documentation, services
from agents.enums import AgentStatus
from agents.models import Agent, Playbook
from audit.authority import Action
from audit.http import USUAL_PAGE, Given, Limit, Time, Told, allow, caller, missing

agents = Router(tags=["agents"])
tools = Router(tags=["agents"])
playbooks = Router(tags=["playbooks"])

_BUSY = Q(attempts__status__in=["sent", "running"])
_WORKING = frozenset({AgentStatus.READY, AgentStatus.BUSY})


class AgentFilters(Schema):
    """Where to go on: the name of the last agent seen."""

    after: Annotated[str, Field(max_length=63)] | None = None
    limit: Limit = USUAL_PAGE


class PlaybookFilters(Schema):
    """Where to go on: the id of the last playbook seen."""

    service: Annotated[str, Field(max_length=128)] | None = None
    after: UUID | None = None
    limit: Limit = USUAL_PAGE


class ReasonGiven(Given):
    """Why."""

    reason: Annotated[str, Field(max_length=4000)] = ""


class AgentTold(Told):
    """A worker. `load`: cores, load over 1, 5 and 15 minutes, memory in bytes, as far as it reports them."""

    name: str
    type: str
    status: str
    status_reason: str
    tools: list[str]
    labels: list[str]
    slots: int
    busy: int = Field(description="How many of its slots are taken.")
    version: str
    protocol: int
    host: str
    load: dict[str, Any]
    started_at: Time | None
    heard_at: Time | None


class AgentsTold(Told):
    """A page of agents."""

    items: list[AgentTold]
    next: str | None


class CapacityTold(Told):
    """What one agent, or all of one type, could take on now."""

    name: str
    type: str
    slots: int
    busy: int
    free: int
    load: dict[str, Any]


class TypeCapacityTold(Told):
    """What all working agents of one type could take on now."""

    type: str
    agents: int
    slots: int
    busy: int
    free: int


class CapacitiesTold(Told):
    """Free slots of the agents that take work now, and their sums."""

    slots: int
    busy: int
    free: int
    types: list[TypeCapacityTold]
    agents: list[CapacityTold]


class ReliabilityTold(Told):
    """How a tool fared in the attempts of late. Cancelled attempts and answers from the cache are no calls."""

    calls: int
    succeeded: int
    success_rate: float | None = Field(description="From 0 to 1; null: not known, because nothing was called.")
    from_cache: int
    median_seconds: float | None
    last_called_at: Time | None
    measured_at: Time | None


class ToolTold(Told):
    """What an agent can use. `parameters` and `result` are JSON Schemas."""

    name: str
    version: str
    description: str
    source: str = Field(description="Chiffon, or the installed package that brings it.")
    work_type: str
    agent_types: list[str] = Field(description="Empty: agents of any type offer it.")
    idempotent: bool
    cost: str = Field(description="Of one call, as a decimal number.")
    cacheable: bool
    cache_seconds: int
    cache_scope: str = Field(description="shared, user, or empty if it is not cacheable.")
    quick: bool = Field(description="Whether it ends within milliseconds.")
    parallel_limit: int | None = Field(description="How many calls may run at once; null: no limit of its own.")
    parameters: dict[str, Any]
    result: dict[str, Any]
    example: dict[str, Any] = Field(description="An input that it takes.")
    agents: list[str] = Field(description="The agents that offer it.")
    reliability: ReliabilityTold


class ToolsTold(Told):
    """Every tool."""

    items: list[ToolTold]
    next: str | None


class OfferingTold(Told):
    """One thing that can be asked for."""

    key: str
    verb: str
    service: str
    title: str
    tags: list[Any]
    variables: list[Any]
    available: bool


class PlaybookTold(Told):
    """A playbook as the last scan found it."""

    id: UUID
    repository: str
    commit: str
    path: str
    service: str
    description: str
    risk: str
    reversible_by: str
    task_count: int
    details: dict[str, Any]
    problems: list[Any]
    missing: bool
    scanned_at: Time
    offerings: list[OfferingTold]


class PlaybooksTold(Told):
    """A page of playbooks."""

    items: list[PlaybookTold]
    next: str | None


class RepositoryTold(Told):
    """A playbook repository after the scan."""

    name: str
    commit: str
    inventory: str
    playbooks: int
    problem: str
    scanned_at: Time | None


@agents.get("", response=AgentsTold, operation_id="list_agents", summary="Agents by name")
def list_agents(request: HttpRequest, filters: Query[AgentFilters]) -> dict[str, Any]:
    """All of them, also those that are offline."""
    allow(Action.SEE_AGENTS)
    rows = _agents().order_by("name")
    if filters.after:
        rows = rows.filter(name__gt=filters.after)
    found = list(rows[: filters.limit + 1])
    more = len(found) > filters.limit
    found = found[: filters.limit]
    return {"items": [_tell_agent(agent) for agent in found], "next": found[-1].name if more else None}


@agents.get(
    "/available-capacity", response=CapacitiesTold, operation_id="get_available_capacity", summary="Free slots now"
)
def get_available_capacity(request: HttpRequest) -> dict[str, Any]:
    """Of the agents that take work now, each and in sum."""
    allow(Action.SEE_AGENTS)
    each = [
        {
            "name": agent.name,
            "type": agent.type,
            "slots": agent.slots,
            "busy": _busy(agent),
            "free": max(0, agent.slots - _busy(agent)),
            "load": agent.load,
        }
        for agent in _agents().filter(status__in=_WORKING).order_by("name")
    ]
    types = sorted({capacity["type"] for capacity in each})
    return {
        **_sums(each),
        "types": [
            {
                "type": type_,
                "agents": sum(capacity["type"] == type_ for capacity in each),
                **_sums([capacity for capacity in each if capacity["type"] == type_]),
            }
            for type_ in types
        ],
        "agents": each,
    }


@agents.get("/{name}", response=AgentTold, operation_id="get_agent", summary="One agent")
def get_agent(request: HttpRequest, name: Path[str]) -> dict[str, Any]:
    """By its name."""
    allow(Action.SEE_AGENTS)
    return _tell_named(name)


@agents.post("/{name}/drain", response=AgentTold, operation_id="drain_agent", summary="Finish, then take no more work")
def drain_agent(request: HttpRequest, name: Path[str], body: ReasonGiven = ReasonGiven()) -> dict[str, Any]:
    """What it runs is finished."""
    services.drain_agent(actor=caller(), name=name, reason=body.reason)
    return _tell_named(name)


@agents.post(
    "/{name}/maintenance", response=AgentTold, operation_id="set_maintenance", summary="Take an agent out of service"
)
def set_maintenance(request: HttpRequest, name: Path[str], body: ReasonGiven = ReasonGiven()) -> dict[str, Any]:
    """It gets no work until it is activated."""
    services.set_maintenance(actor=caller(), name=name, reason=body.reason)
    return _tell_named(name)


@agents.post("/{name}/activate", response=AgentTold, operation_id="activate_agent", summary="Bring an agent back")
def activate_agent(request: HttpRequest, name: Path[str], body: ReasonGiven = ReasonGiven()) -> dict[str, Any]:
    """After draining or maintenance."""
    services.activate_agent(actor=caller(), name=name, reason=body.reason)
    return _tell_named(name)


@tools.get("", response=ToolsTold, operation_id="list_tools", summary="Tools by name")
def list_tools(request: HttpRequest) -> dict[str, Any]:
    """What a step can use: parameters, result, cost, caching, how reliable it has been, and who offers it."""
    allow(Action.SEE_AGENTS)
    return {"items": [facts.to_json() for facts in documentation.tool_list().tools], "next": None}


@playbooks.get("", response=PlaybooksTold, operation_id="list_playbooks", summary="Playbooks by path")
def list_playbooks(request: HttpRequest, filters: Query[PlaybookFilters]) -> dict[str, Any]:
    """As the last scan found them, with what each can be asked for."""
    allow(Action.SEE_PLAYBOOKS)
    rows = _playbooks().order_by("path", "pk")
    if filters.service is not None:
        rows = rows.filter(service=filters.service)
    if filters.after is not None:
        last = Playbook.objects.filter(pk=filters.after).values_list("path", flat=True).first()
        if last is None:
            raise missing("cursor")
        rows = rows.filter(Q(path__gt=last) | Q(path=last, pk__gt=filters.after))
    found = list(rows[: filters.limit + 1])
    more = len(found) > filters.limit
    found = found[: filters.limit]
    return {"items": [_tell_playbook(row) for row in found], "next": str(found[-1].pk) if more else None}


@playbooks.post(
    "/refresh", response=RepositoryTold, operation_id="refresh_playbooks", summary="Read the playbooks anew"
)
def refresh_playbooks(request: HttpRequest) -> dict[str, Any]:
    """At the repository's present commit."""
    repository = services.refresh_playbooks(actor=caller())
    return {
        "name": repository.name,
        "commit": repository.commit,
        "inventory": repository.inventory,
        "playbooks": repository.playbooks.filter(missing=False).count(),
        "problem": repository.problem,
        "scanned_at": repository.scanned_at,
    }


@playbooks.get("/{id}", response=PlaybookTold, operation_id="get_playbook", summary="One playbook")
def get_playbook(request: HttpRequest, id: Path[UUID]) -> dict[str, Any]:
    """As the last scan found it."""
    allow(Action.SEE_PLAYBOOKS)
    found = _playbooks().filter(pk=id).first()
    if found is None:
        raise missing("playbook")
    return _tell_playbook(found)


def _agents() -> QuerySet[Agent]:
    return Agent.objects.annotate(taken=Count("attempts", filter=_BUSY))


def _busy(agent: Agent) -> int:
    return int(getattr(agent, "taken", 0))


def _sums(capacities: list[dict[str, Any]]) -> dict[str, int]:
    return {name: sum(capacity[name] for capacity in capacities) for name in ("slots", "busy", "free")}


def _tell_named(name: str) -> dict[str, Any]:
    agent = _agents().filter(name=name).first()
    if agent is None:
        raise missing("agent")
    return _tell_agent(agent)


def _tell_agent(agent: Agent) -> dict[str, Any]:
    names = (
        "name",
        "type",
        "status",
        "status_reason",
        "tools",
        "labels",
        "slots",
        "version",
        "protocol",
        "host",
        "load",
    )
    told = {field: getattr(agent, field) for field in (*names, "started_at", "heard_at")}
    return told | {"busy": _busy(agent)}


def _playbooks() -> QuerySet[Playbook]:
    return Playbook.objects.select_related("repository").prefetch_related("offerings")


def _tell_playbook(row: Playbook) -> dict[str, Any]:
    fields = ("path", "service", "description", "risk", "reversible_by", "task_count", "details", "problems", "missing")
    offering = ("key", "verb", "service", "title", "tags", "variables", "available")
    return {
        "id": row.pk,
        "repository": row.repository.name,
        "commit": row.repository.commit,
        "scanned_at": row.scanned_at,
        **{name: getattr(row, name) for name in fields},
        "offerings": [{name: getattr(found, name) for name in offering} for found in row.offerings.all()],
    }
