"""Real tools for trying a policy, an agent or a deployment. Any type of agent offers them; a setting turns them off."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any, ClassVar, Final

from pydantic import BaseModel, Field

from agents.protocol import FailureMode, Outcome, ResourcesUsed, WorkRequest, WorkResult
from agents.tools.base import BaseTool, Tool, ToolContext, ToolInput, ToolOutput

_PAUSE: Final = 0.1  # seconds between two looks at whether to stop
_STOPPED: Final = WorkResult(Outcome.CANCELLED, summary="Stopped when asked to.")


class _Diagnostic(BaseTool):
    """What the diagnostic tools have in common. None is cached: who tries an agent wants it to be tried."""

    work_type: ClassVar[str] = "diagnostic"
    idempotent: ClassVar[bool] = True
    quick: ClassVar[bool] = True  # ends in milliseconds, so that its events can be told together


def _pause(seconds: float, context: ToolContext) -> bool:
    """Wait, and keep the lease; False as soon as the attempt must stop."""
    until = time.monotonic() + seconds
    while (left := until - time.monotonic()) > 0:
        if context.cancelled() or not context.beat():
            return False
        time.sleep(min(left, _PAUSE))
    return True


def _done(started: float, output: dict[str, Any], summary: str) -> WorkResult:
    wall = round(time.monotonic() - started, 6)
    return WorkResult(Outcome.COMPLETED, output=output, summary=summary, resources=ResourcesUsed(wall_seconds=wall))


class _Aimed(ToolInput):
    target: str = Field(
        default="",
        pattern=r"^([a-z0-9][a-z0-9._-]{0,62})?$",
        description="A host that it pretends to work on, for trying locks and circuit breakers.",
    )


class NoopInput(_Aimed):
    """Nothing is needed."""


class NoopOutput(ToolOutput):
    """Nothing comes back."""


class Noop(_Diagnostic):
    """Does nothing, successfully."""

    name: ClassVar[str] = "diagnostic.noop"
    description: ClassVar[str] = "Does nothing, successfully: for trying a policy or an agent."
    input_model: ClassVar[type[BaseModel]] = NoopInput
    output_model: ClassVar[type[BaseModel]] = NoopOutput
    quick: ClassVar[bool] = True

    def run(self, request: WorkRequest, context: ToolContext) -> WorkResult:
        """Answer at once."""
        return _done(time.monotonic(), {}, "Did nothing, as asked.")


class EchoInput(ToolInput):
    """What to say."""

    value: Any = Field(description="Any JSON value; it comes back as the output.")


class EchoOutput(ToolOutput):
    """What was said."""

    value: Any = Field(description="The value it was given.")


class Echo(_Diagnostic):
    """Says its input."""

    name: ClassVar[str] = "diagnostic.echo"
    description: ClassVar[str] = "Answers the value it was given, and says it as one line of output."
    input_model: ClassVar[type[BaseModel]] = EchoInput
    output_model: ClassVar[type[BaseModel]] = EchoOutput
    example: ClassVar[Mapping[str, Any]] = {"value": "hello"}
    quick: ClassVar[bool] = True

    def run(self, request: WorkRequest, context: ToolContext) -> WorkResult:
        """Say the value and answer it."""
        value = request.input["value"]
        context.line("stdout", value if isinstance(value, str) else repr(value))
        return _done(time.monotonic(), {"value": value}, "Said the value it was given.")


class SleepInput(_Aimed):
    """How long to sleep."""

    seconds: float = Field(ge=0, le=86_400, description="How long, in seconds.", strict=False)


class SleepOutput(ToolOutput):
    """How long it slept."""

    seconds: float = Field(ge=0, description="As long as was asked for.")


class Sleep(_Diagnostic):
    """Waits for a while."""

    name: ClassVar[str] = "diagnostic.sleep"
    quick: ClassVar[bool] = False
    description: ClassVar[str] = "Waits for a while and stops at once when asked to."
    input_model: ClassVar[type[BaseModel]] = SleepInput
    output_model: ClassVar[type[BaseModel]] = SleepOutput
    example: ClassVar[Mapping[str, Any]] = {"seconds": 0.2}

    def run(self, request: WorkRequest, context: ToolContext) -> WorkResult:
        """Wait, keeping the lease."""
        started, seconds = time.monotonic(), float(request.input["seconds"])
        if not _pause(seconds, context):
            return _STOPPED
        return _done(started, {"seconds": seconds}, f"Slept for {seconds:g} s.")


class FailInput(_Aimed):
    """How often to fail, and how."""

    times: int = Field(default=1, ge=0, le=1000, description="Fails while the attempt's number is not above this.")
    failure_mode: str = Field(
        default="system", pattern=f"^({'|'.join(FailureMode)})$", description="Whose trouble it is."
    )
    transient: bool = Field(default=True, description="Whether trying again can help.")


class FailOutput(ToolOutput):
    """What went before the success."""

    failed_before: int = Field(ge=0, description="How many tries had failed.")


class Fail(_Diagnostic):
    """Fails a given number of times."""

    name: ClassVar[str] = "diagnostic.fail"
    description: ClassVar[str] = "Fails as often as it is told to, then succeeds."
    input_model: ClassVar[type[BaseModel]] = FailInput
    output_model: ClassVar[type[BaseModel]] = FailOutput
    example: ClassVar[Mapping[str, Any]] = {"times": 1, "transient": True}
    quick: ClassVar[bool] = True

    def run(self, request: WorkRequest, context: ToolContext) -> WorkResult:
        """Fail or succeed by the number of the attempt."""
        wanted = FailInput.model_validate(request.input)
        if request.number <= wanted.times:
            return WorkResult.failed(
                FailureMode(wanted.failure_mode),
                f"Failed on purpose, try {request.number} of {wanted.times} that fail.",
                transient=wanted.transient,
            )
        return _done(time.monotonic(), {"failed_before": request.number - 1}, "Succeeded after failing on purpose.")


class LinesInput(ToolInput):
    """How many lines to say, and how fast."""

    count: int = Field(ge=0, le=1_000_000, description="How many lines.")
    per_second: float = Field(
        default=0, ge=0, le=1_000_000, strict=False, description="How fast; 0 is as fast as it goes."
    )


class LinesOutput(ToolOutput):
    """How much was said."""

    count: int = Field(ge=0, description="How many lines were said.")


class Lines(_Diagnostic):
    """Says many lines."""

    name: ClassVar[str] = "diagnostic.lines"
    quick: ClassVar[bool] = False
    description: ClassVar[str] = "Says numbered lines of output, at a chosen rate."
    input_model: ClassVar[type[BaseModel]] = LinesInput
    output_model: ClassVar[type[BaseModel]] = LinesOutput
    example: ClassVar[Mapping[str, Any]] = {"count": 3}

    def run(self, request: WorkRequest, context: ToolContext) -> WorkResult:
        """Say the lines in order."""
        started = time.monotonic()
        wanted = LinesInput.model_validate(request.input)
        for number in range(1, wanted.count + 1):
            context.line("stdout", f"line {number} of {wanted.count}")
            if number % 100 == 0 and (context.cancelled() or not context.beat()):
                return _STOPPED
            if wanted.per_second:
                ahead = started + number / wanted.per_second - time.monotonic()
                if ahead > 0 and not _pause(ahead, context):
                    return _STOPPED
        return _done(started, {"count": wanted.count}, f"Said {wanted.count} lines.")


class SpendInput(ToolInput):
    """How much to use up, and how much to announce before."""

    cost: float = Field(default=0, ge=0, le=1_000_000, strict=False, description="What it costs.")
    tokens: int = Field(default=0, ge=0, le=1_000_000_000, description="How many tokens it uses.")
    most_cost: float | None = Field(
        default=None, ge=0, le=1_000_000, strict=False, description="The most it announces; absent: the cost."
    )
    most_tokens: int | None = Field(
        default=None, ge=0, le=1_000_000_000, description="The most it announces; absent: the tokens."
    )


class SpendOutput(ToolOutput):
    """What was used up."""

    cost: float = Field(ge=0, description="What it cost.")
    tokens: int = Field(ge=0, description="How many tokens it used.")


class Spend(_Diagnostic):
    """Uses up a part of the budget."""

    name: ClassVar[str] = "diagnostic.spend"
    description: ClassVar[str] = "Uses up a part of the plan's budget, and nothing else: for trying a budget."
    input_model: ClassVar[type[BaseModel]] = SpendInput
    output_model: ClassVar[type[BaseModel]] = SpendOutput
    example: ClassVar[Mapping[str, Any]] = {"cost": 0.5, "tokens": 100}
    quick: ClassVar[bool] = True

    def announce(self, value: Mapping[str, Any]) -> tuple[float, int]:
        """The cost and the tokens that a call with this input uses at most."""
        wanted = SpendInput.model_validate(value)
        cost = wanted.cost if wanted.most_cost is None else wanted.most_cost
        return cost, wanted.tokens if wanted.most_tokens is None else wanted.most_tokens

    def run(self, request: WorkRequest, context: ToolContext) -> WorkResult:
        """Say what was used."""
        wanted = SpendInput.model_validate(request.input)
        used = ResourcesUsed(wall_seconds=0.0, cost=wanted.cost, tokens=wanted.tokens)
        told = {"cost": wanted.cost, "tokens": wanted.tokens}
        summary = f"Used up {wanted.cost:g} and {wanted.tokens} tokens."
        return WorkResult(Outcome.COMPLETED, output=told, summary=summary, resources=used)


DIAGNOSTIC_TOOLS: Final[tuple[Tool, ...]] = (Noop(), Echo(), Sleep(), Fail(), Lines(), Spend())
