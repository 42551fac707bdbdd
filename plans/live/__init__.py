"""News for whoever watches a plan: what happened after a cursor, and a bell that says it is worth looking.

PostgreSQL holds the truth and readers pull from it; a ring carries nothing but whom it is for, and a lost one heals by itself.
"""

from __future__ import annotations

from plans.live.bell import INBOX, announce, announce_inbox, readers_of
from plans.live.cursor import BadCursor, Cursor, ForeignCursor
from plans.live.reading import Batch, Item, Line, cursor_now, events_after, lines_after

__all__ = [
    "INBOX",
    "BadCursor",
    "Batch",
    "Cursor",
    "ForeignCursor",
    "Item",
    "Line",
    "announce",
    "announce_inbox",
    "cursor_now",
    "events_after",
    "lines_after",
    "readers_of",
]
