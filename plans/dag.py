"""The shape of a plan: order, cycles, what depends on what. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
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


class Ancestors(Collection[str]):
    """The keys of all steps that come before one, however far: a set in as many bits as the plan has steps."""

    __slots__ = ("_bits", "_keys", "_places")

    def __init__(self, bits: int, places: Mapping[str, int], keys: Sequence[str]) -> None:
        self._bits, self._places, self._keys = bits, places, keys

    def __contains__(self, key: object) -> bool:
        place = self._places.get(key) if isinstance(key, str) else None
        return place is not None and bool(self._bits >> place & 1)

    def __iter__(self) -> Iterator[str]:
        return (key for place, key in enumerate(self._keys) if self._bits >> place & 1)

    def __len__(self) -> int:
        return self._bits.bit_count()

    def also(self, key: str) -> Ancestors:
        """These and one more."""
        return Ancestors(self._bits | 1 << self._places[key], self._places, self._keys)


def ancestors(depends_on: Mapping[str, Sequence[str]]) -> dict[str, Ancestors]:
    """Every step that comes before each step. Raises CycleError on a cycle.

    A chain of n steps has n²/2 pairs; as bits they take n²/8 bytes at most, and each step one pass over its edges.
    """
    keys = list(TopologicalSorter(depends_on).static_order())
    places = {key: place for place, key in enumerate(keys)}
    bits: dict[str, int] = {}
    for key in keys:
        mine = 0
        for before in depends_on.get(key, ()):
            mine |= bits[before] | 1 << places[before]
        bits[key] = mine
    return {key: Ancestors(mine, places, keys) for key, mine in bits.items()}
