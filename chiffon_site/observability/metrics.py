"""What a Prometheus server reads: the state of the work as PostgreSQL knows it, and this process.

Anyone may read it, as `/healthz`, so it names no person, plan or host, and a rush of readers costs three queries in five seconds.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterable, Iterator
from datetime import timedelta
from typing import Final
from uuid import UUID

from django.contrib.auth.decorators import login_not_required
from django.db import DatabaseError
from django.db.models import Count, Min, Q, Value
from django.db.models.functions import Now
from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from agents.enums import AgentStatus, JobStatus
from agents.models import Agent, Job
from plans.enums import AttemptStatus, Stage
from plans.models import Attempt, Plan

logger = logging.getLogger(__name__)
FRESH_SECONDS: Final = 5.0
ATTEMPTS_OF: Final = timedelta(days=1)
_OPEN: Final = (AttemptStatus.DUE, AttemptStatus.SENT, AttemptStatus.RUNNING)
_UNCLAIMED: Final = Q(status__in=(AttemptStatus.DUE, AttemptStatus.SENT), next_at__lte=Now())


class StateOfWork(Collector):
    """Counts of plans, attempts, agents and jobs, read anew when the last reading is older than a few seconds."""

    def __init__(self, fresh_seconds: float = FRESH_SECONDS) -> None:
        self._fresh_seconds = fresh_seconds
        self._lock = threading.Lock()
        self._read_at = 0.0
        self._last: list[Metric] = []

    def collect(self) -> Iterable[Metric]:
        """What is known now; without the database only that it does not answer."""
        with self._lock:
            if not self._last or time.monotonic() - self._read_at >= self._fresh_seconds:
                try:
                    self._last = [_up(1), *_read()]
                except DatabaseError as error:
                    logger.warning("the metrics know nothing but this process: %s", error)
                    self._last = [_up(0)]
                self._read_at = time.monotonic()
            return self._last

    def describe(self) -> Iterable[Metric]:
        """Nothing: registering must not ask the database."""
        return []


def _read() -> Iterator[Metric]:
    """Ask the database three things. Raises DatabaseError."""
    yield _by("chiffon_plans", "Plans by stage.", "stage", Stage.values, _plans())
    attempts, oldest = _attempts()
    yield _by(
        "chiffon_attempts",
        "Attempts of the last 24 hours, and older ones that are not over, by status.",
        "status",
        AttemptStatus.values,
        attempts,
    )
    yield GaugeMetricFamily(
        "chiffon_oldest_due_attempt_age_seconds",
        "How long the attempt that waits longest has been due without being claimed; 0 if none waits.",
        oldest,
    )
    agents, due = _agents_and_jobs()
    yield _by("chiffon_agents", "Agents by status.", "status", AgentStatus.values, agents)
    yield GaugeMetricFamily("chiffon_jobs_due", "Background jobs that are due and that no worker has taken.", due)


def _plans() -> dict[str, int]:
    return dict(Plan.objects.order_by().values_list("stage").annotate(Count("pk")))


def _attempts() -> tuple[dict[str, int], float]:
    """Counts by status, and the age in seconds of the oldest due attempt. The key sorts by age, so it bounds the reading."""
    recent = Q(pk__gte=_first_key_of(time.time() - ATTEMPTS_OF.total_seconds())) | Q(status__in=_OPEN)
    rows = list(
        Attempt.objects.filter(recent)
        .order_by()
        .values_list("status")
        .annotate(Count("pk"), oldest=Min("next_at", filter=_UNCLAIMED))
    )
    waits_since = min((oldest for _, _, oldest in rows if oldest), default=None)
    age = max(0.0, (timezone.now() - waits_since).total_seconds()) if waits_since else 0.0
    return {status: count for status, count, _ in rows}, age


def _agents_and_jobs() -> tuple[dict[str, int], int]:
    """Agents by status, and how many jobs are due, in one query."""
    agents = Agent.objects.order_by().values_list("status").annotate(Count("pk"))
    unclaimed = Job.objects.order_by().filter(status__in=(JobStatus.DUE, JobStatus.SENT), next_at__lte=Now())
    jobs = unclaimed.annotate(what=Value("jobs")).values_list("what").annotate(Count("pk"))
    counts = dict(agents.union(jobs, all=True).order_by())
    return counts, counts.pop("jobs", 0)


def _first_key_of(unix_seconds: float) -> UUID:
    """The smallest version 7 UUID of that moment."""
    return UUID(int=int(unix_seconds * 1000) << 80)


def _by(name: str, what: str, label: str, words: Iterable[str], counts: dict[str, int]) -> Metric:
    """A gauge with every word of the vocabulary, so that a count that falls to nothing is seen as 0."""
    family = GaugeMetricFamily(name, what, labels=[label])
    for word in words:
        family.add_metric([word], counts.get(word, 0))
    return family


def _up(value: int) -> Metric:
    return GaugeMetricFamily("chiffon_up", "Whether PostgreSQL answered: 1 if so, else 0 and no counts.", value)


def make_registry(fresh_seconds: float = FRESH_SECONDS) -> CollectorRegistry:
    """A registry of our own: what libraries put into the global one stays out."""
    registry = CollectorRegistry()
    registry.register(StateOfWork(fresh_seconds))
    ProcessCollector(registry=registry)
    return registry


_REGISTRY: Final = make_registry()


@never_cache
@require_safe
@login_not_required
def metrics(request: HttpRequest) -> HttpResponse:
    """All metrics in Prometheus' text format; never an error because of the database."""
    return HttpResponse(generate_latest(_REGISTRY), content_type=CONTENT_TYPE_LATEST)
