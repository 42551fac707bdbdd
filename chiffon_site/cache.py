"""Django's cache: in Redis, and while that is away in the memory of each process, so that sign-ins stay possible and limited.

What is in it bounds how often somebody may try a password; nothing else of ours is kept there.
"""

from __future__ import annotations

import logging
import time
from typing import Any, ClassVar, Final

from django.core.cache.backends.base import DEFAULT_TIMEOUT
from django.core.cache.backends.locmem import LocMemCache
from django.core.cache.backends.redis import RedisCache
from redis import RedisError

_RETRY_REDIS_AFTER_SECONDS: Final = 2.0
logger = logging.getLogger(__name__)


class RedisOrMemory(RedisCache):
    """Asks Redis, and its own process while Redis does not answer: one slow try every two seconds, not one for each call."""

    _away_until: ClassVar[float] = 0.0  # shared by all instances: Django makes one for each thread

    def __init__(self, server: str, params: dict[str, Any]) -> None:
        super().__init__(server, params)
        self._memory = LocMemCache("while Redis is away", {**params, "OPTIONS": {}})

    def add(self, key: Any, value: Any, timeout: Any = DEFAULT_TIMEOUT, version: int | None = None) -> bool:
        """Store a value unless there is one."""
        return bool(self._either("add", key, value, timeout, version))

    def get(self, key: Any, default: Any = None, version: int | None = None) -> Any:
        """The value of a key, or a default."""
        return self._either("get", key, default, version)

    def set(self, key: Any, value: Any, timeout: Any = DEFAULT_TIMEOUT, version: int | None = None) -> None:
        """Store a value."""
        self._either("set", key, value, timeout, version)

    def delete(self, key: Any, version: int | None = None) -> bool:
        """Forget a key; whether it was there."""
        return bool(self._either("delete", key, version))

    def _either(self, name: str, *args: Any) -> Any:
        if time.monotonic() >= self._away_until:
            try:
                return getattr(super(), name)(*args)
            except (RedisError, OSError) as error:
                RedisOrMemory._away_until = time.monotonic() + _RETRY_REDIS_AFTER_SECONDS
                logger.warning("sign-ins are counted by each process for itself while Redis is away: %s", error)
        return getattr(self._memory, name)(*args)
