"""Chiffon's side: people, plans by `plans.services`, and what the database says about how they went.

Importable only after `connect`, because Django's settings are those of the installation that is measured.
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from itertools import pairwise
from typing import Any
from uuid import UUID

import django

from bench.installation import OURS, BenchError, Installation

_PATIENCE = 900.0
_people: dict[str, Any] = {}


def connect(installation: Installation) -> None:
    """Be a program beside the installation: its settings, two people, its playbooks read."""
    for name in [name for name in os.environ if name.startswith(OURS)]:
        del os.environ[name]
    os.environ.update(installation.environment | {"DJANGO_SETTINGS_MODULE": "chiffon_site.settings"})
    os.environ["CHIFFON_PROCESS"] = "command"
    django.setup()
    from agents import services
    from audit.authority import Role
    from audit.context import SYSTEM, Actor
    from chiffon_site.accounts.people import create_person

    for name, role in (("bench-requester", Role.REQUESTER), ("bench-approver", Role.APPROVER)):
        made = create_person(name=name, full_name=name, roles=[role.value], password=os.urandom(16).hex())
        _people[role.value] = Actor.person(made)
    services.refresh_playbooks(actor=SYSTEM)


def warm_up() -> None:
    """Let each process of each agent work a few times, so that nobody measures imports."""
    plans = [written(noops(8, chained=False)) for _ in range(2)]
    for plan in plans:
        approve(plan)
    ended(plans)
    settled()


def noops(count: int, *, chained: bool) -> list[dict[str, Any]]:
    """So many no-op steps, one after the other or all at once."""
    steps: list[dict[str, Any]] = [{"key": f"s{number}", "tool": "diagnostic.noop"} for number in range(count)]
    if chained:
        for before, step in pairwise(steps):
            step["depends_on"] = [before["key"]]
    return steps


def written(steps: Sequence[dict[str, Any]]) -> tuple[UUID, str]:
    """A plan of these steps that waits for approval; its id and digest."""
    from plans import services
    from plans.models import Revision

    plan = services.create_plan(actor=_people["requester"], goal="A benchmark", steps=steps)
    return plan.pk, Revision.objects.get(plan=plan).digest


def approve(plan: tuple[UUID, str]) -> tuple[float, float]:
    """Approve a plan, which starts it; the times before and after the call, in seconds since 1970."""
    from plans import services

    before = time.time()
    services.approve_plan(actor=_people["approver"], plan_id=plan[0], digest=plan[1])
    return before, time.time()


def ended(plans: Sequence[tuple[UUID, str]], *, every: float = 0.1) -> float:
    """Wait until all plans are completed; when the last one was, in seconds since 1970.

    Raises BenchError if one ended otherwise or takes too long.
    """
    from django.db.models import Count, Max

    from plans.models import Plan

    deadline = time.monotonic() + _PATIENCE
    ours = Plan.objects.filter(pk__in=[pk for pk, _ in plans])
    while True:
        stages = dict(ours.values_list("stage").annotate(count=Count("pk")).order_by())
        if stages == {"completed": len(plans)}:
            last = ours.aggregate(last=Max("finished_at"))["last"]
            return float(last.timestamp())
        if set(stages) - {"approved", "executing", "completed"} or time.monotonic() > deadline:
            raise BenchError(f"Not every plan was completed: {stages}.")
        time.sleep(every)


def settled(seconds: float = 300) -> None:
    """Wait until nothing is left to do behind the plans: every finished step is in git, no job is due.

    Raises BenchError if that takes too long.
    """
    from django.db import transaction

    from agents.models import Job
    from plans.execution.task_file import ask_for_commit
    from plans.models import UnwrittenTask

    deadline = time.monotonic() + seconds
    pending = Job.objects.filter(status__in=["due", "sent", "running"], every__isnull=True)
    while pending.exists() or UnwrittenTask.objects.exists():
        with transaction.atomic():
            ask_for_commit()  # else a dispatcher does at its next sweep, which takes seconds
        if time.monotonic() > deadline:
            raise BenchError(f"The background jobs were not done within {seconds:g} s.")
        time.sleep(0.2)


def times(plan: UUID) -> tuple[float, float]:
    """When the first attempt of a plan was claimed and the last one finished, in seconds since 1970."""
    from django.db.models import Max, Min

    from plans.models import Attempt

    found = Attempt.objects.filter(step__plan=plan).aggregate(first=Min("started_at"), last=Max("finished_at"))
    return float(found["first"].timestamp()), float(found["last"].timestamp())


def tool_began(plan: UUID) -> float:
    """When the first tool of a plan was about to run, in seconds since 1970."""
    from plans.models import events_of

    return min(event.at.timestamp() for event in events_of(plan) if event.type == "tool_executing")


def step_milliseconds(plans: Sequence[tuple[UUID, str]]) -> list[float]:
    """How long each attempt of these plans took from its claim to its end."""
    from plans.models import Attempt

    rows = Attempt.objects.filter(step__plan__in=[pk for pk, _ in plans]).values_list("started_at", "finished_at")
    return [(end - start).total_seconds() * 1000 for start, end in rows if start and end]
