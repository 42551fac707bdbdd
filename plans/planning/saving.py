"""From a draft to rows: plan, revision, steps, dependencies, digest. One transaction, set-based."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from audit import trail
from audit.trail import requires_transaction
from plans import lifecycle, waiting
from plans.digest import header_content, seal
from plans.enums import Stage, StepKind
from plans.models import Dependency, Plan, Request, Revision, Step
from plans.planning.drafts import ActionDraft, PlanDraft, StepDraft


@requires_transaction
def save_plan(
    draft: PlanDraft, *, requester: Any, request: Request | None, because: str, undoes: Plan | None = None
) -> Plan:
    """Save a valid draft as a plan with its first revision, give it its digest, and let it wait for approval."""
    plan = Plan(
        request=request,
        requester=requester,
        undoes=undoes,
        goal=draft.goal,
        summary=draft.summary,
        service=draft.service,
        complexity=draft.complexity,
        priority=draft.priority,
        max_parallel=draft.max_parallel,
    )
    if request is not None:
        plan.trace_id = request.trace_id
    plan.save(force_insert=True)
    plan.refresh_from_db(fields=["number"])
    trail.record(
        "plan.created",
        subject=("plan", plan.pk),
        trace_id=plan.trace_id,
        service=plan.service,
        reason=because,
        number=plan.number,
        steps=len(draft.steps),
        goal=draft.goal,
        commit=draft.commit,
    )
    revision = save_revision(draft, plan, number=1, because=because, author=requester)
    lifecycle.transition(plan, to=Stage.PENDING_APPROVAL, because=f"Revision 1 has its digest {revision.digest[:8]}.")
    return plan


def header_of(draft: PlanDraft, carried: Mapping[str, Step]) -> dict[str, Any]:
    """What the digest of a draft covers besides its steps."""
    return header_content(
        repository=draft.repository,
        commit=draft.commit,
        tree=draft.tree,
        budget=draft.budget,
        steps=len(draft.steps) + len(draft.undoing),
        max_parallel=draft.max_parallel,
        carried=carried,
    )


def contents_of(draft: PlanDraft) -> dict[str, dict[str, Any]]:
    """What the digest of a draft covers of each of its steps and of what undoes them, by key, in the order of the leaves."""
    steps = {step.key: _row(step, None, place) for place, step in enumerate(draft.steps, start=1)}
    found = {step.key: steps[step.key].approved_content(step.depends_on) for step in draft.steps}
    return found | {row.key: row.approved_content(()) for row in _undoing_rows(draft, steps)}


@requires_transaction
def save_revision(
    draft: PlanDraft,
    plan: Plan,
    *,
    number: int,
    because: str,
    author: Any,
    carried: Mapping[str, Step] | None = None,
) -> Revision:
    """Save a valid draft as a revision of the plan, with its digest.

    `carried` are the steps of earlier revisions whose results the steps of the same keys keep: those are done from the start.
    """
    done = carried or {}
    header = header_of(draft, done)
    revision = Revision(
        plan=plan,
        number=number,
        header=header,
        repository_id=draft.repository_id,
        commit=draft.commit,
        tree=draft.tree,
        risk=draft.risk,
        risk_facts=list(draft.risk_facts),
        estimated_seconds=draft.seconds_without(done),
        budget=draft.budget,
        because=because,
        author=author,
    )
    steps = {step.key: _row(step, revision, place) for place, step in enumerate(draft.steps, start=1)}
    undoing = list(_undoing_rows(draft, steps))
    contents = [steps[step.key].approved_content(step.depends_on) for step in draft.steps]
    sealed = seal(header, contents + [row.approved_content(()) for row in undoing])
    revision.digest = sealed.digest
    rows = [*steps.values(), *undoing]
    for row, leaf, proof in zip(rows, sealed.leaves, sealed.proofs, strict=True):
        row.leaf, row.proof = leaf, list(proof)
    for step in draft.steps if done else ():
        _keep(steps[step.key], done.get(step.key), [key for key in step.depends_on if key not in done])
    revision.save(force_insert=True)
    Step.objects.bulk_create(rows)
    Dependency.objects.bulk_create(
        Dependency(revision=revision, upstream=steps[upstream], downstream=steps[step.key])
        for step in draft.steps
        for upstream in step.depends_on
    )
    return revision


def _keep(row: Step, done: Step | None, depends_on: list[str]) -> None:
    """Let a step be done as it was in an earlier revision, or wait for those that are not done."""
    row.unmet = len(depends_on)
    row.waiting_for = waiting.first_sentence(depends_on)
    if done is None:
        return
    row.status, row.waiting_for, row.released = done.status, "", True
    row.output, row.summary, row.items = done.output, done.summary, done.items
    row.started_at, row.finished_at = done.started_at, done.finished_at
    row.carried_from_id = done.carried_from_id or done.pk  # the one that did it, however many revisions ago


def _row(draft: StepDraft, revision: Revision | None, index: int) -> Step:
    return Step(
        revision=revision,
        plan=revision.plan if revision else None,
        index=index,
        key=draft.key,
        name=draft.name,
        tool=draft.tool,
        input=draft.input,
        playbook=draft.playbook,
        agent_type=draft.agent_type,
        work_type=draft.work_type or draft.tool,
        resources=draft.resources,
        risk=draft.risk,
        timeout_seconds=draft.timeout_seconds,
        retry=draft.retry.to_json(),
        idempotent=draft.idempotent,
        when=draft.when,
        on_failure=draft.on_failure,
        for_each=draft.for_each,
        fallback=draft.fallback.to_json() if draft.fallback else None,
        hosts=list(draft.hosts),
        reason=draft.reason,
        service=draft.service,
        origins=draft.origins,
        estimated_seconds=draft.estimated_seconds,
        reversible_by=draft.reversible_by,
        span=[list(pair) for pair in draft.spans] or None,
        unmet=len(draft.depends_on),
        waiting_for=waiting.first_sentence(draft.depends_on),
    )


def _undoing_rows(draft: PlanDraft, steps: Mapping[str, Step]) -> Iterator[Step]:
    """The rows of what undoes steps, after all others."""
    for place, step in enumerate(draft.undoing, start=len(steps) + 1):
        if step.rollback:
            yield _undoing(step.key, step.rollback, steps[step.key], place)


def _undoing(key: str, action: ActionDraft, step: Step, index: int) -> Step:
    """The row of what undoes a step: approved with the plan, run only if the plan is rolled back."""
    return Step(
        revision_id=step.revision_id,
        plan_id=step.plan_id,
        index=index,
        key=f"{key}.rollback",
        kind=StepKind.ROLLBACK,
        parent=step,
        name=f"Undo {key}",
        tool=action.tool,
        input=action.input,
        playbook=action.playbook,
        agent_type=step.agent_type,
        work_type=action.work_type or action.tool,
        resources=step.resources,
        risk=action.risk,
        timeout_seconds=step.timeout_seconds,
        retry=action.retry.to_json(),
        idempotent=action.idempotent,
        hosts=step.hosts,
        reason=f"Undoes {key} if the plan is rolled back after it was done.",
        service=step.service,
        waiting_for=waiting.ROLLBACK,
    )
