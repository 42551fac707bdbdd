"""What differs between two revisions of a plan, field by field. Pure: contents go in as the digest covers them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any, Final

from audit.canonical import canonical

Json = Mapping[str, Any]
ROLLBACK: Final = ".rollback"  # the ending of the key of what undoes a step
# Of an object in these fields each value is compared by itself.
_PARTS: Final = ("input", "playbook", "resources", "retry", "fallback", "budget")
_NOTHING: Final[Mapping[str, Any]] = {"kind": "step", "undoes": "", "when": ""}
_OF_ROLLBACK: Final = ("tool", "input", "playbook")  # the rest is its step's, or follows from the tool


class Kind(StrEnum):
    """What became of a step from one revision to another."""

    SAME = "same"
    CHANGED = "changed"
    ADDED = "added"
    REMOVED = "removed"


@dataclass(frozen=True, slots=True)
class FieldChange:
    """One value that differs; None where there was, or is, none."""

    name: str
    was: Any
    now: Any

    def to_json(self) -> dict[str, Any]:
        """The change as the API tells it."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class StepChange:
    """What became of one step."""

    key: str
    change: Kind
    fields: tuple[FieldChange, ...] = ()


@dataclass(frozen=True, slots=True)
class Difference:
    """What differs between two revisions: in the plan as a whole, and step by step in the order of work."""

    plan: tuple[FieldChange, ...] = ()
    steps: tuple[StepChange, ...] = ()
    same: tuple[str, ...] = field(default=())

    def keys(self, change: Kind) -> list[str]:
        """The keys of the steps that were changed, added or removed."""
        return [step.key for step in self.steps if step.change is change]


def compare(was: Mapping[str, Json], now: Mapping[str, Json], headers: Sequence[Json] = ({}, {})) -> Difference:
    """What differs between two revisions. `was` and `now` hold what the digest covers of each step, by key.

    What undoes a step is told with its step. Only steps whose leaves differ have to be there; `headers` are those of the two.
    """
    keys = [*now, *(key for key in was if key not in now)]
    told: dict[str, StepChange] = {}
    for key in keys:
        step = key.removesuffix(ROLLBACK)
        found = _rollback(step, was.get(key), now.get(key)) if key != step else _step(key, was.get(key), now.get(key))
        if step in told:  # a step comes before what undoes it
            merged = told[step]
            if merged.change in (Kind.ADDED, Kind.REMOVED):
                continue
            fields = (*merged.fields, *found.fields)
            found = StepChange(step, Kind.CHANGED if fields else Kind.SAME, fields)
        told[step] = found
    return Difference(
        plan=tuple(_plan(*headers)),
        steps=tuple(one for one in told.values() if one.change is not Kind.SAME),
        same=tuple(key for key, one in told.items() if one.change is Kind.SAME),
    )


def _step(key: str, was: Json | None, now: Json | None) -> StepChange:
    if was is None or now is None:
        return StepChange(key, Kind.ADDED if was is None else Kind.REMOVED)
    fields = tuple(_fields(was, now))
    return StepChange(key, Kind.CHANGED if fields else Kind.SAME, fields)


def _rollback(step: str, was: Json | None, now: Json | None) -> StepChange:
    mine = [{name: one.get(name) for name in _OF_ROLLBACK} if one else {} for one in (was, now)]
    fields = tuple(FieldChange(f"rollback.{one.name}", one.was, one.now) for one in _fields(*mine))
    return StepChange(step, Kind.CHANGED if fields else Kind.SAME, fields)


def _fields(was: Json, now: Json) -> Iterator[FieldChange]:
    for name in dict.fromkeys([*now, *was]):
        nothing = _NOTHING.get(name)
        old, new = was.get(name, nothing), now.get(name, nothing)
        if _same(old, new):
            continue
        if name in _PARTS and isinstance(old or {}, Mapping) and isinstance(new or {}, Mapping):
            yield from (FieldChange(f"{name}.{one.name}", one.was, one.now) for one in _values(old or {}, new or {}))
        else:
            yield FieldChange(name, old, new)


def _values(was: Json, now: Json) -> Iterator[FieldChange]:
    for name in dict.fromkeys([*now, *was]):
        if not (name in was and name in now and _same(was[name], now[name])):
            yield FieldChange(name, was.get(name), now.get(name))


def _same(was: Any, now: Any) -> bool:
    """Whether two values are the same to a digest; true is not 1."""
    return canonical(was) == canonical(now)


def _plan(was: Json, now: Json) -> Iterator[FieldChange]:
    """What differs in the headers; the number of steps, and which of them are done, is told by the steps."""
    told = ("repository", "commit", "tree", "budget", "max_parallel")
    names = {name: (was.get(name), now.get(name)) for name in told}
    if names["commit"][0] != names["commit"][1]:
        names.pop("tree")  # it follows
    yield from _fields({name: one[0] for name, one in names.items()}, {name: one[1] for name, one in names.items()})
