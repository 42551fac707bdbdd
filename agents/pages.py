"""Page-shaped reads of agents and playbooks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from django.db.models import Count, Q, QuerySet

from agents import git
from agents.conf import SILENT_SECONDS
from agents.enums import AgentStatus, BreakerState
from agents.models import Agent, Breaker, Playbook, PlaybookRepository

PAGE = 50
BREAKERS_SHOWN = 5  # closed ones
_HOLDS_A_SLOT = ("sent", "running")
_TAKES_WORK = (AgentStatus.READY, AgentStatus.BUSY)
_LONGEST_SOURCE = 200_000  # bytes


@dataclass(frozen=True, slots=True)
class Use:
    """One plan that ran a playbook, or wants to: how the step is called, where it stands, and its page."""

    label: str
    state: Any
    href: str
    at: Any


UsageFinder = Callable[[Playbook, Any], Sequence[Use]]
_finders: list[UsageFinder] = []


def register_usage(finder: UsageFinder) -> UsageFinder:
    """Let another app say which of its plans use a playbook, for the actor who looks."""
    _finders.append(finder)
    return finder


@dataclass(frozen=True, slots=True)
class AgentRow:
    """One agent of the fleet, with what it runs now."""

    agent: Agent
    used: int
    running: list[Any]

    @property
    def slots(self) -> list[bool]:
        """One entry a slot: whether it is in use. At most 16 are drawn."""
        count = min(max(self.agent.slots, self.used), 16)
        return [number < self.used for number in range(count)]

    @property
    def free_slots(self) -> int:
        """How many more steps it could take."""
        return max(self.agent.slots - self.used, 0)

    @property
    def takes_work(self) -> bool:
        """Whether it is given new work."""
        return self.agent.status in _TAKES_WORK

    @property
    def load(self) -> list[Any]:
        """The load over 1, 5 and 15 minutes, or nothing if it never said."""
        found = self.agent.load.get("load")
        return list(found) if isinstance(found, list) else []

    @property
    def memory_percent(self) -> int | None:
        """How much of its memory is in use, if it said so."""
        total, free = self.agent.load.get("memory_total"), self.agent.load.get("memory_available")
        if not isinstance(total, int | float) or not isinstance(free, int | float) or not total:
            return None
        return round((total - free) / total * 100)


@dataclass(frozen=True, slots=True)
class Fleet:
    """All agents, and what the heading counts."""

    rows: list[AgentRow]
    silent_after: int = SILENT_SECONDS

    @property
    def taking_work(self) -> int:
        """How many agents are given new work."""
        return sum(row.takes_work for row in self.rows)

    @property
    def slots(self) -> int:
        """How many slots there are on agents that take work."""
        return sum(row.agent.slots for row in self.rows if row.takes_work)

    @property
    def used(self) -> int:
        """How many slots are in use on all agents."""
        return sum(row.used for row in self.rows)


@dataclass(frozen=True, slots=True)
class AgentPage:
    """One agent: what it runs, and why it was chosen for its last steps."""

    row: AgentRow
    choices: list[Any]


@dataclass(frozen=True, slots=True)
class PlaybookList:
    """The catalogue's page: where it comes from, what is in it, and what can not be used."""

    repository: PlaybookRepository | None
    playbooks: list[Playbook]
    odd: list[Playbook]
    total: int
    usable: int
    services: list[str]
    older: str | None
    filtered: bool


@dataclass(frozen=True, slots=True)
class PlaybookPage:
    """One playbook: what it does, what it needs, who used it, and its text at the commit that was read."""

    playbook: Playbook
    details: dict[str, Any]
    offerings: list[Any]
    uses: list[Use]
    source: str
    source_problem: str
    undo: Playbook | None
    variables: list[dict[str, Any]] = field(default_factory=list)

    @property
    def says_of_variables(self) -> bool:
        """Whether the playbook says of any variable what it is for."""
        return any(variable.get("description") for variable in self.variables)


def fleet() -> Fleet:
    """Every agent, with the attempts it holds."""
    agents = list(Agent.objects.annotate(used=Count("attempts", filter=Q(attempts__status__in=_HOLDS_A_SLOT))))
    return Fleet([AgentRow(agent, agent.used, running) for agent, running in _with_running(agents)])


def breakers() -> QuerySet[Breaker]:
    """Circuit breakers, each with how many tries are `waiting` for it."""
    return Breaker.objects.annotate(waiting=Count("held", filter=Q(held__status="due")))


def breakers_to_show() -> list[Breaker]:
    """Breakers for the page of agents: all that are not closed, then the last ones that closed."""
    there = breakers().order_by("-since", "pk")
    return [
        *there.exclude(state=BreakerState.CLOSED)[:PAGE],
        *there.filter(state=BreakerState.CLOSED)[:BREAKERS_SHOWN],
    ]


def agent_page(name: str) -> AgentPage | None:
    """One agent by its name, or None."""
    agents = list(
        Agent.objects.filter(name=name).annotate(used=Count("attempts", filter=Q(attempts__status__in=_HOLDS_A_SLOT)))
    )
    for agent, running in _with_running(agents):
        last = (
            agent.attempts.select_related("step", "plan__requester")
            .prefetch_related("choice")
            .order_by("-created_at")[:8]
        )
        return AgentPage(AgentRow(agent, agent.used, running), list(last))
    return None


def _with_running(agents: list[Any]) -> list[tuple[Any, list[Any]]]:
    """Each agent with the attempts that hold its slots, in one query for all of them."""
    held: dict[UUID, list[Any]] = {agent.pk: [] for agent in agents}
    if agents:
        attempts = agents[0].attempts.model.objects.filter(agent__in=agents, status__in=_HOLDS_A_SLOT)
        for attempt in attempts.select_related("step", "plan__requester").order_by("created_at"):
            held[attempt.agent_id].append(attempt)
    return [(agent, held[agent.pk]) for agent in agents]


def playbook_list(*, words: str = "", service: str = "", after: str = "") -> PlaybookList:
    """The playbooks that are there, by path; `after` is the path of the last row of the page before."""
    there = Playbook.objects.filter(missing=False)
    counts = there.aggregate(
        total=Count("pk", distinct=True), usable=Count("pk", filter=Q(offerings__available=True), distinct=True)
    )
    found = there
    if service:
        found = found.filter(service=service)
    for word in words.split()[:8]:
        found = found.filter(
            Q(path__icontains=word)
            | Q(service__icontains=word)
            | Q(description__icontains=word)
            | Q(details__tags__contains=[word])
        )
    rows = list(
        (found.filter(path__gt=after) if after else found).select_related("repository").order_by("path")[: PAGE + 1]
    )
    return PlaybookList(
        repository=PlaybookRepository.objects.order_by("name").first(),
        playbooks=rows[:PAGE],
        odd=list(there.exclude(offerings__available=True).exclude(problems=[]).order_by("path")[:5]),
        total=counts["total"],
        usable=counts["usable"],
        services=list(there.exclude(service="").order_by("service").values_list("service", flat=True).distinct()[:200]),
        older=rows[PAGE - 1].path if len(rows) > PAGE else None,
        filtered=bool(words or service),
    )


def playbook_page(playbook_id: UUID, actor: Any) -> PlaybookPage | None:
    """One playbook by its id, or None. `actor` decides which plans it may be seen in."""
    playbook = Playbook.objects.select_related("repository").filter(pk=playbook_id).first()
    if playbook is None:
        return None
    source, problem = _source(playbook)
    details: dict[str, Any] = playbook.details if isinstance(playbook.details, dict) else {}
    undo = None
    if playbook.reversible_by:
        undo = Playbook.objects.filter(repository=playbook.repository, path=playbook.reversible_by).first()
    return PlaybookPage(
        playbook=playbook,
        details=details,
        offerings=list(playbook.offerings.filter(available=True)),
        uses=[use for finder in _finders for use in finder(playbook, actor)],
        source=source,
        source_problem=problem,
        undo=undo,
        variables=[one for one in details.get("variables") or [] if isinstance(one, dict)],
    )


def _source(playbook: Playbook) -> tuple[str, str]:
    """The text of the playbook at the commit that was read, or why it can not be shown."""
    repository = playbook.repository
    if not repository.commit:
        return "", "The repository was not read yet."
    try:
        data = git.show(repository.location, repository.commit, playbook.path)
    except git.GitError as error:
        return "", str(error)
    if len(data) > _LONGEST_SOURCE:
        return data[:_LONGEST_SOURCE].decode("utf-8", "replace"), "It is long: only its beginning is shown."
    return data.decode("utf-8", "replace"), ""
