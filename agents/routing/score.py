"""How good a candidate is, 0 to 100: a weighted sum that keeps its parts. Pure.

Weights follow the design: success 40, recent context 30, specialisation 20, load 10.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

WEIGHTS: Final[Mapping[str, int]] = {"success": 40, "context": 30, "specialisation": 20, "load": 10}
CONTEXT_FADES_HOURS: Final = 72.0
UNPROVEN: Final = 0.5  # nothing is known yet: neither reward nor blame
PRIOR_RUNS: Final = 2  # one early failure should not bury a newcomer


@dataclass(frozen=True, slots=True)
class Need:
    """What a step asks of an agent."""

    tool: str
    agent_type: str
    work_type: str
    labels: frozenset[str] = frozenset()
    excluded: frozenset[str] = frozenset()  # names that must not be asked again just now


@dataclass(frozen=True, slots=True)
class Candidate:
    """What is known of an agent when a choice is made. `hours_since_same` is since it last did this work type."""

    name: str
    type: str
    status: str
    tools: frozenset[str]
    labels: frozenset[str]
    slots: int
    in_use: int
    succeeded: int = 0
    tried: int = 0
    hours_since_same: float | None = None


def success(candidate: Candidate) -> float:
    """Its record on this kind of work, 0 to 1, with a small prior so that few runs say little."""
    return (candidate.succeeded + PRIOR_RUNS * UNPROVEN) / (candidate.tried + PRIOR_RUNS)


def context(candidate: Candidate) -> float:
    """How recently it did the same kind of work, fading to 0 over three days."""
    if candidate.hours_since_same is None:
        return 0.0
    return max(0.0, 1.0 - candidate.hours_since_same / CONTEXT_FADES_HOURS)


def specialisation(candidate: Candidate, need: Need) -> float:
    """1 for an agent of the wanted type; less for one that merely has the tool, least for a generalist."""
    fit = 1.0 if candidate.type == need.agent_type else 0.4
    return fit * (1.0 if len(candidate.tools) <= 8 else 0.8)


def load(candidate: Candidate) -> float:
    """The share of its slots that is free."""
    return max(0.0, 1.0 - candidate.in_use / candidate.slots)


def factors(candidate: Candidate, need: Need) -> dict[str, float]:
    """Every factor times its weight, rounded to a tenth; their sum is the score."""
    raw = {
        "success": success(candidate),
        "context": context(candidate),
        "specialisation": specialisation(candidate, need),
        "load": load(candidate),
    }
    return {name: round(WEIGHTS[name] * value, 1) for name, value in raw.items()}
