"""State in scopes: what a running step remembers, later steps read as `{{ state.execution.url }}`.

| scope | whose it is | who reads it | kept |
|---|---|---|---|
| `global` | everybody's | every plan of everyone | 90 days |
| `session` | the conversation; for plans by programs, all such plans of their requester | plans of the same | 30 days |
| `execution` | the plan | its steps | 90 days |
| `step` | the step | its later tries | 30 days |

Days count from the last writing. Only a running attempt writes, under its token: one that lost its lease can not. The
last writer wins. Whose scope it is follows from the plan's rows, never from what a tool says, so that nobody reads or
writes the state of another conversation. Secrets are redacted like output.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final
from uuid import UUID

from django.db import connection, transaction
from django.db.models import Count, Q, Sum
from django.db.models.functions import Now

from audit import trail
from audit.canonical import plain
from audit.redaction import redact_value
from plans.enums import AttemptStatus, StateScope
from plans.errors import Conflict, Refused
from plans.models import Attempt, Plan, StateEntry
from plans.references import STATE_KEY

LARGEST_VALUE: Final = 64 * 1024  # bytes of one value as JSON
_BATCH: Final = 1_000


@dataclass(frozen=True, slots=True)
class Limits:
    """How much one owner of a scope may keep, and for how long after the last writing."""

    entries: int
    bytes: int
    kept: timedelta


LIMITS: Final[Mapping[StateScope, Limits]] = {
    StateScope.GLOBAL: Limits(1_000, 8 * 1024 * 1024, timedelta(days=90)),
    StateScope.SESSION: Limits(200, 1024 * 1024, timedelta(days=30)),
    StateScope.EXECUTION: Limits(500, 2 * 1024 * 1024, timedelta(days=90)),
    StateScope.STEP: Limits(50, 256 * 1024, timedelta(days=30)),
}


@dataclass(frozen=True, slots=True)
class Holder:
    """The running attempt that asks, by the token that it drew."""

    attempt_id: UUID
    token: int


class NotHeld(Conflict):
    """The attempt that asks is over, or another one holds its step now."""

    code = "lease_lost"


def remember(holder: Holder, scope: str, key: str, value: Any) -> None:
    """Keep a value under a key; what was there before is replaced.

    Raises Refused for a scope, key or value that can not be, or where no room is left, and NotHeld for a zombie.
    """
    where, name = _place(scope, key)
    kept, size = _storable(value)
    with transaction.atomic():
        attempt = _held(holder)
        owner, limits = _owner(where, attempt.step_id, attempt.plan), LIMITS[where]
        _only_writer(where, owner)
        others = StateEntry.objects.filter(scope=where, owner=owner, expires_at__gt=Now()).exclude(key=name)
        there = others.aggregate(entries=Count("pk"), bytes=Sum("size", default=0))
        if there["entries"] + 1 > limits.entries:
            raise Refused("state_full", f"The {where} state has {limits.entries} entries already; forget one first.")
        if there["bytes"] + size > limits.bytes:
            left = max(limits.bytes - there["bytes"], 0)
            raise Refused("state_full", f"{name} has {size} bytes; the {where} state has room for {left} more.")
        entry = StateEntry(
            scope=where,
            owner=owner,
            key=name,
            value=kept,
            size=size,
            plan=attempt.plan,
            step=attempt.step,
            attempt=attempt,
            written_at=Now(),
            expires_at=Now() + limits.kept,
        )
        StateEntry.objects.bulk_create(
            [entry],
            update_conflicts=True,
            unique_fields=["scope", "owner", "key"],
            update_fields=["value", "size", "plan", "step", "attempt", "written_at", "expires_at"],
        )
        _record("state.remembered", attempt, where, name, bytes=size)


def recall(holder: Holder, scope: str, key: str) -> tuple[bool, Any]:
    """Whether something is kept under a key, and what. Raises Refused and NotHeld."""
    where, name = _place(scope, key)
    attempt = _running(holder).select_related("plan").first()
    if attempt is None:
        raise NotHeld("This try is over; it reads no state any more.")
    entries = StateEntry.objects.filter(scope=where, owner=_owner(where, attempt.step_id, attempt.plan), key=name)
    found = entries.filter(expires_at__gt=Now()).values_list("value")[:1]
    return (True, found[0][0]) if found else (False, None)


def forget(holder: Holder, scope: str, key: str) -> bool:
    """Remove what is kept under a key. Whether there was anything. Raises Refused and NotHeld."""
    where, name = _place(scope, key)
    with transaction.atomic():
        attempt = _held(holder)
        owner = _owner(where, attempt.step_id, attempt.plan)
        _only_writer(where, owner)
        entries = StateEntry.objects.filter(scope=where, owner=owner, key=name)
        there = entries.filter(expires_at__gt=Now()).exists()
        entries.delete()
        if there:
            _record("state.forgotten", attempt, where, name)
    return there


def read(wanted: Collection[tuple[str, str]], *, step_id: UUID, plan_id: UUID) -> dict[str, dict[str, Any]]:
    """The values that a step's references name, by scope and key; what is not there, or has expired, is absent."""
    found: dict[str, dict[str, Any]] = {str(scope): {} for scope in StateScope}
    if not wanted:
        return found
    plan = Plan.objects.select_related("request").get(pk=plan_id)
    named = Q(pk__in=[])
    for scope, key in wanted:
        if scope in found:
            named |= Q(scope=scope, owner=_owner(StateScope(scope), step_id, plan), key=key)
    for scope, key, value in StateEntry.objects.filter(named, expires_at__gt=Now()).values_list(
        "scope", "key", "value"
    ):
        found[scope][key] = value
    return found


def clean() -> int:
    """Remove what has expired. How many entries."""
    count = 0
    while batch := list(StateEntry.objects.filter(expires_at__lte=Now()).order_by("expires_at")[:_BATCH]):
        # Only what is still expired: it may have been written anew since it was read.
        gone, _ = StateEntry.objects.filter(pk__in=[entry.pk for entry in batch], expires_at__lte=Now()).delete()
        count += gone
        if len(batch) < _BATCH:
            break
    return count


def _place(scope: str, key: str) -> tuple[StateScope, str]:
    if scope not in StateScope.values:
        raise Refused(
            "no_such_scope", f"There is no scope {str(scope)[:40]!r}; there are {', '.join(StateScope.values)}."
        )
    if not isinstance(key, str) or not STATE_KEY.fullmatch(key):
        raise Refused("bad_key", f"{str(key)[:70]!r} is no key: lower case letters, digits and _, at most 64.")
    return StateScope(scope), key


def _storable(value: Any) -> tuple[Any, int]:
    try:
        kept = redact_value(plain(value))
        size = len(json.dumps(kept, ensure_ascii=False).encode())
    except (TypeError, ValueError, RecursionError) as error:
        raise Refused("bad_value", "The value is no JSON, so it can not be remembered.") from error
    if size > LARGEST_VALUE:
        raise Refused("value_too_large", f"The value has {size} bytes; at most {LARGEST_VALUE} are remembered.")
    return kept, size


def _owner(scope: StateScope, step_id: UUID, plan: Plan) -> str:
    """Whose state it is, by the rows of the plan alone."""
    match scope:
        case StateScope.GLOBAL:
            return ""
        case StateScope.SESSION:
            return str(plan.request.session_id) if plan.request else f"user:{plan.requester_id}"
        case StateScope.EXECUTION:
            return str(plan.pk)
        case StateScope.STEP:
            return str(step_id)


def _running(holder: Holder) -> Any:
    return Attempt.objects.filter(pk=holder.attempt_id, token=holder.token, status=AttemptStatus.RUNNING)


def _held(holder: Holder) -> Attempt:
    """The attempt, locked so that it does not end while it writes, after its plan as everywhere. Raises NotHeld."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT chiffon_hold((SELECT plan_id FROM plans_attempt WHERE id = %s))", [holder.attempt_id])
    locked = _running(holder).select_for_update(of=("self",), no_key=True).select_related("step", "plan__request")
    attempt: Attempt | None = locked.first()
    if attempt is None:
        raise NotHeld("This try is over; what it says is not remembered any more.")
    return attempt


def _only_writer(scope: StateScope, owner: str) -> None:
    """One writer of a scope at a time, until the transaction ends: else two at once could pass its limits together."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", [f"plans.state:{scope}:{owner}"])


def _record(type_: str, attempt: Attempt, scope: StateScope, key: str, **facts: Any) -> None:
    step, plan = attempt.step, attempt.plan
    trail.record(
        type_,
        subject=("step", step.pk),
        trace_id=plan.trace_id,
        service=step.service,
        step=step.key,
        scope=str(scope),
        key=key,
        **facts,
    )
