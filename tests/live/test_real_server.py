"""The shipped server with the shipped settings, under the application's role: cut, killed and abused, and nothing is lost."""

import asyncio
import itertools
from typing import Any

import pytest

from plans.live import announce, cursor_now
from plans.live.hub import in_thread
from tests.live.conftest import cookie_of, token_of
from tests.live.stories import attempt_of, finish, say, sha256_of, start
from tests.live.wire import BINARY, TEXT, Refused, Wire

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.integration, pytest.mark.slow]


async def test_a_run_of_5000_lines_through_cuts_and_a_killed_server_is_complete(server, plan, step, requester):
    token = await in_thread(token_of, requester, "plans:read")
    attempt = await in_thread(attempt_of, step)
    texts = [f"line {n} äöü ✓" for n in range(1, 5_001)]
    await server.ready()

    async def run():
        await in_thread(start, plan, attempt)
        for place in range(0, len(texts), 50):
            await in_thread(say, attempt, texts[place : place + 50])
            announce(plan.pk)
            await asyncio.sleep(0.02)
        await in_thread(finish, plan, attempt, texts)
        announce(plan.pk)

    cursor = await in_thread(cursor_now, plan)
    running = asyncio.create_task(run())
    seen: list[dict[str, Any]] = []
    connections = 0
    while not (seen and seen[-1]["data"].get("now") == "completed"):
        connections += 1
        client = await Wire.connect(
            server.port, f"/ws/plans/{plan.pk}/?after={cursor}", Authorization=f"Bearer {token}"
        )
        for taken in itertools.count(1):
            seen.append(await client.item())
            if taken % 50 == 0:
                client.say({"ack": seen[-1]["cursor"]})
            if seen[-1]["data"].get("now") == "completed" or (connections <= 20 and taken == 200):
                break
        cursor = seen[-1]["cursor"]
        client.cut()
        if connections == 10:
            server.kill()
            server.start()
            await server.ready()
    await running
    lines = [item["data"] for item in seen if item["type"] == "output"]
    assert [line["seq"] for line in lines] == list(range(1, 5_001))
    (end,) = [item["data"] for item in seen if item["type"] == "output_end"]
    assert end == {"count": 5_000, "sha256": sha256_of(line["text"] for line in lines)}
    assert connections > 20
    assert "Traceback" not in server.log.read_text()


async def test_the_door_and_bad_frames_of_the_shipped_server(server, plan, requester):
    token = await in_thread(token_of, requester, "plans:read")
    cookie = await in_thread(cookie_of, requester)
    await server.ready()
    path, own, program = f"/ws/plans/{plan.pk}/", f"http://{server.address}", f"Bearer {token}"

    client = await Wire.connect(server.port, path, Origin=own, Cookie=cookie)
    assert (await client.item())["type"] == "snapshot"
    client.send(TEXT, b"{" * 100)
    assert await client.ended() == 4400
    client = await Wire.connect(server.port, path, Origin=own, Cookie=cookie)
    client.send(BINARY, b"\xff\x00")
    assert await client.ended() == 4400
    client = await Wire.connect(server.port, path, Authorization=program)
    client.send(TEXT, b'"' + b"x" * 70_000 + b'"')
    assert await client.ended() in (1006, 1009)
    client = await Wire.connect(server.port, path, Authorization=program)
    client.send(TEXT, b"\xff\xfe")
    assert await client.ended() in (1006, 1007)
    assert await (await Wire.connect(server.port, path, Origin=own)).ended() == 4401
    assert await (await Wire.connect(server.port, path, Authorization="Bearer nothing")).ended() == 4401
    for address, headers in (
        (path, {"Origin": "http://evil.example", "Cookie": cookie}),
        (path, {"Cookie": cookie}),
        ("/ws/nowhere/", {"Authorization": program}),
    ):
        with pytest.raises(Refused) as refused:
            await Wire.connect(server.port, address, **headers)
        assert refused.value.status == 403
    client = await Wire.connect(server.port, path, Authorization=program)
    assert (await client.item())["type"] == "snapshot"
    client.cut()
    assert "Traceback" not in server.log.read_text()
