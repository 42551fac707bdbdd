"""Which words of a request are answered by which step, and which by none. Pure."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

Span = tuple[int, int]
_WORD = re.compile(r"\w+(?:[-'’./]\w+)*")
# Words that join or soften a request; leaving them out changes nothing.
FILLERS: Final = frozenset(
    "a an the and or then also please kindly to of for on in at with our my we i it its is be can could would you thanks "
    "me us that this so just now hi hello hey und bitte".split()
)


@dataclass(frozen=True, slots=True)
class Piece:
    """A stretch of the request's text, with the numbers of the steps that answer it."""

    text: str
    steps: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Coverage:
    """The request's text in pieces, and the words that no step answers."""

    pieces: list[Piece]
    left_out: list[str]

    @property
    def rows(self) -> list[Piece]:
        """The pieces that some step answers, for the matrix."""
        return [piece for piece in self.pieces if piece.steps]


def spans_of(value: Any) -> list[Span]:
    """The stretches that a stored span names: [start, end], or a list of those. Anything else names none."""
    if not isinstance(value, Sequence) or isinstance(value, str):
        return []
    if len(value) == 2 and all(isinstance(end, int) for end in value):
        return [(value[0], value[1])]
    return [span for part in value for span in spans_of(part)] if value and isinstance(value[0], Sequence) else []


def cover(text: str, spans: Mapping[int, Iterable[Span]]) -> Coverage:
    """Cut a text where spans begin and end. `spans` maps a step's number to the stretches it answers."""
    clipped = [
        (number, max(start, 0), min(end, len(text)))
        for number, stretches in spans.items()
        for start, end in stretches
        if start < end and start < len(text)
    ]
    cuts = sorted({0, len(text), *(place for _, start, end in clipped for place in (start, end))})
    pieces: list[Piece] = []
    for start, end in itertools.pairwise(cuts):
        steps = tuple(sorted({number for number, first, last in clipped if first <= start and end <= last}))
        pieces.append(Piece(text[start:end], steps))
    bare = [word for piece in pieces if not piece.steps for word in _WORD.findall(piece.text)]
    return Coverage(pieces, [word for word in bare if word.casefold() not in FILLERS])
