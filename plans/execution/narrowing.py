"""Attempts that work on some of a step's hosts only: which are left, under which limit, and that a retry stays as narrow."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from uuid import UUID

from agents.protocol import PlaybookRef
from audit.trail import requires_transaction
from plans import recovery
from plans.execution.claims import Claimed
from plans.models import Attempt, Step
from plans.recovery import HostState, Tried


def playbook_of(claimed: Claimed) -> PlaybookRef | None:
    """The playbook that a claimed attempt runs, if it runs one: as it was approved, on fewer hosts if it was narrowed."""
    ref = claimed.playbook
    if ref is None:
        return None
    only = Attempt.objects.values_list("only_hosts", flat=True).get(pk=claimed.attempt_id)
    return replace(ref, limit=recovery.narrowed_limit(ref.limit, claimed.step.hosts, only))


def hosts_of(step: Step) -> dict[str, HostState]:
    """How far each host of a step is, by all its attempts."""
    began = Attempt.objects.filter(step=step, started_at__isnull=False).order_by("number")
    tries = [Tried(only, progress) for only, progress in began.values_list("only_hosts", "progress")]
    return recovery.hosts_after(step.hosts, tries)


@requires_transaction
def narrow(made: Sequence[Attempt], hosts: dict[UUID, list[str]]) -> None:
    """Let new attempts work on these hosts only; `hosts` by step. Steps that are not in it keep all of theirs."""
    for attempt in made:
        if only := hosts.get(attempt.step_id):
            Attempt.objects.filter(pk=attempt.pk).update(only_hosts=only)
            attempt.only_hosts = only


@requires_transaction
def carry_over(attempt: Attempt, made: Sequence[Attempt]) -> None:
    """The try after a narrowed one is at least as narrow: what was finished before it is not done again."""
    if attempt.only_hosts:
        states = hosts_of(attempt.step)
        left = [host for host in attempt.only_hosts if states.get(host) is not HostState.FINISHED]
        narrow(made, {attempt.step_id: left or list(attempt.only_hosts)})
