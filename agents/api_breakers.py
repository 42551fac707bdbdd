"""The REST endpoints of circuit breakers."""

from __future__ import annotations

from typing import Annotated, Any, Literal
from uuid import UUID

from django.http import HttpRequest
from ninja import Path, Query, Router, Schema
from pydantic import Field

from agents import pages, services
from agents.models import Breaker
from audit.authority import Action
from audit.http import USUAL_PAGE, Given, Limit, Time, Told, allow, caller

breakers = Router(tags=["agents"])


class BreakerFilters(Schema):
    """Only those in this state. Where to go on: the id of the last breaker seen."""

    state: Literal["closed", "open", "half_open"] | None = None
    after: UUID | None = None
    limit: Limit = USUAL_PAGE


class ResetGiven(Given):
    """Why it is reset; people read it later."""

    reason: Annotated[str, Field(min_length=1, max_length=4000)]


class BreakerTold(Told):
    """The circuit breaker of a tool on a target, such as `host:atlas`, as it was at its last change."""

    id: UUID
    tool: str
    target: str
    state: str = Field(description="closed, open, or half_open: one try is let through.")
    failures: int = Field(description="How many tries in a row had failed when it last opened.")
    held: int = Field(description="How many tries wait for it.")
    since: Time
    until: Time | None
    last_error: str


class BreakersTold(Told):
    """A page of breakers."""

    items: list[BreakerTold]
    next: str | None


@breakers.get("", response=BreakersTold, operation_id="list_breakers", summary="Circuit breakers")
def list_breakers(request: HttpRequest, filters: Query[BreakerFilters]) -> dict[str, Any]:
    """Every tool on every target that it has failed on often enough, in the order in which they first opened."""
    allow(Action.SEE_AGENTS)
    rows = pages.breakers().order_by("pk")
    if filters.state:
        rows = rows.filter(state=filters.state)
    if filters.after is not None:
        rows = rows.filter(pk__gt=filters.after)
    found = list(rows[: filters.limit + 1])
    more = len(found) > filters.limit
    found = found[: filters.limit]
    return {"items": [_tell(row) for row in found], "next": str(found[-1].pk) if more else None}


@breakers.post("/{id}/reset", response=BreakerTold, operation_id="reset_breaker", summary="Close a circuit breaker")
def reset_breaker(request: HttpRequest, id: Path[UUID], body: ResetGiven) -> dict[str, Any]:
    """It forgets what it counted, and what waited for it is tried at once. A closed one stays as it is."""
    services.reset_breaker(actor=caller(), breaker_id=id, reason=body.reason)
    return _tell(pages.breakers().get(pk=id))


def _tell(row: Breaker) -> dict[str, Any]:
    names = ("tool", "target", "state", "failures", "since", "until", "last_error")
    told = {name: getattr(row, name) for name in names}
    return told | {"id": row.pk, "held": getattr(row, "waiting", 0)}
