"""Real sockets of the real application, with real sessions, tokens, PostgreSQL and Valkey."""

import json
import time
from typing import Any

import pytest
from channels.testing import WebsocketCommunicator
from django.conf import settings
from django.db import connection
from django.test import Client

from audit.authority import Role
from audit.context import SYSTEM
from chiffon_site.accounts.tokens import create_token
from tests.live.server import Server
from tests.live.stories import person, plan_of

ORIGIN = settings.CHIFFON_PUBLIC_URL


@pytest.fixture
def requester(transactional_db):
    return person("requester", Role.REQUESTER)


@pytest.fixture
def stranger(transactional_db):
    return person("stranger", Role.REQUESTER)


@pytest.fixture
def plan(requester):
    return plan_of(requester, "deploy", "verify")[0]


@pytest.fixture
def step(plan):
    return plan.steps.get(key="deploy")


def cookie_of(user):
    client = Client()
    client.force_login(user)
    return f"{settings.SESSION_COOKIE_NAME}={client.cookies[settings.SESSION_COOKIE_NAME].value}"


def token_of(user, *scopes):
    return create_token(actor=SYSTEM, user=user, name="a program", scopes=scopes)[1]


@pytest.fixture
def cookie(requester):
    return cookie_of(requester)


class Reader:
    """A program at the other end of a socket."""

    def __init__(self, path, *, origin=ORIGIN, cookie=None, token=None, application=None, headers=()):
        from chiffon_site.asgi import application as shipped

        sent = [*headers]
        if origin:
            sent.append((b"origin", origin.encode()))
        if cookie:
            sent.append((b"cookie", cookie.encode()))
        if token:
            sent.append((b"authorization", f"Bearer {token}".encode()))
        self.socket = WebsocketCommunicator(application or shipped, path, headers=sent)

    async def __aenter__(self):
        self.accepted, self.code = await self.socket.connect(timeout=10)
        return self

    async def __aexit__(self, *error):
        await self.socket.disconnect(timeout=10)

    async def text(self, timeout=10):
        message = await self.socket.receive_output(timeout)
        assert message["type"] == "websocket.send", message
        return message["text"]

    async def item(self, timeout=10):
        return json.loads(await self.text(timeout))

    async def items(self, count, *, ack=True):
        found = []
        for _ in range(count):
            found.append(await self.item())
            if ack and len(found) % 100 == 0:
                await self.say({"ack": found[-1]["cursor"]})
        return found

    async def until(self, kind):
        found: list[dict[str, Any]] = []
        while not found or found[-1]["type"] != kind:
            found.append(await self.item())
            if len(found) % 100 == 0:
                await self.say({"ack": found[-1]["cursor"]})
        return found

    async def say(self, what):
        await self.socket.send_input(
            {"type": "websocket.receive", "text": what if isinstance(what, str) else json.dumps(what)}
        )

    async def ended(self, timeout=10):
        """The code it was closed with; what was sent before is dropped."""
        while True:
            message = await self.socket.receive_output(timeout)
            if message["type"] == "websocket.close":
                return message["code"]

    async def is_quiet(self, seconds=0.5):
        return await self.socket.receive_nothing(seconds, 0.05)


@pytest.fixture(autouse=True)
def readings_in_flight(request):
    """A reader that left may have a reading under way; the database is emptied after it."""
    if not request.node.get_closest_marker("django_db"):
        yield
        return
    request.getfixturevalue("transactional_db")
    yield
    others = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
    for _ in range(100):
        with connection.cursor() as cursor:
            cursor.execute(others)
            if cursor.fetchone() == (0,):
                return
        time.sleep(0.03)


@pytest.fixture
def server(process_environment, checkout, tmp_path, transactional_db):
    server = Server(process_environment, checkout, tmp_path / "web.log")
    server.start()
    yield server
    server.kill()
