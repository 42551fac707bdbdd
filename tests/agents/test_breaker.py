"""Circuit breakers: one state for all processes, one probe, and nothing that stops because Redis did (RUN-8)."""

import json
import logging
import socket
import subprocess
import sys
import time
from functools import partial
from uuid import uuid4

import pytest
import redis
from django.conf import settings

from agents import breaker, services
from agents.breaker import Breakers, Policy, counts
from agents.errors import NoSuchBreaker, ReasonMissing
from agents.models import Breaker
from agents.protocol import Failure, FailureMode
from audit.authority import Role
from audit.context import Actor
from audit.errors import NotAllowed
from audit.models import DecisionRecord
from tests import factories
from tests.engine import together

pytestmark = pytest.mark.django_db
QUICK = Policy(failures=3, window=0.6, wait=0.3, longest=0.8)


@pytest.fixture
def aim():
    """A tool on a target that no other test knows."""
    return "diagnostic.fail", f"host:h-{uuid4()}"


@pytest.fixture
def breakers(embedded_servers):
    return Breakers(settings.CHIFFON_REDIS_URL, QUICK)


@pytest.fixture
def enter(breakers, transactional_db):
    """Whether a try may go past the breaker, asked in a transaction as a dispatcher does."""
    from django.db import transaction

    def may(aim, who="me", lease=30.0, **more):
        with transaction.atomic():
            seen = breakers.enter(aim, who, lease=lease, **more)
        return seen.closed or seen.probe == who

    return may


def fail(breakers, aim, times=3, who="me", error="no route"):
    for _ in range(times):
        breakers.note({aim: "bad"}, who, error=error)


def types(aim):
    rows = DecisionRecord.objects.filter(subject=f"breaker:{Breaker.objects.get(tool=aim[0], target=aim[1]).pk}")
    return list(rows.order_by("sequence").values_list("type", flat=True))


def test_it_opens_after_so_many_failures_in_a_row_and_not_before(breakers, enter, aim):
    fail(breakers, aim, 2)
    assert enter(aim)
    fail(breakers, aim, 1, error="no route to host")
    assert not enter(aim)
    row = Breaker.objects.get(tool=aim[0], target=aim[1])
    assert (row.state, row.failures, row.last_error) == ("open", 3, "no route to host")
    record = DecisionRecord.objects.get(subject=f"breaker:{row.pk}")
    assert (record.type, record.metadata["seconds"]) == ("breaker.opened", 0.3)
    assert record.reason == "3 tries in a row failed; the last said “no route to host”"


def test_a_success_in_between_begins_the_count_anew(breakers, enter, aim):
    for _ in range(3):
        fail(breakers, aim, 2)
        breakers.note({aim: "ok"}, "me")
    assert enter(aim)
    assert not Breaker.objects.exists()


def test_failures_further_apart_than_the_window_do_not_open_it(breakers, enter, aim):
    fail(breakers, aim, 2)
    time.sleep(0.65)
    fail(breakers, aim, 2)
    assert enter(aim)


def test_what_says_nothing_of_the_target_counts_neither_way(breakers, enter, aim):
    fail(breakers, aim, 2)
    breakers.note({aim: "none"}, "me")
    fail(breakers, aim, 1)
    assert not enter(aim)


def test_another_tool_and_another_target_are_not_concerned(breakers, enter, aim):
    fail(breakers, aim)
    assert enter((aim[0], "host:other"))
    assert enter(("diagnostic.noop", aim[1]))


def test_after_a_while_one_try_is_let_through_and_its_success_closes_it(breakers, enter, aim):
    fail(breakers, aim)
    time.sleep(0.35)
    assert enter(aim, "first")
    assert not enter(aim, "second")
    assert enter(aim, "first"), "the same try asked twice is still the one"
    breakers.note({aim: "ok"}, "second")
    assert not enter(aim, "second"), "only the probe's own end counts"
    breakers.note({aim: "ok"}, "first")
    assert enter(aim, "second")
    assert types(aim) == ["breaker.opened", "breaker.half_opened", "breaker.closed"]


def test_each_probe_that_fails_opens_it_for_twice_as_long_up_to_a_cap(breakers, enter, aim):
    fail(breakers, aim)
    waits = []
    for number in range(3):
        left = breakers.look([aim])[aim].left
        time.sleep(left + 0.02)
        assert enter(aim, f"probe-{number}")
        fail(breakers, aim, 1, who=f"probe-{number}")
        waits.append(breakers.look([aim])[aim].wait)
    assert waits == [0.6, 0.8, 0.8]
    assert Breaker.objects.get(target=aim[1]).failures == 6


def test_a_probe_that_says_nothing_makes_room_for_the_next(breakers, enter, aim):
    fail(breakers, aim)
    time.sleep(0.35)
    assert enter(aim, "first")
    breakers.note({aim: "none"}, "first")
    assert enter(aim, "second")


def test_a_probe_that_is_lost_is_replaced_when_its_lease_is_over_or_it_is_known_to_be_lost(breakers, enter, aim):
    fail(breakers, aim)
    time.sleep(0.35)
    assert enter(aim, "first", lease=0.2)
    assert not enter(aim, "second")
    time.sleep(0.25)
    assert enter(aim, "second")
    assert not enter(aim, "third", instead_of="first")
    assert enter(aim, "third", instead_of="second")


def test_ends_of_tries_from_before_it_opened_change_nothing(breakers, aim):
    fail(breakers, aim, 3)
    was = breakers.look([aim])[aim]
    fail(breakers, aim, 2, who="late")
    breakers.note({aim: "ok"}, "later")
    now = breakers.look([aim])[aim]
    assert (now.state, now.failures, now.till) == (was.state, 3, was.till)
    assert types(aim) == ["breaker.opened"]


@pytest.mark.parametrize(
    ("mode", "transient", "counted"),
    [
        (FailureMode.SYSTEM, True, True),
        (FailureMode.SYSTEM, False, True),
        (FailureMode.RESOURCE, True, True),
        (FailureMode.RESOURCE, False, False),
        (FailureMode.USER, True, False),
        (FailureMode.POLICY, True, False),
        (FailureMode.AGENT, True, False),
    ],
)
def test_only_trouble_that_is_the_targets_counts(mode, transient, counted):
    assert counts(Failure(mode, "x", transient)) is counted


@pytest.mark.integration
@pytest.mark.slow
def test_four_processes_share_the_failures_and_exactly_one_probes(process_environment, checkout, transactional_db, aim):
    """F32: 4 workers, 5 failures, one half-open probe."""
    failures = (2, 1, 1, 1)
    children = [
        subprocess.Popen(
            [sys.executable, "-m", "tests.agents.breaker_probe", aim[1], str(count), f"worker-{place}"],
            env=process_environment, cwd=checkout, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )
        for place, count in enumerate(failures)
    ]  # fmt: skip
    try:
        for child in children:
            assert child.stdout is not None and child.stdout.readline() == "failed\n"
        for child in children:
            assert child.stdin is not None
            child.stdin.write("go\n")
            child.stdin.flush()
        answers = [json.loads(child.stdout.readline()) for child in children if child.stdout is not None]
    finally:
        for child in children:
            child.kill()
            child.communicate()
    assert [answer["before"] for answer in answers] == ["open"] * 4
    assert sum(answer["entered"] for answer in answers) == 1
    assert types(aim) == ["breaker.opened", "breaker.half_opened"]


def test_of_many_who_ask_at_once_one_probes_each_time(breakers, transactional_db, aim, enter):
    for number in range(5):
        fail(breakers, aim, 3)
        time.sleep(breakers.look([aim])[aim].left + 0.02)
        answers = together(*(partial(enter, aim, f"{number}-{who}") for who in range(8)))
        assert sorted(answers) == [False] * 7 + [True]
        breakers.note({aim: "ok"}, f"{number}-{answers.index(True)}")
    assert types(aim).count("breaker.half_opened") == 5


class TestRedisAway:
    @pytest.fixture
    def lost(self, embedded_servers):
        with socket.socket() as taken:  # bound and not listening: whoever connects is turned away
            taken.bind(("127.0.0.1", 0))
            yield Breakers(f"redis://127.0.0.1:{taken.getsockname()[1]}/0", QUICK)

    def test_every_breaker_counts_as_closed_and_the_log_says_so_once(self, lost, aim, caplog):
        with caplog.at_level(logging.WARNING):
            fail(lost, aim, 50)
            lost._away_until = 0.0  # two seconds later
            assert lost.look([aim])[aim].closed
        assert [record.message[:38] for record in caplog.records] == ["circuit breakers count as closed while"]

    def test_nobody_waits_long_for_a_redis_that_hangs(self, aim):
        with socket.socket() as silent:
            silent.bind(("127.0.0.1", 0))
            silent.listen(64)
            hangs = Breakers(f"redis://127.0.0.1:{silent.getsockname()[1]}/0", QUICK)
            begun = time.monotonic()
            assert [hangs.look([aim])[aim].closed for _ in range(100)] == [True] * 100
            assert time.monotonic() - begun < 1.5

    def test_one_that_redis_forgot_is_closed_on_record(self, breakers, aim):
        fail(breakers, aim)
        client = redis.Redis.from_url(settings.CHIFFON_REDIS_URL)
        client.delete(*client.keys(f"chiffon:breaker:*{aim[1]}*"))
        assert breaker.catch_up() == 1
        assert breaker.catch_up() == 0
        assert Breaker.objects.get(target=aim[1]).state == "closed"
        assert types(aim) == ["breaker.opened", "breaker.closed"]

    def test_one_that_redis_still_has_is_left_alone(self, breakers, aim):
        fail(breakers, aim)
        assert breaker.catch_up() == 0

    def test_a_change_that_nobody_lived_to_record_is_recorded_by_who_looks(self, breakers, aim):
        fail(breakers, aim)
        Breaker.objects.filter(target=aim[1]).update(state="closed", version=0)
        [row] = breaker.rows_of(breakers.look([aim])).values()
        assert row.state == "open"
        assert types(aim) == ["breaker.opened"] * 2


class TestReset:
    @pytest.fixture
    def keeper(self, db):
        return Actor.person(factories.make_user("keeper", Role.AGENT_ADMIN))

    def test_a_person_closes_it_with_a_reason(self, breakers, enter, aim, keeper):
        fail(breakers, aim)
        row = Breaker.objects.get(target=aim[1])
        assert services.reset_breaker(actor=keeper, breaker_id=row.pk, reason="new cable").state == "closed"
        assert enter(aim)
        record = DecisionRecord.objects.get(type="breaker.reset")
        assert (record.actor, record.reason, record.metadata["where"]) == (
            "keeper",
            "new cable",
            aim[1].replace(":", " "),
        )

    def test_twice_is_fine_and_recorded_once(self, breakers, aim, keeper):
        fail(breakers, aim)
        row = Breaker.objects.get(target=aim[1])
        for _ in range(2):
            services.reset_breaker(actor=keeper, breaker_id=row.pk, reason="new cable")
        assert types(aim) == ["breaker.opened", "breaker.reset"]

    def test_it_can_open_again_after_it(self, breakers, enter, aim, keeper):
        fail(breakers, aim)
        services.reset_breaker(actor=keeper, breaker_id=Breaker.objects.get().pk, reason="x")
        fail(breakers, aim, 2)
        assert enter(aim)
        fail(breakers, aim, 1)
        assert not enter(aim)
        assert Breaker.objects.get().state == "open"

    @pytest.mark.parametrize("reason", ["", "   \n"])
    def test_it_needs_a_reason(self, breakers, aim, keeper, reason):
        fail(breakers, aim)
        with pytest.raises(ReasonMissing):
            services.reset_breaker(actor=keeper, breaker_id=Breaker.objects.get().pk, reason=reason)
        assert Breaker.objects.get().state == "open"

    def test_one_that_is_not_there_is_not_found(self, keeper):
        with pytest.raises(NoSuchBreaker):
            services.reset_breaker(actor=keeper, breaker_id=uuid4(), reason="x")

    @pytest.mark.parametrize("role", [Role.REQUESTER, Role.APPROVER, Role.AUDITOR])
    def test_only_agent_admins_reset(self, breakers, aim, role):
        fail(breakers, aim)
        with pytest.raises(NotAllowed):
            services.reset_breaker(
                actor=Actor.person(factories.make_user("x", role)), breaker_id=Breaker.objects.get().pk, reason="x"
            )


@pytest.mark.parametrize("error", ["a\x00b", "\ud800", "x" * 100_000, "line\nline", "“quoted”", ""])
def test_an_error_of_any_text_is_kept_as_text_that_can_be_read(breakers, aim, error):
    fail(breakers, aim, error=error)
    row = Breaker.objects.get(target=aim[1])
    assert row.state == "open"
    assert len(row.last_error) <= 300
    assert "\n" not in row.last_error
