"""A stretch of an attempt's output, ready to show."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from django.utils.safestring import SafeString, mark_safe

from agents.output import plain, to_html
from plans.models import Attempt, OutputLine

WINDOW = 500
_FIRST_ERROR = r"^(\x1b\[[0-9;]*m)*(fatal|failed|ERROR|error)\M"
_BAD_STARTS = ("fatal:", "failed:", "ERROR")


@dataclass(frozen=True, slots=True)
class Line:
    """One line as HTML. `hit`: it says that something failed."""

    seq: int
    html: SafeString
    hit: bool


@dataclass(frozen=True, slots=True)
class OutputWindow:
    """Up to 500 lines of an attempt's output, and how to reach the others."""

    lines: list[Line]
    total: int
    first_error: int | None = None

    @property
    def first(self) -> int:
        """The number of the first line shown, 0 if there is none."""
        return self.lines[0].seq if self.lines else 0

    @property
    def last(self) -> int:
        """The number of the last line shown, 0 if there is none."""
        return self.lines[-1].seq if self.lines else 0

    @property
    def earlier(self) -> int:
        """How many lines come before those shown."""
        return max(self.first - 1, 0)

    @property
    def before(self) -> int:
        """The line around which the stretch before this one lies."""
        return max(self.first - WINDOW // 2, 1)

    @property
    def later(self) -> int:
        """How many lines come after those shown."""
        return max(self.total - self.last, 0)


def lines_of(rows: Iterable[OutputLine]) -> list[Line]:
    """Stored lines as pages and pushes show them. The text was made safe to store; to_html escapes all of it."""
    return [
        Line(
            row.seq,
            mark_safe(to_html(row.text)),  # noqa: S308 - to_html escapes everything but its own spans
            plain(row.text).startswith(_BAD_STARTS),
        )
        for row in rows
    ]


def output_window(attempt: Attempt, around: int | None = None) -> OutputWindow:
    """The last 500 lines, or 500 around one line."""
    total = attempt.line_count
    last = total if around is None else min(max(around + WINDOW // 2, WINDOW), total)
    found = OutputLine.objects.filter(attempt_id=attempt.pk, seq__gt=last - WINDOW, seq__lte=last).order_by("seq")
    error = None
    if attempt.error:
        error = (
            OutputLine.objects.filter(attempt_id=attempt.pk, text__regex=_FIRST_ERROR)
            .order_by("seq")
            .values_list("seq", flat=True)
            .first()
        )
    return OutputWindow(lines_of(found), total, error)
