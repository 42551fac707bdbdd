"""The verbs of agents, breakers and playbooks: register, beat, drain, maintain, activate, reset, refresh."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from uuid import UUID

from django.db import transaction
from django.db.models.functions import Now
from django.utils import timezone

from agents import breaker, git
from agents.conf import SILENT_SECONDS
from agents.enums import AgentStatus
from agents.errors import (
    AgentNameTaken,
    BreakerUnreachable,
    NoSuchAgent,
    NoSuchBreaker,
    ReasonMissing,
    RepositoryUnreadable,
)
from agents.lifecycle import move_agent
from agents.models import Agent, Breaker, Offering, Playbook, PlaybookRepository
from agents.playbooks.catalogue import PlaybookFile, offerings_of
from agents.playbooks.discovery import scan
from agents.playbooks.facts import read_facts
from agents.protocol import PROTOCOL_VERSION
from audit import trail
from audit.authority import Action, check
from audit.canonical import storable
from audit.context import Actor, acting


def register_agent(
    *,
    name: str,
    type_: str,
    tools: list[str],
    labels: list[str],
    slots: int,
    version: str,
    host: str,
    pid: int,
    alive: Any,
) -> Agent:
    """Enrol an agent, or welcome it back. `alive(pid)` says whether a process of this host lives.

    Raises AgentNameTaken if an agent of that name is alive elsewhere.
    """
    identity: dict[str, Any] = {
        "type": type_,
        "tools": tools,
        "labels": labels,
        "slots": slots,
        "version": version,
        "protocol": PROTOCOL_VERSION,
        "host": host,
        "pid": pid,
    }
    with acting(Actor.agent(name)), transaction.atomic():
        agent, new = Agent.objects.select_for_update().get_or_create(name=name, defaults=identity)
        if not new:
            _refuse_twin(agent, host, pid, alive)
        Agent.objects.filter(pk=agent.pk).update(**identity, started_at=Now(), heard_at=Now(), load={})
        if not new and agent.status not in (AgentStatus.DRAINING, AgentStatus.MAINTENANCE):
            move_agent(agent, to=AgentStatus.STARTING, because="Its process started.")
        trail.record("agent.registered", subject=("agent", name), **identity)
    agent.refresh_from_db()
    return agent


def _refuse_twin(agent: Agent, host: str, pid: int, alive: Any) -> None:
    """Two processes under one name would take each other's work."""
    heard = agent.heard_at and timezone.now() - agent.heard_at < timedelta(seconds=SILENT_SECONDS)
    gone = agent.status in (AgentStatus.OFFLINE, AgentStatus.TERMINATED) or not heard
    if gone or agent.pid == pid or (agent.host == host and not alive(agent.pid)):
        return
    raise AgentNameTaken(
        f"An agent called {agent.name} is alive on {agent.host} (process {agent.pid}). Take another name."
    )


def beat(*, name: str, load: dict[str, Any], running: int) -> Agent | None:
    """A heartbeat: it never undoes a drain or a maintenance. None if the agent is not known any more."""
    with transaction.atomic():
        agent = Agent.objects.select_for_update().filter(name=name).first()
        if agent is None:
            return None
        working = AgentStatus.BUSY if running else AgentStatus.READY
        moves = {
            AgentStatus.STARTING: working,
            AgentStatus.OFFLINE: working,
            AgentStatus.READY: working,
            AgentStatus.BUSY: working,
        }
        to = moves.get(AgentStatus(agent.status), AgentStatus(agent.status))
        with acting(Actor.agent(name)):
            move_agent(agent, to=to, because="It sent a heartbeat.", load=load, heard_at=Now())
    return agent


def retire_agent(*, name: str, because: str) -> None:
    """An agent's process ends in good order: it is offline at once, without waiting for silence."""
    with acting(Actor.agent(name)), transaction.atomic():
        agent = Agent.objects.select_for_update().filter(name=name).first()
        if agent and agent.status not in (AgentStatus.MAINTENANCE, AgentStatus.TERMINATED, AgentStatus.OFFLINE):
            move_agent(agent, to=AgentStatus.OFFLINE, because=because)


def mark_silent() -> list[Agent]:
    """Agents that were not heard for 90 s are offline. Which ones became so now."""
    silent = Now() - timedelta(seconds=SILENT_SECONDS)
    with transaction.atomic():
        watched = [AgentStatus.READY, AgentStatus.BUSY, AgentStatus.DRAINING, AgentStatus.STARTING]
        lost = Agent.objects.select_for_update(skip_locked=True).filter(status__in=watched, heard_at__lt=silent)
        return [
            agent
            for agent in lost
            if move_agent(agent, to=AgentStatus.OFFLINE, because=f"Not heard for {SILENT_SECONDS} s.")
        ]


def drain_agent(*, actor: Actor, name: str, reason: str = "") -> Agent:
    """Let an agent finish what it runs and give it nothing new. Raises NotAllowed, NoSuchAgent, IllegalAgentMove."""
    return _steer(actor, name, AgentStatus.DRAINING, reason or "Asked to drain.")


def set_maintenance(*, actor: Actor, name: str, reason: str = "") -> Agent:
    """Keep an agent out of work until a person activates it. Raises NotAllowed, NoSuchAgent, IllegalAgentMove."""
    return _steer(actor, name, AgentStatus.MAINTENANCE, reason or "Put into maintenance.")


def activate_agent(*, actor: Actor, name: str, reason: str = "") -> Agent:
    """Let an agent take work again. Raises NotAllowed, NoSuchAgent, IllegalAgentMove."""
    return _steer(actor, name, AgentStatus.READY, reason or "Activated.")


def _steer(actor: Actor, name: str, to: AgentStatus, because: str) -> Agent:
    check(actor, Action.MANAGE_AGENTS)
    with acting(actor), transaction.atomic():
        agent = Agent.objects.select_for_update().filter(name=name).first()
        if agent is None:
            raise NoSuchAgent(f"No agent is called {name}.")
        move_agent(agent, to=to, because=because)
    return agent


def reset_breaker(*, actor: Actor, breaker_id: UUID, reason: str) -> Breaker:
    """Close a circuit breaker and forget what it counted; what waited for it is tried at once.

    A breaker that is closed already stays so. Raises NotAllowed, NoSuchBreaker, ReasonMissing and BreakerUnreachable.
    """
    check(actor, Action.MANAGE_AGENTS)
    row = Breaker.objects.filter(pk=breaker_id).first()
    if row is None:
        raise NoSuchBreaker("There is no such breaker.")
    if not reason.strip():
        raise ReasonMissing("Say why it is reset: it may let tries through that fail.")
    seen = breaker.breakers().reset((row.tool, row.target))
    if not seen.known:
        raise BreakerUnreachable(
            "Redis, which keeps the breakers, does not answer; until it does they count as closed."
        )
    with acting(actor), transaction.atomic():
        breaker.record_reset(row, seen, storable(reason.strip()))
    row.refresh_from_db()
    return row


def refresh_playbooks(*, actor: Actor) -> PlaybookRepository:
    """Read the playbook repository anew, at its newest commit. Raises NotAllowed, RepositoryUnreadable.

    Reads happen outside any transaction; what was found is stored in one.
    """
    check(actor, Action.REFRESH_PLAYBOOKS)
    repository = PlaybookRepository.objects.order_by("name").first()
    if repository is None:
        raise RepositoryUnreadable("No playbook repository is set. Set CHIFFON_PLAYBOOK_REPO to the folder of one.")
    try:
        if repository.origin:
            git.clone_or_fetch(repository.origin, Path(repository.location))
        commit = git.resolve(repository.location, "HEAD")
        with TemporaryDirectory(prefix="chiffon-scan-") as folder:
            tree_folder = Path(folder) / "tree"
            git.export(repository.location, commit, tree_folder)
            found, facts = scan(tree_folder), read_facts(tree_folder, repository.inventory)
            inventory = repository.inventory or _inventory_path(tree_folder)
            git.remove_export(tree_folder)
        tree = git.tree_of(repository.location, commit)
    except (git.GitError, OSError) as error:
        PlaybookRepository.objects.filter(pk=repository.pk).update(problem=str(error))
        raise RepositoryUnreadable(f"The playbook repository can not be read: {error}") from error
    with acting(actor), transaction.atomic():
        PlaybookRepository.objects.filter(pk=repository.pk).update(
            commit=commit, tree=tree, facts=facts.to_json(), inventory=inventory, problem="", scanned_at=Now()
        )
        Playbook.objects.filter(repository=repository).update(missing=True)
        for playbook in found.playbooks:
            _store(repository, playbook)
        Offering.objects.filter(playbook__repository=repository, playbook__missing=True).update(available=False)
        trail.record(
            "playbooks.refreshed",
            subject=("repository", repository.name),
            commit=commit,
            playbooks=len(found.playbooks),
            offerings=len(found.offerings),
            problems=[f"{problem.path}: {problem.sentence}" for problem in found.problems][:50],
        )
    repository.refresh_from_db()
    return repository


def _store(repository: PlaybookRepository, found: PlaybookFile) -> None:
    playbook, _ = Playbook.objects.update_or_create(
        repository=repository,
        path=found.path,
        defaults={
            "service": found.service[:128],
            "description": found.description,
            "risk": found.risk,
            "reversible_by": found.reversible_by,
            "task_count": found.task_count,
            "details": found.to_json(),
            "problems": list(found.problems),
            "missing": False,
            "scanned_at": Now(),
        },
    )
    Offering.objects.filter(playbook=playbook).update(available=False)
    for offering in offerings_of(found):
        Offering.objects.update_or_create(
            playbook=playbook,
            key=offering.key,
            defaults={
                "verb": offering.verb[:32],
                "service": offering.service[:128],
                "title": offering.title,
                "tags": list(offering.tags),
                "variables": [variable.to_json() for variable in offering.variables],
                "details": offering.to_json(),
                "available": True,
            },
        )


def _inventory_path(root: Path) -> str:
    """The inventory when none is named: the only file of inventory/, else inventory.yml or hosts."""
    for folder in ("inventory", "inventories"):
        files = [path for path in sorted((root / folder).glob("*")) if path.is_file()]
        if len(files) == 1:
            return files[0].relative_to(root).as_posix()
    names = ("inventory.yml", "inventory.yaml", "hosts.yml", "inventory.ini", "hosts")
    return next((name for name in names if (root / name).is_file()), "")
