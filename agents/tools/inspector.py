"""PlaybookInspector reads what a playbook needs, at one commit, without running anything of it."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, ClassVar, Final

from pydantic import BaseModel, Field

from agents import git
from agents.playbooks.catalogue import PlaybookFile
from agents.playbooks.discovery import read_one
from agents.protocol import FailureMode, Outcome, ResourcesUsed, WorkRequest, WorkResult
from agents.selectors import repository
from agents.tools.base import BaseTool, CacheScope, ToolContext, ToolInput, ToolOutput
from audit.canonical import plain

_STOPPED: Final = WorkResult(Outcome.CANCELLED, summary="Stopped when asked to.")


class InspectInput(ToolInput):
    """Which playbook, at which commit."""

    playbook: str = Field(min_length=1, max_length=500, description="Its path in the playbook repository.")
    commit: str = Field(
        pattern=r"^(?:[0-9a-f]{40}|[0-9a-f]{64})$",
        description="The full id of a commit of that repository, such as the catalogue's.",
    )


class InspectedVariable(ToolOutput):
    """One variable that the playbook takes."""

    name: str = Field(description="What the playbook calls it.")
    type: str = Field(description="string, integer, boolean, list and so on, as far as it can be told.")
    required: bool = Field(description="Whether the playbook can not do without a value.")
    default: Any = Field(description="null: there is none, or only the run can work it out.")
    description: str = Field(description="What the playbook says of it; empty: nothing.")


class InspectOutput(ToolOutput):
    """What the playbook says of itself, and what reading it tells."""

    path: str = Field(description="As it was asked for.")
    commit: str = Field(description="As it was asked for.")
    service: str = Field(description="What it is about, as it says or as its name tells.")
    description: str = Field(description="What it says it does; empty: nothing.")
    hosts: str = Field(description="The host patterns of its plays, joined by commas.")
    roles: list[str] = Field(description="The roles that it names.")
    tags: list[str] = Field(description="The tags of its plays and tasks.")
    variables: list[InspectedVariable] = Field(description="What it takes.")
    task_count: int = Field(ge=0, description="How many tasks it has, those of its roles too.")
    risk: str = Field(description="low, medium or high.")
    problems: list[str] = Field(description="Why it can not be used as it is, and remarks; one sentence each.")


class PlaybookInspector(BaseTool):
    """Reads a playbook at a commit. A commit never changes, so neither does the answer."""

    name: ClassVar[str] = "playbook.inspect"
    description: ClassVar[str] = "Reads what a playbook of the repository needs at one commit, without running it."
    work_type: ClassVar[str] = "reading"
    agent_types: ClassVar[frozenset[str]] = frozenset({"infra", "code", "research"})
    idempotent: ClassVar[bool] = True
    input_model: ClassVar[type[BaseModel]] = InspectInput
    output_model: ClassVar[type[BaseModel]] = InspectOutput
    example: ClassVar[Mapping[str, Any]] = {"playbook": "kuma-deploy.yml", "commit": "4f" * 20}
    cacheable: ClassVar[bool] = True
    cache_seconds: ClassVar[int] = 24 * 3600
    cache_scope: ClassVar[CacheScope] = "shared"  # everybody who may plan may read every playbook

    def run(self, request: WorkRequest, context: ToolContext) -> WorkResult:
        """Export the commit and read the one file, and the roles it names."""
        started = time.monotonic()
        asked = InspectInput.model_validate(request.input)
        if context.cancelled() or not context.beat():
            return _STOPPED
        source = repository()
        if source is None:
            return WorkResult.failed(FailureMode.USER, "There is no playbook repository that has been read.")
        try:
            with TemporaryDirectory(prefix="chiffon-scan-") as folder:
                tree = Path(folder) / "tree"
                try:
                    git.export(source.location, asked.commit, tree, between=context.beat)
                    if context.cancelled() or not context.beat():
                        return _STOPPED
                    found = read_one(tree, asked.playbook)
                finally:
                    git.remove_export(tree)
        except git.GitError as error:
            return WorkResult.failed(FailureMode.USER, f"Commit {asked.commit[:12]} can not be read: {error}")
        except OSError as error:
            return WorkResult.failed(
                FailureMode.RESOURCE, f"There is no room to read the commit: {error.strerror}.", transient=True
            )
        if found is None:
            return WorkResult.failed(
                FailureMode.USER, f"Commit {asked.commit[:12]} has no playbook {asked.playbook[:200]!r}."
            )
        output = plain(_told(found) | {"commit": asked.commit})
        wall = round(time.monotonic() - started, 6)
        return WorkResult(
            Outcome.COMPLETED,
            output=output,
            summary=_summary(found),
            resources=ResourcesUsed(wall_seconds=wall),
        )


def _told(found: PlaybookFile) -> dict[str, Any]:
    known = found.to_json()
    return {name: known[name] for name in InspectOutput.model_fields if name in known}


def _summary(found: PlaybookFile) -> str:
    if found.broken:
        return f"{found.path} can not be used as it is: {found.problems[0] if found.problems else 'unknown'}"
    needed = [variable.name for variable in found.variables if variable.required]
    tasks = f"{found.task_count} task{'s' if found.task_count != 1 else ''}"
    needs = f"needs {', '.join(needed[:5])}" if needed else "needs no variable"
    return f"{found.path} has {tasks} on {found.hosts or 'no hosts'} and {needs}."
