"""Run one approved playbook: fresh read-only export, supervised process tree, live progress, honest outcome.

`run_playbook` is the only way in. It needs neither Django nor Celery: whoever calls it gives a context to talk to.
"""

from __future__ import annotations

import importlib.util
import json
import os
import shlex
import sys
import time
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, Protocol

from agents.git import GitError
from agents.playbooks.asked import PlaybookRun, Refused, check_run, wrapped
from agents.playbooks.export import TreeMismatch, Workspace, workspace
from agents.playbooks.outcome import Collector, PlaybookOutcome, RunStatus, TaskProgress
from agents.protocol import Failure, FailureMode
from agents.supervisor.client import Supervised
from agents.supervisor.spec import Spec

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["PlaybookOutcome", "PlaybookRun", "Refused", "RunContext", "RunStatus", "TaskProgress", "run_playbook"]

JOB: Final = "job.json"
DRIVER: Final = Path(__file__).with_name("driver.py")
LOOK_SECONDS: Final = 1.0  # how often the lease is kept and a cancellation is looked for
POLL_SECONDS: Final = 0.2


class RunContext(Protocol):
    """What a run tells its owner, and asks of it. Calls are cheap and never raise."""

    def line(self, stream: Literal["stdout", "stderr"], text: str) -> None:
        """One line of output, as it came: not yet sanitised, not yet redacted."""

    def progress(self, progress: TaskProgress) -> None:
        """One task is done on one host."""

    def reached(self, so_far: Callable[[], dict[str, Any]]) -> None:
        """The run came further; `so_far` says how far, for whoever wants to keep that now."""

    def beat(self) -> bool:
        """Keep the lease; False says that it is lost and that everything must stop at once."""

    def cancelled(self) -> bool:
        """Whether a person asked for this run to stop."""


def run_playbook(run: PlaybookRun, context: RunContext, *, scratch: Path | None = None) -> PlaybookOutcome:
    """Run a playbook to its end and say how it went. A failure is an outcome, never an exception.

    What must not be tried is refused before any process starts. `scratch` is where the private workspace is made,
    by default the system's folder for temporary files.
    """
    try:
        check_run(run)
        with workspace(scratch) as place, Supervised.start(_spec(run, place)) as child:
            # The driver loads its libraries while the commit is exported, then waits for its job.
            place.fill(run.repository, run.commit, run.tree, between=_keeping(child, context))
            _check_files(place, run)
            place.write_secret(JOB, json.dumps(_job(run, place)))
            return _watch(child, context)
    except Refused as error:
        return _failed(error.mode, str(error))
    except TreeMismatch as error:
        return _failed(FailureMode.POLICY, str(error))
    except GitError as error:
        return _failed(FailureMode.SYSTEM, f"The approved commit could not be exported: {error}")
    except OSError as error:
        return _failed(FailureMode.RESOURCE, f"The run could not be prepared: {error.strerror or error}.")


def _keeping(child: Supervised, context: RunContext) -> Callable[[], None]:
    """Keep the lease and the driver now and then, while something else takes its time. Whether both are kept is looked at after."""
    looked = time.monotonic()

    def keep() -> None:
        nonlocal looked
        if time.monotonic() - looked >= LOOK_SECONDS:
            looked = time.monotonic()
            if context.beat():
                child.beat()

    return keep


def _failed(mode: FailureMode, message: str) -> PlaybookOutcome:
    return PlaybookOutcome(RunStatus.FAILED, failure=Failure(mode, message))


def _check_files(place: Workspace, run: PlaybookRun) -> None:
    """Refuse what only the exported files can show: something missing, or an inventory that would be run."""
    for what, name in (("playbook", run.playbook), ("inventory", run.inventory)):
        target = Path(os.path.realpath(place.tree / name))
        if not target.is_relative_to(os.path.realpath(place.tree)) or not target.exists():
            raise Refused(f"The approved commit has no {what} {name!r}.")
    if not (place.tree / run.playbook).is_file():
        raise Refused(f"{run.playbook!r} is not a file.")
    start = place.tree / run.inventory
    for file in [start] if start.is_file() else start.rglob("*"):
        if file.is_file() and file.stat().st_mode & 0o111:
            raise Refused(
                f"The inventory {file.name!r} is executable, and one that has to be run is refused.", FailureMode.POLICY
            )


def _watch(child: Supervised, context: RunContext) -> PlaybookOutcome:
    collector = Collector()
    looked = time.monotonic()
    asked_to_stop = False
    while not child.ended:
        message = child.next(POLL_SECONDS)
        if message is not None:
            _pass_on(message, collector, context)
        now = time.monotonic()
        if now - looked < LOOK_SECONDS:
            continue
        looked = now
        if not context.beat():
            child.close()  # ends the tree at once
            return collector.outcome({"reason": "abandoned"}, lease_lost=True)
        child.beat()
        if not asked_to_stop and context.cancelled():
            asked_to_stop = True
            child.cancel()
    return collector.outcome(child.exit or {"reason": "lost"}, lease_lost=False)


def _pass_on(message: dict[str, Any], collector: Collector, context: RunContext) -> None:
    kind = message["t"]
    if kind == "line":  # the driver's own voice: a traceback of ansible-runner, or a limit of the system
        stream: Literal["stdout", "stderr"] = "stderr" if message["stream"] == "stderr" else "stdout"
        collector.note_line(f"[ERROR] {message['text']}" if message["text"].strip() else "")
        context.line(stream, message["text"])
    elif kind == "event":
        data = message["data"]
        if data.get("k") == "line":
            collector.note_line(data["text"])
            context.line("stdout", data["text"])
            return
        progress = collector.take(data)
        if progress is not None:
            context.progress(progress)
        if data.get("k") in {"task", "result", "stats"}:
            context.reached(collector.reached_so_far)


def _spec(run: PlaybookRun, place: Workspace) -> Spec:
    return Spec(
        argv=[sys.executable, "-S", "-P", str(DRIVER), str(place.private / JOB)],
        cwd=str(place.private),
        env=_environment(run.environment, place),
        tag=run.tag,
        timeout_seconds=run.timeout_seconds,
        beat_seconds=run.beat_seconds,
        grace_seconds=run.grace_seconds,
    )


def _job(run: PlaybookRun, place: Workspace) -> dict[str, Any]:
    """What the driver hands to ansible-runner. Values travel in 0600 files, never in arguments."""
    variables = wrapped({**run.extra_vars, **run.secrets})
    words = ["--extra-vars", f"@{place.write_secret('variables.json', json.dumps(variables))}"] if variables else []
    if run.vault_password is not None:
        words += ["--vault-password-file", str(place.write_secret("vault", run.vault_password + "\n"))]
    if run.check:
        words += ["--check", "--diff"]
    place.write_settings({"idle_timeout": 0, "job_timeout": 0, "pexpect_timeout": 1, "suppress_output_file": True})
    job: dict[str, Any] = {
        "private_data_dir": str(place.runner),
        "project_dir": str(place.tree),
        "playbook": run.playbook,
        "inventory": [str(place.tree / run.inventory)],
        "fact_cache_type": "memory",
        "ident": "run",
        "retries": str(place.retries),
    }
    optional: dict[str, str] = {"cmdline": shlex.join(words), "limit": run.limit, "tags": ",".join(run.tags)}
    return job | {name: value for name, value in optional.items() if value}


@cache
def libraries() -> str:
    """The folder that holds ansible-runner. With it named, Python need not search: a third less to wait for."""
    found = importlib.util.find_spec("ansible_runner")
    if found is None or found.origin is None:
        raise OSError("ansible-runner is not installed beside this agent")
    return str(Path(found.origin).parent.parent)


def _environment(extra: Mapping[str, str], place: Workspace) -> dict[str, str]:
    """The driver's whole environment. Nothing of ours is inherited, so a play can read no secret from it."""
    programs = Path(sys.executable).parent
    return {
        **extra,
        "PATH": f"{programs}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "HOME": str(place.home),
        "LANG": "C.UTF-8",
        "LC_ALL": "C.UTF-8",
        "PYTHONPATH": libraries(),  # for the driver, which takes it away again
        "PYTHONDONTWRITEBYTECODE": "1",
        "ANSIBLE_CONFIG": str(place.configuration),
        "ANSIBLE_HOME": str(place.home / ".ansible"),
        "ANSIBLE_LOCAL_TEMP": str(place.home / "tmp"),
        "ANSIBLE_FORCE_COLOR": "1",
        "ANSIBLE_HOST_KEY_CHECKING": "True",
    }
