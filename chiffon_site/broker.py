"""How workers read from Redis: a message that nobody of ours can have written is dropped, and its reader lives.

Celery ends a worker at bytes that are not JSON, and with it the steps that run there; five such messages would end the keeper.
RabbitMQ's transport hands such bytes on to Celery, which refuses them.
"""

from __future__ import annotations

import logging
from typing import Any

from kombu.transport import redis

logger = logging.getLogger(__name__)
# What reading and understanding a message raises; whether the broker is there is told by other errors.
_NOT_UNDERSTOOD = (ValueError, TypeError, LookupError, AttributeError, RecursionError)


class Channel(redis.Channel):  # type: ignore[misc] # without types
    """Kombu's own, but for what it does with junk."""

    def _brpop_read(self, **options: Any) -> Any:
        """Take one message from its queue; junk is logged and forgotten. What it meant, if anything, is in the database."""
        held = set(self.qos._delivered)
        try:
            return super()._brpop_read(**options)
        except _NOT_UNDERSTOOD as error:
            logger.error("a message was dropped that nobody can read: %s", f"{type(error).__name__}: {error}"[:200])
            for tag in set(self.qos._delivered) - held:  # or it would count as one that is being worked on
                self.basic_reject(tag, requeue=False)
            return True


class Transport(redis.Transport):  # type: ignore[misc] # without types
    """Celery's setting names it where the broker is Redis."""

    Channel = Channel
