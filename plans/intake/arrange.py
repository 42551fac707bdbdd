"""Puts drafts of work in order and says which waits for which. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from agents.playbooks.catalogue import Offering
from agents.playbooks.filling import Filled
from plans.decomposition import Complexity, Span, Subtask
from plans.intake.clauses import Clause
from plans.intake.questions import title


@dataclass(frozen=True, slots=True)
class Draft:
    """One understood piece of work before it has its place in the order; `touches` names the services it works on."""

    number: int
    clause: Clause
    offering: Offering
    confidence: float
    parameters: Mapping[str, Filled]
    place: Mapping[str, str]
    explanation: tuple[str, ...]
    words: tuple[Span, ...]
    touches: frozenset[str]


def arrange(drafts: list[Draft]) -> tuple[Subtask, ...]:
    """Order the drafts, merge what was said twice, and make each wait for what it builds on."""
    ordered = _ordered(_merged(drafts))
    subtasks: list[Subtask] = []
    for at, draft in enumerate(ordered):
        waits = [i for i in range(at) if ordered[i].touches & draft.touches][-1:]
        if at and (draft.clause.after or draft.offering.risk == "high"):
            waits.append(at - 1)
        subtasks.append(
            Subtask(
                order=at + 1,
                name=title(draft.offering),
                intent=draft.offering.verb,
                confidence=round(draft.confidence, 2),
                parameters=dict(draft.parameters),
                offering_key=draft.offering.key,
                playbook=draft.offering.playbook,
                words=draft.words,
                depends_on=tuple(sorted({i + 1 for i in waits})),
                place=draft.place,
                explanation=draft.explanation,
            )
        )
    return tuple(subtasks)


def complexity_of(drafts: list[Draft], subtasks: int, questions: int) -> Complexity:
    """How much there is to understand: by the number of subtasks, open questions and what takes something away."""
    weight = subtasks + questions + sum(draft.offering.risk == "high" for draft in drafts)
    return "simple" if weight <= 2 else "medium" if weight <= 4 else "complex"


def _merged(drafts: list[Draft]) -> list[Draft]:
    kept: list[Draft] = []
    for draft in drafts:
        for at, other in enumerate(kept):
            same = other.offering.playbook == draft.offering.playbook and other.parameters == draft.parameters
            if same and (not draft.place or other.place == draft.place):
                kept[at] = replace(other, words=(*other.words, *draft.words))
                break
        else:
            kept.append(draft)
    return kept


def _ordered(drafts: list[Draft]) -> list[Draft]:
    ordered: list[Draft] = []
    waiting: Draft | None = None
    for draft in drafts:
        if waiting is not None:
            ordered += [draft, replace(waiting, clause=replace(waiting.clause, after=True))]
            waiting = None
        elif draft.clause.swaps == "with_next":
            waiting = draft
        elif draft.clause.swaps == "with_previous" and ordered:
            last = ordered.pop()
            ordered += [draft, replace(last, clause=replace(last.clause, after=True))]
        else:
            ordered.append(draft)
    return [*ordered, *([waiting] if waiting else [])]
