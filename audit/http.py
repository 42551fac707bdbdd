"""What the API of every app shares: who calls, problems as answers, lists by cursor, and the base of all schemas."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any, Final

from django.db.models import Model, QuerySet
from ninja import Schema
from pydantic import ConfigDict, Field

from audit.authority import Action, may
from audit.context import Actor, current_actor

LONGEST_PAGE: Final = 200
USUAL_PAGE: Final = 50

Limit = Annotated[int, Field(ge=1, le=LONGEST_PAGE, description="How many items at most.")]
# Fifteen digits hold every key there will be, and stay within a database's bigint.
After = Annotated[str, Field(pattern=r"^[0-9]{1,15}$", description="The cursor `next` of the list before.")]


class Problem(Exception):
    """An answer that says what is wrong: an HTTP status, a stable code, and a sentence for a person."""

    def __init__(
        self,
        status: int,
        code: str,
        sentence: str,
        *,
        errors: Sequence[dict[str, Any]] = (),
        retry_after: int | None = None,
    ) -> None:
        super().__init__(sentence)
        self.status = status
        self.code = code
        self.sentence = sentence
        self.errors = list(errors)
        self.retry_after = retry_after  # seconds


Time = datetime  # the database's zone is UTC, and ninja writes it with a Z


class Given(Schema):
    """The base of what a caller sends: no unknown fields, and nothing is quietly converted."""

    model_config = ConfigDict(extra="forbid", strict=True)


class Told(Schema):
    """The base of what is answered."""


def caller() -> Actor:
    """The person behind this call. Raises Problem 401 where nobody is: the API's guard opens the context."""
    actor = current_actor()
    if actor.kind != "person":
        raise Problem(401, "not_signed_in", "Sign in, or send a token in the Authorization header.")
    return actor


def allow(action: Action, subject: Any = None) -> Actor:
    """The caller, if they may do this. Raises Problem 403, or 404 where the object has to look as if it did not exist."""
    actor = caller()
    answer = may(actor, action, subject)
    if not answer:
        raise Problem(404 if answer.hidden else 403, answer.code, answer.sentence)
    return actor


def missing(what: str) -> Problem:
    """The problem for a thing that does not exist or that the caller may not know of; the two look alike."""
    return Problem(404, "not_found", f"There is no such {what}, or it is not for you.")


def page_by[M: Model](rows: QuerySet[M], key: str, after: str | None, limit: int) -> tuple[list[M], str | None]:
    """The page of rows that follows the cursor, newest first by an integer key, and the cursor of the next page."""
    if after is not None:
        rows = rows.filter(**{f"{key}__lt": int(after)})
    found = list(rows.order_by(f"-{key}")[: limit + 1])
    more = len(found) > limit
    found = found[:limit]
    return found, str(getattr(found[-1], key)) if more and found else None
