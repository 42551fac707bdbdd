"""Raw Celery, the measure for everything else: tasks that do nothing, no database, the same broker server.

Its settings are Celery's own but for two: no results are kept and messages are JSON, as in Chiffon.
"""

from __future__ import annotations

import os
import time
from functools import cache

import redis
from celery import Celery

BROKER = "BENCH_BROKER"
QUEUE = "bench-raw"
DONE, STARTED = "bench:done", "bench:started"

app = Celery("bench", broker=os.environ.get(BROKER, "redis://127.0.0.1:1/0"))
app.conf.update(
    task_ignore_result=True,
    task_serializer="json",
    accept_content=["json"],
    task_default_queue=QUEUE,
    worker_hijack_root_logger=False,
)


@cache
def counters() -> redis.Redis:
    """Where tasks say that they ran: kept open, so that it costs one round trip."""
    return redis.Redis.from_url(os.environ[BROKER])


@app.task(name="bench.noop")
def noop(*, last: bool = False) -> None:
    """Do nothing. The last of a chain, and each of a group, says when it was done, or nobody could know."""
    if last:
        counters().rpush(DONE, repr(time.time()))


@app.task(name="bench.stamp")
def stamp() -> None:
    """Say when it began."""
    counters().rpush(STARTED, repr(time.time()))
