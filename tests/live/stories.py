"""Rows as the engine writes them, for tests that watch."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from typing import Any

from django.contrib.auth import get_user_model
from django.contrib.auth.models import Group
from django.db import transaction

from audit.authority import Role
from plans.enums import AttemptStatus, EventType
from plans.models import Attempt, Event, OutputLine, Plan, Revision, Step


def person(name: str, *roles: Role) -> Any:
    """A person with these roles."""
    user, _ = get_user_model().objects.get_or_create(username=name)
    user.groups.set([Group.objects.get_or_create(name=role.value)[0] for role in roles])
    return user


def plan_of(requester: Any, *keys: str) -> tuple[Plan, list[Step]]:
    """A plan with one step for each key, and no edge between them."""
    plan = Plan.objects.create(requester=requester, goal="Watch it run")
    revision = Revision.objects.create(plan=plan, number=1)
    steps = [
        Step.objects.create(plan=plan, revision=revision, index=n, key=key, name=key, tool="diagnostic.lines")
        for n, key in enumerate(keys, 1)
    ]
    return plan, steps


def attempt_of(step: Step) -> Attempt:
    """The next attempt at a step."""
    number = step.attempts.count() + 1
    return Attempt.objects.create(step=step, plan_id=step.plan_id, number=number, status=AttemptStatus.COMPLETED)


def tell(plan: Plan, kind: str, attempt: Attempt | None = None, **data: Any) -> Event:
    """One event."""
    return Event.objects.create(
        plan_id=plan.pk,
        type=kind,
        step_key=attempt.step.key if attempt else "",
        attempt_id=attempt.pk if attempt else None,
        data=data,
    )


def start(plan: Plan, attempt: Attempt) -> None:
    """What an attempt says when it begins, in one transaction: a reader who looks meanwhile sees all of it or nothing."""
    with transaction.atomic():
        tell(plan, EventType.STEP_CHANGED, attempt, was="ready", now="running", number=attempt.number)
        tell(plan, EventType.AGENT_STARTED, attempt, agent="forge-01")
        tell(plan, EventType.TOOL_EXECUTING, attempt, tool="diagnostic.lines")


def say(attempt: Attempt, texts: Sequence[str]) -> None:
    """Store output lines as the engine does: numbered under the attempt's own row."""
    with transaction.atomic():
        held = Attempt.objects.select_for_update().get(pk=attempt.pk)
        OutputLine.objects.bulk_create(
            OutputLine(attempt_id=held.pk, seq=held.line_count + n, stream="stdout", text=text)
            for n, text in enumerate(texts, 1)
        )
        Attempt.objects.filter(pk=held.pk).update(line_count=held.line_count + len(texts))


def finish(plan: Plan, attempt: Attempt, texts: Iterable[str]) -> None:
    """What an attempt says when it ends, in one transaction; `texts` are all its lines."""
    lines = list(texts)
    with transaction.atomic():
        tell(plan, EventType.TOOL_COMPLETED, attempt, tool="diagnostic.lines")
        tell(plan, EventType.OUTPUT_END, attempt, count=len(lines), sha256=sha256_of(lines))
        tell(plan, EventType.AGENT_COMPLETED, attempt, outcome="completed", summary="")
        tell(plan, EventType.STEP_CHANGED, attempt, was="running", now="completed", number=attempt.number)


def sha256_of(texts: Iterable[str]) -> str:
    """The hash over lines that an `output_end` carries."""
    whole = hashlib.sha256()
    for text in texts:
        whole.update(text.encode() + b"\n")
    return whole.hexdigest()
