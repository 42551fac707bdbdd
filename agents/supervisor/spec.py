"""What the supervisor is told to run, checked before anything starts."""

from __future__ import annotations

import json
import resource
from dataclasses import dataclass, field
from typing import Any, Final

GRACE_SECONDS: Final = 3.0


class SpecError(ValueError):
    """The specification can not be followed; the message says which part of it."""


@dataclass(frozen=True, slots=True)
class Spec:
    """One command and its bounds. Times are seconds; 0 for a time means "no such bound"."""

    argv: list[str]
    cwd: str
    env: dict[str, str]  # complete: nothing is inherited
    tag: str
    timeout_seconds: float = 0.0
    beat_seconds: float = 0.0
    grace_seconds: float = GRACE_SECONDS
    rlimits: dict[str, tuple[int, int]] = field(default_factory=dict)  # "RLIMIT_AS": (soft, hard)

    def to_json(self) -> bytes:
        """One line for the supervisor's standard input."""
        document = {name: getattr(self, name) for name in self.__dataclass_fields__}
        return json.dumps(document, separators=(",", ":")).encode() + b"\n"

    @classmethod
    def from_json(cls, line: bytes) -> Spec:
        """Read and check one line. Raises SpecError with a sentence about what is wrong."""
        try:
            document = json.loads(line)
        except ValueError as error:
            raise SpecError("The specification is not a line of JSON.") from error
        if not isinstance(document, dict):
            raise SpecError("The specification must be a JSON object.")
        unknown = sorted(set(document) - set(cls.__dataclass_fields__))
        if unknown:
            raise SpecError(f"The specification has unknown parts: {', '.join(unknown)}.")
        for name in ("argv", "cwd", "env", "tag"):
            if name not in document:
                raise SpecError(f"The specification lacks {name!r}.")
        return cls(
            argv=_strings(document["argv"]),
            cwd=_text(document["cwd"], "cwd"),
            env=_environment(document["env"]),
            tag=_text(document["tag"], "tag"),
            timeout_seconds=_seconds(document.get("timeout_seconds", 0), "timeout_seconds"),
            beat_seconds=_seconds(document.get("beat_seconds", 0), "beat_seconds"),
            grace_seconds=_seconds(document.get("grace_seconds", GRACE_SECONDS), "grace_seconds"),
            rlimits=_limits(document.get("rlimits") or {}),
        )


def _text(value: Any, name: str) -> str:
    if not isinstance(value, str) or not value or "\0" in value:
        raise SpecError(f"{name!r} must be text that is not empty and holds no NUL.")
    return value


def _strings(value: Any) -> list[str]:
    if not isinstance(value, list) or not value:
        raise SpecError("'argv' must be a list with at least one text.")
    if not all(isinstance(item, str) and "\0" not in item for item in value):
        raise SpecError("'argv' must hold texts without NUL.")
    return value


def _environment(value: Any) -> dict[str, str]:
    if not isinstance(value, dict):
        raise SpecError("'env' must be an object.")
    for key, item in value.items():
        if not key or "=" in key or "\0" in key or not isinstance(item, str) or "\0" in item:
            raise SpecError(f"'env' has an unusable entry: {key!r}.")
    return value


def _seconds(value: Any, name: str) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value < 10**9:
        raise SpecError(f"{name!r} must be a number of seconds, 0 or more.")
    return float(value)


def _limits(value: Any) -> dict[str, tuple[int, int]]:
    if not isinstance(value, dict):
        raise SpecError("'rlimits' must be an object.")
    for name, pair in value.items():
        known = name.startswith("RLIMIT_") and hasattr(resource, name)
        if not known or not isinstance(pair, list) or len(pair) != 2 or not all(isinstance(n, int) for n in pair):
            raise SpecError(f"'rlimits' has an unusable entry: {name!r}.")
    return {name: (pair[0], pair[1]) for name, pair in value.items()}
