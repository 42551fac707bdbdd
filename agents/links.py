"""Where records about agents, playbooks and jobs lead: registered with the trail, which knows nobody."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from django.db.models import Q

from agents.models import Agent, Breaker, Job, Playbook, PlaybookRepository
from audit import links
from audit.links import Link, page, uuids


def register() -> None:
    """Tell the trail how this app's subjects are named and found."""
    links.register_kind("agent", _agents)
    links.register_kind("playbook", _playbooks)
    links.register_kind("repository", _repositories)
    links.register_kind("job", _jobs)
    links.register_kind("breaker", _breakers)


def _agents(ids: Collection[str]) -> Mapping[str, Link]:
    """An agent is named by its name or by its id."""
    found: dict[str, Link] = {}
    for pk, name in Agent.objects.filter(Q(name__in=ids) | Q(pk__in=uuids(ids))).values_list("pk", "name"):
        found[name] = found[str(pk)] = Link(name, page("agents:agent", name))
    return {id_: link for id_, link in found.items() if id_ in ids}


def _playbooks(ids: Collection[str]) -> Mapping[str, Link]:
    rows = Playbook.objects.filter(pk__in=uuids(ids)).values_list("pk", "path")
    return {str(pk): Link(path, page("agents:playbook", pk)) for pk, path in rows}


def _repositories(ids: Collection[str]) -> Mapping[str, Link]:
    """A repository is named by its name or by its id."""
    found: dict[str, Link] = {}
    for pk, name in PlaybookRepository.objects.filter(Q(name__in=ids) | Q(pk__in=uuids(ids))).values_list("pk", "name"):
        found[name] = found[str(pk)] = Link(name, page("agents:playbooks"))
    return {id_: link for id_, link in found.items() if id_ in ids}


def _jobs(ids: Collection[str]) -> Mapping[str, Link]:
    rows = Job.objects.filter(pk__in=uuids(ids)).values_list("pk", "kind")
    return {str(pk): Link(f"job {kind}", page("admin:agents_job_change", pk)) for pk, kind in rows}


def _breakers(ids: Collection[str]) -> Mapping[str, Link]:
    where = page("agents:list")
    rows = Breaker.objects.filter(pk__in=uuids(ids))
    return {str(row.pk): Link(f"the breaker of {row}", f"{where}#breakers" if where else "") for row in rows}
