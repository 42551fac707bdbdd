"""Raw Celery's workers, and its side of each comparison."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
from celery import chain, group

from bench.installation import AGENTS, CHECKOUT, OURS, SLOTS, BenchError
from bench.raw_app import BROKER, DONE, QUEUE, STARTED, app, counters, noop, stamp
from chiffon_site.embedded.processes import before_exec

_PATIENCE = 300.0


class RawCelery:
    """As many raw Celery workers and processes as the installation has agents and slots."""

    def __init__(self, broker: str, folder: Path) -> None:
        self._broker = broker
        self._folder = folder
        self._workers: list[subprocess.Popen[bytes]] = []
        os.environ[BROKER] = broker
        app.conf.broker_url = broker  # this process read its environment before the installation was there

    @property
    def running(self) -> bool:
        """Whether the workers were started."""
        return bool(self._workers)

    def start(self) -> None:
        """Start the workers and wait until each process has worked once. Raises BenchError."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith(OURS)}
        for number in range(AGENTS):
            command = [sys.executable, "-m", "celery", "-A", "bench.raw_app", "worker", "-Q", QUEUE, "-l", "WARNING"]
            command += ["-c", str(SLOTS), "-n", f"raw{number}@bench"]
            with (self._folder / f"raw{number}.log").open("wb") as log:
                self._workers.append(
                    subprocess.Popen(
                        command,
                        cwd=CHECKOUT,
                        env=kept,
                        stdin=subprocess.DEVNULL,
                        stdout=log,
                        stderr=subprocess.STDOUT,
                        preexec_fn=before_exec(death_signal=signal.SIGTERM, parent=os.getpid()),  # noqa: PLW1509 - as there
                    )
                )
        self.group(8 * AGENTS * SLOTS)
        self.chains(4, 4)

    def stop(self) -> None:
        """End the workers."""
        for worker in self._workers:
            worker.send_signal(signal.SIGTERM)
        for worker in self._workers:
            try:
                worker.wait(10)
            except subprocess.TimeoutExpired:
                worker.kill()
                worker.wait(5)
        self._workers.clear()

    def chains(self, count: int, length: int) -> float:
        """Run so many chains of so many tasks; the seconds from the first call to the last end."""
        self._forget()
        began = time.time()
        for _ in range(count):
            chain(*[noop.si() for _ in range(length - 1)], noop.si(last=True)).apply_async()
        return max(self._said(DONE, count)) - began

    def group(self, count: int) -> float:
        """Run one group of so many tasks; the seconds from the call to the last end."""
        self._forget()
        began = time.time()
        group(noop.si(last=True) for _ in range(count)).apply_async()
        return max(self._said(DONE, count)) - began

    def start_delay(self) -> float:
        """Seconds from the call to the start of one task."""
        self._forget()
        began = time.time()
        stamp.apply_async()
        return self._said(STARTED, 1)[0] - began

    def processes(self) -> list[psutil.Process]:
        """The workers and their pools."""
        parents = [psutil.Process(worker.pid) for worker in self._workers]
        return [process for parent in parents for process in (parent, *parent.children(recursive=True))]

    def _forget(self) -> None:
        counters().delete(DONE, STARTED)

    def _said(self, key: str, count: int) -> list[float]:
        deadline = time.monotonic() + _PATIENCE
        while counters().llen(key) < count:
            if time.monotonic() > deadline or any(worker.poll() is not None for worker in self._workers):
                raise BenchError(f"Raw Celery did not finish; its log is in {self._folder}.")
            time.sleep(0.02)  # the times come from the tasks; looking often would only cost
        return [float(value) for value in counters().lrange(key, 0, -1)]
