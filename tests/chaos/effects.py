"""Tools with an effect that can be counted: each try adds a line to a file. One may be repeated, one may not.

A copy of this file is installed as a package into the environment that an installation is started from (rigged.py).
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any, ClassVar

from pydantic import BaseModel, Field

from agents.protocol import FailureMode, Outcome, WorkRequest, WorkResult
from agents.tools.base import BaseTool, ToolContext, ToolInput

_PAUSE = 0.05  # seconds between two looks at whether to stop


class EffectInput(ToolInput):
    """Where to leave the trace, and how long to be at it."""

    file: str = Field(description="The file that a line is added to.")
    before: float = Field(default=0, ge=0, strict=False, description="Seconds of work before it.")
    after: float = Field(default=0, ge=0, strict=False, description="Seconds of work after it.")
    needs: str = Field(default="", description="A file without which it fails before it did anything.")
    transient: bool = Field(default=False, description="Whether it is worth to look for that file again.")
    target: str = Field(default="", description="A host that it pretends to work on.")


class Once(BaseTool):
    """Adds a line to a file, which nothing takes back: not to be repeated without a person."""

    name: ClassVar[str] = "effects.once"
    description: ClassVar[str] = "Adds a line to a file."
    input_model: ClassVar[type[BaseModel]] = EffectInput
    idempotent: ClassVar[bool] = False
    cost: ClassVar[Decimal] = Decimal("0.5")
    example: ClassVar[Mapping[str, Any]] = {"file": os.devnull}

    def run(self, request: WorkRequest, context: ToolContext) -> WorkResult:
        """Leave a trace that names plan, step, tool, try and token."""
        wanted = EffectInput.model_validate(request.input)
        if wanted.needs and not Path(wanted.needs).exists():
            return WorkResult.failed(FailureMode.SYSTEM, "What it needs is not there.", transient=wanted.transient)
        if not _at_it(wanted.before, context):
            return WorkResult(Outcome.CANCELLED, summary="Stopped before it did anything.")
        trace = f"{request.plan_id} {request.step_key} {self.name} {request.number} {request.token}\n"
        handle = os.open(wanted.file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            os.write(handle, trace.encode())
        finally:
            os.close(handle)
        context.line("stdout", "It is done.")
        if not _at_it(wanted.after, context):
            return WorkResult(Outcome.CANCELLED, summary="Stopped after it was done.")
        return WorkResult(Outcome.COMPLETED, output={"done": True}, summary="Added a line.")


class Again(Once):
    """Adds a line to a file, which does no harm if it is there twice."""

    name: ClassVar[str] = "effects.again"
    idempotent: ClassVar[bool] = True


def _at_it(seconds: float, context: ToolContext) -> bool:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if context.cancelled() or not context.beat():
            return False
        time.sleep(_PAUSE)
    return True
