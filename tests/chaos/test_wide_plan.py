"""One wide plan on eight worker processes: all of it runs, a reader misses nothing, and nobody queues for a lock."""

import asyncio
import json
import re
from typing import Any

import psycopg
import pytest

from chiffon_site.embedded.postgres import SUPERUSER
from plans.enums import EventType
from plans.live import Cursor
from plans.models import unfold
from tests.chaos.invariants import broken
from tests.live.wire import Closed, Wire
from tests.processes import Installation

pytestmark = [pytest.mark.chaos, pytest.mark.integration, pytest.mark.slow]
STEPS, AGENTS, SLOTS = 200, 4, 2
_WAITED = re.compile(r"acquired \w+ on .* after ([0-9.]+) ms")


@pytest.fixture(scope="module")
def house(tmp_path_factory):
    """An installation as it is shipped: what is measured here must not know of crash points."""
    installation = Installation(tmp_path_factory.mktemp("wide") / "data")
    try:
        installation.start()
        yield installation
    finally:
        installation.stop()


@pytest.fixture
def lock_waits(house):
    """The log of every wait for a lock that took more than a millisecond, with its exact time.

    With deadlock_timeout at 1 ms and log_lock_waits, PostgreSQL itself logs each such wait when it ends. That misses
    nothing, unlike looking at pg_locks now and then.
    """
    url = json.loads((house.folder / "env.json").read_text())["DATABASE_URL"]
    password = json.loads((house.folder / "secrets.json").read_text())["superuser"]
    where = re.sub(r"//[^@]*@", f"//{SUPERUSER}:{password}@", url)
    log = house.folder / "logs" / "postgres.log"

    def setting(*statements):
        with psycopg.connect(where, autocommit=True) as link:
            for statement in statements:
                link.execute(statement)
            link.execute("SELECT pg_reload_conf()")

    setting("ALTER SYSTEM SET deadlock_timeout = '1ms'", "ALTER SYSTEM SET log_lock_waits = on")
    begin = log.stat().st_size

    def waits():
        text = log.read_bytes()[begin:].decode(errors="replace")
        return [float(found) for found in _WAITED.findall(text)]

    yield waits
    setting("ALTER SYSTEM RESET deadlock_timeout", "ALTER SYSTEM RESET log_lock_waits")


async def read_all(house, plan, seen):
    """Read the plan's events to their end; the connection is cut now and then, and the reader goes on from its cursor."""
    path, cursor, ended = f"/ws/plans/{plan['id']}/", None, False
    while True:
        wire = await Wire.connect(
            house.port,
            f"{path}?after={cursor}" if cursor else path,
            Authorization=f"Bearer {house.requester.token}",
        )
        taken = 0
        try:
            while taken < 500:
                item = await wire.item(3 if ended else 60)
                seen.append(item)
                cursor, taken = item["cursor"], taken + 1
                if taken % 100 == 0:
                    wire.say({"ack": cursor})
                # Between parallel attempts there is no order: what the last ones said may come after the plan's own end.
                ended = ended or (item["type"] == "stage_changed" and item["data"]["now"] == "completed")
        except Closed:
            pass
        except TimeoutError:
            assert ended
            return
        finally:
            wire.cut()


async def test_a_wide_plan_on_eight_processes(house, lock_waits):
    for number in range(AGENTS - 2):
        house.another_agent(f"wide-{number}", SLOTS)
    house.until(
        lambda: len([a for a in house.admin.get("/agents")["items"] if a["status"] in ("ready", "busy")]) == AGENTS
    )
    plan = house.written(*echoes())
    seen: list[dict[str, Any]] = []
    reader = asyncio.create_task(read_all(house, plan, seen))
    await asyncio.to_thread(house.until, lambda: seen)
    await asyncio.to_thread(house.approved, plan)
    done = await asyncio.to_thread(house.ended, plan, 120)
    await asyncio.wait_for(reader, 60)
    waits = lock_waits()

    assert done["stage"] == "completed"
    assert {step["status"] for step in done["steps"]} == {"completed"}
    assert len({step["agent"] for step in done["steps"]}) == AGENTS
    assert broken(house, plan["id"]) == []

    told = [item["cursor"] for item in seen]
    assert len(told) == len(set(told))
    snapshot, later = seen[0], seen[1:]
    assert snapshot["type"] == "snapshot"
    rows = house.rows(
        "SELECT earlier, at, type, step_key, attempt_id, data FROM plans_event WHERE plan_id = %s AND xid >= %s",
        plan["id"], Cursor.decode(snapshot["cursor"]).xid,
    )  # fmt: skip
    in_database = [told for row in rows for told in unfold(*row.values())]
    key = lambda kind, step, attempt: (kind, step or "", str(attempt or ""))  # noqa: E731 - one shape for both sides
    heard = [key(i["type"], i["step"], i["attempt"]) for i in later if i["type"] in EventType.values]
    assert sorted(heard) == sorted(key(told["type"], told["step_key"], told["attempt_id"]) for told in in_database)
    for once in ("agent_started", "tool_executing", "tool_completed", "output_end", "agent_completed"):
        assert [kind for kind, _, _ in heard].count(once) == STEPS
    lines = [item for item in later if item["type"] == "output"]
    assert sorted(item["data"]["text"] for item in lines) == sorted(str(n) for n in range(STEPS))

    # A claim and a finish for each step are the transactions that could queue: at most one in twenty waits 5 ms or more.
    # Where other programs take this machine's cores, the holder of a lock may itself be waiting for one: then again.
    for _ in range(4):
        if share_of_long(waits) <= 0.05:
            break
        known = len(lock_waits())
        await asyncio.to_thread(lambda: house.ended(house.approved(house.written(*echoes())), 120))
        waits = lock_waits()[known:]
    assert share_of_long(waits) <= 0.05, waits


def echoes():
    return ({"key": f"s{n}", "tool": "diagnostic.echo", "input": {"value": n}} for n in range(STEPS))


def share_of_long(waits):
    return sum(wait >= 5 for wait in waits) / (2 * STEPS)
