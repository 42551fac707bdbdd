"""The Tool protocol and what a tool may do while it runs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, Literal, Protocol, runtime_checkable

from pydantic import BaseModel

from agents.protocol import WorkRequest, WorkResult

Stream = Literal["stdout", "stderr"]


class ToolContext(Protocol):
    """What a running tool may ask of, and tell, the engine that runs it. Calls are cheap and never raise."""

    def line(self, stream: Stream, text: str) -> None:
        """Say one line of output. It is sanitised, redacted and stored in order."""

    def event(self, type_: str, data: dict[str, Any]) -> None:
        """Announce one of the agent events to whoever watches."""

    def checkpoint(self, reached: Callable[[], dict[str, Any]]) -> None:
        """Say that the work came further. `reached` is only called when that is kept, about once a second."""

    def beat(self) -> bool:
        """Keep the lease; False says that it is lost and that the tool must stop at once."""

    def cancelled(self) -> bool:
        """Whether a person asked for this attempt to stop."""


@runtime_checkable
class Tool(Protocol):
    """One thing an agent can do, described well enough to be checked, documented and chosen."""

    name: ClassVar[str]
    version: ClassVar[str]
    description: ClassVar[str]
    work_type: ClassVar[str]
    agent_types: ClassVar[frozenset[str]]  # empty: any type of agent offers it
    idempotent: ClassVar[bool]  # an unknown outcome may be tried again by itself
    input_model: ClassVar[type[BaseModel]]

    def run(self, request: WorkRequest, context: ToolContext) -> WorkResult:
        """Do the work once. A failure is a result; an exception means a bug in the tool."""
