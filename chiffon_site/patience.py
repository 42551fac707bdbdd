"""A program that starts while the database is being restarted waits for it.

Dying instead would be tried again by the keeper, but only a few times a minute: then it ends everything.
"""

from __future__ import annotations

import logging
import time
from typing import Final

from django.db import OperationalError, connection

_PAUSE_SECONDS: Final = 0.25
logger = logging.getLogger(__name__)


def wait_for_database(*, seconds: float = 60) -> None:
    """Return as soon as the database takes a connection; raises the error that it answers after so many seconds."""
    until, told = time.monotonic() + seconds, False
    while True:
        try:
            connection.ensure_connection()
        except OperationalError as error:
            if time.monotonic() > until:
                raise
            if not told:
                logger.warning("the database is away, waiting for it: %s", error)
            told = True
            time.sleep(_PAUSE_SECONDS)
        else:
            return
