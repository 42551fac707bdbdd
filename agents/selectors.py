"""Reads that more than one place needs: the catalogue, the facts of the inventory, the fleet's capacity."""

from __future__ import annotations

from typing import Any

from agents.models import Agent, Offering, Playbook, PlaybookRepository
from agents.playbooks.catalogue import Catalogue, PlaybookFile
from agents.playbooks.catalogue import Offering as OfferingValue
from agents.playbooks.facts import Facts


def repository() -> PlaybookRepository | None:
    """The playbook repository of this installation, once it has been read."""
    return PlaybookRepository.objects.exclude(commit="").order_by("name").first()


def catalogue_of(repository: PlaybookRepository) -> Catalogue:
    """Everything that can be asked for, as the last scan found it."""
    facts = facts_of(repository)
    playbooks = Playbook.objects.filter(repository=repository, missing=False)
    offerings = Offering.objects.filter(playbook__repository=repository, available=True)
    return Catalogue(
        offerings=tuple(OfferingValue.from_json(details) for details in offerings.values_list("details", flat=True)),
        playbooks=tuple(PlaybookFile.from_json(details) for details in playbooks.values_list("details", flat=True)),
        hosts=facts.hosts,
        groups=facts.groups,
        commit=repository.commit,
    )


def facts_of(repository: PlaybookRepository) -> Facts:
    """What the inventory says: hosts, groups and variables with their origins."""
    return Facts.from_json(repository.facts)


def capacity() -> list[dict[str, Any]]:
    """What each agent that takes work has free. Slots in use are known to the plans app, not here."""
    awake = Agent.objects.filter(status__in=["ready", "busy"])
    return [{"agent": agent.name, "type": agent.type, "slots": agent.slots, "load": agent.load} for agent in awake]
