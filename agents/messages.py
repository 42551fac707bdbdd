"""What a message of the broker may say: a task, a row, a token. It is a hint, so nothing else in it is obeyed."""

from __future__ import annotations

import logging
from reprlib import repr as short
from typing import Any, Final
from uuid import UUID

from celery.exceptions import InvalidTaskError
from celery.worker import request

logger = logging.getLogger(__name__)
_HIGHEST_TOKEN: Final = 2**31 - 1


class Request(request.Request):  # type: ignore[misc] # without types
    """A message as a worker takes it on: its id, its task and the task's arguments.

    Celery obeys much more, such as limits of time and tasks to send afterwards, and takes some of it apart only when the message
    counts as work already: one that is not well formed would keep its slot for good.
    """

    def __init__(
        self, message: Any, *, headers: Any = None, body: Any = None, decoded: bool = False, **given: Any
    ) -> None:
        try:
            positional, named, _ = body if decoded else message.payload
            said = {"id": str(headers["id"]), "task": headers["task"]}
            super().__init__(message, headers=said, body=([*positional], {**named}, None), decoded=True, **given)
        except (ValueError, TypeError, LookupError, AttributeError) as error:
            # Celery refuses the message at this error, whatever the broker; another one would end the worker.
            raise InvalidTaskError(f"{type(error).__name__}: {error}"[:200]) from error


def row_of(row: object, token: object) -> tuple[UUID, int] | None:
    """The row and the token that a message names; None, and a line in the log, if it names none that can be."""
    try:
        if isinstance(row, str) and type(token) is int and 0 <= token <= _HIGHEST_TOKEN:
            return UUID(row), token
    except ValueError:
        pass
    logger.error("a message was dropped that names no row: %s with the token %s", short(row), short(token))
    return None
