"""What Prometheus is told, and that telling it needs neither a session nor a database."""

import os
import subprocess
import sys
from datetime import timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from agents.models import Job
from chiffon_site.observability import metrics
from plans.models import Attempt
from tests import factories
from tests.site.test_settings import CHECKOUT, SERVERS


def values_of(text):
    """Each sample's value by its name and its one label."""
    return {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def read_now():
    """What a first scrape of a process says."""
    return values_of(generate_latest(metrics.make_registry(fresh_seconds=0)).decode())


@pytest.mark.django_db
def test_anyone_may_read_metrics_in_prometheus_format(client):
    answer = client.get("/metrics")
    assert answer.status_code == 200
    assert answer["Content-Type"].startswith("text/plain; version=")
    assert answer["Cache-Control"].startswith("max-age=0")
    assert values_of(answer.content.decode())[("chiffon_up",)] == 1
    assert "process_resident_memory_bytes" in answer.content.decode()
    assert client.post("/metrics").status_code == 405


def test_counts_follow_the_rows_and_empty_words_say_zero(requester):
    factories.make_plan(requester)
    factories.make_agent("one")
    factories.make_agent("two", status="draining")
    seen = read_now()
    assert seen["chiffon_plans", "pending_approval"] == 1
    assert seen["chiffon_plans", "executing"] == 0
    assert seen["chiffon_agents", "ready"] == 1
    assert seen["chiffon_agents", "draining"] == 1
    assert seen["chiffon_agents", "offline"] == 0
    assert seen["chiffon_attempts", "due"] == 0
    assert seen[("chiffon_oldest_due_attempt_age_seconds",)] == 0


def test_attempt_that_nobody_takes_shows_its_age(requester):
    plan = factories.make_plan(requester)
    step = plan.steps.get()
    Attempt.objects.create(step=step, plan=plan, number=1, next_at=timezone.now() - timedelta(minutes=2))
    seen = read_now()
    assert seen["chiffon_attempts", "due"] == 1
    assert 120 <= seen[("chiffon_oldest_due_attempt_age_seconds",)] < 150


def test_attempt_that_waits_for_its_next_try_is_not_late(requester):
    plan = factories.make_plan(requester)
    Attempt.objects.create(step=plan.steps.get(), plan=plan, number=1, next_at=timezone.now() + timedelta(minutes=2))
    assert read_now()[("chiffon_oldest_due_attempt_age_seconds",)] == 0


@pytest.mark.django_db
def test_only_jobs_whose_time_has_come_are_due():
    before = read_now()[("chiffon_jobs_due",)]
    Job.objects.create(kind="now", next_at=timezone.now() - timedelta(seconds=1))
    Job.objects.create(kind="later", next_at=timezone.now() + timedelta(hours=1))
    Job.objects.create(kind="over", status="completed")
    assert read_now()[("chiffon_jobs_due",)] - before == 1


@pytest.mark.django_db
def test_a_rush_of_readers_costs_three_queries():
    registry = metrics.make_registry()
    with CaptureQueriesContext(connection) as queries:
        for _ in range(20):
            generate_latest(registry)
    assert len(queries) == 3


def test_database_that_is_away_is_told_as_a_number_and_not_as_an_error(tmp_path):
    code = (
        "import django; django.setup(); from django.test import Client; r = Client().get('/metrics', headers={'host': 'localhost'}); "
        "print(r.status_code); print(r.content.decode())"
    )
    environment = {"PATH": os.environ["PATH"], "CHIFFON_DATA_DIR": str(tmp_path), "CHIFFON_SECRET_KEY": "k" * 60}
    environment |= {**SERVERS, "DJANGO_SETTINGS_MODULE": "chiffon_site.settings", "CHIFFON_PROCESS": "web"}
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=CHECKOUT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    status, _, text = done.stdout.partition("\n")
    assert status == "200", done.stderr
    assert values_of(text)[("chiffon_up",)] == 0
    assert "chiffon_plans" not in text
    assert "process_cpu_seconds_total" in text
