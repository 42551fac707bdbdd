"""`/ws/plans/{id}/` tells a plan's events exactly once, to those who may see it, as fast as they read."""

import asyncio
import time
from uuid import uuid4

import pytest

from audit.authority import Role
from plans.consumers.plan import PlanConsumer
from plans.enums import EventType
from plans.live import announce, cursor_now
from plans.live.cursor import Cursor
from plans.live.hub import following, in_thread
from tests.live.conftest import ORIGIN, Reader, cookie_of, token_of
from tests.live.stories import attempt_of, finish, person, say, sha256_of, start, tell

pytestmark = pytest.mark.django_db(transaction=True)


def path_of(plan, after=""):
    return f"/ws/plans/{plan.pk}/" + (f"?after={after}" if after else "")


async def write(plan, function, *args, **kwargs):
    """Write rows as another process would, then ring."""
    found = await in_thread(function, *args, **kwargs)
    announce(plan.pk)
    return found


async def test_it_begins_with_the_plan_as_it_is(plan, cookie):
    async with Reader(path_of(plan), cookie=cookie) as reader:
        first = await reader.item()
        assert set(first) == {"cursor", "type", "plan_id", "step", "attempt", "at", "data"}
        assert first["type"] == "snapshot"
        assert first["plan_id"] == first["data"]["id"] == str(plan.pk)
        assert [step["key"] for step in first["data"]["steps"]] == ["deploy", "verify"]
        assert first["data"]["stage"] == "draft"
        await write(plan, tell, plan, EventType.STAGE_CHANGED, was="draft", now="pending_approval")
        assert (await reader.item())["data"]["now"] == "pending_approval"


async def test_news_arrives_at_once(plan, cookie):
    async with Reader(path_of(plan), cookie=cookie) as reader:
        await reader.item()
        for n in range(5):
            await asyncio.sleep(0.3)
            began = time.monotonic()
            await write(plan, tell, plan, EventType.STAGE_CHANGED, now=str(n))
            assert (await reader.item())["data"]["now"] == str(n)
            assert time.monotonic() - began < 1.5


async def test_twenty_reconnects_in_a_run_of_5000_lines_lose_and_repeat_nothing(plan, step, cookie):
    attempt = await in_thread(attempt_of, step)
    texts = [f"line {n}" for n in range(1, 5_001)]

    async def run():
        await write(plan, start, plan, attempt)
        for place in range(0, len(texts), 100):
            await write(plan, say, attempt, texts[place : place + 100])
            await asyncio.sleep(0.01)
        await write(plan, finish, plan, attempt, texts)

    seen = []
    cursor = await in_thread(cursor_now, plan)
    running = asyncio.create_task(run())
    for connection in range(21):
        async with Reader(path_of(plan, cursor), cookie=cookie) as reader:
            if connection < 20:
                seen += await reader.items(120 + connection * 5)
            else:
                while not seen or seen[-1]["type"] != "step_changed" or seen[-1]["data"]["now"] == "running":
                    seen += await reader.items(1)
                    await reader.say({"ack": seen[-1]["cursor"]})
        cursor = seen[-1]["cursor"]
    await running
    lines = [item["data"] for item in seen if item["type"] == "output"]
    assert [line["seq"] for line in lines] == list(range(1, 5_001))
    (end,) = [item["data"] for item in seen if item["type"] == "output_end"]
    assert end == {"count": 5_000, "sha256": sha256_of(line["text"] for line in lines)}
    assert [item["type"] for item in seen if item["type"] != "output"] == [
        "step_changed",
        "agent_started",
        "tool_executing",
        "tool_completed",
        "output_end",
        "agent_completed",
        "step_changed",
    ]


async def test_a_reader_that_does_not_acknowledge_gets_1000_events_and_costs_no_more(plan, step, cookie):
    attempt = await in_thread(attempt_of, step)
    texts = [str(n) for n in range(1, 2_001)]
    cursor = await in_thread(cursor_now, plan)
    await write(plan, start, plan, attempt)
    await write(plan, say, attempt, texts)
    async with Reader(path_of(plan, cursor), cookie=cookie) as reader:
        seen = await reader.items(1_000, ack=False)
        assert await reader.is_quiet()
        await reader.say({"ack": "a cursor that was never sent"})
        assert await reader.is_quiet()
        await reader.say({"ack": seen[9]["cursor"]})
        seen += await reader.items(10, ack=False)
        assert await reader.is_quiet()
        await reader.say({"ack": seen[-1]["cursor"]})
        seen += await reader.items(993, ack=False)
        assert await reader.is_quiet()
        assert [item["data"]["seq"] for item in seen if item["type"] == "output"] == list(range(1, 2_001))


@pytest.mark.slow
async def test_news_whose_ring_was_lost_arrives_within_seconds_and_a_quiet_socket_stays(plan, cookie):
    async with Reader(path_of(plan), cookie=cookie) as reader:
        await reader.item()
        assert await reader.is_quiet(7)
        began = time.monotonic()
        await in_thread(tell, plan, EventType.STAGE_CHANGED, now="unheard")
        assert (await reader.item())["data"]["now"] == "unheard"
        assert time.monotonic() - began < 6
        assert await reader.is_quiet(6)
        await write(plan, tell, plan, EventType.STAGE_CHANGED, now="heard")
        began = time.monotonic()
        assert (await reader.item())["data"]["now"] == "heard"
        assert time.monotonic() - began < 1.5


async def test_twenty_readers_share_each_reading(plan, step, cookie):
    attempt = await in_thread(attempt_of, step)
    readers = [Reader(path_of(plan), cookie=cookie) for _ in range(20)]
    for reader in readers:
        await reader.__aenter__()
    for reader in readers:
        assert (await reader.item())["type"] == "snapshot"
    async with following(f"plan.{plan.pk}") as (hub, _):
        await asyncio.sleep(0.5)
        before = hub.readings_made
        await write(plan, start, plan, attempt)
        found = [await reader.items(3) for reader in readers]
        assert all([item["type"] for item in items] == [item["type"] for item in found[0]] for items in found)
        await asyncio.sleep(0.3)
        assert hub.readings_made - before <= 8
    for reader in readers:
        await reader.__aexit__()


@pytest.mark.parametrize("after", ["garbage", "-1", "1e99", "%00", "A" * 5_000, "é"])
async def test_an_unusable_cursor_gets_the_plan_as_it_is(plan, cookie, after):
    async with Reader(path_of(plan, after), cookie=cookie) as reader:
        assert (await reader.item())["type"] == "snapshot"


async def test_a_cursor_of_another_database_gets_the_plan_as_it_is(plan, cookie):
    async with Reader(path_of(plan, Cursor("other.1", 7, 7).encode()), cookie=cookie) as reader:
        assert (await reader.item())["type"] == "snapshot"
        await write(plan, tell, plan, EventType.STAGE_CHANGED, now="and on it goes")
        assert (await reader.item())["type"] == "stage_changed"


class TestWhoMayRead:
    async def test_nobody_without_a_session(self, plan):
        async with Reader(path_of(plan)) as reader:
            assert reader.accepted
            assert await reader.ended() == 4401
        async with Reader(path_of(plan), cookie="chiffon_session=made-up") as reader:
            assert await reader.ended() == 4401
        async with Reader(path_of(plan), cookie="a=;;;\x7f=") as reader:
            assert await reader.ended() == 4401

    async def test_not_a_stranger_and_a_plan_that_is_not_there_looks_the_same(self, plan, stranger):
        cookie = await in_thread(cookie_of, stranger)
        for path in (path_of(plan), f"/ws/plans/{uuid4()}/", "/ws/plans/17/", "/ws/plans/x'--/"):
            async with Reader(path, cookie=cookie) as reader:
                assert await reader.ended() == 4403

    @pytest.mark.parametrize("role", [Role.APPROVER, Role.AUDITOR, Role.ADMINISTRATOR])
    async def test_those_who_see_every_plan(self, plan, role):
        other = await in_thread(person, "other", role)
        async with Reader(path_of(plan), cookie=await in_thread(cookie_of, other)) as reader:
            assert (await reader.item())["type"] == "snapshot"

    async def test_a_program_with_a_token_needs_no_origin(self, plan, requester):
        token = await in_thread(token_of, requester, "plans:read")
        async with Reader(path_of(plan), origin=None, token=token) as reader:
            assert (await reader.item())["type"] == "snapshot"

    async def test_a_token_without_the_scope_or_that_is_unknown_reads_nothing(self, plan, requester):
        token = await in_thread(token_of, requester, "audit:read")
        async with Reader(path_of(plan), origin=None, token=token) as reader:
            assert await reader.ended() == 4403
        for wrong in ("chf_unknown", token.upper(), "", "chf_é"):
            async with Reader(
                path_of(plan), origin=None, headers=[(b"authorization", f"Bearer {wrong}".encode())]
            ) as r:
                assert await r.ended() == 4401

    async def test_a_token_in_the_address_is_no_token(self, plan, requester):
        token = await in_thread(token_of, requester, "plans:read")
        async with Reader(path_of(plan) + f"?token={token}", origin=ORIGIN) as reader:
            assert await reader.ended() == 4401

    @pytest.mark.parametrize(
        "origin",
        [
            None,
            "null",
            "https://evil.example",
            "http://127.0.0.1:1",
            ORIGIN.replace("http:", "https:"),
            ORIGIN + "0",
            "x",
        ],
    )
    async def test_a_foreign_page_is_refused_at_the_handshake(self, plan, cookie, origin):
        reader = Reader(path_of(plan), origin=origin, cookie=cookie)
        accepted, _ = await reader.socket.connect()
        assert not accepted

    async def test_a_second_origin_does_not_help(self, plan, cookie):
        reader = Reader(path_of(plan), cookie=cookie, headers=[(b"origin", b"https://evil.example")])
        accepted, _ = await reader.socket.connect()
        assert not accepted

    async def test_a_token_from_a_foreign_page_is_refused_too(self, plan, requester):
        token = await in_thread(token_of, requester, "plans:read")
        reader = Reader(path_of(plan), origin="https://evil.example", token=token)
        accepted, _ = await reader.socket.connect()
        assert not accepted

    async def test_a_path_without_a_socket_is_refused(self, cookie):
        for path in ("/ws/", "/ws/plans/", "/", "/ws/plans/a/b/"):
            reader = Reader(path, cookie=cookie)
            accepted, _ = await reader.socket.connect()
            assert not accepted


class TestWhatASocketOutlives:
    @pytest.fixture
    def impatient(self, cookie):
        """The same socket, asking more often than once a minute."""
        from channels.routing import URLRouter
        from django.urls import path

        from chiffon_site.sockets import Door

        consumer = PlanConsumer.as_asgi(busy_seconds=0.2, quiet_seconds=0.2)
        return Door(URLRouter([path("ws/plans/<str:plan_id>/", consumer)]), [ORIGIN])

    async def test_signing_out_ends_it_before_another_event(self, plan, requester, cookie, impatient):
        async with Reader(path_of(plan), cookie=cookie, application=impatient) as reader:
            await reader.item()
            await in_thread(_sign_out_everywhere)
            await asyncio.sleep(0.3)
            await write(plan, tell, plan, EventType.STAGE_CHANGED, now="secret")
            message = await reader.socket.receive_output(10)
            assert (message["type"], message["code"]) == ("websocket.close", 4401)

    async def test_losing_a_role_ends_it(self, plan, impatient):
        approver = await in_thread(person, "approver", Role.APPROVER)
        cookie = await in_thread(cookie_of, approver)
        async with Reader(path_of(plan), cookie=cookie, application=impatient) as reader:
            await reader.item()
            await in_thread(person, "approver", Role.REQUESTER)
            announce(plan.pk)
            assert await reader.ended() == 4403


def _sign_out_everywhere():
    from django.contrib.sessions.models import Session

    Session.objects.all().delete()


class TestFrames:
    @pytest.mark.parametrize(
        "frame", ["x", "", "[]", "7", "null", '"ack"', "{", "[" * 60_000, '{"ack": "' + "x" * 70_000 + '"}']
    )
    async def test_junk_ends_the_socket_with_a_code(self, plan, cookie, frame):
        async with Reader(path_of(plan), cookie=cookie) as reader:
            await reader.say(frame)
            assert await reader.ended() == 4400

    async def test_bytes_are_junk_too(self, plan, cookie):
        async with Reader(path_of(plan), cookie=cookie) as reader:
            await reader.socket.send_to(bytes_data=b"\x00\xff")
            assert await reader.ended() == 4400

    async def test_a_flood_ends_it_and_nobody_else(self, plan, cookie):
        async with Reader(path_of(plan), cookie=cookie) as other, Reader(path_of(plan), cookie=cookie) as reader:
            await other.item()
            for _ in range(300):
                await reader.say({"ack": "x"})
            assert await reader.ended() == 4429
            await write(plan, tell, plan, EventType.STAGE_CHANGED, now="still here")
            assert (await other.item())["data"]["now"] == "still here"

    @pytest.mark.parametrize("ack", [7, -1, 1e9, None, [], {}, "", "x" * 1_000])
    async def test_an_acknowledgement_that_means_nothing_changes_nothing(self, plan, cookie, ack):
        async with Reader(path_of(plan), cookie=cookie) as reader:
            await reader.say({"ack": ack, "more": [1]})
            assert (await reader.item())["type"] == "snapshot"
            await write(plan, tell, plan, EventType.STAGE_CHANGED, now="on")
            assert (await reader.item())["data"]["now"] == "on"
