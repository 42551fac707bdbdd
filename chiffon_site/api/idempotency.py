"""`Idempotency-Key`: the same POST again gets the same answer and does nothing a second time.

The key is claimed in the transaction of the work itself, so that both commit or neither does; a second caller waits for
the first one at the key's unique constraint. Calls that must not sit in a transaction, because they read git, claim the
key first; doing those twice after a crash is harmless, and they say so by being listed here.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from contextlib import nullcontext
from datetime import timedelta
from http import HTTPStatus
from typing import Any, Final

from django.db import transaction
from django.db.models.functions import Now
from django.db.utils import OperationalError
from django.http import HttpRequest, HttpResponse
from psycopg.errors import LockNotAvailable

from audit.http import Problem, caller
from chiffon_site.accounts.models import IdempotencyKey

HEADER: Final = "Idempotency-Key"
LONGEST_KEY: Final = 255
KEPT: Final = timedelta(hours=24)
FORGOTTEN_AFTER: Final = timedelta(minutes=2)  # a claim without an answer belongs to a process that died
OUTSIDE_A_TRANSACTION: Final = frozenset({"/api/v1/playbooks/refresh"})
# Who may call, and how often, is another matter at the next call.
NOT_KEPT: Final = frozenset({HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN, HTTPStatus.TOO_MANY_REQUESTS})


def once(request: HttpRequest, scope: str, call: Callable[[], HttpResponse]) -> HttpResponse:
    """Run the call; once for each key, if it is a POST with one. A token without the scope is refused by the call, whatever the key."""
    actor, key = caller(), request.headers.get(HEADER)
    if request.method != "POST" or key is None or (actor.scopes is not None and scope not in actor.scopes):
        return call()
    return answered_once(request, actor.user, key, call)


def answered_once(request: HttpRequest, user: Any, key: str, call: Callable[[], HttpResponse]) -> HttpResponse:
    """Run the call, or give the answer that the same call got before.

    Raises Problem 422 for a bad key, 409 `idempotency_key_reused` for another body under the same key, and 409
    `idempotency_key_in_use` while the first call still runs.
    """
    if not 0 < len(key) <= LONGEST_KEY or not key.isascii() or not key.isprintable():
        sentence = f"{HEADER} takes 1 to {LONGEST_KEY} printable ASCII characters"
        raise Problem(422, "invalid", f"{sentence}.", errors=[{"loc": ["header", HEADER], "msg": sentence}])
    target = f"{request.method} {request.get_full_path()}"
    sha256 = hashlib.sha256(target.encode() + b"\n" + request.body).hexdigest()
    inside = request.path not in OUTSIDE_A_TRANSACTION
    IdempotencyKey.objects.filter(user=user, created_at__lt=Now() - KEPT).delete()
    with transaction.atomic() if inside else nullcontext():
        row, is_first = _claim(user, key, target, sha256)
        if not is_first:
            return _answer_of(row, sha256)
        response = call()
        if response.status_code >= 500:  # nothing was decided: the same key may try again
            if inside:
                transaction.set_rollback(True)
            else:
                row.delete()
            return response
        if response.status_code in NOT_KEPT:
            row.delete()
            return response
        IdempotencyKey.objects.filter(pk=row.pk).update(
            status=response.status_code, content_type=response["Content-Type"], body=response.content.decode()
        )
        return response


def _claim(user: Any, key: str, target: str, sha256: str) -> tuple[IdempotencyKey, bool]:
    """The key's row, and whether this call is the one that does the work."""
    try:
        row, is_new = IdempotencyKey.objects.get_or_create(
            user=user, key=key, defaults={"target": target, "sha256": sha256}
        )
    except OperationalError as error:
        if isinstance(error.__cause__, LockNotAvailable):
            raise _in_use() from error
        raise
    if is_new or row.status is not None or row.sha256 != sha256:
        return row, is_new
    forgotten = IdempotencyKey.objects.filter(pk=row.pk, status=None, created_at__lt=Now() - FORGOTTEN_AFTER)
    return row, bool(forgotten.update(created_at=Now()))


def _answer_of(row: IdempotencyKey, sha256: str) -> HttpResponse:
    if row.sha256 != sha256:
        raise Problem(
            409,
            "idempotency_key_reused",
            f"This {HEADER} came with another call before ({row.target}); draw a new one.",
        )
    if row.status is None:
        raise _in_use()
    response = HttpResponse(row.body, status=row.status, content_type=row.content_type)
    response["Idempotency-Replayed"] = "true"
    return response


def _in_use() -> Problem:
    return Problem(409, "idempotency_key_in_use", f"The first call with this {HEADER} still runs.", retry_after=1)
