"""The engine inside a test: messages are collected instead of published, and attempts are run by hand."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Any
from uuid import UUID

import psycopg
from django.db import close_old_connections, connection
from django.db.models.functions import Now

from plans.execution import attempt, dispatcher, reaper
from plans.models import Attempt, Plan, Step

Message = tuple[UUID, int, str]  # attempt, expected token, queue


class Engine:
    """A dispatcher whose messages a test carries by hand: in order, twice, late or never.

    An agent takes one step per message here, unless `go_on_for` lets it go on by itself.
    """

    def __init__(self, *, go_on_for: float = 0) -> None:
        self.go_on_for = go_on_for
        self.sent: list[Message] = []

    def dispatch(self) -> list[Message]:
        """Publish what is due now; the attempts' messages."""
        before = len(self.sent)
        while dispatcher.dispatch(self._send):
            pass
        return self.sent[before:]

    def step(self) -> int:
        """Publish what is due and run it; how many attempts ran."""
        return sum(attempt.run(pk, token=token, go_on_for=self.go_on_for) for pk, token, _ in self.dispatch())

    def run(self, *, patiently: bool = False) -> None:
        """Go on until nothing is due; patiently: waits are over at once."""
        while self.step() or (patiently and self.skip_waits()):
            pass

    def skip_waits(self) -> int:
        """Make due what waits for its next try. How many."""
        waiting = Attempt.objects.filter(status="due", next_at__gt=Now())
        return waiting.update(next_at=Now())

    def forget_beats(self, **which: Any) -> None:
        """Let the leases of running attempts be over."""
        Attempt.objects.filter(status="running", **which).update(lease_until=Now() - timedelta(seconds=1))

    def age_messages(self, seconds: float = 11) -> None:
        """Let messages have been under way for a while."""
        Attempt.objects.filter(status="sent").update(sent_at=Now() - timedelta(seconds=seconds))

    def sweep(self) -> int:
        """What a dispatcher does every few seconds besides."""
        return reaper.sweep()

    def _send(self, task: str, arguments: dict[str, Any], queue: str) -> None:
        if task == dispatcher.RUN_ATTEMPT:
            self.sent.append((UUID(arguments["attempt_id"]), arguments["token"], queue))


def claim(pk: UUID, token: int) -> Any:
    """An attempt, claimed; the test fails if it can not be."""
    claimed = attempt.claim(pk, expects=token)
    assert claimed is not None
    return claimed


def statuses(plan: Plan) -> dict[str, str]:
    """What each step of a plan is, as it is read."""
    read = Plan.objects.get(pk=plan.pk).shown
    rows = Step.objects.filter(plan=plan).order_by("index").values_list("key", "status")
    return {key: read(status) for key, status in rows}


def stage(plan: Plan) -> str:
    """What a plan is, as the database says."""
    return Plan.objects.values_list("stage", flat=True).get(pk=plan.pk)


def tries(plan: Plan, key: str) -> list[tuple[int, str]]:
    """Number and status of each attempt at a step."""
    found = Attempt.objects.filter(plan=plan, step__key=key).order_by("number")
    return list(found.values_list("number", "status"))


def together(*calls: Callable[[], Any]) -> list[Any]:
    """Call all at the same moment, each on a connection of its own; what each answered or raised, in order."""
    barrier = threading.Barrier(len(calls))
    answers: list[Any] = [None] * len(calls)

    def one(place: int, call: Callable[[], Any]) -> None:
        try:
            connection.ensure_connection()
            barrier.wait(20)
            answers[place] = call()
        except Exception as error:
            answers[place] = error
        finally:
            connection.close()

    threads = [threading.Thread(target=one, args=item) for item in enumerate(calls)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    if not connection.in_atomic_block:  # it would be rolled back
        close_old_connections()
    return answers


@contextmanager
def elsewhere(**more: Any) -> Iterator[psycopg.Connection[Any]]:
    """A connection of its own to the database of the test, for what somebody else does meanwhile."""
    values = connection.settings_dict
    login = {"host": values["HOST"], "port": values["PORT"], "user": values["USER"], "password": values["PASSWORD"]}
    with psycopg.connect(dbname=values["NAME"], **login, **more) as other:
        yield other


def names(answers: Sequence[Any]) -> list[str]:
    """The types of answers and errors, sorted."""
    return sorted(type(answer).__name__ for answer in answers)
