"""How many calls one token may make: a bucket in Redis, refilled by Redis's own clock.

Redis is never the truth here: while it is away, nobody is refused.
"""

from __future__ import annotations

import logging
import math
import time
from functools import cache
from typing import Any, Final

import redis
from django.conf import settings

SUSTAINED: Final = 60.0  # calls a second; the contract promises 50
BURST: Final = 120.0  # calls at once after a pause
_PATIENCE_SECONDS: Final = 0.25
_RETRY_REDIS_AFTER_SECONDS: Final = 2.0
_log = logging.getLogger(__name__)

_TAKE: Final = """
local now = redis.call('TIME')
local at = now[1] + now[2] / 1000000
local known = redis.call('HMGET', KEYS[1], 'left', 'at')
local left = tonumber(known[1]) or tonumber(ARGV[2])
local before = tonumber(known[2]) or at
left = math.min(tonumber(ARGV[2]), left + math.max(0, at - before) * tonumber(ARGV[1]))
local wait = 0
if left >= 1 then left = left - 1 else wait = (1 - left) / tonumber(ARGV[1]) end
redis.call('HSET', KEYS[1], 'left', tostring(left), 'at', string.format('%.6f', at))
redis.call('EXPIRE', KEYS[1], math.ceil(tonumber(ARGV[2]) / tonumber(ARGV[1])) + 60)
return tostring(wait)
"""


class Buckets:
    """A bucket of calls for each caller."""

    def __init__(self, url: str, *, sustained: float = SUSTAINED, burst: float = BURST) -> None:
        self._client = redis.Redis.from_url(
            url, socket_timeout=_PATIENCE_SECONDS, socket_connect_timeout=_PATIENCE_SECONDS, retry=None
        )
        self._take = self._client.register_script(_TAKE)
        self._sustained = sustained
        self._burst = burst
        self._away_until = 0.0

    def wait(self, caller: str) -> int:
        """Take one call from the caller's bucket: 0 if there was one, else the seconds until there is one."""
        if time.monotonic() < self._away_until:
            return 0
        try:
            answer: Any = self._take(keys=[f"chiffon:rate:{caller}"], args=[self._sustained, self._burst])
            return math.ceil(float(answer))
        except (redis.RedisError, OSError) as error:
            # One slow try every two seconds, not one for each call.
            self._away_until = time.monotonic() + _RETRY_REDIS_AFTER_SECONDS
            _log.warning("calls are not counted while Redis is away: %s", error)
            return 0


@cache
def buckets() -> Buckets:
    """The buckets of this process."""
    return Buckets(settings.CHIFFON_REDIS_URL)
