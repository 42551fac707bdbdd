"""Make what programs print safe to store and to show. Pure: text in, text out.

`sanitise` runs before anything is stored; `to_html` runs at the edge, on text that was sanitised.
"""

from __future__ import annotations

import re
from html import escape
from typing import Final

LINE_LIMIT: Final = 16 * 1024

# Bidirectional controls and invisible characters reorder or hide what a person reads, so they are written out.
INVISIBLE: Final = re.compile(
    "[\u061c\u115f\u1160\u180e\u200b-\u200f\u202a-\u202e\u2060-\u206f\u3164\ufeff\ufff9-\ufffb]"
)
TAGS: Final = re.compile("[\U000e0000-\U000e007f]")
STRINGS: Final = re.compile(
    r"(?:\x1b[\]P^_X]|[\x9d\x90\x9e\x9f\x98]).*?(?:\x07|\x1b\\|\x9c|$)", re.DOTALL
)  # OSC, DCS, PM, APC, SOS
CSI: Final = re.compile(r"(?:\x1b\[|\x9b)([0-?]*)([ -/]*)([@-~])?")
OTHER_ESCAPES: Final = re.compile(r"\x1b(?!\[[0-9;:]*m)[ -/]*[0-~]?")
SGR_PARAMETERS: Final = re.compile(r"[0-9;:]{0,40}")
SGR: Final = re.compile(r"\x1b\[([0-9;:]*)m")
CONTROLS: Final = re.compile(r"[\x00-\x08\x0b-\x1a\x1c-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")

COLOURS: Final = ("grey", "red", "green", "yellow", "blue", "magenta", "cyan", "")
NORMAL, BRIGHT = range(30, 38), range(90, 98)


def sanitise(text: str, limit: int = LINE_LIMIT) -> str:
    """One line of output as it may be stored: text, tabs and colours; nothing that moves, links, hides or breaks.

    A carriage return keeps what a terminal would show last. What is longer than `limit` characters is cut, and
    says by how much. The answer is a single line, and encodes as UTF-8 without loss.
    """
    text = STRINGS.sub("", text)
    text = CSI.sub(_keep_colour, text)
    text = OTHER_ESCAPES.sub("", text)
    text = text.replace("\r\n", "\n").rstrip("\r\n")
    if "\r" in text:
        text = _last_shown(text)
    text = text.replace("\n", "\u240a")
    text = CONTROLS.sub(_visible_control, text)
    text = INVISIBLE.sub(_visible, text)
    text = TAGS.sub(_visible, text)
    if len(text) > limit:
        cut = len(text) - limit
        text = re.sub(r"\x1b(?:\[[0-9;:]*)?$", "", text[:limit]) + f" [line cut here: {cut} more characters]"
    return text


def plain(text: str) -> str:
    """A sanitised line without its colours, for searching, comparing and programs."""
    return SGR.sub("", text)


def to_html(line: str) -> str:
    """A line as HTML: everything escaped, colours as spans with fixed classes, nothing else.

    Safe for any text, sanitised or not: what is not an SGR sequence is shown as escaped text.
    """
    pieces: list[str] = []
    style = _Style()
    at = 0
    for found in SGR.finditer(line):
        pieces.append(style.wrap(line[at : found.start()]))
        style.apply(found.group(1))
        at = found.end()
    pieces.append(style.wrap(line[at:]))
    return "".join(pieces)


class _Style:
    """The colour and weight that hold from here on."""

    def __init__(self) -> None:
        self.colour = ""
        self.bold = False

    def apply(self, parameters: str) -> None:
        numbers = [int(part) if part.isdigit() and len(part) < 4 else 0 for part in re.split("[;:]", parameters)]
        while numbers:
            number = numbers.pop(0)
            if number == 0:
                self.colour, self.bold = "", False
            elif number in {1, 22}:
                self.bold = number == 1
            elif number == 2:
                self.colour = "grey"
            elif number in NORMAL:
                self.colour = COLOURS[number - 30] if number != 37 else ""
            elif number in BRIGHT:
                self.colour = COLOURS[number - 90]
            elif number == 39:
                self.colour = ""
            elif number in {38, 48, 58}:
                colour = _extended(numbers)
                if number == 38:
                    self.colour = colour

    def wrap(self, text: str) -> str:
        if not text:
            return ""
        safe = escape(CONTROLS.sub(_visible_control, text.replace("\x1b", "\u241b")))
        classes = [f"a-{self.colour}"] if self.colour else []
        classes += ["a-bold"] if self.bold else []
        return f'<span class="{" ".join(classes)}">{safe}</span>' if classes else safe


def _extended(numbers: list[int]) -> str:
    """Take the numbers of a 256-colour or true-colour choice, and answer the nearest of ours."""
    kind = numbers.pop(0) if numbers else 0
    if kind == 5 and numbers:
        number = numbers.pop(0)
        if number < 16:
            return COLOURS[number % 8]
        if number >= 232:
            return "grey" if number < 250 else ""
        number -= 16
        return _nearest(number // 36 * 51, number // 6 % 6 * 51, number % 6 * 51)
    if kind == 2:
        parts = numbers[:3]
        del numbers[:3]
        return _nearest(parts[0], parts[1], parts[2]) if len(parts) == 3 else ""
    return ""


def _nearest(red: int, green: int, blue: int) -> str:
    strongest = max(red, green, blue)
    if strongest - min(red, green, blue) < 40:
        return "grey" if strongest < 200 else ""
    bits = sum(bit for bit, part in ((1, red), (2, green), (4, blue)) if part > strongest * 0.6)
    return COLOURS[bits]


def _keep_colour(found: re.Match[str]) -> str:
    parameters, between, final = found.groups()
    if final == "m" and not between and SGR_PARAMETERS.fullmatch(parameters):
        return f"\x1b[{parameters}m"
    return ""


def _last_shown(text: str) -> str:
    shown = [part for part in text.split("\r") if plain(part).strip()]
    return shown[-1] if shown else ""


def _visible(found: re.Match[str]) -> str:
    return f"<U+{ord(found.group()):04X}>"


def _visible_control(found: re.Match[str]) -> str:
    code = ord(found.group())
    if code == 0 or 0xD800 <= code <= 0xDFFF or code in {0xFFFE, 0xFFFF}:
        return "\ufffd"
    if code < 0x20:
        return chr(0x2400 + code)  # the pictures of the control characters
    return ""
