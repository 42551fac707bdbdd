"""What the tests of pages start from."""

import shutil
from pathlib import Path

import pytest
from django.core.cache import cache
from django.db import connection
from django.db.models.functions import Now
from django.test import Client
from django.test.utils import CaptureQueriesContext

from agents import git
from agents.models import PlaybookRepository
from agents.services import refresh_playbooks
from audit.authority import Role
from audit.context import SYSTEM
from audit.ids import uuid7
from plans.models import Attempt, OutputLine, Plan, RoutingChoice, Step
from tests import factories

ROUTING = {
    "chosen": "forge-01",
    "score": 87,
    "reason": "forge-01 had the better record.",
    "policy": "weighted score",
    "candidates": [
        {
            "agent": "forge-01",
            "score": 87,
            "factors": {"success": 39, "context": 22, "specialisation": 18, "load": 8},
            "out": "",
        },
        {"agent": "gauge", "score": 0, "factors": {}, "out": "it is offline"},
    ],
}


@pytest.fixture
def browse():
    """A browser in which this person is signed in; without a person, one in which nobody is."""

    def opened(person=None):
        client = Client(raise_request_exception=False)
        if person is not None:
            client.force_login(person)
        return client

    return opened


@pytest.fixture
def stranger(db):
    """Another requester."""
    return factories.make_user("stranger", Role.REQUESTER)


@pytest.fixture
def pending(requester):
    """A plan of the requester that awaits approval."""
    return factories.make_plan(requester, [factories.step("one"), factories.step("two", depends_on=["one"])])


@pytest.fixture(scope="session")
def homelab(tmp_path_factory):
    """The example playbooks as a real git repository, with one file that is no YAML."""
    source = tmp_path_factory.mktemp("playbooks") / "source"
    shutil.copytree(Path(__file__).resolve().parents[2] / "examples" / "homelab", source)
    (source / "broken.yml").write_text("- hosts: all\n  tasks: [\n")
    folder = tmp_path_factory.mktemp("repository") / "homelab"
    git.init_from_folder(source, folder, git.Person("Homelab", "homelab@example.org"), "The homelab")
    return folder


@pytest.fixture
def catalogue(db, homelab):
    """The playbooks of the homelab, read in."""
    PlaybookRepository.objects.update_or_create(name="homelab", defaults={"location": str(homelab)})
    return refresh_playbooks(actor=SYSTEM)


@pytest.fixture
def count_queries():
    """How many queries a page asks, once everything that is remembered between requests is."""

    def count(client, address):
        assert client.get(address).status_code == 200
        with CaptureQueriesContext(connection) as queries:
            client.get(address)
        return len(queries)

    return count


@pytest.fixture
def failed_run(requester, approver, pending):
    """A run whose first step failed in its second try, after 1 200 lines of output."""
    agent = factories.make_agent("forge-01")
    plan = factories.approve(pending, approver)
    step = Step.objects.get(plan=plan, key="one")
    Attempt.objects.filter(step=step).update(status="cancelled")
    Plan.objects.filter(pk=plan.pk).update(stage="executing", started_at=Now())
    choice = RoutingChoice.objects.create(id=uuid7(), body=ROUTING)
    for number in (11, 12):
        attempt = Attempt.objects.create(step=step, plan=plan, number=number, agent=agent, choice=choice)
        Attempt.objects.filter(pk=attempt.pk).update(status="running", token=number, started_at=Now())
        Attempt.objects.filter(pk=attempt.pk).update(
            status="failed", error="No route to host", failure_mode="system", finished_at=Now(), line_count=1200
        )
        OutputLine.objects.bulk_create(
            OutputLine(attempt_id=attempt.pk, seq=seq, stream="stdout", text=f"line {seq} of try {number}")
            for seq in range(1, 1200)
        )
        OutputLine.objects.create(
            attempt_id=attempt.pk, seq=1200, stream="stderr", text="\x1b[0;31mfatal: [h1] <b>no route</b>\x1b[0m"
        )
    if step.status != "ready":
        Step.objects.filter(pk=step.pk).update(status="ready")
    Step.objects.filter(pk=step.pk).update(status="running", started_at=Now())
    ended = {"error": "No route to host", "attempts_made": 12, "finished_at": Now()}
    Step.objects.filter(pk=step.pk).update(status="failed", **ended)
    Plan.objects.filter(pk=plan.pk).update(stage="failed", stage_reason="One failed.", finished_at=Now())
    return Plan.objects.get(pk=plan.pk)


@pytest.fixture
def fresh_limits(embedded_servers):
    """No wrong try is remembered, before and after."""
    cache.clear()
    yield
    cache.clear()
