"""Whatever stands in the queues: no worker dies of it, no work is lost by it, nothing is done because of it."""

import base64
import json
import pickle
import re
from typing import Any
from uuid import uuid4

import pytest
import redis

from agents.conf import JOB_QUEUE
from tests.chaos.invariants import broken, not_in_git
from tests.chaos.plans import miscounted

pytestmark = [pytest.mark.chaos, pytest.mark.integration, pytest.mark.slow]
QUEUES = ("agent.forge-01", "agent.forge-02", JOB_QUEUE)
READERS = ("forge-01", "forge-02", "worker")
NO_IDS: tuple[Any, ...] = ("nonsense", "", None, 5, {}, "0' OR 1=1")
NO_TOKENS: tuple[Any, ...] = ("many", None, -1, 2**70, [], 1.5)
STRANGE: tuple[Any, ...] = ("x", 5, {}, [1], [0.1, 0.1], [[5]])
EMBEDDED: tuple[Any, ...] = (
    {"callbacks": [5]}, {"chord": "x"}, {"timelimit": "x"}, {"delivery_info": 5}, {"id": []}, [5], "x", 5,
)  # fmt: skip
HUGE = 4_000_000
# The headers by which Celery is told how to do a task, and what after it.
OPTIONS = ("timelimit", "eta", "expires", "retries", "group", "group_index", "chord", "chain", "callbacks", "errbacks", "shadow", "lang",
           "root_id", "parent_id", "argsrepr", "kwargsrepr", "origin", "ignore_result", "stamps", "stamped_headers", "compression",
           "replaced_task_nesting", "reply_to", "hostname", "delivery_info", "properties")  # fmt: skip


def message(body=b"[[], {}, {}]", *, type_="application/json", encoding="base64", **headers):
    """A message as Celery packs it, by default of a task without arguments."""
    return json.dumps({
        "body": base64.b64encode(body).decode(), "content-encoding": "utf-8", "content-type": type_,
        "headers": {"lang": "py", "task": "plans.run_attempt", "id": str(uuid4()), **headers},
        "properties": {"delivery_tag": str(uuid4()), "delivery_mode": 2, "priority": 0, "body_encoding": encoding,
                       "delivery_info": {"exchange": "", "routing_key": "agent.forge-01"}},
    }).encode()  # fmt: skip


def call(task="plans.run_attempt", *, positional=(), headers=None, **arguments):
    """A message that calls a task with these arguments."""
    return message(json.dumps([positional, arguments, {}]).encode(), task=task, **(headers or {}))


def junk(attempt_id):
    """All that nobody of ours writes; the id is that of an attempt that runs."""
    stranger = str(uuid4())
    # Without any form.
    yield from (b"", b"\x00\xff\xfe", b"no JSON", b"[]", b"{}", b"null", b"17", b'"text"', b"[" * 100_000)
    yield from (b'{"properties": {}}', b'{"properties": null, "body": 3}', b'{"properties": {"delivery_tag": "1"}}')
    yield json.dumps({"properties": {"delivery_tag": "2"}, "headers": 5, "body": "%%%"}).encode()
    # A message, but not of a task.
    yield from (
        message(b"no JSON"),
        message(b"{}"),
        message(b"[]"),
        message(b"[1, 2, 3]"),
        message(b"\xff"),
        message(encoding="rot13"),
    )
    yield message(pickle.dumps([(), {}, {}]), type_="application/x-python-serialize")
    yield from (
        message(task=None),
        message(task=["plans.run_attempt"]),
        message(id=None),
        message(retries="many"),
        message(eta="soon"),
        message(eta="2099-01-01T00:00:00+00:00"),
    )
    # What Celery would take apart only once it has counted the message as work, or would obey.
    for name in OPTIONS:
        yield from (call(attempt_id=stranger, token=0, headers={name: value}) for value in STRANGE)
    for embedded in EMBEDDED:
        yield message(json.dumps([[], {"attempt_id": stranger, "token": 0}, embedded]).encode())
    for task in ("celery.map", "celery.chord_unlock", "celery.backend_cleanup"):
        yield call(task, headers={"timelimit": "x"})
    # A task, but not ours, or not one that can be.
    yield from (call("nobody.knows"), message(task="nobody.knows", id=None), call("os.system", positional=["true"]))
    for task, name in (("plans.run_attempt", "attempt_id"), ("agents.run_job", "job_id")):
        for no_id in NO_IDS:
            yield call(task, **{name: no_id, "token": 0})
        for no_token in NO_TOKENS:
            yield call(task, **{name: attempt_id, "token": no_token})
        yield from (call(task), call(task, **{name: attempt_id}), call(task, positional=[attempt_id, 0]))
        yield call(task, **{name: stranger, "token": 0})
        yield call(task, **{name: stranger, "token": 0, "more": "x" * HUGE})


def readers(house):
    """The process that reads each queue; nothing while one of them is being started."""
    found = house.programs()
    return {name: found[name].pid for name in READERS} if found.keys() >= set(READERS) else None


def once(house, seconds):
    return {"tool": "effects.once", "input": {"file": str(house.effects), "before": seconds}}


def test_junk_in_the_queues_ends_no_worker_and_costs_no_work(house):
    before = house.until(lambda: readers(house))
    long = once(house, 2.0)
    at_work = house.approved(house.written({"key": "a", **long}, {"key": "b", **long, "depends_on": ["a"]}))
    running = house.until(
        lambda: next((a for a in house.plan(at_work["id"])["steps"][0]["attempts"] if a["status"] == "running"), None)
    )
    url = json.loads((house.folder / "env.json").read_text())["CELERY_BROKER_URL"]
    with redis.Redis.from_url(url) as queues:
        for name in QUEUES:
            for one in junk(running["id"]):
                queues.lpush(name, one)
        house.until(lambda: not any(queues.llen(name) for name in QUEUES), 60)
    # As many as there are slots: each process of each agent still works.
    later = [house.approved(house.written({"key": "a", **once(house, 0.5)})) for _ in range(4)]
    for plan in (at_work, *later):
        done = house.ended(plan, 90)
        assert done["stage"] == "completed"
        assert {attempt["status"] for step in done["steps"] for attempt in step["attempts"]} == {"completed"}
        house.until(lambda pk=plan["id"]: not list(not_in_git(house, pk)), 60)
        assert [*broken(house, plan["id"]), *miscounted(house, plan["id"])] == []
    assert readers(house) == before
    logs = "".join((house.folder / "logs" / f"{name}.log").read_text() for name in READERS)
    assert "a message was dropped that names no row" in logs
    assert not re.findall(
        r"Task (?:plans|agents)\.\w+\[.*raised unexpected", logs
    )  # what nobody wrote is no defect of ours
