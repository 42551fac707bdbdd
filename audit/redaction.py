"""Secrets stop at the edge: known values and recognisable shapes are replaced before anything is stored or shown.

Pure. What is replaced is named by its kind, never by a part of it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, Final

HIDDEN: Final = "[hidden {kind}]"
SHORTEST_SECRET: Final = 6  # a shorter known value would hide ordinary words

_SHAPES: Final[tuple[tuple[str, re.Pattern[str]], ...]] = (
    (
        "private key",
        re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)", re.DOTALL),
    ),
    ("vault text", re.compile(r"\$ANSIBLE_VAULT;[0-9.]+;\w+(?:;\S+)?(?:\s+[0-9a-f]{20,})*")),
    ("token", re.compile(r"\b(?:gh[pousr]_[A-Za-z0-9]{20,}|glpat-[\w-]{16,}|xox[abprs]-[\w-]{10,}|sk-[\w-]{20,})")),
    ("token", re.compile(r"\bchf_[A-Za-z0-9_-]{20,}")),  # our own API tokens
    ("access key", re.compile(r"\b(?:AKIA|ASIA)[A-Z0-9]{16}\b")),
    ("token", re.compile(r"\beyJ[\w-]{8,}\.eyJ[\w-]{8,}\.[\w-]{8,}")),  # JSON Web Token (RFC 7519)
    ("credentials", re.compile(r"(?<=://)[^/\s:@]+:[^/\s@]+(?=@)")),
    ("token", re.compile(r"(?i)(?<=\bbearer )[\w.~+/-]{16,}=*")),
    (
        "secret",
        re.compile(
            r"""(?ix)(?<![A-Za-z0-9])((?:[a-z0-9]+[_-])*(?:password|passwd|passphrase|secret|api[_-]?key|access[_-]?token)
            ["']?\s*[:=]\s*)(?!\[hidden|["']?(?:null|none|true|false|env:|file:|\{\{))("[^"]{3,}"|'[^']{3,}'|[^\s"',;}\]]{3,})"""
        ),
    ),
)
# What every shape above has in it: most texts have none of it and are done after one search instead of nine.
_HINT: Final = re.compile(
    r"-----BEGIN|\$ANSIBLE_VAULT|gh[pousr]_|glpat-|xox[abprs]-|sk-|chf_|AKIA|ASIA|eyJ|://|"
    r"(?i:bearer |passw|passphrase|secret|api|access)"
)


def redact(text: str, known: Iterable[str] = ()) -> str:
    """The text without the known secret values and without anything that has the shape of a secret."""
    for value in sorted({v for v in known if len(v) >= SHORTEST_SECRET}, key=len, reverse=True):
        text = text.replace(value, HIDDEN.format(kind="secret"))
    if not _HINT.search(text):
        return text
    for kind, shape in _SHAPES:
        hidden = HIDDEN.format(kind=kind)
        text = shape.sub((r"\g<1>" if shape.groups else "") + hidden, text)
    return text


def redact_value(value: Any, known: Iterable[str] = ()) -> Any:
    """A JSON value with every string in it redacted, keys included."""
    known = tuple(known)
    if isinstance(value, str):
        return redact(value, known)
    if isinstance(value, list):
        return [redact_value(item, known) for item in value]
    if isinstance(value, dict):
        return {redact(str(key), known): redact_value(item, known) for key, item in value.items()}
    return value
