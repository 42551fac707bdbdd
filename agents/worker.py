"""A Celery worker with an identity: it enrols, beats, drains on SIGTERM within a deadline, and leaves nothing behind."""

from __future__ import annotations

import ctypes
import logging
import os
import re
import signal
import socket
import threading
import warnings
from collections.abc import Callable
from typing import Any, Final

import psutil
from celery import Celery, signals
from celery.platforms import SecurityWarning
from celery.worker import state
from django.db import DatabaseError, close_old_connections, connection
from kombu import Exchange, Queue

from agents import services
from agents.conf import BEAT_SECONDS, DRAIN_SECONDS
from agents.models import Agent
from agents.playbooks.export import remove_stale_workspaces
from agents.supervisor.processes import is_alive
from agents.supervisor.sweep import sweep
from agents.tools.marks import mark_of
from agents.tools.registry import tools_for

logger = logging.getLogger(__name__)
NAME: Final = re.compile(r"[a-z][a-z0-9-]{0,62}")
_PR_SET_PDEATHSIG: Final = 1  # Linux, prctl(2)


def run_agent(
    app: Celery,
    *,
    name: str,
    type_: str,
    slots: int,
    labels: list[str],
    version: str,
    started: Callable[[Agent], object],
) -> int:
    """Be an agent until told to stop; the exit code. `started` is called once the agent has enrolled.

    Whatever an earlier process of this name left on this machine is removed first. Raises AgentNameTaken.
    """
    agent = services.register_agent(
        name=name,
        type_=type_,
        tools=tools_for(type_),
        labels=labels,
        slots=slots,
        version=version,
        host=socket.gethostname(),
        pid=os.getpid(),
        alive=lambda pid: bool(pid) and is_alive(pid),
    )
    if removed := sweep(prefix=mark_of(name)):
        logger.warning("removed %s processes that an earlier %s had left", len(removed), name)
    remove_stale_workspaces()
    started(agent)
    connection.close()
    code = consume(app, queue=agent.queue, name=name, slots=slots, heart=_Heart(name))
    services.retire_agent(name=name, because="Its process ended in good order.")
    return code


def consume(app: Celery, *, queue: str, name: str, slots: int, heart: _Heart | None = None) -> int:
    """Consume one queue with a pool of processes until told to stop; the exit code."""
    # In a container root is often the only account, and what a step may do is for the host to say, not for each log.
    warnings.filterwarnings("ignore", category=SecurityWarning)
    signals.worker_process_init.connect(_die_with_parent, weak=False)
    signals.task_prerun.connect(_mistrust_connections, weak=False)
    if heart:
        signals.worker_ready.connect(heart.start, weak=False)
        signals.worker_shutting_down.connect(heart.drain, weak=False)
    app.conf.task_queues = [Queue(queue, Exchange(queue, type="direct"), routing_key=queue)]
    worker = app.Worker(
        hostname=f"{name}@{socket.gethostname()}",
        concurrency=slots,
        pool="prefork",
        loglevel="WARNING",
        without_mingle=True,
        without_gossip=True,
        without_heartbeat=True,
        quiet=True,
    )
    worker.start()
    return int(worker.exitcode or 0)


def _die_with_parent(**_: Any) -> None:
    """A pool process must not outlive its worker: with it dies the supervisor, and with that the step's whole tree."""
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _mistrust_connections(**_: Any) -> None:
    """A connection that is kept between tasks is tried before it is used: the server may have gone away meanwhile."""
    close_old_connections()


class _Heart:
    """Beats from the worker's main process, and makes sure that a drain has an end."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._stop = threading.Event()

    def start(self, **_: Any) -> None:
        threading.Thread(target=self._beat_on, name="heartbeat", daemon=True).start()

    def drain(self, **_: Any) -> None:
        """Running steps may end; after the deadline the worker is made to stop, and their trees with it."""
        self._stop.set()
        timer = threading.Timer(DRAIN_SECONDS, os.kill, (os.getpid(), signal.SIGQUIT))
        timer.daemon = True
        timer.start()

    def _beat_on(self) -> None:
        while True:
            try:
                services.beat(name=self._name, load=_load(), running=len(state.active_requests))
            except DatabaseError as error:
                logger.warning("a heartbeat was lost: %s", error)
            finally:
                connection.close()
            if self._stop.wait(BEAT_SECONDS):
                return


def _load() -> dict[str, Any]:
    """What this machine has and how busy it is. Memory in bytes; load over 1, 5 and 15 minutes."""
    memory = psutil.virtual_memory()
    return {
        "cores": psutil.cpu_count() or 1,
        "load": [round(value, 2) for value in os.getloadavg()],
        "memory_total": memory.total,
        "memory_available": memory.available,
    }
