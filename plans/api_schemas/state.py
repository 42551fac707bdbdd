"""What steps remembered."""

from __future__ import annotations

from typing import Any

from ninja import Schema
from pydantic import Field

from audit.http import USUAL_PAGE, After, Limit, Time, Told
from plans.enums import StateScope


class StateFilters(Schema):
    """Which remembered values."""

    scope: StateScope | None = None
    after: After | None = None
    limit: Limit = USUAL_PAGE


class StateTold(Told):
    """A value that a step of the plan remembered; later steps read it as `{{ state.SCOPE.KEY }}`."""

    scope: StateScope
    key: str
    value: Any
    size: int = Field(description="Bytes of the value as JSON.")
    step: str
    written_at: Time
    expires_at: Time


class StatesTold(Told):
    """A page of what the plan's steps remembered."""

    items: list[StateTold]
    next: str | None
