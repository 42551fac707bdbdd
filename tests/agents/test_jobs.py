"""Background work as rows: done once, tried again, never lost, and never in the way of anything else."""

import functools
import os
import socket
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection, transaction
from django.db.models import F
from django.db.models.functions import Now

from agents import jobs
from agents.conf import JOB_TRIES
from agents.models import Job
from audit.models import DecisionRecord
from tests.engine import Engine, together

pytestmark = pytest.mark.django_db
done: list[dict[str, Any]] = []


@jobs.handler("test.note")
def note(payload):
    done.append(dict(payload))
    return {"noted": len(done)}


@jobs.handler("test.break")
def break_down(_payload):
    raise OSError("no route to host, password=hunter22")


@pytest.fixture(autouse=True)
def _nothing_done(db):
    done.clear()
    Job.objects.all().delete()


def job(kind="test.note", **fields):
    return Job.objects.create(kind=kind, **fields)


def now(one):
    return Job.objects.get(pk=one.pk)


def test_a_job_is_done_once_and_keeps_its_result():
    one = job(payload={"a": 1})
    assert jobs.run(one.pk, token=0) is True
    assert jobs.run(one.pk, token=0) is False
    assert done == [{"a": 1}]
    assert (now(one).status, now(one).result, now(one).tries) == ("completed", {"noted": 1}, 1)


def test_a_job_has_the_lease_that_its_kind_asks_for():
    left = []

    @jobs.handler("test.long", seconds=1_000)
    def long(_payload):
        left.append(Job.objects.filter(kind="test.long", lease_until__gt=Now() + timedelta(seconds=990)).count())

    one = job("test.long")
    assert jobs.run(one.pk, token=0) is True
    assert left == [1]


@pytest.mark.django_db(transaction=True)
def test_of_five_deliveries_at_once_one_does_the_work(transactional_db):
    for _ in range(5):
        one = job()
        assert sorted(together(*[functools.partial(jobs.run, one.pk, token=0)] * 5)) == [False] * 4 + [True]
    assert len(done) == 5


@pytest.mark.parametrize("token", [1, 5])
def test_a_message_with_another_token_does_nothing(token):
    one = job()
    assert jobs.run(one.pk, token=token) is False
    assert done == []


def test_what_waits_with_the_same_key_is_one_job():
    for number in range(5):
        with transaction.atomic():
            jobs.enqueue("test.note", key="batch", payload={"n": number})
    jobs.enqueue("test.note", key="other")
    jobs.enqueue("test.note")
    jobs.enqueue("test.note")
    assert Job.objects.filter(key="batch").count() == 1
    assert Job.objects.count() == 4


def test_while_one_runs_the_next_of_its_key_may_wait():
    job(key="batch", status="running", token=1)
    jobs.enqueue("test.note", key="batch")
    assert sorted(Job.objects.values_list("status", flat=True)) == ["due", "running"]


def test_a_rolled_back_wish_is_no_job():
    with transaction.atomic():
        jobs.enqueue("test.note")
        transaction.set_rollback(True)
    assert not Job.objects.exists()


def test_a_failed_job_waits_longer_each_time_and_says_why_without_secrets():
    one = job("test.break")
    waits = []
    for token in range(3):
        assert jobs.run(one.pk, token=token)
        left = Job.objects.annotate(left=F("next_at") - Now()).get(pk=one.pk)
        assert left.status == "due"
        waits.append(round(left.left.total_seconds()))
    assert waits == [2, 4, 8]
    assert now(one).error == "OSError: no route to host, password=[hidden secret]"


def test_after_the_last_try_a_person_sees_it_as_failed():
    one = job("test.break", tries=JOB_TRIES - 1)
    jobs.run(one.pk, token=0)
    assert now(one).status == "failed"
    assert DecisionRecord.objects.get(type="job.failed").metadata["kind"] == "test.break"


def test_a_recurring_job_never_gives_up_and_comes_back_after_its_pause():
    failing = job("test.break", key="recurring", tries=JOB_TRIES + 5, every=timedelta(hours=1))
    jobs.run(failing.pk, token=0)
    assert now(failing).status == "due"
    fine = job(every=timedelta(hours=1), tries=3)
    jobs.run(fine.pk, token=0)
    again = Job.objects.annotate(left=F("next_at") - Now()).get(pk=fine.pk)
    assert (again.status, again.tries, again.result) == ("due", 0, {"noted": 1})
    assert 3590 < again.left.total_seconds() <= 3600


def test_a_job_of_an_unknown_kind_is_tried_again_and_not_lost():
    one = job("test.nobody")
    assert jobs.run(one.pk, token=0) is True
    assert now(one).status == "due"
    assert "KeyError" in now(one).error


def test_a_failed_job_leaves_its_work_to_the_next_of_its_key():
    one = job("test.break", key="batch")
    Job.objects.filter(pk=one.pk).update(status="sent")

    @jobs.handler("test.break-and-ask")
    def ask(_payload):
        jobs.enqueue("test.break-and-ask", key="batch")
        raise OSError

    two = job("test.break-and-ask", key="batch")
    jobs.run(two.pk, token=0)
    assert now(two).status == "failed"
    assert Job.objects.get(kind="test.break-and-ask", status="due").key == "batch"


class TestReclaim:
    def test_what_was_sent_and_never_taken_is_due_again(self):
        late, fresh = job(status="sent"), job(status="sent")
        Job.objects.filter(pk=late.pk).update(sent_at=Now() - timedelta(seconds=11))
        Job.objects.filter(pk=fresh.pk).update(sent_at=Now())
        assert jobs.reclaim() == 1
        assert (now(late).status, now(fresh).status) == ("due", "sent")

    def test_what_a_dead_worker_held_is_due_again_and_its_late_end_is_nobodys(self):
        one = job()
        Job.objects.filter(pk=one.pk).update(status="running", token=1, lease_until=Now() - timedelta(seconds=1))
        stale = now(one)
        assert jobs.reclaim() == 1
        assert (now(one).status, now(one).error) == ("due", "Its worker fell silent and the lease ended.")
        jobs._succeeded(stale, {"late": True})
        assert now(one).status == "due"
        assert jobs.run(one.pk, token=0) is False
        assert jobs.run(one.pk, token=1)

    def test_a_job_that_kills_its_workers_ends_as_failed(self):
        one = job(status="running", token=1, tries=JOB_TRIES, lease_until=Now() - timedelta(seconds=1))
        jobs.reclaim()
        assert now(one).status == "failed"
        assert DecisionRecord.objects.filter(type="job.failed").count() == 1

    def test_a_job_that_is_held_is_left_alone(self):
        one = job(status="running", token=1)
        Job.objects.filter(pk=one.pk).update(lease_until=Now() + timedelta(seconds=60))
        assert jobs.reclaim() == 0

    def test_what_a_dead_worker_held_gives_way_to_the_next_of_its_key(self):
        held = job(key="batch", status="running", token=1, lease_until=Now() - timedelta(seconds=1))
        waiting = job(key="batch")
        with transaction.atomic():
            jobs.reclaim()
        assert now(waiting).status == "due"
        assert now(held).status == "failed"

    def test_two_dead_workers_of_one_key_leave_one_job(self):
        past = Now() - timedelta(seconds=1)
        held = [job(key="batch", status="running", token=1, lease_until=past) for _ in range(2)]
        with transaction.atomic():
            jobs.reclaim()
        assert sorted(now(one).status for one in held) == ["due", "failed"]

    def test_the_dispatcher_goes_on_beside_a_dead_workers_job(self):
        job(key="batch", status="running", token=1, lease_until=Now() - timedelta(seconds=1))
        job(key="batch")
        from plans.execution import dispatcher

        with transaction.atomic():
            dispatcher._sweep()
        assert Engine().dispatch() == []

    @pytest.mark.django_db(transaction=True)
    def test_a_dead_workers_recurring_job_comes_back(self, transactional_db):
        one = job(key="recurring", every=timedelta(minutes=1), status="running", token=1)
        Job.objects.filter(pk=one.pk).update(lease_until=Now() - timedelta(seconds=1))
        assert jobs.reclaim() == 1
        assert now(one).status == "due"


class TestRestart:
    """What a worker that starts does about what an earlier one held on this machine."""

    def running(self, pid, host=None):
        one = job(status="running", token=1, tries=1, holder=f"{host or socket.gethostname()} {pid}")
        Job.objects.filter(pk=one.pk).update(lease_until=Now() + timedelta(seconds=100))
        return one

    def test_the_job_of_a_process_that_is_no_more_is_tried_again_before_its_lease_ends(self):
        one = self.running(4711)
        assert jobs.give_back(alive=lambda pid: False) == 1
        assert (now(one).status, now(one).error) == ("due", "Its worker was restarted.")
        jobs._succeeded(Job(pk=one.pk, token=0), {"late": True})
        assert now(one).status == "due"

    @pytest.mark.parametrize("host", ["elsewhere", None])
    def test_the_jobs_of_other_hosts_and_of_living_processes_are_left_alone(self, host):
        one = self.running(4711, host)
        assert jobs.give_back(alive=lambda pid: host is None and pid == 4711) == 0
        assert now(one).status == "running"

    def test_what_was_sent_may_be_lost_with_the_one_before_and_is_sent_again(self):
        one = job(status="sent")
        assert jobs.give_back(alive=lambda pid: True) == 0
        assert now(one).status == "due"

    def test_a_job_says_who_does_it(self):
        one = job()
        jobs.run(one.pk, token=0)
        assert now(one).holder == f"{socket.gethostname()} {os.getpid()}"


def test_a_wish_rings_for_the_dispatchers():
    with connection.cursor() as cursor:
        cursor.execute("LISTEN chiffon_due")
    with transaction.atomic():
        jobs.enqueue("test.note")
    assert Job.objects.count() == 1
