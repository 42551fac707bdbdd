"""How the command line writes: tables, times, and text that cannot play tricks with a terminal."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

_SGR: Final = re.compile(r"\x1b\[[0-9;]*m")
_CONTROL: Final = re.compile(r"[\x00-\x08\x0b-\x1a\x1c-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]|\x1b(?!\[[0-9;]*m)")
_GAP: Final = "  "


def print_json(value: Any) -> None:
    """Write one JSON value on one line."""
    print(json.dumps(value, ensure_ascii=False), flush=True)


def plain(text: object) -> str:
    """The text on one line, without control characters or colours."""
    return _CONTROL.sub("", _SGR.sub("", " ".join(str(text).split())))


def output_line(text: str) -> str:
    """One line of a program's output: its colours on a terminal, nothing but its letters elsewhere."""
    text = _CONTROL.sub("", text.replace("\n", " ").replace("\r", " "))
    if not sys.stdout.isatty():
        return _SGR.sub("", text)
    return text + "\x1b[0m" if "\x1b[" in text else text


def table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Rows under a head, each column as wide as its widest cell."""
    cells = [[plain(cell) for cell in row] for row in rows]
    widths = [max(len(row[column]) for row in [list(head), *cells]) for column in range(len(head))]
    lines = [[name.upper() for name in head], *cells]
    return "\n".join(
        _GAP.join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in lines
    )


def clock(at: str | None) -> str:
    """A time of the API in this machine's zone, to the second; a dash for none."""
    if not at:
        return "-"
    return datetime.fromisoformat(at).astimezone().strftime("%Y-%m-%d %H:%M:%S")


def duration(seconds: float | None) -> str:
    """Seconds as people say them."""
    if seconds is None:
        return "not known"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    return f"{minutes} min {rest} s" if rest else f"{minutes} min"


def stage(value: str) -> str:
    """A stage or status as words."""
    return {"pending_approval": "awaiting approval"}.get(value, value.replace("_", " "))
