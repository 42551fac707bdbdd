"""RequestDecomposer: from a person's words to a decomposition, by the first strategy of a table (REQ-2, REQ-4).

Pure. A strategy takes the same arguments and gives the same structure, whoever speaks.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, Protocol

from agents.playbooks.catalogue import Catalogue
from agents.playbooks.facts import Facts
from plans.decomposition import Ambiguity, Decomposition, Option, OutOfScope, Subtask
from plans.intake.by_catalogue import decompose_by_catalogue

__all__ = [
    "LONGEST_TEXT",
    "STRATEGIES",
    "Ambiguity",
    "Decomposition",
    "Option",
    "OutOfScope",
    "RequestDecomposer",
    "Subtask",
    "UnusableText",
    "check_text",
]

LONGEST_TEXT: Final = 4_000


class UnusableText(ValueError):
    """A text that no request can be read from; `code` is for programs, `sentence` for the person who wrote it."""

    def __init__(self, code: str, sentence: str) -> None:
        super().__init__(sentence)
        self.code = code
        self.sentence = sentence


class Strategy(Protocol):
    """One way from words to a decomposition."""

    def __call__(self, text: str, catalogue: Catalogue, facts: Facts, answers: Mapping[str, str]) -> Decomposition:
        """Take a checked text apart."""


STRATEGIES: Final[Mapping[str, Strategy]] = MappingProxyType({"catalogue": decompose_by_catalogue})


class RequestDecomposer:
    """Takes requests apart with one named strategy; `catalogue` needs no language model."""

    def __init__(self, strategy: str = "catalogue") -> None:
        """Raises KeyError for a strategy that is not in the table."""
        self.name = strategy
        self._strategy = STRATEGIES[strategy]

    def decompose(
        self, text: str, catalogue: Catalogue, facts: Facts | None = None, answers: Mapping[str, str] | None = None
    ) -> Decomposition:
        """Take a request apart; `answers` maps a question's key to what the requester said.

        The same text, catalogue, facts and answers always give the same decomposition. Raises UnusableText.
        """
        check_text(text)
        return self._strategy(text, catalogue, facts or Facts(), answers or {})


def check_text(text: str) -> None:
    """Raise UnusableText unless a request could be read from the text."""
    if not text:
        raise UnusableText("empty_text", "The request is empty; write what you want done.")
    if not text.strip():
        raise UnusableText("blank_text", "The request holds only blanks; write what you want done.")
    if len(text) > LONGEST_TEXT:
        raise UnusableText(
            "text_too_long",
            f"The request has {len(text):,} characters; at most {LONGEST_TEXT:,} are read. Say it shorter, or in parts.",
        )
    if any(_is_binary(ch) for ch in text):
        raise UnusableText("binary_text", "The request holds control characters and looks like a file, not like words.")
    if not any(ch.isalpha() for ch in text):
        raise UnusableText("no_words", "The request holds no words; write what you want done.")


def _is_binary(ch: str) -> bool:
    category = unicodedata.category(ch)
    if category == "Cc":
        return ch not in "\t\n\r"
    return category == "Cs" or ch == "\ufffd" or ord(ch) & 0xFFFE == 0xFFFE
