"""One real installation in a folder of its own: `chiffon up`, everything embedded, nothing set but the folder and the port."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final

import psutil
import psycopg
from psycopg.rows import dict_row

from chiffon_site.embedded.folder import DataFolder
from chiffon_site.embedded.postgres import Cluster
from chiffon_site.embedded.processes import before_exec, free_port, tagged

CHECKOUT: Final = Path(__file__).resolve().parents[1]
# What somebody set for an installation of their own must not reach this one: it is measured as it is shipped.
OURS: Final = ("CHIFFON_", "DATABASE_URL", "REDIS_URL", "CELERY_", "DJANGO_", "PYTEST_", "COVERAGE_")
AGENTS: Final = 2  # `chiffon up` starts two agents …
SLOTS: Final = 2  # … of two slots each
_PATIENCE: Final = 180.0  # seconds for a first start on a busy machine


class BenchError(Exception):
    """A workload could not be measured; the message says why."""


class Installation:
    """`chiffon up` in a folder of its own."""

    def __init__(self, folder: Path, *, playbooks: Path) -> None:
        self.folder = folder
        self.port = free_port()
        self.playbooks = playbooks
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def environment(self) -> dict[str, str]:
        """The environment of every process beside the folder."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith(OURS)}
        ours = {"CHIFFON_DATA_DIR": str(self.folder), "CHIFFON_PORT": str(self.port)}
        return {**kept, **ours, "CHIFFON_PLAYBOOK_REPO": str(self.playbooks)}

    def start(self) -> tuple[float, float]:
        """Start everything. Seconds until pages are answered, and until every agent takes work. Raises BenchError."""
        began = time.monotonic()
        log = self.folder.with_name("up.log")
        command = [sys.executable, "-m", "chiffon_site.cli", "up"]
        with log.open("wb") as file:
            self._process = subprocess.Popen(
                command,
                cwd=CHECKOUT,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=file,
                preexec_fn=before_exec(death_signal=signal.SIGINT, parent=os.getpid()),  # noqa: PLW1509 - nothing else forks here
            )
        self._wait(lambda: b"Chiffon is ready" in log.read_bytes(), log)
        ready = time.monotonic() - began
        self._wait(lambda: self._agents_awake() == AGENTS, log)
        return ready, time.monotonic() - began

    def stop(self) -> None:
        """End everything. Raises BenchError if a process is left."""
        if self._process and self._process.poll() is None:
            self._process.send_signal(signal.SIGINT)
            self._process.wait(30)
        if left := self.processes():
            raise BenchError(f"{len(left)} processes are left of the installation: {[each.pid for each in left]}.")

    def processes(self) -> list[psutil.Process]:
        """Every process of it, servers included; the keeper itself, which only sleeps, is not counted."""
        found = {process.pid: process for process in tagged(DataFolder(self.folder).tag)}
        # PostgreSQL's backends write their titles over the environment that the tag is read from.
        for process in list(found.values()):
            with suppress(psutil.Error):
                found.update((child.pid, child) for child in process.children(recursive=True))
        return list(found.values())

    def variables(self) -> Mapping[str, str]:
        """Where its servers are."""
        values: dict[str, str] = json.loads((self.folder / "env.json").read_text(encoding="utf-8"))
        return values

    def broker(self, database: int) -> str:
        """The address of another database of the same Valkey."""
        return f"{self.variables()['CELERY_BROKER_URL'].rpartition('/')[0]}/{database}"

    @contextmanager
    def superuser(self) -> Iterator[psycopg.Connection[dict[str, Any]]]:
        """A connection that may read counters and change what the server logs; never used to do work."""
        folder = DataFolder(self.folder)
        port = int(folder.read_json("ports.json")["postgres"])
        url = Cluster(self.folder / "postgres", port, folder.passwords()["superuser"]).url(database="chiffon")
        with psycopg.connect(url, autocommit=True, row_factory=dict_row, application_name="bench") as link:
            yield link

    def _agents_awake(self) -> int:
        with self.superuser() as link:
            row = link.execute(
                "SELECT count(*) AS awake FROM agents_agent WHERE status IN ('ready', 'busy')"
            ).fetchone()
        return int(row["awake"]) if row else 0

    def _wait(self, is_true: Any, log: Path) -> None:
        deadline = time.monotonic() + _PATIENCE
        while True:
            with suppress(psycopg.Error, OSError):
                if is_true():
                    return
            assert self._process is not None
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise BenchError(f"Chiffon did not start: {log.read_text(errors='replace')[-2000:]}")
            time.sleep(0.02)
