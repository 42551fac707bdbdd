"""Results of cacheable tools, kept in Redis for a while, so that the same question is not worked out twice.

Redis is never the truth: while it is away, or says something that we did not sign, a lookup is a miss and the tool is
called. What is kept is redacted like everything that is stored, and only a completed result is kept.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from functools import cache
from typing import Any, Final

import redis
from django.conf import settings
from django.core.signing import BadSignature, Signer

from agents.conf import LARGEST_CACHED
from agents.protocol import Outcome, WorkResult
from agents.tools.base import Tool
from agents.tools.results import checked
from audit.canonical import canonical, sha256_hex
from audit.redaction import redact, redact_value

FROM_CACHE: Final = "from_cache"  # in a result's progress: since when the answer has been known
_FORMAT: Final = 1
_PATIENCE_SECONDS: Final = 0.25
_RETRY_REDIS_AFTER_SECONDS: Final = 2.0
logger = logging.getLogger(__name__)


def lookup(tool: Tool, value: Mapping[str, Any], *, user: str = "") -> WorkResult | None:
    """The kept result of this tool for this input, which says from when it is; None if it has to be worked out."""
    key = _key(tool, value, user)
    text = _store().get(key) if key else None
    if key is None or text is None:
        return None
    try:
        entry = json.loads(_signer().unsign(text))
        at = datetime.fromisoformat(entry["at"])
        age = (datetime.now(UTC) - at).total_seconds()
        # The entry names its key, so that a good one can not be put in another one's place.
        if entry["key"] != key or not 0 <= age + 1 <= tool.cache_seconds + 1:
            return None
        kept = WorkResult(
            Outcome.COMPLETED,
            output=entry["output"],
            summary=entry["summary"],
            services_touched=tuple(entry["services"]),
        )
    except (BadSignature, ValueError, KeyError, TypeError):
        return None
    result = checked(tool, kept)
    if result.outcome is not Outcome.COMPLETED:
        return None
    when = f"From the cache: worked out at {at:%Y-%m-%d %H:%M:%S} UTC."
    return replace(result, summary=f"{result.summary} {when}".strip(), progress={FROM_CACHE: at.isoformat()})


def store(tool: Tool, value: Mapping[str, Any], result: WorkResult, *, user: str = "") -> bool:
    """Keep a result for as long as the tool says it holds. Whether it was kept."""
    if result.outcome is not Outcome.COMPLETED or (key := _key(tool, value, user)) is None:
        return False
    entry = {
        "key": key,
        "at": datetime.now(UTC).isoformat(),
        "output": redact_value(result.output),
        "summary": redact(result.summary),
        "services": list(result.services_touched),
    }
    text = json.dumps(entry)
    if len(text) > LARGEST_CACHED:
        return False
    return _store().put(key, _signer().sign(text), tool.cache_seconds)


def _key(tool: Tool, value: Mapping[str, Any], user: str) -> str | None:
    """Where the result for this input is kept; None if it is not: the tool is not cacheable, or nobody asks."""
    if not tool.cacheable or tool.cache_seconds <= 0 or (tool.cache_scope == "user" and not user):
        return None
    whose = user if tool.cache_scope == "user" else None
    try:
        asked = canonical([_FORMAT, tool.name, tool.version, whose, value])
    except ValueError:  # a number that has no canonical form
        return None
    return f"chiffon:{settings.CHIFFON_INSTALLATION}:tool:{tool.name}:{sha256_hex(asked)}"


def _signer() -> Signer:
    return Signer(salt="agents.tools.cache")


class _Store:
    """Redis, asked with little patience; while it is away, one slow try every two seconds and not one for each call."""

    def __init__(self, url: str) -> None:
        self._client = redis.Redis.from_url(
            url,
            socket_timeout=_PATIENCE_SECONDS,
            socket_connect_timeout=_PATIENCE_SECONDS,
            retry=None,
            decode_responses=True,
        )
        self._away_until = 0.0

    def get(self, key: str) -> str | None:
        text = self._ask(lambda: self._client.get(key))
        return text if isinstance(text, str) else None

    def put(self, key: str, text: str, seconds: int) -> bool:
        return bool(self._ask(lambda: self._client.set(key, text, ex=seconds)))

    def _ask(self, question: Any) -> Any:
        if time.monotonic() < self._away_until:
            return None
        try:
            return question()
        except (redis.RedisError, OSError, UnicodeError) as error:
            self._away_until = time.monotonic() + _RETRY_REDIS_AFTER_SECONDS
            logger.warning("results of tools are not cached while Redis is away: %s", type(error).__name__)
            return None


@cache
def _store() -> _Store:
    return _Store(settings.CHIFFON_REDIS_URL)
