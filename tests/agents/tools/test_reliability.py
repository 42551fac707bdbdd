"""How reliable a tool is: counted over the attempts of late, per version, and unknown where nothing was called."""

from datetime import timedelta

import pytest
from django.db import IntegrityError, connection
from django.db.models.functions import Now
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from agents.models import ToolRecord
from agents.tools import reliability
from agents.tools.cache import FROM_CACHE
from agents.tools.diagnostic import Echo
from agents.tools.reliability import ToolCalls
from chiffon_site import jobs
from plans.models import Attempt
from plans.selectors import tool_calls
from tests import factories

pytestmark = pytest.mark.django_db
ECHO = "diagnostic.echo"


@pytest.fixture
def called(requester):
    """Make attempts at a tool that ended like this."""

    def make(*statuses, tool=ECHO, seconds=2.0, ago=timedelta(), **fields):
        given = {"input": {"times": 0}} if tool == "diagnostic.fail" else {}
        step = factories.make_plan(requester, [factories.step("a", tool, **given)]).steps.get()
        for number, status in enumerate(statuses, 1):
            ended = timezone.now() - ago
            times = {"started_at": ended - timedelta(seconds=seconds), "finished_at": ended}
            # The road to a status is another test's: these begin where they end.
            Attempt.objects.create(step=step, plan=step.plan, number=number, status=status, **times, **fields)

    return make


@pytest.fixture
def seen_long_ago():
    reliability.since()
    ToolRecord.objects.update(seen_at=Now() - timedelta(days=1))


def measured(tool=ECHO, **more):
    return {found.tool: found for found in tool_calls(reliability.since(), **more)}.get(tool)


def test_calls_are_counted_and_cancelled_ones_and_cached_ones_are_none(called, seen_long_ago):
    called("completed", "completed", "failed", "interrupted", "cancelled")
    called("completed", progress={FROM_CACHE: "2026-01-01T00:00:00+00:00"})
    called("completed", tool="diagnostic.noop", seconds=9)
    found = measured()
    assert found is not None
    assert (found.calls, found.succeeded, found.from_cache) == (4, 2, 1)
    assert found.median_seconds == pytest.approx(2.0)
    assert measured("diagnostic.sleep") is None


def test_what_a_policy_forbade_such_as_the_end_of_a_budget_is_no_call_of_the_tool(called, seen_long_ago):
    called("completed")
    called("failed", failure_mode="policy")
    called("failed", failure_mode="user")
    found = measured()
    assert found is not None
    assert (found.calls, found.succeeded) == (2, 1)


def test_only_the_last_attempts_are_looked_at(called, seen_long_ago):
    called(*["failed"] * 5)
    called(*["completed"] * 3)
    found = measured(most=4)
    assert found is not None
    assert (found.calls, found.succeeded) == (4, 3)


def test_calls_of_an_earlier_version_are_not_held_against_this_one(called, seen_long_ago, monkeypatch):
    called("failed", "failed", ago=timedelta(minutes=5))
    jobs.measure_tools({})
    monkeypatch.setattr(Echo, "version", "2")
    reliability.since()
    called("completed", seconds=0)
    jobs.measure_tools({})
    assert list(ToolRecord.objects.filter(name=ECHO).values_list("version", "calls", "succeeded").order_by("version")) == [
        ("1", 2, 0), ("2", 1, 1),
    ]  # fmt: skip


def test_what_was_not_called_is_unknown_and_not_zero():
    jobs.measure_tools({})
    record = ToolRecord.objects.get(name=ECHO)
    assert (record.calls, record.success_rate, record.median_seconds) == (0, None, None)
    assert record.measured_at is not None


def test_measuring_again_replaces_and_may_be_repeated(called, seen_long_ago):
    called("completed")
    assert jobs.measure_tools({}) == jobs.measure_tools({}) == {"called": 1}
    record = ToolRecord.objects.get(name=ECHO)
    assert (record.calls, record.succeeded, record.success_rate) == (1, 1, 1.0)


def test_the_number_of_queries_does_not_grow_with_the_attempts(called, seen_long_ago):
    def queries():
        with CaptureQueriesContext(connection) as seen:
            jobs.measure_tools({})
        return len(seen)

    called("completed")
    one = queries()
    called(*["completed"] * 20)
    assert queries() == one


def test_measuring_recurs():
    assert jobs.RECURRING["agents.measure_tools"] <= timedelta(minutes=10)


def test_a_tool_can_not_succeed_more_often_than_it_is_called():
    reliability.since()
    with pytest.raises(IntegrityError):
        reliability.note([ToolCalls(ECHO, 1, 2, 0, None, None)])
