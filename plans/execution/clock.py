"""The database's clock, as a process can know it without asking: its own clock and how far the two are apart.

Every claim brings the database's time along, so agents on hosts whose clocks differ still tell their events in one order.
"""

from __future__ import annotations

import time

_ahead = 0.0  # seconds that the database's clock is ahead of ours


def heard(database_seconds: float) -> None:
    """The database just said that it is this late, in seconds since 1970."""
    global _ahead
    _ahead = database_seconds - time.time()


def now() -> float:
    """Seconds since 1970 on the database's clock, to within the way from there to here."""
    return time.time() + _ahead
