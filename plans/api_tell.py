"""Rows as the API tells them, in a number of queries that does not grow with the plans or their steps."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any
from uuid import UUID

from django.db.models import F

from plans.budget import Amounts, completed
from plans.enums import AttemptStatus
from plans.models import (
    IN_ORDER,
    Approval,
    ApprovalPolicy,
    Attempt,
    BudgetLedger,
    Dependency,
    Message,
    Plan,
    Request,
    Revision,
    StateEntry,
    Step,
)
from plans.retry import RetryPolicy
from plans.selectors.policy import active_policy
from plans.selectors.steps import done_before


def tell_request(request: Request, *, with_messages: bool = False) -> dict[str, Any]:
    """A request, with its requester and plan loaded; the conversation only on demand."""
    plan = getattr(request, "plan", None)
    told: dict[str, Any] = {
        "id": request.pk,
        "number": request.number,
        "trace_id": request.trace_id,
        "session_id": request.session_id,
        "text": request.text,
        "status": request.status,
        "decomposition": request.decomposition,
        "plan_id": plan.pk if plan else None,
        "requester": request.requester.get_username(),
        "created_at": request.created_at,
        "messages": None,
    }
    if with_messages:
        said = Message.objects.filter(request=request).select_related("author").order_by("id")
        told["messages"] = [tell_message(message) for message in said]
    return told


def tell_message(message: Message) -> dict[str, Any]:
    """One thing said, with its author loaded."""
    return {
        "id": message.pk,
        "author": message.author.get_username() if message.author else None,
        "kind": message.kind,
        "text": message.text,
        "data": message.data,
        "at": message.at,
    }


def tell_plans(plans: Sequence[Plan]) -> list[dict[str, Any]]:
    """Plans in their current revision, with their requesters loaded; seven queries for all of them."""
    ids = [plan.pk for plan in plans]
    revisions = {
        revision.plan_id: revision
        for revision in Revision.objects.filter(plan__in=ids, number=F("plan__revision_number"))
    }
    steps: dict[UUID, list[Step]] = defaultdict(list)
    current = [revision.pk for revision in revisions.values()]
    by_id = {plan.pk: plan for plan in plans}
    for step in Step.objects.filter(revision__in=current).order_by(*IN_ORDER):
        by_id[step.plan_id].show(step)
        steps[step.plan_id].append(step)
    told_steps = tell_steps([step for found in steps.values() for step in found], current)
    approvals: dict[UUID, list[Approval]] = defaultdict(list)
    answers = Approval.objects.filter(plan__in=ids).select_related("approver", "policy", "revision").order_by("id")
    for approval in answers:
        approvals[approval.plan_id].append(approval)
    ledgers = BudgetLedger.objects.in_bulk(ids)
    policy = active_policy()
    return [
        _tell_plan(
            plan,
            revisions[plan.pk],
            _tell_budget(revisions[plan.pk], ledgers.get(plan.pk)),
            [told_steps[step.pk] for step in steps[plan.pk]],
            approvals[plan.pk],
            policy,
        )
        for plan in plans
        if plan.pk in revisions
    ]


def tell_plan(plan: Plan) -> dict[str, Any]:
    """One plan in its current revision."""
    return tell_plans([plan])[0]


def tell_steps(steps: Sequence[Step], revisions: Sequence[UUID]) -> dict[UUID, dict[str, Any]]:
    """Steps of these revisions by their task id, with what they depend on and every try."""
    upstream: dict[UUID, list[str]] = defaultdict(list)
    edges = Dependency.objects.filter(revision__in=revisions).values_list("downstream_id", "upstream__key")
    for downstream, key in edges.order_by("upstream__index"):
        upstream[downstream].append(key)
    attempts: dict[UUID, list[Attempt]] = defaultdict(list)
    ids = [step.pk for step in steps]
    for attempt in (
        Attempt.objects.filter(step__in=ids)
        .select_related("agent")
        .prefetch_related("choice")
        .order_by("step", "number")
    ):
        attempts[attempt.step_id].append(attempt)
    done_in = done_before(steps)
    return {step.pk: _tell_step(step, upstream[step.pk], attempts[step.pk], done_in.get(step.pk)) for step in steps}


def tell_state(entry: StateEntry) -> dict[str, Any]:
    """One remembered value, with its step loaded."""
    return {
        "scope": entry.scope,
        "key": entry.key,
        "value": entry.value,
        "size": entry.size,
        "step": entry.step.key,
        "written_at": entry.written_at,
        "expires_at": entry.expires_at,
    }


def _tell_plan(
    plan: Plan,
    revision: Revision,
    budget: dict[str, Any],
    steps: list[dict[str, Any]],
    approvals: list[Approval],
    policy: ApprovalPolicy | None,
) -> dict[str, Any]:
    applied = next((answer.policy for answer in reversed(approvals) if answer.revision_id == revision.pk), policy)
    return {
        "id": plan.pk,
        "number": plan.number,
        "request_id": plan.request_id,
        "trace_id": plan.trace_id,
        "requester": plan.requester.get_username(),
        "revision": revision.number,
        "stage": plan.stage,
        "stage_reason": plan.stage_reason,
        "waiting_for": plan.waiting_for or None,
        "priority": plan.priority,
        "digest": revision.digest or None,
        "goal": plan.goal,
        "summary": plan.summary,
        "service": plan.service,
        "complexity": plan.complexity,
        "risk": revision.risk,
        "risk_facts": revision.risk_facts,
        "estimated_seconds": revision.estimated_seconds,
        "max_parallel": plan.max_parallel,
        "rollback_reason": plan.rollback_reason or None,
        "budget": budget,
        "commit": revision.commit or None,
        "policy": {
            "name": applied.name,
            "version": applied.version,
            "approvals_needed": applied.approvals_needed,
            "four_eyes": applied.four_eyes,
        }
        if applied
        else None,
        "approvals": [_tell_approval(answer) for answer in approvals],
        "steps": steps,
        "created_at": plan.created_at,
        "submitted_at": plan.submitted_at,
        "started_at": plan.started_at,
        "finished_at": plan.finished_at,
    }


def _tell_budget(revision: Revision, ledger: BudgetLedger | None) -> dict[str, Any]:
    """A plan's ceilings with what is spent and what is reserved for calls under way; empty without a budget."""
    if not revision.budget:
        return {}
    spent, held = (ledger.spent, ledger.held) if ledger else (Amounts(), Amounts())
    return {**completed(revision.budget), "spent": spent.to_json(), "reserved": held.to_json()}


def _tell_approval(answer: Approval) -> dict[str, Any]:
    return {
        "approver": answer.approver.get_username(),
        "decision": answer.decision,
        "revision": answer.revision.number,
        "digest": answer.digest,
        "comment": answer.comment,
        "policy": str(answer.policy),
        "at": answer.at,
    }


def _tell_step(step: Step, depends_on: list[str], attempts: list[Attempt], done_in: int | None) -> dict[str, Any]:
    last = attempts[-1] if attempts else None
    fallback = step.fallback_work
    return {
        "key": step.key,
        "kind": step.kind,
        "parent": step.parent_key or None,
        "task_id": step.pk,
        "index": step.index,
        "name": step.name,
        "tool": step.tool,
        "input": step.input,
        "origins": step.origins,
        "playbook": step.playbook,
        "hosts": step.hosts,
        "depends_on": depends_on,
        "agent_type": step.agent_type,
        "work_type": step.work_type,
        "resources": step.resources,
        "risk": step.risk,
        "timeout_seconds": step.timeout_seconds,
        "retry": RetryPolicy.from_json(step.retry).to_json(),
        "when": step.when or None,
        "on_failure": step.on_failure,
        "for_each": step.for_each,
        "items": step.items,
        "item": step.item,
        "item_index": step.item_index,
        "fallback": {"tool": fallback.tool, "input": fallback.input, "playbook": fallback.playbook}
        if fallback
        else None,
        "reason": step.reason,
        "status": step.status,
        "waiting_for": step.waiting_for or None,
        "agent": last.agent.name if last and last.agent else None,
        "routing": (last.routing or None) if last else None,
        "attempts": [_tell_attempt(attempt, step) for attempt in attempts],
        "output": step.output,
        "summary": step.summary,
        "error": step.error or None,
        "preview": step.preview,
        "carried_from": done_in,
        "started_at": step.started_at,
        "finished_at": step.finished_at,
    }


def _tell_attempt(attempt: Attempt, step: Step) -> dict[str, Any]:
    work = step.work_of(by_fallback=attempt.by_fallback)
    return {
        "id": attempt.pk,
        "number": attempt.number,
        "status": attempt.status,
        "agent": attempt.agent.name if attempt.agent else None,
        "tool": work.tool,
        "by_fallback": attempt.by_fallback,
        "failure_mode": attempt.failure_mode or None,
        "transient": attempt.transient,
        "error": attempt.error or None,
        "only_hosts": attempt.only_hosts,
        "progress": attempt.progress,
        "next_at": attempt.next_at if attempt.status == AttemptStatus.DUE else None,
        "started_at": attempt.started_at,
        "finished_at": attempt.finished_at,
    }
