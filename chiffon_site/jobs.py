"""The table of background jobs: what each kind does, and which of them recur."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

from django.conf import settings
from django.db import transaction

from agents import jobs, services
from agents.errors import RepositoryUnreadable
from agents.git.program import FETCH_SECONDS, GIT_SECONDS
from agents.models import Job, PlaybookRepository
from agents.tools import reliability
from audit import partitions
from audit.context import SYSTEM
from plans import selectors, state
from plans.conf import COMMIT_TASKS
from plans.execution.task_file import commit_finished_tasks

RECURRING: Mapping[str, timedelta] = {
    "agents.refresh_playbooks": timedelta(minutes=15),
    "agents.measure_tools": timedelta(minutes=5),
    "audit.make_partitions": timedelta(days=1),
    "plans.clean_state": timedelta(hours=1),
}


@jobs.handler("agents.refresh_playbooks", seconds=FETCH_SECONDS + 2 * GIT_SECONDS)
def refresh_playbooks(_payload: Mapping[str, Any]) -> dict[str, Any]:
    """Read the playbook repository anew; trouble with it is kept on its row and shown on the playbooks page."""
    try:
        return {"commit": services.refresh_playbooks(actor=SYSTEM).commit}
    except RepositoryUnreadable as error:
        return {"problem": error.sentence}


@jobs.handler("agents.measure_tools")
def measure_tools(_payload: Mapping[str, Any]) -> dict[str, Any]:
    """Measure how the tools fared of late, for their pages."""
    return {"called": reliability.note(selectors.tool_calls(reliability.since()))}


@jobs.handler("audit.make_partitions")
def make_partitions(_payload: Mapping[str, Any]) -> dict[str, Any]:
    """Make the partitions of the months to come."""
    return {"made": partitions.ensure()}


@jobs.handler("plans.clean_state")
def clean_state(_payload: Mapping[str, Any]) -> dict[str, Any]:
    """Remove what steps remembered and whose time is over."""
    return {"removed": state.clean()}


jobs.handler(COMMIT_TASKS)(commit_finished_tasks)


def ensure() -> None:
    """Make sure that each recurring job has its row, and that the configured repository has one. Safe to repeat."""
    with transaction.atomic():
        for kind, every in RECURRING.items():
            if not Job.objects.filter(kind=kind, every__isnull=False).exists():
                jobs.enqueue(kind, key="recurring", every=every)
    if settings.CHIFFON_PLAYBOOK_REPO:
        ensure_repository(settings.CHIFFON_PLAYBOOK_REPO)


def ensure_repository(where: str) -> PlaybookRepository:
    """Keep the row of the one playbook repository: a folder as it is, an address as a copy in the data folder."""
    if "://" in where or where.startswith("git@"):
        copy = settings.CHIFFON_DATA_DIR / "repositories" / "playbooks.git"
        place = {"origin": where, "location": str(copy)}
    else:
        place = {"origin": "", "location": str(Path(where).resolve())}
    repository, _ = PlaybookRepository.objects.update_or_create(name="playbooks", defaults=place)
    return repository
