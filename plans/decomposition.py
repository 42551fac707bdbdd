"""What a request was understood to be: subtasks, open questions, and what is out of scope. Frozen values, pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from agents.playbooks.filling import Filled

Complexity = Literal["simple", "medium", "complex"]
Span = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Subtask:
    """One piece of work: what to do, how sure we are, with which values, and the words that asked for it.

    `order` counts from 1, `depends_on` names earlier orders, `words` are half-open places in the request's text, and
    `place` is `{"kind": "inventory" | "group" | "host", "name": …}` or empty when the words name none.
    """

    order: int
    name: str
    intent: str
    confidence: float
    parameters: Mapping[str, Filled]
    offering_key: str
    playbook: str = ""
    words: tuple[Span, ...] = ()
    depends_on: tuple[int, ...] = ()
    place: Mapping[str, str] = field(default_factory=dict)
    explanation: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """The subtask as a JSON object."""
        return {
            "order": self.order,
            "name": self.name,
            "intent": self.intent,
            "confidence": self.confidence,
            "parameters": {name: filled.to_json() for name, filled in self.parameters.items()},
            "offering_key": self.offering_key,
            "playbook": self.playbook,
            "words": [list(span) for span in self.words],
            "depends_on": list(self.depends_on),
            "place": dict(self.place),
            "explanation": list(self.explanation),
        }


@dataclass(frozen=True, slots=True)
class Option:
    """One answer to a question: the value it stands for, what a person reads, and a detail that helps to choose."""

    value: str
    label: str
    detail: str = ""

    def to_json(self) -> dict[str, str]:
        """The option as a JSON object."""
        return {"value": self.value, "label": self.label, "detail": self.detail}


@dataclass(frozen=True, slots=True)
class Ambiguity:
    """A question that only the requester can answer. `key` stays the same as long as the request's text does.

    `about` holds the words in question; `free` says whether an answer in own words is expected besides the options.
    """

    key: str
    question: str
    options: tuple[Option, ...] = ()
    about: str = ""
    free: bool = False

    def to_json(self) -> dict[str, Any]:
        """The question as a JSON object."""
        return {
            "key": self.key,
            "question": self.question,
            "options": [option.to_json() for option in self.options],
            "about": self.about,
            "free": self.free,
        }


@dataclass(frozen=True, slots=True)
class OutOfScope:
    """Words of the request that no work comes of, and why."""

    words: str
    reason: str
    span: Span

    def to_json(self) -> dict[str, Any]:
        """The words as a JSON object."""
        return {"words": self.words, "reason": self.reason, "span": list(self.span)}


@dataclass(frozen=True, slots=True)
class Decomposition:
    """A request taken apart; `decomposer` names the strategy that spoke."""

    subtasks: tuple[Subtask, ...]
    ambiguities: tuple[Ambiguity, ...]
    out_of_scope: tuple[OutOfScope, ...]
    complexity: Complexity
    decomposer: str

    def to_json(self) -> dict[str, Any]:
        """The decomposition as a JSON object with the outside contract's field names."""
        return {
            "subtasks": [subtask.to_json() for subtask in self.subtasks],
            "ambiguities": [ambiguity.to_json() for ambiguity in self.ambiguities],
            "out_of_scope": [part.to_json() for part in self.out_of_scope],
            "complexity": self.complexity,
            "decomposer": self.decomposer,
        }
