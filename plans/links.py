"""Where records about requests, plans, steps and tries lead: registered with the trail, which knows nobody."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any
from urllib.parse import urlencode
from uuid import UUID

from audit import links
from audit.links import Link, TaskRow, TraceSubject, page, uuids
from plans.enums import Stage
from plans.models import Approval, ApprovalPolicy, Attempt, Plan, Request, Revision, Step


def register() -> None:
    """Tell the trail how this app's subjects are named and found."""
    links.register_kind("request", _requests)
    links.register_kind("plan", _plans)
    links.register_kind("revision", _revisions)
    links.register_kind("step", _steps)
    links.register_kind("attempt", _attempts)
    links.register_kind("approval", _approvals)
    links.register_kind("policy", _policies)
    links.register_kind("session", _sessions)
    links.register_tracer("attempt", _traces_of_attempts)
    links.register_tracer("plan", _traces_of_plans)
    links.register_tracer("step", _traces_of_steps)
    links.register_owners(_plans_of_traces)
    links.register_labels("plan.stage_changed", {stage.value: stage.label.lower() for stage in Stage})
    links.register_trace_finder(_trace)
    links.register_task_finder(_task)


def plan_url(number: int) -> str:
    """The page of a plan."""
    return page("plans:plan", number)


def run_url(number: int, step_key: str, attempt: int | None = None) -> str:
    """The page of a plan's run, with the output of this step, or of one try at it, open."""
    address = page("plans:run", number)
    asked = {"step": step_key} | ({"try": str(attempt)} if attempt else {})
    return f"{address}?{urlencode(asked)}#output" if address else ""


def _requests(ids: Collection[str]) -> Mapping[str, Link]:
    rows = Request.objects.filter(pk__in=uuids(ids)).values_list("pk", "number")
    return {str(pk): Link(f"Request {number}", page("plans:request", pk)) for pk, number in rows}


def _plans(ids: Collection[str]) -> Mapping[str, Link]:
    rows = Plan.objects.filter(pk__in=uuids(ids)).values_list("pk", "number")
    return {str(pk): Link(f"Plan {number}", plan_url(number)) for pk, number in rows}


def _plans_of_traces(traces: Collection[UUID]) -> Mapping[UUID, Link]:
    rows = Plan.objects.filter(trace_id__in=traces).values_list("trace_id", "number")
    return {trace: Link(f"Plan {number}", plan_url(number)) for trace, number in rows}


def _revisions(ids: Collection[str]) -> Mapping[str, Link]:
    rows = Revision.objects.filter(pk__in=uuids(ids)).values_list("pk", "number", "plan__number")
    return {str(pk): Link(f"Plan {plan} revision {number}", plan_url(plan)) for pk, number, plan in rows}


def _steps(ids: Collection[str]) -> Mapping[str, Link]:
    rows = Step.objects.filter(pk__in=uuids(ids)).values_list("pk", "key", "plan__number")
    return {str(pk): Link(f"{key} of plan {plan}", page("audit:task", pk)) for pk, key, plan in rows}


def _attempts(ids: Collection[str]) -> Mapping[str, Link]:
    rows = Attempt.objects.filter(pk__in=uuids(ids)).values_list("pk", "number", "step__key", "plan__number")
    return {
        str(pk): Link(f"try {number} of {key}, plan {plan}", run_url(plan, key, number))
        for pk, number, key, plan in rows
    }


def _traces_of_attempts(ids: Collection[str]) -> Mapping[str, UUID]:
    rows = Attempt.objects.filter(pk__in=uuids(ids)).values_list("pk", "plan__trace_id")
    return {str(pk): trace for pk, trace in rows}


def _traces_of_plans(ids: Collection[str]) -> Mapping[str, UUID]:
    return {str(pk): trace for pk, trace in Plan.objects.filter(pk__in=uuids(ids)).values_list("pk", "trace_id")}


def _traces_of_steps(ids: Collection[str]) -> Mapping[str, UUID]:
    rows = Step.objects.filter(pk__in=uuids(ids)).values_list("pk", "plan__trace_id")
    return {str(pk): trace for pk, trace in rows}


def _approvals(ids: Collection[str]) -> Mapping[str, Link]:
    rows = Approval.objects.filter(pk__in=uuids(ids)).values_list("pk", "plan__number", "approver__username")
    return {str(pk): Link(f"answer of {who} to plan {plan}", plan_url(plan)) for pk, plan, who in rows}


def _policies(ids: Collection[str]) -> Mapping[str, Link]:
    rows = ApprovalPolicy.objects.filter(pk__in=uuids(ids)).values_list("pk", "name", "version")
    return {str(pk): Link(f"{name} version {version}", page("plans:policy")) for pk, name, version in rows}


def _sessions(ids: Collection[str]) -> Mapping[str, Link]:
    return {str(id_): Link("a conversation") for id_ in ids}


def _trace(trace_id: UUID) -> TraceSubject | None:
    plan = Plan.objects.filter(trace_id=trace_id).select_related("requester").first()
    if plan is not None:
        return TraceSubject(plan.goal, plan, plan_url(plan.number))
    request = Request.objects.filter(trace_id=trace_id).select_related("requester").first()
    return TraceSubject(request.text, request, page("plans:request", request.pk)) if request else None


def _task(task_id: UUID) -> TaskRow | None:
    steps = Step.objects.filter(pk=task_id).select_related("plan", "plan__requester", "revision")
    step = steps.select_related("carried_from__revision").first()
    if step is None:
        return None
    attempts = list(step.attempts.select_related("agent"))
    return TaskRow(
        title=f"{step.name}, plan {step.plan.number}",
        subject=step.plan,
        state=step,
        trace_id=step.plan.trace_id,
        url=run_url(step.plan.number, step.key),
        data=_task_data(step, attempts),
        subjects=tuple(("attempt", str(attempt.pk)) for attempt in attempts),
    )


def _source(step: Step | None) -> dict[str, Any] | None:
    """The task of an earlier revision that did a step; it has the tries, and the file in git."""
    return {"task_id": step.pk, "revision": step.revision.number} if step else None


def _task_data(step: Step, attempts: Collection[Attempt]) -> dict[str, Any]:
    return {
        "task_id": step.pk,
        "plan_id": step.plan_id,
        "plan_number": step.plan.number,
        "trace_id": step.plan.trace_id,
        "revision": step.revision.number,
        "digest": step.revision.digest,
        "key": step.key,
        "name": step.name,
        "tool": step.tool,
        "service": step.service,
        "status": step.status,
        "summary": step.summary,
        "error": step.error,
        "output": step.output,
        "started_at": step.started_at,
        "finished_at": step.finished_at,
        "carried_from": _source(step.carried_from),
        "attempts": [
            {
                "id": attempt.pk,
                "number": attempt.number,
                "status": attempt.status,
                "agent": attempt.agent.name if attempt.agent else None,
                "failure_mode": attempt.failure_mode,
                "error": attempt.error,
                "resources_used": attempt.resources_used,
                "services_touched": attempt.services_touched,
                "started_at": attempt.started_at,
                "finished_at": attempt.finished_at,
            }
            for attempt in attempts
        ],
    }
