"""Cut a stream of bytes into lines of text, whatever the bytes are. Pure: no input, no output."""

from __future__ import annotations

from typing import Final

LINE_LIMIT_BYTES: Final = 16 * 1024


class LineCutter:
    """Turns chunks into lines; a line beyond the limit keeps its beginning and says how much was cut."""

    def __init__(self, limit: int = LINE_LIMIT_BYTES) -> None:
        self.limit = limit
        self._held = b""
        self._cut = 0

    def feed(self, chunk: bytes) -> list[str]:
        """The lines that this chunk completes."""
        *whole, rest = chunk.split(b"\n")
        lines: list[str] = []
        for piece in whole:
            self._hold(piece)
            lines.append(self._take())
        self._hold(rest)
        return lines

    def finish(self) -> list[str]:
        """What is left when the stream ends without a line feed."""
        return [self._take()] if self._held or self._cut else []

    def _hold(self, piece: bytes) -> None:
        room = self.limit - len(self._held)
        self._held += piece[:room]
        self._cut += max(0, len(piece) - room)

    def _take(self) -> str:
        held, cut, self._held, self._cut = self._held, self._cut, b"", 0
        if cut:
            # Dropping an unfinished last character avoids a replacement sign that the program never wrote.
            text = held.decode("utf-8", "ignore") if _ends_inside_character(held) else held.decode("utf-8", "replace")
            return f"{text} [line cut here: {cut} more bytes]"
        return held.removesuffix(b"\r").decode("utf-8", "replace")


def _ends_inside_character(data: bytes) -> bool:
    try:
        data.decode("utf-8")
    except UnicodeDecodeError as error:
        return error.end >= len(data) and error.reason == "unexpected end of data"
    return False
