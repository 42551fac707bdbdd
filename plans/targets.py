"""What a step works on: hosts and a service, as the locks between plans and the circuit breakers name them. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from hashlib import sha256
from typing import Final, Protocol

_LONGEST: Final = 200  # characters; a longer name is cut and told apart by its hash


class Aimed(Protocol):
    """Whatever has hosts and a service: a step, or the draft of one."""

    @property
    def hosts(self) -> Sequence[str]:
        """The hosts it touches."""

    @property
    def service(self) -> str:
        """The service it touches, or nothing."""


def targets_of(steps: Iterable[Aimed]) -> list[str]:
    """All that these steps touch, sorted and each once: what a plan of them must have for itself."""
    found: set[str] = set()
    for step in steps:
        found.update(_target("host", host) for host in step.hosts)
        if step.service:
            found.add(_target("service", step.service))
    return sorted(found)


def tried_on(step: Aimed) -> list[str]:
    """Where a failure of this step's tool would count: its hosts, or its service if no host is known."""
    if step.hosts:
        return sorted({_target("host", host) for host in step.hosts})
    return [_target("service", step.service)] if step.service else []


def host_of(target: str) -> str:
    """The host that a target names, or nothing."""
    kind, _, name = target.partition(":")
    return name if kind == "host" else ""


def told(target: str) -> str:
    """A target for people: "host atlas"."""
    return target.replace(":", " ", 1)


def _target(kind: str, name: str) -> str:
    if len(name) > _LONGEST:
        name = f"{name[:_LONGEST]}…{sha256(name.encode()).hexdigest()[:16]}"
    return f"{kind}:{name}"
