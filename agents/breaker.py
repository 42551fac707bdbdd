"""Circuit breakers: when a tool keeps failing on a target, the next tries wait instead of failing too.

Closed → open after some tries in a row failed within a window → half-open after a while: exactly one try is let through,
whichever process asks first. Its success closes the breaker, its failure opens it again for twice as long, up to a cap.

What counts is kept in Redis, changed by one script on the clock of Redis, so any number of processes share it. Redis is
never the truth about anything else: while it is away, every breaker counts as closed. Each change becomes a row and a
record in PostgreSQL, for people; a change that its process did not live to record is found by the next that looks.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from typing import Any, Final, Literal

import redis
from django.conf import settings
from django.db import transaction
from django.db.models.functions import Now

from agents import jobs
from agents.conf import (
    BREAKER_FAILURES,
    BREAKER_LONGEST_SECONDS,
    BREAKER_OPEN_SECONDS,
    BREAKER_WINDOW_SECONDS,
)
from agents.enums import BreakerState
from agents.models import Breaker
from agents.protocol import Failure, FailureMode
from audit import trail
from audit.canonical import storable
from audit.context import SYSTEM, acting
from audit.redaction import redact
from audit.trail import requires_transaction

_log = logging.getLogger(__name__)
Aim = tuple[str, str]  # a tool and a target
Verdict = Literal["ok", "bad", "none"]  # of one try on one target; none: it says nothing about the target
_PATIENCE_SECONDS: Final = 0.3
_RETRY_REDIS_AFTER_SECONDS: Final = 2.0  # one slow try now and then, not one for each step
_SAY_AGAIN_AFTER_SECONDS: Final = 60.0
_LONGEST_ERROR: Final = 300  # characters
_KEPT_SECONDS: Final = 24 * 3600  # a breaker that nobody asks for a day is forgotten, and therefore closed
_TARGETS_TROUBLE: Final = frozenset({FailureMode.SYSTEM, FailureMode.RESOURCE})

# KEYS: the breaker, the times of its last failures. ARGV: verb, who, number of failures, window, wait, longest wait, lease,
# who to take the probe from, error. All times are microseconds: exact in Lua's numbers until the year 2255.
_SCRIPT: Final = """
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local verb, who = ARGV[1], ARGV[2]
local most, window, wait, longest = tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6])
local function whole(number) return string.format('%.0f', number) end
local b = {state = 'closed', version = '0', failures = '0', wait = '0', till = '0', probe = '', error = ''}
local kept = redis.call('HGETALL', KEYS[1])
for i = 1, #kept, 2 do b[kept[i]] = kept[i + 1] end
local was, till, changed, touched = b.state, tonumber(b.till), false, false

local function open(failures, seconds)
  b.state, b.failures, b.wait, b.probe, b.error = 'open', whole(failures), whole(seconds), '', ARGV[9]
  till, changed = now + seconds, true
end

if verb == 'enter' and was ~= 'closed' then
  if till <= now or b.probe == who or (b.probe ~= '' and b.probe == ARGV[8]) then
    changed = b.probe ~= who
    b.state, b.probe, till, touched = 'half_open', who, now + tonumber(ARGV[7]), true
  end
elseif verb == 'bad' and was == 'closed' then
  redis.call('RPUSH', KEYS[2], whole(now))
  redis.call('LTRIM', KEYS[2], -most, -1)
  redis.call('PEXPIRE', KEYS[2], whole(window / 1000))
  if redis.call('LLEN', KEYS[2]) >= most and now - tonumber(redis.call('LINDEX', KEYS[2], 0)) <= window then
    open(most, wait)
  end
elseif verb == 'bad' and was == 'half_open' and b.probe == who then
  open(tonumber(b.failures) + 1, math.min(tonumber(b.wait) * 2, longest))
elseif verb == 'ok' and was == 'closed' then
  redis.call('DEL', KEYS[2])
elseif verb == 'ok' and was == 'half_open' and b.probe == who then
  b.state, changed = 'closed', true
elseif verb == 'none' and was == 'half_open' and b.probe == who then
  b.probe, till, touched = '', now, true
elseif verb == 'reset' then
  b.state, changed = 'closed', was ~= 'closed'
  redis.call('DEL', KEYS[2])
end

if changed then b.version = whole(now) end
if changed and b.state == 'closed' then
  redis.call('DEL', KEYS[1], KEYS[2])
elseif changed or touched then
  redis.call('HSET', KEYS[1], 'state', b.state, 'version', b.version, 'failures', b.failures, 'wait', b.wait,
    'till', whole(till), 'probe', b.probe, 'error', b.error)
  redis.call('PEXPIRE', KEYS[1], whole(math.max(0, till - now) / 1000 + tonumber(ARGV[10]) * 1000))
  redis.call('DEL', KEYS[2])
end
return {b.state, whole(math.max(0, till - now)), whole(till), b.version, changed and 1 or 0, b.failures, b.wait, b.probe,
  b.error}
"""


@dataclass(frozen=True, slots=True)
class Policy:
    """When a breaker opens and for how long. Times are seconds."""

    failures: int = BREAKER_FAILURES
    window: float = BREAKER_WINDOW_SECONDS
    wait: float = BREAKER_OPEN_SECONDS
    longest: float = BREAKER_LONGEST_SECONDS


@dataclass(frozen=True, slots=True)
class Seen:
    """A breaker as Redis has it at this moment. `left`: how long it is open, or its probe may take, from now."""

    state: BreakerState = BreakerState.CLOSED
    left: float = 0.0
    till: float = 0.0
    version: int = 0
    changed: bool = False
    failures: int = 0
    wait: float = 0.0
    probe: str = ""
    error: str = ""
    known: bool = True  # false: Redis did not answer

    @property
    def closed(self) -> bool:
        """Whether tries go through."""
        return self.state is BreakerState.CLOSED


class Breakers:
    """All breakers of this installation, as one script in Redis keeps them."""

    def __init__(self, url: str, policy: Policy = Policy()) -> None:
        self._client = redis.Redis.from_url(
            url, socket_timeout=_PATIENCE_SECONDS, socket_connect_timeout=_PATIENCE_SECONDS, retry=None
        )
        self._script = self._client.register_script(_SCRIPT)
        self._policy = policy
        self._away_until = 0.0
        self._said = -_SAY_AGAIN_AFTER_SECONDS

    def look(self, aims: Sequence[Aim]) -> dict[Aim, Seen]:
        """How breakers are now. An open one with no time left may be probed."""
        return dict(zip(aims, self._ask([(aim, "look") for aim in aims]), strict=True))

    def enter(self, aim: Aim, who: str, *, lease: float, instead_of: str = "") -> Seen:
        """Go past a breaker: it is closed, or `probe` is this try, which then probes it for at most `lease` s.

        `instead_of` is a probe known to be lost. Takes the caller's transaction for the record of a change.
        """
        [seen] = self._ask([(aim, "enter")], who, lease=lease, instead_of=instead_of)
        if seen.changed:
            record_change(aim, seen)
        return seen

    def note(self, verdicts: Mapping[Aim, Verdict], who: str, *, error: str = "") -> None:
        """Count what the end of a try says of each target."""
        answers = self._ask(list(verdicts.items()), who, error=_short(error))
        for aim, seen in zip(verdicts, answers, strict=True):
            if seen.changed:
                with transaction.atomic():
                    record_change(aim, seen)

    def reset(self, aim: Aim) -> Seen:
        """Close a breaker and forget what it counted. `known` is false if Redis did not answer."""
        return self._ask([(aim, "reset")])[0]

    def _ask(
        self,
        asked: Sequence[tuple[Aim, str]],
        who: str = "",
        *,
        lease: float = 0.0,
        instead_of: str = "",
        error: str = "",
    ) -> list[Seen]:
        """One round trip for all of them."""
        if not asked:
            return []
        if time.monotonic() < self._away_until:
            return [Seen(known=False)] * len(asked)
        rule = self._policy
        times = [_micro(seconds) for seconds in (rule.window, rule.wait, rule.longest, lease)]
        try:
            with self._client.pipeline(transaction=False) as calls:
                for aim, verb in asked:
                    name = f"chiffon:breaker:{{{aim[0]}|{aim[1]}}}"
                    arguments: list[str | int] = [verb, who, rule.failures, *times, instead_of, error, _KEPT_SECONDS]
                    self._script(keys=[name, f"{name}:failures"], args=arguments, client=calls)
                return [_seen(answer) for answer in calls.execute()]
        except (redis.RedisError, OSError) as trouble:
            self._away(trouble)
            return [Seen(known=False)] * len(asked)

    def _away(self, trouble: Exception) -> None:
        now = time.monotonic()
        self._away_until = now + _RETRY_REDIS_AFTER_SECONDS
        if now - self._said >= _SAY_AGAIN_AFTER_SECONDS:
            self._said = now
            _log.warning("circuit breakers count as closed while Redis is away: %s", trouble)


@cache
def breakers() -> Breakers:
    """The breakers, as this process asks for them."""
    return Breakers(settings.CHIFFON_REDIS_URL)


def counts(failure: Failure) -> bool:
    """Whether a failure speaks of the target: trouble of a system, or of resources that may pass; never of people's making."""
    return failure.mode in _TARGETS_TROUBLE and (failure.transient or failure.mode is FailureMode.SYSTEM)


def rows_of(seen: Mapping[Aim, Seen]) -> dict[Aim, Breaker]:
    """The rows of breakers that are not closed; a change that nobody recorded is recorded now."""
    aims = [aim for aim, one in seen.items() if not one.closed]
    if not aims:
        return {}
    with transaction.atomic():
        rows = _rows(aims)
        for aim in aims:
            if aim not in rows or rows[aim].version < seen[aim].version:
                record_change(aim, seen[aim])
    return _rows(aims)


def catch_up() -> int:
    """Close the rows of breakers that Redis does not have any more, because it lost them or forgot them. How many."""
    rows = {(row.tool, row.target): row for row in Breaker.objects.exclude(state=BreakerState.CLOSED)}
    closed = 0
    for aim, seen in breakers().look(list(rows)).items():
        if seen.known and seen.closed:
            with transaction.atomic(), acting(SYSTEM):
                gone = Seen(version=rows[aim].version + 1)
                closed += _store(rows[aim], gone, "Redis does not have it any more.")
    return closed


@requires_transaction
def record_change(aim: Aim, seen: Seen) -> None:
    """Keep a change of a breaker as its row and a record; one that is older than what is known changes nothing."""
    Breaker.objects.bulk_create([Breaker(tool=aim[0], target=aim[1])], ignore_conflicts=True)
    row = Breaker.objects.select_for_update().get(tool=aim[0], target=aim[1])
    because = {BreakerState.OPEN: why_open(seen), BreakerState.HALF_OPEN: ""}
    _store(row, seen, because.get(seen.state, "The try that it let through went well."))


@requires_transaction
def record_reset(row: Breaker, seen: Seen, because: str) -> bool:
    """Keep that a person reset a breaker. Whether it was not closed anyway."""
    row = Breaker.objects.select_for_update().get(pk=row.pk)
    if row.state == BreakerState.CLOSED:
        return False
    return bool(_store(row, Seen(version=max(seen.version, row.version + 1)), because, type_="breaker.reset"))


def why_open(seen: Seen) -> str:
    """How it came to be open, for people."""
    tries = f"{seen.failures} {'try' if seen.failures == 1 else 'tries'} in a row failed"
    return f"{tries}; the last said “{seen.error}”" if seen.error else f"{tries}."


_TYPES: Final = {
    BreakerState.OPEN: "breaker.opened",
    BreakerState.HALF_OPEN: "breaker.half_opened",
    BreakerState.CLOSED: "breaker.closed",
}


def _store(row: Breaker, seen: Seen, because: str, *, type_: str = "") -> int:
    fields: dict[str, Any] = {"state": seen.state, "version": seen.version, "since": Now(), "until": None}
    if not seen.closed:
        fields |= {"failures": seen.failures, "wait_seconds": seen.wait, "last_error": seen.error}
    if seen.state is BreakerState.OPEN:
        fields["until"] = datetime.fromtimestamp(seen.till, UTC)
    if not Breaker.objects.filter(pk=row.pk, version__lt=seen.version).update(**fields):
        return 0
    trail.record(
        type_ or _TYPES[seen.state],
        subject=("breaker", row.pk),
        reason=because,
        tool=row.tool,
        where=row.where,
        failures=seen.failures,
        seconds=round(seen.wait, 1),
    )
    if seen.closed and row.held.filter(status="due").update(next_at=Now(), held_by=None):
        jobs.ring()  # what waited for it need not wait for the end it was told
    return 1


def _rows(aims: Collection[Aim]) -> dict[Aim, Breaker]:
    rows = Breaker.objects.filter(tool__in={tool for tool, _ in aims}, target__in={target for _, target in aims})
    return {(row.tool, row.target): row for row in rows}


def _seen(answer: Sequence[Any]) -> Seen:
    text = [part.decode("utf-8", "replace") if isinstance(part, bytes) else str(part) for part in answer]
    state, left, till, version, changed, failures, wait, probe, error = text
    return Seen(
        state=BreakerState(state),
        left=int(left) / 1e6,
        till=int(till) / 1e6,
        version=int(version),
        changed=changed == "1",
        failures=int(failures),
        wait=int(wait) / 1e6,
        probe=probe,
        error=error,
    )


def _micro(seconds: float) -> int:
    return round(seconds * 1_000_000)


def _short(error: str) -> str:
    text = " ".join(redact(storable(error)).split())
    return text if len(text) <= _LONGEST_ERROR else text[: _LONGEST_ERROR - 1] + "…"
