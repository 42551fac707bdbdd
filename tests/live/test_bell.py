"""Rings are merged, cost their caller nothing, and may be lost without harm."""

import asyncio
import os
import time
from uuid import uuid4

import pytest
from channels.layers import get_channel_layer

from plans.live import announce, announce_inbox, readers_of
from plans.live.bell import GROUP, SPACING_SECONDS, Bell

pytestmark = pytest.mark.usefixtures("embedded_servers")


async def rings(seconds):
    layer = get_channel_layer()
    channel = await layer.new_channel()
    await layer.group_add(GROUP, channel)
    heard = []

    async def listen():
        while True:
            heard.append(await layer.receive(channel))

    task = asyncio.create_task(listen())
    yield
    await asyncio.sleep(seconds)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await layer.flush()
    yield heard


async def test_a_thousand_announcements_are_a_few_rings_and_the_last_one_is_among_them():
    plan_id = uuid4()
    await asyncio.sleep(2 * SPACING_SECONDS)  # an earlier test's ring has had its pause
    listening = rings(0.6)
    await anext(listening)
    began = time.monotonic()
    for _ in range(1_000):
        announce(plan_id)
    assert time.monotonic() - began < 0.5
    await asyncio.sleep(0.05)  # it has rung by now, and pauses
    announce(plan_id)
    heard = await anext(listening)
    assert 2 <= len(heard) <= 4
    assert heard[-1] == {"type": "news.ring", "for": [readers_of(plan_id)]}


async def test_news_of_a_hundred_plans_and_of_the_inbox_are_a_few_rings_too():
    plans = [uuid4() for _ in range(100)]
    listening = rings(0.6)
    await anext(listening)
    for plan_id in plans:
        announce(plan_id)
    announce_inbox()
    heard = await anext(listening)
    assert 1 <= len(heard) <= 4
    told = [readers for ring in heard for readers in ring["for"]]
    assert set(told) >= {"inbox", *map(readers_of, plans)}


def test_a_forked_worker_rings_too():
    announce(uuid4())  # the parent has its thread already
    child = os.fork()
    if child == 0:
        try:
            announce(uuid4())
            from plans.live import bell

            os._exit(0 if bell._bell and bell._bell.process == os.getpid() else 3)
        except BaseException:
            os._exit(4)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0


def test_without_a_broker_nothing_fails_and_nobody_waits(settings):
    settings.CHANNEL_LAYERS = {
        "default": {
            "BACKEND": "channels_redis.pubsub.RedisPubSubChannelLayer",
            "CONFIG": {"hosts": [{"address": "redis://127.0.0.1:1/0", "socket_timeout": 1}]},
        }
    }
    bell = Bell()
    began = time.monotonic()
    for n in range(100):
        bell.ring(f"plan.{n}")
    assert time.monotonic() - began < 0.2
    time.sleep(0.5)
