"""How a playbook run went, gathered from what the driver says, and judged. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final

from agents.protocol import Failure, FailureMode, ResourcesUsed

KEPT_TASKS: Final = 5_000
KEPT_FAILURES: Final = 50
KEPT_HOSTS: Final = 1_000  # in a checkpoint, which is stored again and again
FIGURES: Final = ("ok", "changed", "failures", "unreachable", "skipped", "rescued", "ignored")
_COUNTS_AS: Final = {
    "ok": ("ok",),
    "changed": ("ok", "changed"),
    "failed": ("failures",),
    "unreachable": ("unreachable",),
    "skipped": ("skipped",),
    "ignored": ("ok", "ignored"),
}
TROUBLE: Final = re.compile(r"(?:\[ERROR\]:?|ERROR!|fatal:)\s*(.*)")
COLOURS: Final = re.compile(r"\x1b\[[0-9;]*m")
PASSING: Final = re.compile(
    r"connection (?:refused|reset|timed out|aborted|closed)|timed? ?out|timeout|temporary failure|try again"
    r"|temporarily unavailable|name or service not known|could not resolve|no route to host|network is unreachable"
    r"|remote end closed|broken pipe|resource busy|is locked|too many requests|service unavailable|bad gateway"
    r"|(?:could not|unable to|failed to) (?:get|acquire|obtain|lock)[^.]{0,40}lock"
    r"|status code was (?:-1|429|502|503|504)|http error (?:429|502|503|504)",
    re.IGNORECASE,
)
EXHAUSTED: Final = re.compile(
    r"no space left|cannot allocate memory|out of memory|memoryerror|quota exceeded|too many open files", re.IGNORECASE
)


class RunStatus(StrEnum):
    """How a run ended. `lost`: its processes are gone and what they did is not fully known."""

    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"
    TIMEOUT = "timeout"
    LOST = "lost"


@dataclass(frozen=True, slots=True)
class TaskProgress:
    """What one task did on one host. `items` counts a loop's rounds; `diff` is what it changed or would change."""

    task: str
    host: str
    status: str  # ok, changed, failed, skipped, unreachable, ignored
    changed: bool
    items: int
    number: int  # the task's place among those reached, from 1
    action: str = ""
    message: str = ""
    diff: str = ""

    def told(self) -> dict[str, Any]:
        """What is kept of it beside the step."""
        return {
            "task": self.task,
            "host": self.host,
            "status": self.status,
            "items": self.items,
            "message": self.message,
        }


@dataclass(frozen=True, slots=True)
class PlaybookOutcome:
    """The end of one run. `rc` is None where Ansible itself could not say."""

    status: RunStatus
    rc: int | None = None
    stats: dict[str, dict[str, int]] = field(default_factory=dict)
    changed: int = 0
    tasks_reached: int = 0
    last_task: str = ""
    failed_tasks: tuple[TaskProgress, ...] = ()
    tasks: tuple[TaskProgress, ...] = ()
    reached: dict[str, Any] = field(default_factory=dict)  # see Collector.reached_so_far
    custom_stats: dict[str, Any] = field(default_factory=dict)
    resources: ResourcesUsed = field(default_factory=ResourcesUsed)
    failure: Failure | None = None

    @property
    def ok(self) -> bool:
        """Whether the playbook did all it was asked to, on every host it reached."""
        return self.status is RunStatus.COMPLETED


class Collector:
    """Keeps what the driver says until the end, then judges it."""

    def __init__(self) -> None:
        self.rc: int | None = None
        self.runner_status = ""
        self.stats: dict[str, dict[str, int]] | None = None
        self.custom: dict[str, Any] = {}
        self.reached = 0
        self.last_task = ""
        self.hosts: dict[str, dict[str, int]] = {}  # what each host did so far, in the words of the statistics
        self.playing: set[str] = set()  # the hosts that did something in the play that was begun last
        self.finished: list[str] = []
        self.tasks: list[TaskProgress] = []
        self.failed: list[TaskProgress] = []
        self.trouble = ""

    def take(self, data: dict[str, Any]) -> TaskProgress | None:
        """Keep one message of the driver; answers the progress if it was one."""
        kind = data.get("k")
        if kind == "play":
            self.playing = set()
        elif kind == "task":
            self.reached, self.last_task = int(data["number"]), str(data["name"])
        elif kind == "result":
            return self._result(data)
        elif kind == "stats":
            self.stats, self.custom = data["hosts"], data["custom"]
            self.finished = self._finished(set(data["left"]))
        elif kind == "end":
            self.rc, self.runner_status = data.get("rc"), str(data.get("status"))
        return None

    def note_line(self, text: str) -> None:
        """Remember what Ansible, or our driver, complained about last, for runs that end without a result."""
        found = TROUBLE.search(COLOURS.sub("", text))
        if found and found[1].strip() and self.stats is None:
            self.trouble = found[1].strip()[:500]

    def _result(self, data: dict[str, Any]) -> TaskProgress:
        progress = TaskProgress(
            task=str(data["task"]),
            host=str(data["host"]),
            status=str(data["status"]),
            changed=bool(data["changed"]),
            items=int(data["items"]),
            number=self.reached,
            action=str(data["action"]),
            message=str(data["message"]),
            diff=str(data["diff"]),
        )
        self._count(progress)
        if len(self.tasks) < KEPT_TASKS:
            self.tasks.append(progress)
        if progress.status in {"failed", "unreachable"} and len(self.failed) < KEPT_FAILURES:
            self.failed.append(progress)
        return progress

    def _finished(self, left: set[str]) -> list[str]:
        """The hosts that are known to have done everything they had to.

        A play that is left by all its hosts ends the playbook, and what others had still to do after it is not known.
        """
        stats = self.stats or {}
        left |= {host for host, figures in stats.items() if figures["failures"] or figures["unreachable"]}
        return [] if self.playing and self.playing <= left else sorted(stats.keys() - left)

    def _count(self, progress: TaskProgress) -> None:
        self.playing.add(progress.host)
        figures = self.hosts.setdefault(progress.host, dict.fromkeys(FIGURES, 0))
        for figure in _COUNTS_AS.get(progress.status, ()):
            figures[figure] += 1

    def reached_so_far(self) -> dict[str, Any]:
        """The checkpoint: the last task begun and its place, what each host did, and which are known to be finished.

        That is known at the end only (`ended`), from Ansible itself: no failure so far does not mean that a host is done.
        """
        known = self.stats if self.stats is not None else self.hosts
        kept = dict(list(known.items())[:KEPT_HOSTS])
        return {
            "task": self.last_task,
            "tasks_reached": self.reached,
            "hosts": kept,
            "hosts_left_out": len(known) - len(kept),
            "failed": [task.told() for task in self.failed[:20] if not self._recovered(task.host)],
            "ended": self.stats is not None,
            "finished": self.finished,
        }

    def outcome(self, end: dict[str, Any], *, lease_lost: bool) -> PlaybookOutcome:
        """The judged outcome, from the supervisor's exit message and everything before it."""
        status, failure = self._judge(end, lease_lost)
        stats = self.stats or {}
        return PlaybookOutcome(
            status=status,
            rc=self.rc,
            stats=stats,
            changed=sum(host["changed"] for host in stats.values())
            if self.stats is not None
            else sum(task.changed for task in self.tasks),
            tasks_reached=self.reached,
            last_task=self.last_task,
            failed_tasks=tuple(task for task in self.failed if not self._recovered(task.host)),
            tasks=tuple(self.tasks),
            reached=self.reached_so_far(),
            custom_stats=self.custom,
            resources=ResourcesUsed(end.get("wall_seconds"), end.get("cpu_seconds"), end.get("peak_rss_bytes")),
            failure=failure,
        )

    def _recovered(self, host: str) -> bool:
        """Whether a host ended well in spite of a failed task, because a rescue caught it."""
        figures = (self.stats or {}).get(host)
        return figures is not None and not figures["failures"] and not figures["unreachable"]

    def _judge(self, end: dict[str, Any], lease_lost: bool) -> tuple[RunStatus, Failure | None]:
        where = f" at the task {self.last_task!r}" if self.last_task else ""
        reason = end.get("reason")
        if reason == "cancelled":
            return RunStatus.CANCELLED, Failure(FailureMode.USER, f"The playbook was cancelled{where}.")
        if reason == "timeout":
            message = f"The playbook did not end in the time it was given, and was stopped{where}."
            return RunStatus.TIMEOUT, Failure(FailureMode.RESOURCE, message, transient=True)
        if lease_lost or reason in {"abandoned", "lost"}:
            why = "the agent lost its hold on the step" if lease_lost else "its supervisor was ended"
            return RunStatus.LOST, Failure(
                FailureMode.AGENT, f"The playbook was stopped{where}: {why}.", transient=True
            )
        if self.rc is None:
            why = str(end.get("error") or self.trouble or f"its driver ended with code {end.get('code')}")
            killed = reason == "signal"
            mode = FailureMode.RESOURCE if killed else FailureMode.SYSTEM
            return RunStatus.FAILED, Failure(
                mode, f"The playbook could not be run to its end{where}: {why}", transient=killed
            )
        return self._judge_stats()

    def _judge_stats(self) -> tuple[RunStatus, Failure | None]:
        if self.stats is None:
            why = self.trouble or f"Ansible ended with code {self.rc} before it could say how the hosts fared"
            return RunStatus.FAILED, Failure(FailureMode.USER, f"The playbook could not be run: {why}")
        failures = sum(host["failures"] for host in self.stats.values())
        unreachable = sum(host["unreachable"] for host in self.stats.values())
        if self.rc == 0 and not failures and not unreachable:
            if not self.stats:
                return RunStatus.FAILED, Failure(
                    FailureMode.USER, "No host of the inventory matched, so nothing was done."
                )
            return RunStatus.COMPLETED, None
        return RunStatus.FAILED, self._why()

    def _why(self) -> Failure:
        open_ = [task for task in self.failed if not self._recovered(task.host)]
        if not open_:
            why = self.trouble or f"Ansible ended with code {self.rc}"
            return Failure(FailureMode.USER, f"The playbook failed: {why}")
        first = open_[0]
        more = f" ({len(open_) - 1} more)" if len(open_) > 1 else ""
        if all(task.status == "unreachable" for task in open_):
            return Failure(
                FailureMode.SYSTEM, f"{first.host} could not be reached: {first.message}{more}", transient=True
            )
        told = next(task for task in open_ if task.status == "failed")
        message = f"The task {told.task!r} failed on {told.host}: {told.message}{more}"
        texts = [task.message for task in open_ if task.status == "failed"]
        if any(EXHAUSTED.search(text) for text in texts):
            return Failure(FailureMode.RESOURCE, message)
        if all(PASSING.search(text) for text in texts):
            return Failure(FailureMode.SYSTEM, message, transient=True)
        return Failure(FailureMode.USER, message)
