"""What the workloads share."""

from __future__ import annotations

from dataclasses import dataclass

from bench.installation import Installation
from bench.raw import RawCelery


@dataclass(slots=True)
class Bench:
    """One run: the installation that is measured, raw Celery beside it, and how large the workloads are."""

    installation: Installation
    raw: RawCelery
    scale: float
    rounds: int
    first_start: tuple[float, float]  # seconds until pages are answered and until every agent takes work
    later_start: tuple[float, float]


@dataclass(frozen=True, slots=True)
class Round:
    """One turn of A and B: seconds for the same number of steps."""

    chiffon: float
    celery: float


def rates(rounds: list[Round], steps: int) -> dict[str, float]:
    """Steps per second over all rounds, raw Celery's, and the ratio of the two."""
    ours = steps * len(rounds) / sum(each.chiffon for each in rounds)
    theirs = steps * len(rounds) / sum(each.celery for each in rounds)
    return {"steps_per_s": ours, "celery_steps_per_s": theirs, "ratio_to_celery": ours / theirs}
