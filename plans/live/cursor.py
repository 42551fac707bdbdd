"""Where a reader stands in a plan's news. Opaque to readers; pure arithmetic and text here."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final
from uuid import UUID

from plans.errors import Refused

LONGEST_CURSOR: Final = 131_072
MOST_STREAMS: Final = 2_000
_HIGHEST_ID: Final = 2**63 - 1
_HIGHEST_SEQ: Final = 2**31 - 1
_PARTS: Final = 5
WHOLE: Final = 2**31 - 1  # all events of a row


class BadCursor(Refused):
    """The text is no cursor of ours."""

    def __init__(
        self, code: str = "bad_cursor", sentence: str = "The cursor is not one that Chiffon gave out."
    ) -> None:
        super().__init__(code, sentence)


class ForeignCursor(BadCursor):
    """The cursor belongs to another life of the database, such as before a restore."""

    def __init__(self) -> None:
        super().__init__("foreign_cursor", "The cursor belongs to another database; read the plan again.")


@dataclass(frozen=True, slots=True)
class Cursor:
    """Everything up to here was seen: events in (xid, id) order, and the lines of attempts whose output has not ended.

    A row may hold several events (plans.models.Event): `part` of the row at (xid, id) were seen.
    """

    epoch: str
    xid: int = 0
    id: int = 0
    streams: Mapping[UUID, int] = field(default_factory=dict)
    part: int = WHOLE

    def encode(self) -> str:
        """The text that readers hand back."""
        streams = {attempt.hex: seq for attempt, seq in self.streams.items()}
        raw = json.dumps([self.epoch, self.xid, self.id, streams, self.part], separators=(",", ":")).encode()
        return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()

    @classmethod
    def decode(cls, text: str) -> Cursor:
        """Read a cursor back. Raises BadCursor for anything that encode() would not have written."""
        if not text or len(text) > LONGEST_CURSOR:
            raise BadCursor
        try:
            raw = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
            epoch, xid, event_id, streams, part = _five(json.loads(raw))
        except (binascii.Error, ValueError, RecursionError) as error:
            raise BadCursor from error
        if not isinstance(epoch, str) or not isinstance(streams, dict) or len(streams) > MOST_STREAMS:
            raise BadCursor
        return cls(
            epoch,
            _whole(xid, _HIGHEST_ID),
            _whole(event_id, _HIGHEST_ID),
            {_uuid(attempt): _whole(seq, _HIGHEST_SEQ) for attempt, seq in streams.items()},
            _whole(part, WHOLE),
        )


def _five(parts: object) -> list[object]:
    if not isinstance(parts, list) or len(parts) != _PARTS:
        raise BadCursor
    return parts


def _whole(value: object, highest: int) -> int:
    if type(value) is not int or not 0 <= value <= highest:
        raise BadCursor
    return value


def _uuid(text: str) -> UUID:
    try:
        return UUID(hex=text)
    except ValueError as error:
        raise BadCursor from error
