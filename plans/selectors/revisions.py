"""The revisions of a plan, and what differs between two of them. Only the steps whose leaves differ are read whole."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID

from plans.differences import ROLLBACK, Difference, Kind, StepChange, compare
from plans.enums import StepKind
from plans.models import Dependency, Plan, Revision, Step
from plans.recovery import named


@dataclass(frozen=True, slots=True)
class Changes:
    """What one revision is beside another."""

    was: Revision
    now: Revision
    difference: Difference

    @property
    def digests(self) -> tuple[str, str]:
        """Both digests."""
        return self.was.digest, self.now.digest

    @property
    def done(self) -> list[str]:
        """The steps of the later one that are not repeated."""
        return done_in(self.now)

    @property
    def sentence(self) -> str:
        """How much differs, as words for a heading: “changes 2 steps, adds 1”."""
        said: list[str] = []
        for kind, verb in _VERBS:
            number = len(self.difference.keys(kind))
            words = f"{number} step{'' if number == 1 else 's'}" if not said else str(number)
            if kind is Kind.CHANGED and self.difference.plan:
                words = f"{words} and the plan as a whole" if number else "the plan as a whole"
            elif not number:
                continue
            if number or self.difference.plan:
                said.append(f"{verb} {words}")
        return ", ".join(said) or "changes nothing"

    @property
    def done_named(self) -> str:
        """Those steps, for a sentence."""
        return named(self.done, 5)


_VERBS = ((Kind.CHANGED, "changes"), (Kind.ADDED, "adds"), (Kind.REMOVED, "leaves out"))
MOST_LISTED = 50  # revisions on a page


@dataclass(frozen=True, slots=True)
class RevisionsPage:
    """Two revisions of a plan side by side, and the list to choose others from, newest first."""

    revisions: list[Revision]
    changes: Changes

    @property
    def numbers(self) -> list[int]:
        """The numbers to choose from."""
        return [revision.number for revision in self.revisions]


def done_in(revision: Revision) -> list[str]:
    """The steps of a revision that earlier ones have done."""
    return list(revision.header.get("carried", []))


def changes_between(was: Revision, now: Revision, known: Mapping[UUID, Mapping[str, str]] | None = None) -> Changes:
    """What differs between two revisions of a plan. `known` are the leaves of both, where they were read already."""
    found_leaves = known or _leaves([was, now])
    leaves = [found_leaves.get(revision.pk, {}) for revision in (was, now)]
    differ = {key for key in {*leaves[0], *leaves[1]} if leaves[0].get(key) != leaves[1].get(key)}
    found = compare(_contents(was, differ), _contents(now, differ), (was.header, now.header))
    touched = {step.key for step in found.steps}
    same = tuple(key for key in leaves[1] if not key.endswith(ROLLBACK) and key not in touched)
    return Changes(was, now, replace(found, same=same))


def revisions_page(plan: Plan, first: int | None, second: int | None) -> RevisionsPage | None:
    """The two revisions, by default the current one beside the one before; None if one of them is not there."""
    now = second or plan.revision_number
    was = first or max(now - 1, 1)
    found = {row.number: row for row in plan.revisions.filter(number__in=[was, now]).select_related("author")}
    if was not in found or now not in found:
        return None
    listed = plan.revisions.select_related("author").order_by("-number")[:MOST_LISTED]
    return RevisionsPage(list(listed), changes_between(found[was], found[now]))


def changes_of(plan: Plan, revision: Revision) -> Changes | None:
    """What a revision changed; None for the first."""
    if revision.number == 1:
        return None
    before = Revision.objects.filter(plan=plan, number=revision.number - 1).select_related("author").first()
    return changes_between(before, revision) if before else None


def tell_revisions(plan: Plan, rows: Sequence[Revision]) -> list[dict[str, Any]]:
    """Revisions of a plan as the API tells them, their authors loaded, each beside the one before."""
    before = {row.number: row for row in plan.revisions.filter(number__in=[row.number - 1 for row in rows])}
    leaves = _leaves([*rows, *before.values()])
    return [
        _tell_revision(row, changes_between(before[row.number - 1], row, leaves) if row.number - 1 in before else None)
        for row in rows
    ]


def _tell_revision(revision: Revision, changes: Changes | None) -> dict[str, Any]:
    found = changes.difference if changes else Difference()
    return {
        "number": revision.number,
        "digest": revision.digest,
        "because": revision.because,
        "author": revision.author.get_username() if revision.author else None,
        "created_at": revision.created_at,
        "carried": done_in(revision),
        "plan_changes": [one.to_json() for one in found.plan],
        "changes": [_tell(step) for step in found.steps],
        "unchanged": list(found.same),
    }


def _tell(step: StepChange) -> dict[str, Any]:
    return {"key": step.key, "change": step.change, "fields": [one.to_json() for one in step.fields]}


def _leaves(revisions: Sequence[Revision]) -> dict[UUID, dict[str, str]]:
    """The leaves of each of these revisions by key, in order."""
    rows = Step.objects.filter(revision__in=[row.pk for row in revisions]).exclude(kind=StepKind.ITEM).order_by("index")
    found: dict[UUID, dict[str, str]] = {}
    for revision, key, leaf in rows.values_list("revision_id", "key", "leaf"):
        found.setdefault(revision, {})[key] = leaf
    return found


def _contents(revision: Revision, keys: Collection[str]) -> dict[str, Mapping[str, Any]]:
    """What the digest covers of these leaves of a revision, in order."""
    if not keys:
        return {}
    before: dict[str, list[str]] = {}
    edges = Dependency.objects.filter(revision=revision, downstream__key__in=keys)
    for upstream, downstream in edges.values_list("upstream__key", "downstream__key"):
        before.setdefault(downstream, []).append(upstream)
    rows: Sequence[Step] = list(
        Step.objects.filter(revision=revision, key__in=keys)
        .exclude(kind=StepKind.ITEM)
        .select_related("parent")
        .order_by("index")
    )
    return {row.key: row.approved_content(before.get(row.key, ())) for row in rows}
