"""A plan's events as they happen: what there is over HTTP, what comes over the WebSocket, and after a cut on from the last."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from typing import Any, Final
from urllib.parse import urlencode

from websockets.exceptions import ConnectionClosed, InvalidStatus, WebSocketException
from websockets.sync.client import connect

from chiffon_site.cli.client import NO_SERVER, Client, ClientProblem

Json = dict[str, Any]
QUIET: Final = 0.25  # seconds without an event after which the reader is told that nothing came
PAUSE: Final = 1.0  # seconds between two tries to reach a server that is away
PATIENCE: Final = 60.0  # seconds without a server


def happenings(client: Client, plan_id: str) -> Iterator[Json | None]:
    """Every event of a plan once, from its first; None whenever none came for a while. Raises ClientProblem."""
    cursor = None
    away = _Away()
    while True:
        try:
            for event in _since(client, plan_id, cursor):
                away.over()
                cursor = event["cursor"] if event else cursor
                yield event
        except ClientProblem as problem:
            away.bear(problem)


def _since(client: Client, plan_id: str, cursor: str | None) -> Iterator[Json | None]:
    """What came after a cursor, and what comes, until the connection is cut. Raises ClientProblem."""
    for event in client.pages(f"/plans/{plan_id}/events", after=cursor):
        cursor = event["cursor"]
        yield event
    yield None
    if cursor is None:
        raise ClientProblem("Nothing has happened to the plan yet.", NO_SERVER)
    address = f"{client.server.replace('http', 'ws', 1)}/ws/plans/{plan_id}/?{urlencode({'after': cursor})}"
    try:
        with connect(address, additional_headers=client.authorization, max_size=None) as socket:
            while True:
                try:
                    event = json.loads(socket.recv(timeout=QUIET))
                except TimeoutError:
                    yield None
                    continue
                if event["type"] != "snapshot":  # that the cursor was of another database; what happened before is told
                    yield event
                socket.send(json.dumps({"ack": event["cursor"]}))
    except ConnectionClosed as closed:
        reason = closed.rcvd.reason if closed.rcvd else ""
        refused = closed.rcvd is not None and closed.rcvd.code in (4401, 4403)
        raise ClientProblem(reason or "The connection was cut.", *(() if refused else (NO_SERVER,))) from closed
    except InvalidStatus as refusal:
        said = f"{client.server} opens no WebSocket: it answered {refusal.response.status_code}."
        raise ClientProblem(said, NO_SERVER) from refusal
    except (WebSocketException, OSError, ValueError) as error:
        raise ClientProblem(
            f"No Chiffon answers at {client.server}: {error or type(error).__name__}.", NO_SERVER
        ) from error


def passes(problem: ClientProblem) -> bool:
    """Whether it is worth waiting for the end of this problem."""
    return problem.code == NO_SERVER or problem.problem.get("status") in {429, 500, 503}


class _Away:
    """A server that is away for a while is waited for; said once."""

    def __init__(self) -> None:
        self._until = 0.0

    def over(self) -> None:
        self._until = 0.0

    def bear(self, problem: ClientProblem) -> None:
        """Wait a moment, or raise what is no use waiting for, or was waited for long enough."""
        if not passes(problem):
            raise problem
        if not self._until:
            self._until = time.monotonic() + PATIENCE
            print(f"chiffon: {problem} Trying again.", file=sys.stderr)
        if time.monotonic() > self._until:
            raise problem
        time.sleep(PAUSE)
