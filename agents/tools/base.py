"""The Tool protocol, what a tool may do while it runs, and a base that spares a third-party tool most of the words."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any, ClassVar, Final, Literal, Protocol, runtime_checkable

from pydantic import BaseModel, ConfigDict

from agents.protocol import WorkRequest, WorkResult

Stream = Literal["stdout", "stderr"]
CacheScope = Literal["shared", "user"]


class ToolContext(Protocol):
    """What a running tool may ask of, and tell, the engine that runs it. Calls are cheap; only those about state raise."""

    def line(self, stream: Stream, text: str) -> None:
        """Say one line of output. It is sanitised, redacted and stored in order."""

    def event(self, type_: str, data: dict[str, Any]) -> None:
        """Announce one of the agent events to whoever watches."""

    def checkpoint(self, reached: Callable[[], dict[str, Any]]) -> None:
        """Say that the work came further. `reached` is only called when that is kept, about once a second."""

    def beat(self) -> bool:
        """Keep the lease; False says that it is lost and that the tool must stop at once."""

    def cancelled(self) -> bool:
        """Whether to stop: a person asked for it, or the step's time is over."""

    def remember(self, scope: str, key: str, value: Any) -> None:
        """Keep a JSON value for later steps, which read it as `{{ state.SCOPE.KEY }}`. Raises StateRefused."""

    def recall(self, scope: str, key: str) -> tuple[bool, Any]:
        """Whether something is kept under a key, and what. Raises StateRefused."""

    def forget(self, scope: str, key: str) -> bool:
        """Remove what is kept under a key; whether there was anything. Raises StateRefused."""


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
    output_model: ClassVar[type[BaseModel]]  # what `output` of a completed result holds
    example: ClassVar[Mapping[str, Any]]  # an input that it takes, for its page and for its tests
    cost: ClassVar[Decimal]  # of one call, in the unit of a plan's budget
    cacheable: ClassVar[bool]  # the same input gives the same result for a while, and a call changes nothing
    cache_seconds: ClassVar[int]
    cache_scope: ClassVar[CacheScope]  # "user": nobody is answered with what was worked out for somebody else
    quick: ClassVar[bool]  # ends within milliseconds and never blocks, so that its events may be written together
    parallel_limit: ClassVar[int | None]  # how many calls may run at once in the whole installation

    def run(self, request: WorkRequest, context: ToolContext) -> WorkResult:
        """Do the work once. A failure is a result; an exception means a bug in the tool."""


class ToolInput(BaseModel):
    """The base of a tool's input: a field that it does not know is refused instead of silently doing nothing."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)


class ToolOutput(BaseModel):
    """The base of a tool's output: it answers what its page says, and nothing else."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)


class AnyOutput(BaseModel):
    """Whatever JSON object the tool answers: it does not say which fields there are."""

    model_config = ConfigDict(extra="allow")


class BaseTool:
    """What a tool is when it does not say otherwise: careful, free of charge, never cached, offered by every agent.

    A tool of one's own needs a name, a description, an input_model and run().
    """

    version: ClassVar[str] = "1"
    work_type: ClassVar[str] = "general"
    agent_types: ClassVar[frozenset[str]] = frozenset()
    idempotent: ClassVar[bool] = False
    output_model: ClassVar[type[BaseModel]] = AnyOutput
    example: ClassVar[Mapping[str, Any]] = {}
    cost: ClassVar[Decimal] = Decimal(0)
    cacheable: ClassVar[bool] = False
    cache_seconds: ClassVar[int] = 0
    cache_scope: ClassVar[CacheScope] = "user"
    quick: ClassVar[bool] = False
    parallel_limit: ClassVar[int | None] = None


ATTRIBUTES: Final = tuple(Tool.__annotations__)
