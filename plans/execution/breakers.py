"""Steps at the circuit breakers: who may try a target now, who waits for it, and how each try counts.

A step without hosts and service has no breaker, and none of this costs it anything.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from datetime import timedelta
from typing import Any, Final, Protocol
from uuid import UUID

from django.db import DatabaseError
from django.db.models.functions import Now

from agents import breaker
from agents.breaker import Aim, Seen, Verdict, breakers
from agents.enums import BreakerState
from agents.models import Breaker
from agents.protocol import Outcome, WorkResult
from agents.tools.cache import FROM_CACHE
from plans import lifecycle
from plans.enums import LIVE_ATTEMPTS
from plans.execution import fallback
from plans.models import Attempt
from plans.targets import Aimed, host_of, tried_on

logger = logging.getLogger(__name__)
catch_up = breaker.catch_up
_LOOK_AGAIN_SECONDS: Final = 5.0  # while another try probes; its end is heard at once, this is for its loss
_SPARE_SECONDS: Final = 60.0  # a probe may wait so long for its agent, beyond its own timeout


class Tried(Aimed, Protocol):
    """A step as far as breakers look at it: a row, or what an agent holds of it."""

    @property
    def tool(self) -> str:
        """The name of its tool."""


class Gate:
    """Due attempts at their breakers, in one look. `through`: those that may be given an agent; the others wait."""

    def __init__(self, attempts: Sequence[Attempt]) -> None:
        self._aims = {attempt.pk: _aims_for(attempt) for attempt in attempts}
        self._seen = breakers().look(sorted({aim for aims in self._aims.values() for aim in aims}))
        self._rows = breaker.rows_of(self._seen)
        self._probes = self._probes_that_live()
        self.through = [attempt for attempt in attempts if self._lets_through(attempt)]

    def admits(self, attempt: Attempt) -> bool:
        """Whether an attempt that has found an agent may go: every breaker is closed, or it is the one that probes it."""
        me, lease = str(attempt.pk), attempt.step.timeout_seconds + _SPARE_SECONDS
        entered: dict[Aim, Verdict] = {}
        for aim in self._aims[attempt.pk]:
            if self._seen[aim].closed:
                continue
            known = self._seen[aim].probe
            seen = breakers().enter(aim, me, lease=lease, instead_of="" if known in self._probes else known)
            if not seen.closed and seen.probe != me:
                breakers().note(entered, me)  # the others are for somebody else to probe
                self._hold(attempt, aim, seen)
                return False
            entered[aim] = "none"
        return True

    def _probes_that_live(self) -> set[str]:
        """The attempts that probe a breaker and have not ended; one that ended without a word is in nobody's way."""
        probes = {seen.probe for seen in self._seen.values() if seen.probe}
        if not probes:
            return set()
        live = Attempt.objects.filter(pk__in=probes, status__in=LIVE_ATTEMPTS)
        return {str(pk) for pk in live.values_list("pk", flat=True)}

    def _lets_through(self, attempt: Attempt) -> bool:
        for aim in self._aims[attempt.pk]:
            seen = self._seen[aim]
            if seen.left > 0 and seen.state is BreakerState.OPEN and fallback.can_take_over(attempt):
                return self._falls_back(attempt, _sentence(self._rows[aim], seen))
            another = seen.probe in self._probes and seen.probe != str(attempt.pk)
            if seen.left > 0 and (seen.state is BreakerState.OPEN or another):
                self._hold(attempt, aim, seen)
                return False
        if attempt.held_by_id:
            Attempt.objects.filter(pk=attempt.pk).update(held_by=None)
        return True

    def _falls_back(self, attempt: Attempt, why: str) -> bool:
        """Where its tool's breaker is open, a step's fallback does not wait for it; it has a breaker of its own."""
        attempt.because, attempt.by_fallback = fallback.take_over(attempt, why, what="can not be tried now"), True
        Attempt.objects.filter(pk=attempt.pk).update(by_fallback=True, because=attempt.because, held_by=None)
        self._aims[attempt.pk] = _aims_for(attempt)
        unseen = sorted(aim for aim in self._aims[attempt.pk] if aim not in self._seen)
        self._seen = {**self._seen, **breakers().look(unseen)}
        self._rows = breaker.rows_of(self._seen)
        return self._lets_through(attempt)

    def _hold(self, attempt: Attempt, aim: Aim, seen: Seen) -> None:
        row = self._rows[aim]
        seconds = seen.left if seen.state is BreakerState.OPEN else min(seen.left, _LOOK_AGAIN_SECONDS)
        Attempt.objects.filter(pk=attempt.pk).update(held_by=row, next_at=Now() + timedelta(seconds=seconds))
        lifecycle.keep_waiting(attempt.step, _sentence(row, seen))


def note(step: Tried, attempt_id: UUID, result: WorkResult) -> None:
    """Count how a try ended, before what comes after it is routed. Never raises: a breaker is no reason to lose a result."""
    try:
        error = result.failure.message if result.failure else ""
        breakers().note(_verdicts(step, result), str(attempt_id), error=error)
    except DatabaseError as error:
        logger.warning("what a breaker became is not recorded yet: %s", error)


def aims_of(step: Tried) -> list[Aim]:
    """The breakers that a step has to pass: its tool on each of its hosts, else on its service."""
    return [(step.tool, target) for target in tried_on(step)]


def _aims_for(attempt: Attempt) -> list[Aim]:
    """Those of one try, which may be its step's fallback: another tool, at the same targets."""
    tool = attempt.work.tool
    return [(tool, target) for _, target in aims_of(attempt.step)]


def _verdicts(step: Tried, result: WorkResult) -> dict[Aim, Verdict]:
    """What a result says of each target. A playbook tells which hosts had trouble; then the others are not blamed."""
    aims = aims_of(step)
    if FROM_CACHE in result.progress:  # nobody was called
        return dict.fromkeys(aims, "none")
    if result.outcome is Outcome.COMPLETED:
        return dict.fromkeys(aims, "ok")
    if result.outcome is not Outcome.FAILED or result.failure is None or not breaker.counts(result.failure):
        return dict.fromkeys(aims, "none")
    troubled = _troubled(result.progress)
    blamed = [aim for aim in aims if host_of(aim[1]) in troubled] or aims
    return {aim: "bad" if aim in blamed else "none" for aim in aims}


def _troubled(progress: dict[str, Any]) -> set[str]:
    hosts = progress.get("hosts")
    if not isinstance(hosts, dict):
        return set()
    return {
        name
        for name, figures in hosts.items()
        if isinstance(figures, dict) and (figures.get("unreachable") or figures.get("failures"))
    }


def _sentence(row: Breaker, seen: Seen) -> str:
    if seen.state is BreakerState.OPEN and row.until:
        return f"The breaker of {row} is open until {row.until:%H:%M:%S} UTC: {breaker.why_open(seen)}"
    return f"The breaker of {row} lets one try through, and waits for how it ends: {breaker.why_open(seen)}"
