"""Secrets stop at the edge: known values and recognisable shapes are replaced before anything is stored or shown.

Pure. What is replaced is named by its kind, never by a part of it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, Final

from audit.canonical import as_json

HIDDEN: Final = "[hidden {kind}]"
SHORTEST_SECRET: Final = 6  # a shorter known value would hide ordinary words

# A shape starts at most once in a run of its characters: one that starts anew after each of them takes quadratic time, and whoever
# asks for a page that is not there chooses what is redacted.
_SHAPES: Final[tuple[tuple[str, re.Pattern[str]], ...]] = (
    (
        "private key",
        re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)", re.DOTALL),
    ),
    ("vault text", re.compile(r"\$ANSIBLE_VAULT;[0-9.]+;\w+(?:;\S+)?(?:\s+[0-9a-f]{20,})*")),
    ("token", re.compile(r"\b(?:gh[pousr]_[A-Za-z0-9]{20,}|glpat-[\w-]{16,}|xox[abprs]-[\w-]{10,}|sk-[\w-]{20,})")),
    ("token", re.compile(r"\bchf_[A-Za-z0-9_-]{20,}")),  # our own API tokens
    ("access key", re.compile(r"\b(?:AKIA|ASIA)[A-Z0-9]{16}\b")),
    ("token", re.compile(r"(?<![\w-])eyJ[\w-]{8,}\.eyJ[\w-]{8,}\.[\w-]{8,}")),  # JSON Web Token (RFC 7519)
    ("credentials", re.compile(r"(?<=://)[^/\s:@]+:[^/\s@]+(?=@)")),
    ("token", re.compile(r"(?i)(?<=\bbearer )[\w.~+/-]{16,}=*")),
    (
        "secret",
        re.compile(
            r"""(?ix)(?<![a-z0-9])((?:password|passwd|passphrase|secret|api[_-]?key|access[_-]?token)
            ["']?\s*[:=]\s*)(?!\[hidden|["']?(?:null|none|true|false|env:|file:|\{\{))("[^"]{3,}"|'[^']{3,}'|[^\s"',;}\]]{3,})"""
        ),
    ),
)
# What every shape above has in it, in lower case: most texts have none of it and are done after a look for these.
_HINTS: Final = (
    *(
        "-----begin",
        "$ansible_vault",
        "ghp_",
        "gho_",
        "ghu_",
        "ghs_",
        "ghr_",
        "glpat-",
        "xox",
        "sk-",
        "chf_",
        "akia",
        "asia",
        "eyj",
    ),
    *("://", "bearer ", "passw", "passphrase", "secret", "api", "access"),
)


def _may_hide(text: str) -> bool:
    lower = text.lower()
    for hint in _HINTS:  # noqa: SIM110 - every text comes through here, and any() takes twice as long
        if hint in lower:
            return True
    return False


def redact(text: str, known: Iterable[str] = ()) -> str:
    """The text without the known secret values and without anything that has the shape of a secret."""
    if known:
        for value in sorted({v for v in known if len(v) >= SHORTEST_SECRET}, key=len, reverse=True):
            text = text.replace(value, HIDDEN.format(kind="secret"))
    if not _may_hide(text):
        return text
    for kind, shape in _SHAPES:
        hidden = HIDDEN.format(kind=kind)
        text = shape.sub((r"\g<1>" if shape.groups else "") + hidden, text)
    return text


def redact_value(value: Any, known: Iterable[str] = ()) -> Any:
    """A JSON value with every string in it redacted, keys included."""
    known = tuple(known)
    if not known:
        try:
            if not _may_hide(as_json(value)):
                return value
        except (TypeError, ValueError):
            pass  # not JSON yet: then part by part
    return _redacted(value, known)


def _redacted(value: Any, known: tuple[str, ...]) -> Any:
    if isinstance(value, str):
        return redact(value, known)
    if isinstance(value, list):
        return [_redacted(item, known) for item in value]
    if isinstance(value, dict):
        return {redact(str(key), known): _redacted(item, known) for key, item in value.items()}
    return value
