"""The shape of a plan: order, cycles, what depends on what. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from graphlib import CycleError, TopologicalSorter


def find_cycle(depends_on: Mapping[str, Sequence[str]]) -> list[str]:
    """The keys of one cycle, first and last the same; empty if there is none."""
    try:
        TopologicalSorter(depends_on).prepare()
    except CycleError as error:
        return list(reversed(error.args[1]))
    return []


def layers(depends_on: Mapping[str, Sequence[str]]) -> list[list[str]]:
    """The keys in the order they can start: each layer only needs the ones before. Raises CycleError on a cycle."""
    sorter = TopologicalSorter(depends_on)
    sorter.prepare()
    found: list[list[str]] = []
    while sorter.is_active():
        ready = sorted(sorter.get_ready())
        found.append(ready)
        sorter.done(*ready)
    return found


def stranded(depends_on: Mapping[str, Sequence[str]], failed: str) -> set[str]:
    """Every step that can not start because `failed` did not complete."""
    lost = {failed}
    for layer in layers(depends_on):
        lost.update(key for key in layer if lost.intersection(depends_on.get(key, ())))
    return lost - {failed}


def ancestors(depends_on: Mapping[str, Sequence[str]]) -> dict[str, frozenset[str]]:
    """Every step that comes before each step, however far. Raises CycleError on a cycle."""
    found: dict[str, frozenset[str]] = {}
    for key in TopologicalSorter(depends_on).static_order():
        found[key] = frozenset().union(*({before} | found[before] for before in depends_on.get(key, ())))
    return found
