"""Who is acting and on which trace. A service opens the context; the trail reads it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Final, Literal
from uuid import UUID

ActorKind = Literal["person", "agent", "system"]


@dataclass(frozen=True, slots=True)
class Actor:
    """Who acts: a person by user name, an agent by its name, or a part of Chiffon itself."""

    kind: ActorKind
    name: str
    user: Any = None  # the Django user behind a person; None for agents and the system
    scopes: frozenset[str] | None = None  # what the token in hand is limited to; None is "no token, no limit"

    @classmethod
    def person(cls, user: Any, scopes: frozenset[str] | None = None) -> Actor:
        """The person behind a Django user."""
        return cls("person", user.get_username(), user, scopes)

    @property
    def called(self) -> str:
        """What sentences call it: a person by their full name."""
        return full_name(self.user) if self.user else self.name

    @classmethod
    def agent(cls, name: str) -> Actor:
        """An agent, by its name."""
        return cls("agent", name)


def full_name(user: Any) -> str:
    """What a person is called: their full name, or the name they sign in with."""
    return str(user.get_full_name() or user.get_username())


SYSTEM: Final = Actor("system", "chiffon")
_actor: ContextVar[Actor] = ContextVar("actor", default=SYSTEM)
_trace: ContextVar[UUID | None] = ContextVar("trace", default=None)


@contextmanager
def acting(actor: Actor, trace_id: UUID | None = None) -> Iterator[None]:
    """Everything recorded inside is by this actor and, if given, on this trace."""
    actor_token = _actor.set(actor)
    trace_token = _trace.set(trace_id or _trace.get())
    try:
        yield
    finally:
        _actor.reset(actor_token)
        _trace.reset(trace_token)


def current_actor() -> Actor:
    """Who is acting now; Chiffon itself when nobody said otherwise."""
    return _actor.get()


def current_trace() -> UUID | None:
    """The trace that is open now, if any."""
    return _trace.get()
