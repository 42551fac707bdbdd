"""What a reader of a run may have missed: events, and lines of output."""

from __future__ import annotations

from typing import Annotated, Any, Literal
from uuid import UUID

from ninja import Schema
from pydantic import Field

from audit.http import Time, Told

LONGEST_CURSOR = 131_072
MOST_LINES = 1_000


class EventFilters(Schema):
    """Where to go on."""

    after: Annotated[str, Field(max_length=LONGEST_CURSOR, description="The cursor of the last event seen.")] | None = (
        None
    )
    limit: Annotated[int, Field(ge=1, le=MOST_LINES)] = 500


class OutputFilters(Schema):
    """Where to go on, and how to write it."""

    after: Annotated[int, Field(ge=0, le=2**31 - 1, description="The seq of the last line seen.")] = 0
    limit: Annotated[int, Field(ge=1, le=MOST_LINES)] = 500
    format: Literal["json", "text"] = "json"


class EventTold(Told):
    """One thing that happened to a plan; the same shape as on the WebSocket."""

    cursor: str
    type: str
    plan_id: UUID
    step: str | None
    attempt: UUID | None
    at: str
    data: dict[str, Any]


class EventsTold(Told):
    """What happened after a cursor. `next` is null where nothing more is known yet: go on from the last event's cursor."""

    items: list[EventTold]
    next: str | None


class LineTold(Told):
    """One line of output, with its colours as SGR codes."""

    seq: int
    stream: str
    text: str
    at: Time


class OutputTold(Told):
    """Lines after a seq. `ended` says that no line will follow; then `count` and `sha256` are over all lines."""

    items: list[LineTold]
    next: str | None
    ended: bool
    count: int | None
    sha256: str | None
