"""An approved plan starts: its first steps become due, the others wait in line."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final
from uuid import UUID

from django.db import transaction

from audit.context import current_actor
from audit.db import call
from audit.trail import requires_transaction
from plans import lifecycle, live
from plans.enums import Stage, StepKind, StepStatus
from plans.errors import StaleTransition
from plans.execution import engine, fleet, locks
from plans.models import Attempt, Plan

_BECAUSE: Final = "Nothing it depends on is left."


@requires_transaction
def start(plan: Plan, revision_id: str, rows: Sequence[Mapping[str, Any]], *, because: str) -> None:
    """Move a plan to approved and make its first steps due; the others wait for the ones before them.

    `rows` are the revision's steps as gate.standing() read them in this transaction. Raises StaleTransition if the plan does not await
    approval any more.
    """
    if plan.stage == Stage.PENDING_APPROVAL and not plan.targets and all(map(_is_plain, rows)):
        _start_plainly(plan, revision_id, because)
        return
    lifecycle.transition(plan, to=Stage.APPROVED, because=because)
    locks.take(plan, engine.aimed_steps(plan))
    waiting = engine.current_steps(plan).filter(unmet=0, kind=StepKind.STEP, status=StepStatus.WAITING)
    first = list(waiting.order_by("index"))
    room = plan.waits_since is not None or fleet.may_have_room()  # of a plan that waits, each step is told for what
    due = engine.make_due(plan, engine.wanted(plan, first), because=_BECAUSE, routed_now=room)
    if (
        not due and not Attempt.objects.filter(step__revision_id=UUID(revision_id)).exists()
    ):  # no condition holds: it is done without a start
        lifecycle.transition(plan, to=Stage.EXECUTING, because="No step has to run.")
        engine.settle(plan)


def _is_plain(row: Mapping[str, Any]) -> bool:
    """Whether there is nothing to decide before a step of a new plan is due: it touches nothing, and a first one just runs."""
    if row["hosts"] or row["service"]:
        return False
    is_first = row["unmet"] == 0 and row["kind"] == StepKind.STEP and not row["carried"]
    return not is_first or (not row["when"] and row["for_each"] is None)


def _start_plainly(plan: Plan, revision_id: str, because: str) -> None:
    """Everything in one statement (chiffon_start in plans/sql/course.sql). Agents are chosen by who has room, not here."""
    actor = current_actor()
    started = call(
        "SELECT chiffon_start(%s, %s, %s, %s, %s, %s)",
        [plan.pk, revision_id, because, _BECAUSE, actor.kind, actor.name],
    )
    if not started:
        raise StaleTransition(f"Plan {plan.number} was moved by someone else at the same moment.")
    plan.stage, plan.stage_reason = Stage.APPROVED, because
    transaction.on_commit(lambda: live.announce(plan.pk))
    transaction.on_commit(live.announce_inbox)
