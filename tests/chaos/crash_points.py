"""Where a program of ours can be made to die: just before and just after whatever leaves a trace outside of it.

That is each commit, each statement that commits by itself, each message, each move of a git branch, each note to a breaker.
A copy of this file is installed into the environment that an installation is started from (rigged.py) and imported when Python
starts, so nothing of it is in Chiffon itself. CHIFFON_CRASH_AT names a folder. `orders` in it has one death a line, as
`agent 2 after the commit of finish.finish`: the second time that any agent crosses that point since `crossed` was begun,
which lists all crossings. Who executes an order removes it first, so what is started again goes on unharmed.
"""

from __future__ import annotations

import fcntl
import os
import re
import signal
import sys
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any

PROGRAMS = ("agent", "dispatcher", "worker", "web")
# What commits by itself. Reading changes nothing, so dying around it is dying after what came before.
_WRITES = re.compile(
    r"\s*(INSERT|UPDATE|DELETE|MERGE|NOTIFY|SELECT (?:claimed FROM )?chiffon_\w+|WITH\b.*\b(INSERT|UPDATE|DELETE))\b",
    re.I | re.S,
)
_OURS = ("/plans/", "/agents/", "/audit/", "/chiffon_site/")
_HELPERS = ("/audit/db.py",)


class CrashPoints:
    """The crash points of one program: it and the processes that it forks."""

    def __init__(self, folder: Path, program: str) -> None:
        self._orders, self._crossed = folder / "orders", folder / "crossed"
        self._program, self._leader = program, os.getpid()

    def cross(self, place: str) -> None:
        """Note that a crash point is crossed, and die if there is an order to."""
        with self._crossed.open("a+") as log:
            fcntl.flock(log, fcntl.LOCK_EX)
            log.write(f"{self._program} {place}\n")
            log.flush()
            log.seek(0)
            times = log.read().splitlines().count(f"{self._program} {place}")
            mine, orders = f"{self._program} {times} {place}", self._wanted()
            if mine in orders:
                self._orders.write_text("".join(f"{order}\n" for order in orders if order != mine))
                os.kill(self._leader, signal.SIGKILL)  # the whole program, as by `kill -9`; what it forked dies with it
                os.kill(os.getpid(), signal.SIGKILL)

    def around(self, owner: Any, name: str, place: Callable[..., str]) -> None:
        """Put a crash point before and one after each call of a function, where `place` names one."""
        call = getattr(owner, name)

        @wraps(call)
        def wrapped(*args: Any, **kwargs: Any) -> Any:
            what = place(*args, **kwargs) if self._orders.exists() else ""
            if not what:
                return call(*args, **kwargs)
            self.cross(f"before {what}")
            answer = call(*args, **kwargs)
            self.cross(f"after {what}")
            return answer

        setattr(owner, name, wrapped)

    def _wanted(self) -> list[str]:
        try:
            return self._orders.read_text().splitlines()
        except FileNotFoundError:
            return []


def install(folder: Path, program: str) -> None:
    """Put crash points around everything that leaves a trace outside this process."""
    import kombu
    import psycopg
    import redis

    from audit import git

    points = CrashPoints(folder, program)
    points.around(psycopg.Connection, "commit", _commit)
    points.around(psycopg.Cursor, "execute", _statement)
    points.around(kombu.Producer, "publish", _publish)
    points.around(redis.client.Pipeline, "execute", _note)
    points.around(git, "_run", _git)


def _commit(connection: Any) -> str:
    """A transaction that wrote something."""
    from psycopg.pq import TransactionStatus

    if connection.info.transaction_status != TransactionStatus.INTRANS:
        return ""
    asked = connection.execute("SELECT pg_current_xact_id_if_assigned() IS NOT NULL").fetchone()
    return f"the commit of {_who()}" if asked and next(iter(asked)) else ""


def _statement(cursor: Any, query: Any, *_args: Any, **_kwargs: Any) -> str:
    """A statement that commits by itself."""
    from psycopg.pq import TransactionStatus

    connection = cursor.connection
    alone = connection.autocommit and connection.info.transaction_status == TransactionStatus.IDLE
    if not alone or not isinstance(query, str) or not _WRITES.match(query):
        return ""
    return f"{' '.join(re.findall(r'[A-Za-z_]+', query)[:2])} of {_who()}"


def _publish(_producer: Any, *_args: Any, routing_key: str | None = None, **_kwargs: Any) -> str:
    return f"a message to {re.sub(r'[.].*', '', routing_key or 'somebody')}"  # whichever agent it is


def _note(_pipeline: Any, *_args: Any, **_kwargs: Any) -> str:
    who = _who()
    return f"the note of {who}" if who in ("breaker.note", "breaker.enter") else ""


def _git(args: Any, **_kwargs: Any) -> str:
    return "the move of the branch" if "update-ref" in args else "the pack" if "fast-import" in args else ""


def _who() -> str:
    """The function of ours that is at it; its helpers are not named."""
    frame = sys._getframe(2)
    while frame.f_back is not None:
        code = frame.f_code
        ours = any(part in code.co_filename for part in _OURS) and not code.co_filename.endswith(_HELPERS)
        if ours and not code.co_name.startswith(("_", "<")):
            return f"{Path(code.co_filename).stem}.{code.co_name}"
        frame = frame.f_back
    return "somebody"


if os.environ.get("CHIFFON_PROCESS") in PROGRAMS and os.environ.get("CHIFFON_CRASH_AT"):
    install(Path(os.environ["CHIFFON_CRASH_AT"]), os.environ["CHIFFON_PROCESS"])
