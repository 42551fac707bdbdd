"""A plan is changed: a new revision with a new digest, which somebody approves anew. What is done and stays what it was is not repeated."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from typing import Any, Final
from uuid import UUID

from django.db import transaction

from audit import trail
from audit.authority import Action, check
from audit.context import Actor, acting
from plans import lifecycle
from plans.differences import Difference, Kind, compare
from plans.enums import LIVE_ATTEMPTS, Stage, StepKind, StepStatus
from plans.errors import DigestMismatch, IllegalTransition, Refused
from plans.execution import stopping
from plans.models import IN_ORDER, Attempt, Plan, Revision, Step
from plans.planning.drafts import PlanDraft
from plans.planning.planner import summary_of
from plans.planning.revisions import FINISHED, carried_by, kept_of, program_of
from plans.planning.risk import risk_facts
from plans.planning.saving import contents_of, header_of, save_revision
from plans.planning.vocabulary import vocabulary_facts
from plans.recovery import named
from plans.selectors.steps import upstream_of
from plans.selectors.undoing import TakenBack, last_run, taken_back, undos_of
from plans.services.asking import other_plans, record_of_playbooks, refusals_on_record, valid_draft
from plans.services.common import checked, not_undone, operable, reason_of

Json = dict[str, Any]
REVISABLE: Final = (Stage.PENDING_APPROVAL, Stage.FAILED)
_MOST_NAMED: Final = 200  # keys in a record


class Unsaid(Enum):
    """What a revision does not mention stays as it is."""

    AS_IT_IS = "as it is"


AS_IT_IS: Final = Unsaid.AS_IT_IS


@dataclass(frozen=True, slots=True)
class Before:
    """The revision that a plan has now: its row, the rows of its steps, and the keys that each of them depends on."""

    revision: Revision
    rows: list[Step]
    upstream: dict[str, list[str]]

    @property
    def contents(self) -> dict[str, Json]:
        """What its digest covers of each leaf, by key."""
        return {row.key: row.approved_content(self.upstream.get(row.key, ())) for row in self.rows}

    @property
    def program(self) -> list[Json]:
        """Its steps as a program would write them."""
        return program_of(self.rows, self.upstream)


def revise_plan(
    *,
    actor: Actor,
    plan_id: UUID,
    steps: Sequence[Any],
    reason: str,
    digest: str = "",
    goal: str | Unsaid = AS_IT_IS,
    budget: Mapping[str, Any] | Unsaid | None = AS_IT_IS,
    max_parallel: int | Unsaid | None = AS_IT_IS,
) -> Plan:
    """Change a plan that awaits approval or has failed; the new revision awaits approval. Nothing runs before that.

    `steps` are all steps of the new revision, as a program writes them. A step that is done and stays what it was, after none that
    runs anew, is not repeated. With a digest, only if the plan is still what was seen. Raises NotFound, NotAllowed, Refused without
    a reason or without a change, DigestMismatch, IllegalTransition, and InvalidPlan, which is on record then.
    """
    plan = operable(actor, plan_id)
    check(actor, Action.ASK)
    reason = reason_of(reason, "Say why it is changed: whoever approves it reads this.")
    digest = checked(digest, "digest")
    _check_possible(plan, _current(plan), digest)  # before any lock: what begins at this moment would wait for it
    with (
        refusals_on_record(actor, ("plan", plan_id), trace_id=plan.trace_id, service=plan.service),
        acting(actor, plan.trace_id),
        transaction.atomic(),
    ):
        plan = stopping.hold(plan_id)
        before = revision_before(plan)
        _check_possible(plan, before.revision, digest)
        draft = valid_draft(
            plan.goal if isinstance(goal, Unsaid) else goal,
            steps,
            before.revision.budget if isinstance(budget, Unsaid) else budget,
            plan.max_parallel if isinstance(max_parallel, Unsaid) else max_parallel,
            kept=kept_of(before.rows),
        )
        return _revise(actor, plan, before, draft, reason)


def revision_before(plan: Plan) -> Before:
    """The current revision of a plan with its steps, without their items."""
    revision = _current(plan)
    rows = Step.objects.filter(revision=revision).exclude(kind=StepKind.ITEM).order_by(*IN_ORDER)
    found = list(rows.select_related("parent"))
    return Before(revision, found, upstream_of(revision, {row.pk: row.key for row in found}))


def still_done(plan: Plan, before: Before) -> dict[str, Step]:
    """The steps of a plan that a revision does not repeat as long as they stay what they are, and the rows that did them."""
    upstream = {row.key: before.upstream.get(row.key, []) for row in before.rows if row.kind == StepKind.STEP}
    finished = _finished(_ran_last(plan))
    undone = taken_back(undos_of(plan), finished.values())
    return carried_by(upstream, before.contents, {key: row for key, row in finished.items() if key not in undone})


def why_not_revised(plan: Plan) -> str:
    """Why a plan can not be changed now; empty if it can."""
    if plan.rollback_reason:
        return not_undone(plan).sentence
    if plan.cancel_reason:
        return f"Plan {plan.number} is cancelled, or being so, and stays as it is."
    if plan.stage not in REVISABLE:
        is_now = Stage(plan.stage).label.lower()
        return f"Plan {plan.number} is {is_now}; only a plan that awaits approval or has failed is revised."
    return ""


def _current(plan: Plan) -> Revision:
    return Revision.objects.get(plan=plan, number=plan.revision_number)


def _check_possible(plan: Plan, revision: Revision, digest: str) -> None:
    if digest and digest != revision.digest:
        raise DigestMismatch(
            f"The plan is no longer what you saw: it is revision {revision.number} now. Nothing was changed. Read what it is, "
            "then change that."
        )
    if reason := why_not_revised(plan):
        raise IllegalTransition(reason)
    if Attempt.objects.filter(plan=plan, status__in=LIVE_ATTEMPTS).exists():
        raise IllegalTransition(f"Something of plan {plan.number} still runs; it can be revised once it is at rest.")


def _revise(actor: Actor, plan: Plan, before: Before, draft: PlanDraft, reason: str) -> Plan:
    contents, was = contents_of(draft), before.contents
    difference = compare(was, contents)
    old, new = before.revision.header, header_of(draft, {})
    if not difference.steps and {**old, "carried": []} == {**new, "v": old.get("v"), "carried": []}:
        raise Refused(
            "nothing_changed",
            "Nothing of what is approved would change, so there is no new revision."
            + (" To run it again as it is, retry it." if plan.stage == Stage.FAILED else ""),
        )
    ran = _ran_last(plan)
    finished = _finished(ran)
    undone = taken_back(undos_of(plan), finished.values())
    done = {key: row for key, row in finished.items() if key not in undone}
    carried = carried_by({step.key: step.depends_on for step in draft.steps}, contents, done)
    if len(carried) == len(draft.steps):
        raise Refused(
            "nothing_left", "Every step of it is done already, so nothing would run. Undo it, or ask for more."
        )
    number = before.revision.number + 1
    draft = replace(draft, risk_facts=(*_facts(actor, number, ran, draft, carried, undone), *_risks(plan, draft)))
    lifecycle.transition(plan, to=Stage.DRAFT, because=f"{actor.called} makes revision {number}.")
    revision = save_revision(draft, plan, number=number, because=reason, author=actor.user, carried=carried)
    count = f"{len(draft.steps)} step{'' if len(draft.steps) == 1 else 's'}"
    written = f"{count}, as {actor.called} wrote {'it' if len(draft.steps) == 1 else 'them'} in revision {number}."
    summary = summary_of(draft.steps) if plan.request_id else written
    changed: Json = {
        "revision_number": number,
        "goal": draft.goal,
        "summary": summary,
        "max_parallel": draft.max_parallel,
        "complexity": draft.complexity,
    }
    Plan.objects.filter(pk=plan.pk).update(**changed)
    for name, value in changed.items():
        setattr(plan, name, value)
    trail.record(
        "plan.revised",
        subject=("plan", plan.pk),
        service=plan.service,
        reason=reason,
        revision=number,
        digest=revision.digest,
        was=before.revision.digest,
        done=sorted(carried)[:_MOST_NAMED],
        **_told(difference),
    )
    lifecycle.transition(
        plan, to=Stage.PENDING_APPROVAL, because=f"Revision {number} has its digest {revision.digest[:8]}."
    )
    return plan


def _told(difference: Difference) -> Json:
    """Which steps stay, change, come and go, as a record says it."""
    found: Json = {"kept": list(difference.same)[:_MOST_NAMED]}
    return found | {str(kind): difference.keys(kind)[:_MOST_NAMED] for kind in (Kind.CHANGED, Kind.ADDED, Kind.REMOVED)}


def _ran_last(plan: Plan) -> list[Step]:
    """The steps of the revision that ran last."""
    revision = last_run(plan)
    return list(Step.objects.filter(revision=revision, kind=StepKind.STEP).order_by("index")) if revision else []


def _finished(rows: Sequence[Step]) -> dict[str, Step]:
    return {row.key: row for row in rows if row.status in FINISHED}


def _facts(
    actor: Actor,
    number: int,
    ran: Sequence[Step],
    draft: PlanDraft,
    carried: Mapping[str, Step],
    undone: Mapping[str, TakenBack],
) -> list[Json]:
    """What whoever approves a revision should know first: who wrote it, what stays done, and what was done and does not."""
    facts = [_fact("warn", "diff", f"Revision {number} was written by {actor.called}", "read what changed, and why")]
    if carried:
        text = f"{len(carried)} step{' is' if len(carried) == 1 else 's are'} done and not repeated"
        facts.append(_fact("ok", "done", text, named(sorted(carried))))
    keys = {step.key for step in draft.steps}
    for is_done in (True, False):
        gone = [row.key for row in ran if row.key in keys and row.key in undone and undone[row.key].done == is_done]
        if gone:
            was = f"{'was' if len(gone) == 1 else 'were'} undone since" if is_done else "may be undone by now"
            text = f"{named(gone)} {was}, and {'runs' if len(gone) == 1 else 'run'} again"
            facts.append(
                _fact("warn", "undo", text, f"by plan {named(sorted({str(undone[key].number) for key in gone}))}")
            )
    again = [row for row in ran if row.key not in carried and (row.status in FINISHED or row.started_at)]
    again = [row for row in again if row.key not in undone]
    left_out = [row.key for row in again if row.key not in keys]
    repeated = [row.key for row in again if row.key in keys and row.status == StepStatus.COMPLETED]
    unknown = [row.key for row in again if row.key in keys and row.status == StepStatus.UNKNOWN]
    lists = [row.key for row in again if row.key in keys and row.key not in repeated and row.for_each is not None]
    if left_out:
        text = f"{named(left_out)} began and {_is(left_out)} left out now"
        facts.append(_fact("warn", "warning", text, "what it did stays as it is"))
    if repeated:
        text = f"{named(repeated)} {_is(repeated)} done and {'runs' if len(repeated) == 1 else 'run'} again"
        facts.append(_fact("warn", "retry", text, "it, or a step before it, changed"))
    if unknown:
        text = f"Nobody knows how {named(unknown)} ended, and {'it runs' if len(unknown) == 1 else 'they run'} again"
        facts.append(_fact("warn", "unknown", text, "look first at what was left"))
    if lists:
        text = f"{named(lists)} {'works' if len(lists) == 1 else 'work'} through the whole list again"
        facts.append(_fact("warn", "retry", text, "also the items that are done"))
    return facts


def _is(keys: Sequence[str]) -> str:
    return "is" if len(keys) == 1 else "are"


def _risks(plan: Plan, draft: PlanDraft) -> Sequence[Json]:
    """What could go wrong, as for any plan of this origin."""
    if plan.request_id is None:
        return draft.risk_facts[1:]  # the first says that a program wrote it
    return (*risk_facts(draft.steps, record_of_playbooks(), other_plans()), *vocabulary_facts(draft.steps))


def _fact(tone: str, icon: str, text: str, detail: str) -> Json:
    return {"tone": tone, "icon": icon, "text": text, "detail": detail}
