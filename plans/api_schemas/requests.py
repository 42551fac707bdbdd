"""Requests in words and their conversation."""

from __future__ import annotations

from typing import Annotated, Any
from uuid import UUID

from ninja import Schema
from pydantic import Field

from audit.http import USUAL_PAGE, After, Given, Limit, Time, Told
from plans.api_schemas.words import Text
from plans.enums import RequestStatus


class RequestGiven(Given):
    """A request in words; with a session it goes on in that conversation."""

    text: Text
    session_id: Annotated[UUID, Field(strict=False)] | None = None


class MessageGiven(Given):
    """An answer to a question."""

    text: Text


class RequestFilters(Schema):
    """Which requests."""

    status: RequestStatus | None = None
    after: After | None = None
    limit: Limit = USUAL_PAGE


class MessageTold(Told):
    """One thing said in a conversation. `author` is null where Chiffon speaks."""

    id: UUID
    author: str | None
    kind: str
    text: str
    data: dict[str, Any]
    at: Time


class RequestTold(Told):
    """A request and what was understood."""

    id: UUID
    number: int
    trace_id: UUID
    session_id: UUID
    text: str
    status: RequestStatus
    decomposition: dict[str, Any] | None
    plan_id: UUID | None
    requester: str
    created_at: Time
    messages: list[MessageTold] | None = Field(
        None, description="The conversation; only where one request is asked for."
    )


class RequestsTold(Told):
    """A page of requests."""

    items: list[RequestTold]
    next: str | None
