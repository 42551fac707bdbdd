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

# PWD is a folder wherever it starts like one.
_NAME: Final = (
    r"""(?:password|passwd|passphrase|secret|token|(?:api|access|secret)[_-]?key|pwd(?!["']?\s*[:=]\s*["']?/))"""
)
_STAND_IN: Final = r"""\[hidden\ [a-z\ ]+\]|\{\{[^{}]*\}\}"""
# In quotes to their end, or the line's where none ends them; else to white space. What is as a whole only a reference stays.
_REFERENCE: Final = rf"""(?:{_STAND_IN}|null|none|true|false|env:[a-z_]\w*|file:/[^\s"',;}}\]=:]+)"""
_VALUE: Final = rf"""
    (?!(?P<quote>["']?){_REFERENCE}(?P=quote)(?:[\s"',;}}\]]|\Z))
    (?:"(?:[^"\\]|\\.){{3,}}+"|'(?:[^'\\]|\\.){{3,}}+'|"[^"\n]{{3,}}|'[^'\n]{{3,}}|(?:{_STAND_IN}|[^\s"',;}}\]]){{3,}})"""

# The kind, what each text that holds one has in it in lower case, and the pattern. A pattern starts at most once in a run of its
# characters: one that starts anew after each of them takes quadratic time, and whoever asks for a page that is not there chooses
# what is redacted.
_SHAPES: Final[tuple[tuple[str, tuple[str, ...], re.Pattern[str]], ...]] = (
    (
        "private key",
        ("-----begin",),
        re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)", re.DOTALL),
    ),
    (
        "vault text",
        ("$ansible_vault",),
        re.compile(r"\$ANSIBLE_VAULT;[0-9.]+;\w+(?:;\S+)?(?:\s+[0-9a-f]{20,})*"),
    ),
    (
        "token",
        ("ghp_", "gho_", "ghu_", "ghs_", "ghr_", "github_pat_", "glpat-", "xox", "sk-"),
        re.compile(
            r"\b(?:gh[pousr]_[A-Za-z0-9]{20,}|github_pat_\w{20,}|glpat-[\w-]{16,}|xox[abprs]-[\w-]{10,}|sk-[\w-]{20,})"
        ),
    ),
    ("token", ("chf_",), re.compile(r"\bchf_[A-Za-z0-9_-]{20,}")),  # our own API tokens
    ("access key", ("akia", "asia"), re.compile(r"\b(?:AKIA|ASIA)[A-Z0-9]{16}\b")),
    # JSON Web Token (RFC 7519)
    ("token", ("eyj",), re.compile(r"(?<![\w-])eyJ[\w-]{8,}\.eyJ[\w-]{8,}\.[\w-]{8,}")),
    # A name alone is one to GitHub and its like, where it is a token; elsewhere it is only who asks, as in ssh://git@host.
    (
        "credentials",
        ("://",),
        re.compile(r"(?<=://)[^/\s:@]*:[^/\s@]+(?=@)|(?:(?<=http://)|(?<=https://))[^/\s:@]+(?=@)"),
    ),
    (
        "credentials",
        ("authorization",),
        re.compile(r"""(?i)(authorization["']?\s*[:=]\s*["']?(?:basic|bearer|token)\s+)(?!\[hidden )[^\s"',;]{3,}"""),
    ),
    ("token", ("bearer ",), re.compile(r"(?i)(?<=\bbearer )[\w.~+/-]{16,}=*")),
    (
        "secret",
        ("passw", "passphrase", "secret", "token", "api", "access", "pwd"),
        re.compile(rf"""(?isx)({_NAME}["']?\s*[:=]\s*|(?<![\w-])--[\w-]*?{_NAME}\ +(?!-)){_VALUE}"""),
    ),
)
# Most texts have none of these and are done after a look for them.
_HINTS: Final = tuple(hint for _, hints, _ in _SHAPES for hint in hints)
_COLOUR: Final = re.compile(r"\x1b\[[0-9;:]*m")
# A key whose value is a secret, and a value that is none.
_NAMED: Final = re.compile(rf"(?is){_NAME}\Z")
_NO_SECRET: Final = re.compile(rf"(?isx){_REFERENCE}|.{{0,2}}")

# What goes on over the lines after the one it begins in: its end if it says so, and what the last word of a line in it looks like.
_BODIES: Final = {
    "private key": (
        re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----(?!.*-----END )"),
        re.compile(r"-----END [A-Z ]*PRIVATE KEY-----"),
        re.compile(r"""["']?[A-Za-z0-9+/=]*["',]*"""),
    ),
    "vault text": (
        re.compile(r"\$ANSIBLE_VAULT;[0-9.]+;\w+"),
        None,
        re.compile(r"""["']?[0-9a-f]{2,}["',]*"""),
    ),
}
# RFC 1421: these stand between a key's first line and its text.
_KEY_HEADER: Final = re.compile(r"(?:Proc-Type|DEK-Info|Comment): ")


def _may_hide(text: str) -> bool:
    lower = text.lower()
    for hint in _HINTS:  # noqa: SIM110 - every text comes through here, and any() takes twice as long
        if hint in lower:
            return True
    return False


def redact(text: str, known: Iterable[str] = ()) -> str:
    """The text without the known secret values and without anything that has the shape of a secret.

    A secret is found through colours inside it or before it; where one is, the text loses its colours.
    """
    bare = _COLOUR.sub("", text) if "\x1b" in text else text
    hidden = bare
    if known:
        for value in sorted({v for v in known if len(v) >= SHORTEST_SECRET}, key=len, reverse=True):
            hidden = hidden.replace(value, HIDDEN.format(kind="secret"))
    if _may_hide(hidden):
        lower = hidden.lower()
        for kind, hints, shape in _SHAPES:
            if any(hint in lower for hint in hints):
                hidden = shape.sub((r"\g<1>" if shape.groups else "") + HIDDEN.format(kind=kind), hidden)
    return text if hidden == bare else hidden


class Lines:
    """Redacts the lines of one stream of output in order: what goes on over several lines is hidden in each of them.

    A line that does not look like a part of it ends it, so a key without an end hides nothing but itself.
    """

    def __init__(self) -> None:
        self._inside = ""  # the kind that the line before did not end
        # As many as a line inside has at most: what stood before the secret in its first one, and a part of it.
        self._words = 1

    def redact(self, line: str) -> str:
        """The next line without what is secret in it."""
        if not self._inside and "-----BEGIN" not in line and "$ANSIBLE_VAULT" not in line:
            return redact(line)
        bare, hidden = _COLOUR.sub("", line), ""
        if self._inside:
            hidden, bare = self._go_on(bare)
        for kind, (begin, _, _) in _BODIES.items():
            if found := begin.search(bare):
                self._inside, self._words = kind, len(bare[: found.start()].split()) + 1
        return hidden + redact(bare)

    def _go_on(self, line: str) -> tuple[str, str]:
        """What stands for the part of this line that is inside, and the rest of it."""
        kind = self._inside
        _, end, body = _BODIES[kind]
        found = end.search(line) if end else None
        words = line.split()
        if found is None and (not words or _KEY_HEADER.search(line)):
            return "", line
        if found is None and len(words) <= self._words and body.fullmatch(words[-1]):
            return HIDDEN.format(kind=kind), ""
        self._inside = ""
        return (HIDDEN.format(kind=kind), line[found.end() :]) if found else ("", line)


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
        return {redact(str(key), known): _of_key(str(key), item, known) for key, item in value.items()}
    return value


def _of_key(key: str, value: Any, known: tuple[str, ...]) -> Any:
    """The value of a key, which may name it a secret."""
    if isinstance(value, str) and _NAMED.search(key) and not _NO_SECRET.fullmatch(value):
        return HIDDEN.format(kind="secret")
    return _redacted(value, known)
