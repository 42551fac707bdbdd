"""The infra agent's tool: PlaybookExecutor runs an approved playbook with ansible-runner, under a supervisor."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any, ClassVar

from django.conf import settings
from pydantic import BaseModel, Field

from agents.playbooks.runner import PlaybookOutcome, PlaybookRun, RunStatus, TaskProgress, run_playbook
from agents.protocol import Failure, FailureMode, Outcome, WorkRequest, WorkResult
from agents.tools.base import BaseTool, Stream, ToolContext, ToolInput, ToolOutput
from agents.tools.marks import mark_of
from audit.canonical import plain, storable

_OUTCOMES = {
    RunStatus.COMPLETED: Outcome.COMPLETED,
    RunStatus.FAILED: Outcome.FAILED,
    RunStatus.TIMEOUT: Outcome.FAILED,
    RunStatus.CANCELLED: Outcome.CANCELLED,
    RunStatus.LOST: Outcome.INTERRUPTED,
}


class PlaybookInput(ToolInput):
    """Which playbook, with which variables."""

    playbook: str = Field(description="The playbook's id or path in the catalogue.")
    variables: dict[str, Any] = Field(default_factory=dict, description="Values for the playbook's variables.")


class PlaybookTask(ToolOutput):
    """One task on one host."""

    task: str = Field(description="Its name.")
    host: str = Field(description="Where it ran.")
    status: str = Field(description="ok, changed, failed, skipped, unreachable or ignored.")
    items: int = Field(description="How many rounds of a loop it took; 0 without one.")
    message: str = Field(description="What its module said; empty if that was nothing.")


class PlaybookOutput(ToolOutput):
    """How the playbook went, per host and per task."""

    changed: int = Field(ge=0, description="How many tasks changed something, on all hosts together.")
    changed_hosts: int = Field(ge=0, description="On how many hosts something changed.")
    hosts: dict[str, dict[str, int]] = Field(description="Ansible's own figures for each host.")
    stats: dict[str, Any] = Field(description="What the playbook itself said with set_stats.")
    tasks: list[PlaybookTask] = Field(max_length=500, description="The first 500 tasks, in order.")


class PlaybookExecutor(BaseTool):
    """Runs a playbook of the approved commit and tells every task as it happens."""

    name: ClassVar[str] = "ansible.playbook"
    description: ClassVar[str] = "Runs a playbook from the approved commit, with live output and statistics per host."
    work_type: ClassVar[str] = "playbook"
    agent_types: ClassVar[frozenset[str]] = frozenset({"infra"})
    idempotent: ClassVar[bool] = False  # an interrupted play may have changed something: a person looks first
    input_model: ClassVar[type[BaseModel]] = PlaybookInput
    output_model: ClassVar[type[BaseModel]] = PlaybookOutput
    example: ClassVar[Mapping[str, Any]] = {"playbook": "kuma-deploy.yml", "variables": {"kuma_port": 3001}}

    def run(self, request: WorkRequest, context: ToolContext) -> WorkResult:
        """Export the approved commit, run the playbook, and say how it went."""
        wanted = request.playbook
        if wanted is None:
            return WorkResult.failed(FailureMode.USER, "The step names no playbook.")
        context.event("agent_thinking", {"text": f"Exports commit {wanted.commit[:8]} and checks its tree hash."})
        run = PlaybookRun(
            repository=wanted.repository,
            commit=wanted.commit,
            tree=wanted.tree,
            playbook=wanted.path,
            inventory=wanted.inventory,
            tag=f"{mark_of(request.agent)}{request.attempt_id}:{request.token}",
            timeout_seconds=request.timeout_seconds,
            extra_vars=request.input,
            limit=wanted.limit,
            tags=wanted.tags,
            environment={"CHIFFON_SANDBOX": str(settings.CHIFFON_SANDBOX)},
        )
        return _result(run_playbook(run, _Teller(context)), wanted.path)


class _Teller:
    """A run's context: hands on lines as they come, and how far the run is."""

    def __init__(self, context: ToolContext) -> None:
        self._context = context
        self.beat = context.beat
        self.cancelled = context.cancelled
        self.reached = context.checkpoint

    def line(self, stream: Stream, text: str) -> None:
        self._context.line(stream, text)

    def progress(self, progress: TaskProgress) -> None:
        """Tasks are shown by Ansible's own lines; how far the run is comes as checkpoints."""


def _result(outcome: PlaybookOutcome, path: str) -> WorkResult:
    failure = outcome.failure
    if failure and outcome.status is RunStatus.TIMEOUT:  # it may have changed something: trying again is for a person
        failure = Failure(failure.mode, failure.message, transient=False)
    output = {
        "changed": outcome.changed,
        "changed_hosts": sum(bool(host.get("changed")) for host in outcome.stats.values()),
        "hosts": outcome.stats,
        "stats": outcome.custom_stats,
        "tasks": [task.told() for task in outcome.tasks[:500]],
    }
    return WorkResult(
        outcome=_OUTCOMES[outcome.status],
        output=plain(output),  # what a module says may hold what no database stores; the play has had its effect
        summary=storable(_summary(outcome, path)),
        failure=None if outcome.status is RunStatus.COMPLETED else failure,
        resources=outcome.resources,
        services_touched=(),
        progress=plain(outcome.reached),
    )


def _summary(outcome: PlaybookOutcome, path: str) -> str:
    """One sentence: what changed, or that nothing had to."""
    if outcome.status is not RunStatus.COMPLETED:
        return outcome.failure.message if outcome.failure else f"{path} ended as {outcome.status}."
    figures: Counter[str] = Counter()
    for host in outcome.stats.values():
        figures.update(host)
    hosts = f"{len(outcome.stats)} host{'s' if len(outcome.stats) != 1 else ''}"
    if not outcome.changed:
        return f"Nothing had to change: {figures['ok']} tasks ok on {hosts}."
    return f"{outcome.changed} of {figures['ok']} tasks changed something on {hosts}."
