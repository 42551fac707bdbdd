"""What work costs: CPU by the kernel, WAL and transactions by the server's counters, statements by the server's log."""

from __future__ import annotations

import re
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, Final

import psutil
import psycopg

from bench.installation import Installation

_STATEMENT: Final = re.compile(r"^app=(\S*) LOG:  (?:statement|execute [^:]*): \s*(\w+)", re.MULTILINE)
_CONTROL: Final = frozenset({"BEGIN", "COMMIT", "ROLLBACK", "SAVEPOINT", "RELEASE"})


@dataclass(frozen=True, slots=True)
class Cost:
    """What the whole server did between two looks."""

    wal_bytes: int
    page_images: int  # whole pages in the WAL, one for each page touched first after a checkpoint: 8 KiB at most
    write_transactions: int

    def __sub__(self, other: Cost) -> Cost:
        return Cost(
            self.wal_bytes - other.wal_bytes,
            self.page_images - other.page_images,
            self.write_transactions - other.write_transactions,
        )


def look(link: psycopg.Connection[dict[str, Any]]) -> Cost:
    """The counters now. A transaction that writes takes a number, so the next number counts those that wrote."""
    row = link.execute(
        "SELECT (pg_current_wal_insert_lsn() - '0/0')::bigint AS wal, "
        "pg_snapshot_xmax(pg_current_snapshot())::text::bigint AS xid, (SELECT wal_fpi FROM pg_stat_wal) AS images"
    ).fetchone()
    assert row is not None
    return Cost(row["wal"], row["images"], row["xid"])


@dataclass(slots=True)
class Statements:
    """Statements by the name their process gives itself, as `chiffon-agent`."""

    all: Counter[str]
    control: Counter[str]  # BEGIN, COMMIT and the like among them

    def of_processes(self) -> int:
        """All but those of this benchmark, which plays the person."""
        return sum(count for name, count in self.all.items() if name.startswith("chiffon-")) - self.own()

    def own(self) -> int:
        """Those of this benchmark's own calls and looks."""
        return self.all["chiffon-command"]


@contextmanager
def statement_log(installation: Installation) -> Iterator[Statements]:
    """Let the server log each statement while the block runs; afterwards the counts are filled in."""
    log = installation.folder / "logs" / "postgres.log"
    counted = Statements(Counter(), Counter())
    _set(installation, log_statement="all", log_line_prefix="app=%a ")
    start = log.stat().st_size
    try:
        yield counted
    finally:
        _set(installation, log_statement=None, log_line_prefix=None)
    with log.open(encoding="utf-8", errors="replace") as file:
        file.seek(start)
        for name, verb in _STATEMENT.findall(file.read()):
            counted.all[name] += 1
            counted.control[name] += verb.upper() in _CONTROL


def _set(installation: Installation, **values: str | None) -> None:
    with installation.superuser() as link:
        for name, value in values.items():
            link.execute(f"ALTER SYSTEM RESET {name}" if value is None else f"ALTER SYSTEM SET {name} = '{value}'")
        link.execute("SELECT pg_reload_conf()")
    time.sleep(0.3)  # until every session has heard of it


def cpu_seconds(processes: Iterable[psutil.Process]) -> dict[str, float]:
    """CPU used so far, by program: each process and its children that have ended."""
    used: dict[str, float] = defaultdict(float)
    for process in processes:
        with suppress(psutil.Error):
            spent = process.cpu_times()
            used[_program(process)] += spent.user + spent.system + spent.children_user + spent.children_system
    return dict(used)


def memory(processes: Iterable[psutil.Process]) -> dict[str, tuple[float, float]]:
    """Resident and proportional memory by program, in MiB."""
    found: dict[str, tuple[float, float]] = {}
    for process in processes:
        with suppress(psutil.Error):
            used = process.memory_full_info()
            rss, pss = found.get(_program(process), (0.0, 0.0))
            found[_program(process)] = (rss + used.rss / 2**20, pss + used.pss / 2**20)
    return found


def _program(process: psutil.Process) -> str:
    words = process.cmdline()
    if words and words[0].startswith("postgres:"):
        return "postgres"
    for word, name in (("daphne", "web"), ("dispatcher", "dispatcher"), ("agent", "agents"), ("worker", "worker")):
        if word in words:
            return name
    return process.name().removesuffix("-server")
