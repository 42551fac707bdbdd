"""Splits a request into clauses, each one piece of work, a question, a condition or a limit.

Pure. Every clause keeps its place in the text, so that a page can show which words became which step.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final, Literal

from agents.playbooks.catalogue import Catalogue
from agents.playbooks.matching import services_named, vocabulary
from agents.playbooks.words import STOP_STEMS, Word, find_verbs, is_value, read_words, stem

MOST_CLAUSES: Final = 40


class ClauseKind(StrEnum):
    """What a clause does in a request."""

    WORK = "work"
    QUESTION = "question"
    CONDITION = "condition"
    LIMIT = "limit"
    STATEMENT = "statement"


@dataclass(frozen=True, slots=True)
class Clause:
    """One clause: its words, where they stand (half-open), what it does, and how it is tied to the others.

    `inherits` is set for a noun alone, which takes the verb of the clause before it; `after` when an order word
    (“then”) puts it behind the one before, and `swaps` when it is to happen in the other order than it is written:
    “before X, Y” and “Y after X”.
    """

    text: str
    start: int
    end: int
    kind: ClauseKind = ClauseKind.WORK
    inherits: bool = False
    after: bool = False
    swaps: Literal["", "with_next", "with_previous"] = ""


_PROTECTED: Final = re.compile(
    r"\bup\s+and\s+running\b|\{\{.*?\}\}|\{%.*?%\}|\"[^\"]*\"|“[^”]*”|„[^“”]*[“”]|(?<!\w)'[^']*'(?!\w)"
    r"|[a-zA-Z][a-zA-Z0-9+.-]*://[^\s,;“”\"'<>]+",
    re.DOTALL | re.IGNORECASE,
)
_SEPARATOR: Final = re.compile(
    r"(?P<hard>[.!?]+(?=\s|$)|[;\n\r؟。！？]+|—)"
    r"|(?P<then>,?\s*\b(?:and\s+then|then|after\s+that|afterwards|after\s+which|next(?=\s*,)|finally|lastly|und\s+dann|danach|dann"
    r"|anschlie(?:ß|ss)end)\b,?)"
    r"|(?P<after>,?\s*\b(?:after|nachdem|as\s+soon\s+as|once)\b(?!\s+(?:that|a|per|every|each|daily)\b))"
    r"|(?P<before>,?\s*\b(?:before|bevor)\b)"
    r"|(?P<if>,?\s*\b(?:(?:only\s+|but\s+)?(?:if|when(?!\s+(?:do|does|did|is|are|will|was|were|should)\b)|unless|wenn|falls|in\s+case)|provided\s+that)\b)"
    r"|(?P<but>,?\s*\bbut\b|,?\s*(?=\b(?:without\s+\w+ing|ohne)\b))"
    r"|(?P<soft>,?\s*\b(?:and\s+also|and|as\s+well\s+as|plus|und|sowie)\b|\s&\s|,)",
    re.IGNORECASE,
)
_SENTENCE_END: Final = re.compile(r"[.!?;\n\r؟。！？—]")
_QUESTION: Final = re.compile(
    r"\s*(?:(?:please\s+)?(?:tell me|explain|show me)\s+)?(?:how|what|what's|whats|why|when|who|where|which|whose|is|are|does"
    r"|did|was|were|has|have\s+(?:you|we|they)|do\s+(?:you|we|i|they)|should|am|wie|was|warum|wann|wer|ist|sind)\b",
    re.IGNORECASE,
)
_NEGATED: Final = re.compile(
    r"\s*(?:(?:please|just|and|also|but|you|we|bitte)\s+)*(?:(?:do|should|must|shall|can|may)\s+not|don['’]?t|dont|never|not|no\s+need"
    r"|without|avoid|leave|ohne|shouldn['’]?t|mustn['’]?t|refrain)\b",
    re.IGNORECASE,
)
_TOLD: Final = re.compile(
    r"\s*(?:yesterday\b.*|(?:i|we|he|she|they|you|someone|somebody|it)\s+(?:(?:have|had|has|already|just|recently)\s+)*"
    r"(?!need|want|would)\w+ed\b.*|.*\b(?:was|were|has\s+been|have\s+been|had\s+been)\s+(?:\w+ly\s+)?\w+(?:ed|en|t)\b.*)",
    re.IGNORECASE | re.DOTALL,
)
_JOINING: Final = frozenset(
    """on onto in into at to for from with using via by called named as of under over within mit auf im fur von""".split()
)
_DETERMINERS: Final = frozenset(
    "the a an our my your its their this that these der die das ein eine unser unsere".split()
)


def split_clauses(text: str, catalogue: Catalogue, known: frozenset[str] = frozenset()) -> tuple[Clause, ...]:
    """The clauses of a request in the order of the text.

    `known` are folded words that only ever carry values here: hosts, groups, names in lists of the inventory. At most
    forty clauses are made; what follows stays in the last one.
    """
    pieces = _pieces(text)
    clauses: list[Clause] = []
    names = vocabulary(catalogue)
    for marker, start, end in pieces:
        piece = text[start:end]
        words = read_words(piece)
        if not words:
            continue
        if clauses and marker == "hard" and all(w.folded in STOP_STEMS - known - {"it"} for w in words):
            continue  # “Thanks!”
        if (clauses and _continues(marker, piece, words, clauses[-1], catalogue, known, names)) or len(
            clauses
        ) >= MOST_CLAUSES:
            clauses[-1] = replace(clauses[-1], text=text[clauses[-1].start : end], end=end)
            continue
        leads = not clauses or bool(_SENTENCE_END.search(text[clauses[-1].end : start]))
        clauses.append(_clause(marker, piece, start, end, words, leads=leads))
    return tuple(clauses)


def refers_back(clause: str) -> bool:
    """Whether a clause points at something named before: “it”, “its”, “there”, or a bare “the config”."""
    words = {word.folded for word in read_words(clause)}
    return bool(words & {"it", "its", "it's", "them", "their", "there", "same", "es", "ihn", "dort"}) or "config" in {
        part for word in read_words(clause) for part in word.stems
    }


def _pieces(text: str) -> list[tuple[str, int, int]]:
    shelters = [match.span() for match in _PROTECTED.finditer(text)]
    pieces: list[tuple[str, int, int]] = []
    marker, start = "start", 0
    for match in _SEPARATOR.finditer(text):
        at, end = match.span()
        if end == 0 or any(s <= at < e for s, e in shelters):
            continue
        kind = match.lastgroup or "hard"
        pieces.append((marker, *_trimmed(text, start, at)))
        marker, start = kind, end
    pieces.append((marker, *_trimmed(text, start, len(text))))
    return pieces


def _trimmed(text: str, start: int, end: int) -> tuple[int, int]:
    while start < end and not (text[start].isalnum() or text[start] in "{\"“„'"):
        start += 1
    while end > start and (text[end - 1].isspace() or text[end - 1] in ",;:-•*"):
        end -= 1
    return start, end


def _continues(
    marker: str,
    piece: str,
    words: tuple[Word, ...],
    previous: Clause,
    catalogue: Catalogue,
    known: frozenset[str],
    names: frozenset[str],
) -> bool:
    """Whether a piece is still part of the clause before it: a further value, a place, a polite word."""
    meaning = [word for word in words if word.folded not in STOP_STEMS]
    if not meaning and not any(w.folded in known for w in words):
        return marker in ("soft", "but") or not any(w.folded in ("it", "that", "them") for w in words)
    if marker in ("then", "after", "before", "if", "start"):
        return False
    if marker == "but" and _NEGATED.match(piece) and previous.kind != ClauseKind.LIMIT:
        return False
    if marker == "hard":
        return False
    if previous.kind != ClauseKind.WORK and marker == "soft":
        # “if the check passes, remove it”: the comma ends the condition
        return previous.kind == ClauseKind.STATEMENT and not find_verbs(words)
    first = words[0]
    if is_value(first.folded) or piece[0] in "\"“„'{" or first.folded[0].isdigit() or first.folded in _JOINING:
        return True
    if _starts_with_known(words, known):
        return not _leads_with_verb(words)
    if _leads_with_verb(words):
        return False
    if marker == "but":
        return not find_verbs(words)
    named = services_named(piece, catalogue)
    second = meaning[1] if len(meaning) > 1 else None
    if second is not None and stem(meaning[0].folded) in names and (second.folded[0].isdigit() or not named):
        return not find_verbs(words)  # “user alice”, “port 3002”: a variable's word and its value
    return False


def _starts_with_known(words: tuple[Word, ...], known: frozenset[str]) -> bool:
    rest = [word.folded for word in words if word.folded not in _DETERMINERS]
    return bool(rest) and (rest[0] in known or " ".join(rest[:2]) in known)


def _leads_with_verb(words: tuple[Word, ...]) -> bool:
    uses = find_verbs(words)
    if not uses:
        return False
    before = words[: uses[0].positions[0]]
    # After a determiner it is a noun: “remove kuma and the backup” asks for no backup.
    return all(word.folded in STOP_STEMS for word in before) and not any(word.folded in _DETERMINERS for word in before)


def _clause(marker: str, piece: str, start: int, end: int, words: tuple[Word, ...], *, leads: bool) -> Clause:
    inherits = marker == "soft" and not _leads_with_verb(words) and not _has_predicate(words)
    kind = ClauseKind.WORK
    if marker == "if":
        kind = ClauseKind.CONDITION
    elif marker in ("after", "before"):
        kind = ClauseKind.WORK if _is_doing(words) else ClauseKind.CONDITION
    elif _NEGATED.match(piece):
        kind = ClauseKind.LIMIT
    elif _QUESTION.match(piece) and not re.match(r"\s*(?:do|have)\s+(?!you|we|i|they)", piece, re.IGNORECASE):
        kind = ClauseKind.QUESTION
    elif _TOLD.fullmatch(piece):
        kind = ClauseKind.STATEMENT
    return Clause(
        text=piece,
        start=start,
        end=end,
        kind=kind,
        inherits=inherits and kind is ClauseKind.WORK,
        after=marker == "then",
        swaps="with_next"
        if marker == "before" and leads
        else "with_previous"
        if marker == "after" and not leads
        else "",
    )


def _has_predicate(words: tuple[Word, ...]) -> bool:
    # “our portals should be added”: the verb stands behind its object.
    folded = [word.folded for word in words]
    return any(
        word in ("be", "get", "gets", "need", "needs") and any(use.positions[0] > at for use in find_verbs(words))
        for at, word in enumerate(folded)
    )


def _is_doing(words: tuple[Word, ...]) -> bool:
    uses = find_verbs(words)
    if not uses:
        return False
    at = uses[0].positions[0]
    if words[at].folded.endswith("ing") and at == 0:
        return True
    return at == 1 and words[0].folded in ("you", "we", "i")
