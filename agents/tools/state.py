"""Tools that keep state in scopes: a value that one step remembers, later ones read. Any type of agent offers them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Final, Literal

from pydantic import BaseModel, Field

from agents.protocol import FailureMode, Outcome, WorkRequest, WorkResult
from agents.tools.base import BaseTool, Tool, ToolContext, ToolInput, ToolOutput

_KEY: Final = r"^[a-z][a-z0-9_]{0,63}$"
Scope = Literal["global", "session", "execution", "step"]


class _Input(ToolInput):
    scope: Scope = Field(description="Whose it is: everybody's, the conversation's, the plan's, or the step's own.")
    key: str = Field(pattern=_KEY, description="Its name: lower case letters, digits and _; read as state.SCOPE.KEY.")


class _State(BaseTool):
    """What the state tools have in common. None catches StateRefused: whoever calls a tool knows what it means."""

    work_type: ClassVar[str] = "state"
    idempotent: ClassVar[bool] = True
    example: ClassVar[Mapping[str, Any]] = {"scope": "execution", "key": "url"}


class RememberInput(_Input):
    """What to remember, and where."""

    value: Any = Field(description="Any JSON value of at most 64 KiB. Secrets in it are hidden, as in output.")


class RememberOutput(ToolOutput):
    """Where it is kept."""

    scope: Scope = Field(description="As it was asked for.")
    key: str = Field(description="As it was asked for.")


class Remember(_State):
    """Keeps a value under a key."""

    name: ClassVar[str] = "state.remember"
    description: ClassVar[str] = (
        "Keeps a value for later steps, which read it as state.SCOPE.KEY; the last writer wins."
    )
    input_model: ClassVar[type[BaseModel]] = RememberInput
    output_model: ClassVar[type[BaseModel]] = RememberOutput
    example: ClassVar[Mapping[str, Any]] = {"scope": "execution", "key": "url", "value": "http://atlas:3001"}

    def run(self, request: WorkRequest, context: ToolContext) -> WorkResult:
        """Remember it."""
        value = request.input
        context.remember(value["scope"], value["key"], value["value"])
        told = {"scope": value["scope"], "key": value["key"]}
        return WorkResult(Outcome.COMPLETED, output=told, summary=f"Remembered {value['scope']}.{value['key']}.")


class RecallInput(_Input):
    """What to recall, and what to answer if it is not there."""

    default: Any = Field(default=None, description="The answer if nothing is there; without it the step fails then.")


class RecallOutput(ToolOutput):
    """What was found."""

    value: Any = Field(description="What is kept, else the default.")
    found: bool = Field(description="Whether anything is kept under the key.")


class Recall(_State):
    """Answers what is kept under a key."""

    name: ClassVar[str] = "state.recall"
    description: ClassVar[str] = (
        "Answers the value that is kept under a key, also one that is not there before the run."
    )
    input_model: ClassVar[type[BaseModel]] = RecallInput
    output_model: ClassVar[type[BaseModel]] = RecallOutput

    def run(self, request: WorkRequest, context: ToolContext) -> WorkResult:
        """Recall it."""
        value = request.input
        place = f"{value['scope']}.{value['key']}"
        found, kept = context.recall(value["scope"], value["key"])
        if not found and "default" not in value:
            return WorkResult.failed(FailureMode.USER, f"Nothing is remembered as {place}, or it has expired.")
        said = f"Recalled {place}." if found else f"Nothing is remembered as {place}; answered the default."
        told = {"value": kept if found else value["default"], "found": found}
        return WorkResult(Outcome.COMPLETED, output=told, summary=said)


class ForgetInput(_Input):
    """What to forget."""


class ForgetOutput(ToolOutput):
    """What was there."""

    found: bool = Field(description="Whether anything was kept under the key.")


class Forget(_State):
    """Removes what is kept under a key."""

    name: ClassVar[str] = "state.forget"
    description: ClassVar[str] = "Removes what is kept under a key; it does no harm if nothing is there."
    input_model: ClassVar[type[BaseModel]] = ForgetInput
    output_model: ClassVar[type[BaseModel]] = ForgetOutput

    def run(self, request: WorkRequest, context: ToolContext) -> WorkResult:
        """Forget it."""
        value = request.input
        place, found = f"{value['scope']}.{value['key']}", context.forget(value["scope"], value["key"])
        said = f"Forgot {place}." if found else f"Nothing was remembered as {place}."
        return WorkResult(Outcome.COMPLETED, output={"found": found}, summary=said)


STATE_TOOLS: Final[tuple[Tool, ...]] = (Remember(), Recall(), Forget())
