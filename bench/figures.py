"""Arithmetic of measurements, and how they are told: a table for people, one JSON object per line for programs. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any


@dataclass(frozen=True, slots=True)
class Result:
    """What one workload measured: fields for programs, lines for people."""

    workload: str
    title: str
    fields: dict[str, Any] = field(default_factory=dict)
    lines: tuple[tuple[str, str], ...] = ()

    @property
    def failed(self) -> bool:
        """Whether it measured nothing, and says why."""
        return "error" in self.fields


def percentile(values: Sequence[float], share: float) -> float:
    """The value below which that share of all lies, interpolated between neighbours. Raises ValueError for no values."""
    if not values:
        raise ValueError("There is no percentile of nothing.")
    ordered = sorted(values)
    place = (len(ordered) - 1) * share
    low = int(place)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (ordered[high] - ordered[low]) * (place - low)


def middle(values: Sequence[float]) -> float:
    """The median. Raises ValueError for no values."""
    if not values:
        raise ValueError("There is no median of nothing.")
    return float(median(values))


def rounded(value: float) -> float:
    """Three significant digits, or a whole number from 1000 on: more would pretend."""
    return float(round(value)) if abs(value) >= 1000 else float(f"{value:.3g}")


def scaled(count: int, scale: float, *, least: int = 1) -> int:
    """A workload's size at a scale."""
    return max(least, round(count * scale))


def table(results: Iterable[Result]) -> str:
    """All results as people read them: a heading for each workload and its figures below, aligned."""
    blocks = []
    for result in results:
        width = max((len(name) for name, _ in result.lines), default=0)
        rows = [f"  {name:<{width}}  {value}" for name, value in result.lines]
        blocks.append("\n".join([f"{result.workload}  {result.title}", *rows]))
    return "\n\n".join(blocks)


def json_lines(results: Iterable[Result]) -> str:
    """One JSON object per workload and line."""
    return "".join(json.dumps({"workload": result.workload, **result.fields}) + "\n" for result in results)


def write_lines(results: Iterable[Result], path: Path) -> None:
    """Replace the file with these results, making its folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(path.name + ".new")
    fresh.write_text(json_lines(results), encoding="utf-8")
    fresh.replace(path)
