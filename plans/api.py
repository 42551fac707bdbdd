"""The REST endpoints of requests, plans and what their steps say. Each asks who may, makes one call, and tells the result."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.http import HttpRequest, HttpResponse
from ninja import Path, Query, Router, Status

from audit.authority import Action, may
from audit.context import Actor
from audit.http import allow, caller, missing, page_by
from plans import api_schemas as schemas
from plans import live, services
from plans.api_tell import tell_plan, tell_plans, tell_request, tell_state
from plans.models import Attempt, Plan, Request, Revision
from plans.permissions import visible_plans, visible_requests
from plans.selectors.inbox import for_me
from plans.selectors.lists import that_fit
from plans.selectors.partial_result import partial_result, tell_partial_result
from plans.selectors.revisions import tell_revisions
from plans.selectors.state import state_of
from plans.services.revising import revision_before

requests = Router(tags=["requests"])
plans = Router(tags=["plans"])
attempts = Router(tags=["plans"])
_LONGEST_NUMBER = 15  # digits


@requests.post("", response={201: schemas.RequestTold}, operation_id="submit_request", summary="Ask for work in words")
def submit_request(request: HttpRequest, body: schemas.RequestGiven) -> Status[dict[str, Any]]:
    """Answers what was understood: a plan, a question, or why nothing can be done."""
    made = services.submit_request(actor=caller(), text=body.text, session_id=body.session_id)
    return Status(201, tell_request(find_request(caller(), made.pk), with_messages=True))


@requests.get("", response=schemas.RequestsTold, operation_id="list_requests", summary="Requests, newest first")
def list_requests(request: HttpRequest, filters: Query[schemas.RequestFilters]) -> dict[str, Any]:
    """Those that the caller may see."""
    rows = visible_requests(allow(Action.SEE_REQUEST)).select_related("requester", "plan")
    if filters.status:
        rows = rows.filter(status=filters.status)
    found, more = page_by(rows, "number", filters.after, filters.limit)
    return {"items": [tell_request(row) for row in found], "next": more}


@requests.get("/{id}", response=schemas.RequestTold, operation_id="get_request", summary="One request")
def get_request(request: HttpRequest, id: Path[UUID]) -> dict[str, Any]:
    """With its conversation."""
    return tell_request(find_request(allow(Action.SEE_REQUEST), id), with_messages=True)


@requests.post(
    "/{id}/messages", response=schemas.RequestTold, operation_id="answer_request", summary="Answer a question"
)
def answer_request(request: HttpRequest, id: Path[UUID], body: schemas.MessageGiven) -> dict[str, Any]:
    """The answer refines what was understood; what became of the request is told."""
    services.answer_request(actor=caller(), request_id=id, text=body.text)
    return tell_request(find_request(caller(), id), with_messages=True)


@plans.post("", response={201: schemas.PlanTold}, operation_id="create_plan", summary="A plan written by a program")
def create_plan(request: HttpRequest, body: schemas.PlanGiven) -> Status[dict[str, Any]]:
    """Validated, digested and approved like any other; an invalid one is refused as a whole."""
    made = services.create_plan(
        actor=caller(), goal=body.goal, steps=body.steps, budget=body.budget, max_parallel=body.max_parallel
    )
    return Status(201, tell_plan(_plan(made.pk)))


@plans.get("", response=schemas.PlansTold, operation_id="list_plans", summary="Plans, newest first")
def list_plans(request: HttpRequest, filters: Query[schemas.PlanFilters]) -> dict[str, Any]:
    """Those that the caller may see. A page whose steps hold very much ends before its limit."""
    actor = allow(Action.SEE_PLANS)
    rows = visible_plans(actor).select_related("requester")
    if filters.stage:
        rows = rows.in_stages(filters.stage)
    if filters.requester:
        name = actor.name if filters.requester == "me" else filters.requester
        rows = rows.filter(requester__username=name)
    if filters.awaiting:
        rows = rows.filter(pk__in=for_me(Actor.person(actor.user)).order_by().values("plan"))
    found, more = page_by(rows, "number", filters.after, filters.limit)
    told = that_fit(found)
    return {"items": tell_plans(told), "next": str(told[-1].number) if len(told) < len(found) else more}


@plans.get("/{id}", response=schemas.PlanTold, operation_id="get_plan", summary="One plan")
def get_plan(request: HttpRequest, id: Path[str]) -> dict[str, Any]:
    """By its id or its number."""
    return tell_plan(find_plan(caller(), id))


@plans.post("/{id}/approve", response=schemas.PlanTold, operation_id="approve_plan", summary="Approve a digest")
def approve_plan(request: HttpRequest, id: Path[str], body: schemas.ApproveGiven) -> dict[str, Any]:
    """409 `digest_mismatch` if the plan is no longer what was seen; the same answer again is answered like the first."""
    plan = _to_decide(id)
    services.approve_plan(actor=caller(), plan_id=plan, digest=body.digest, comment=body.comment)
    return tell_plan(_plan(plan))


@plans.post("/{id}/reject", response=schemas.PlanTold, operation_id="reject_plan", summary="Reject a plan")
def reject_plan(request: HttpRequest, id: Path[str], body: schemas.RejectGiven) -> dict[str, Any]:
    """With a reason that the requester reads."""
    plan = _to_decide(id)
    services.reject_plan(actor=caller(), plan_id=plan, reason=body.reason, digest=body.digest)
    return tell_plan(_plan(plan))


@plans.post("/{id}/steps/{key}/retry", response=schemas.PlanTold, operation_id="retry_step", summary="Try a step again")
def retry_step(
    request: HttpRequest, id: Path[str], key: Path[str], body: schemas.RetryGiven = schemas.RetryGiven()
) -> dict[str, Any]:
    """A failed step, or one whose outcome is unknown, gets another try; one that waits for its next try begins it now.

    With `hosts: unfinished` a playbook runs again on the hosts that are not finished; 409 `hosts_unknown` if those are
    not known.
    """
    plan = _to_decide(id)
    services.retry_step(actor=caller(), plan_id=plan, key=key, reason=body.reason, hosts=body.hosts or "")
    return tell_plan(_plan(plan))


@plans.post(
    "/{id}/steps/{key}/give-up", response=schemas.PlanTold, operation_id="give_up_step", summary="Do not try it again"
)
def give_up_step(request: HttpRequest, id: Path[str], key: Path[str], body: schemas.ReasonNeeded) -> dict[str, Any]:
    """A step that waits for its next try fails now, without that try."""
    plan = _to_decide(id)
    services.give_up_step(actor=caller(), plan_id=plan, key=key, reason=body.reason)
    return tell_plan(_plan(plan))


@plans.post("/{id}/steps/{key}/skip", response=schemas.PlanTold, operation_id="skip_step", summary="Leave a step out")
def skip_step(request: HttpRequest, id: Path[str], key: Path[str], body: schemas.ReasonNeeded) -> dict[str, Any]:
    """With a reason, and with the right to approve: it changes what was approved. Later steps go on without its result."""
    plan = _to_decide(id)
    services.skip_step(actor=caller(), plan_id=plan, key=key, reason=body.reason)
    return tell_plan(_plan(plan))


@plans.post("/{id}/cancel", response=schemas.PlanTold, operation_id="cancel_plan", summary="Cancel a plan")
def cancel_plan(request: HttpRequest, id: Path[str], body: schemas.ReasonNeeded) -> dict[str, Any]:
    """Nothing new starts, what runs is asked to stop and then made to. It is `cancelled` once the last step has ended."""
    plan = _to_decide(id)
    services.cancel_plan(actor=caller(), plan_id=plan, reason=body.reason)
    return tell_plan(_plan(plan))


@plans.post("/{id}/pause", response=schemas.PlanTold, operation_id="pause_plan", summary="Start nothing new")
def pause_plan(
    request: HttpRequest, id: Path[str], body: schemas.ReasonGiven = schemas.ReasonGiven()
) -> dict[str, Any]:
    """What runs now runs to its end."""
    plan = _to_decide(id)
    services.pause_plan(actor=caller(), plan_id=plan, reason=body.reason)
    return tell_plan(_plan(plan))


@plans.post("/{id}/resume", response=schemas.PlanTold, operation_id="resume_plan", summary="Let a paused plan go on")
def resume_plan(
    request: HttpRequest, id: Path[str], body: schemas.ReasonGiven = schemas.ReasonGiven()
) -> dict[str, Any]:
    """From where it was paused."""
    plan = _to_decide(id)
    services.resume_plan(actor=caller(), plan_id=plan, reason=body.reason)
    return tell_plan(_plan(plan))


@plans.post("/{id}/retry", response=schemas.PlanTold, operation_id="retry_plan", summary="Go on where a plan failed")
def retry_plan(request: HttpRequest, id: Path[str], body: schemas.RetryGiven = schemas.RetryGiven()) -> dict[str, Any]:
    """Every failed step, and every one whose outcome is unknown, gets another try under the same digest.

    With `hosts: unfinished` the playbooks among them run again on the hosts that are not finished, and on no other.
    """
    plan = _to_decide(id)
    services.retry_plan(actor=caller(), plan_id=plan, reason=body.reason, hosts=body.hosts or "")
    return tell_plan(_plan(plan))


@plans.post(
    "/{id}/undo", response={201: schemas.PlanTold}, operation_id="undo_plan", summary="A plan that undoes what was done"
)
def undo_plan(
    request: HttpRequest, id: Path[str], body: schemas.ReasonGiven = schemas.ReasonGiven()
) -> Status[dict[str, Any]]:
    """A new plan, which waits for approval like any other; the old one stays as it is.

    409 `illegal_transition` if another plan has undone it already, or waits to; the sentence names that one.
    """
    made = services.undo_plan(actor=caller(), plan_id=_to_decide(id), reason=body.reason)
    return Status(201, tell_plan(_plan(made.pk)))


@plans.post("/{id}/revisions", response={201: schemas.PlanTold}, operation_id="revise_plan", summary="Change a plan")
def revise_plan(request: HttpRequest, id: Path[str], body: schemas.RevisionGiven) -> Status[dict[str, Any]]:
    """A new revision of a plan that awaits approval or has failed; it is approved anew before anything runs.

    What is done and stays what it was is not repeated. With a digest, 409 `digest_mismatch` if the plan is another by now; without
    a change, 422 `nothing_changed`.
    """
    told = {name: getattr(body, name) for name in ("goal", "budget", "max_parallel") if name in body.model_fields_set}
    if told.get("goal", "") is None:
        del told["goal"]  # there is none without a goal
    plan = _to_decide(id)
    services.revise_plan(actor=caller(), plan_id=plan, steps=body.steps, reason=body.reason, digest=body.digest, **told)
    return Status(201, tell_plan(_plan(plan)))


@plans.get(
    "/{id}/revisions",
    response=schemas.RevisionsTold,
    operation_id="list_revisions",
    summary="What each revision changed",
)
def list_revisions(request: HttpRequest, id: Path[str], filters: Query[schemas.RevisionFilters]) -> dict[str, Any]:
    """Newest first, each beside the one before."""
    plan = find_plan(caller(), id)
    rows = Revision.objects.filter(plan=plan).select_related("author")
    found, more = page_by(rows, "number", filters.after, filters.limit)
    return {"items": tell_revisions(plan, found), "next": more}


@plans.get(
    "/{id}/program", response=schemas.ProgramTold, operation_id="get_program", summary="The plan as a program writes it"
)
def get_program(request: HttpRequest, id: Path[str]) -> dict[str, Any]:
    """Its steps in the words of `POST /plans`, with its digest: to be changed and handed back as a new revision."""
    plan = find_plan(caller(), id)
    before = revision_before(plan)
    return {
        "digest": before.revision.digest,
        "goal": plan.goal,
        "steps": before.program,
        "budget": before.revision.budget,
        "max_parallel": plan.max_parallel,
    }


@plans.get(
    "/{id}/partial-result",
    response=schemas.PartialResultTold,
    operation_id="get_partial_result",
    summary="What is done, and how to go on",
)
def get_partial_result(request: HttpRequest, id: Path[str]) -> dict[str, Any]:
    """What stays done, how far what began had come, what did not start, and what the caller can do about it."""
    return tell_partial_result(partial_result(find_plan(caller(), id), caller()))


@plans.get(
    "/{id}/events", response=schemas.EventsTold, operation_id="list_events", summary="What happened after a cursor"
)
def list_events(request: HttpRequest, id: Path[str], filters: Query[schemas.EventFilters]) -> dict[str, Any]:
    """The plan's events and its output lines, as the WebSocket tells them; the cursors are the same."""
    plan = find_plan(caller(), id)
    batch = live.events_after(plan.pk, filters.after, filters.limit)
    return {"items": batch.events, "next": batch.cursor if batch.more else None}


@plans.get("/{id}/state", response=schemas.StatesTold, operation_id="list_state", summary="What its steps remembered")
def list_state(request: HttpRequest, id: Path[str], filters: Query[schemas.StateFilters]) -> dict[str, Any]:
    """In every scope, as far as a step of this plan was the last to write it."""
    rows = state_of(find_plan(caller(), id))
    if filters.scope:
        rows = rows.filter(scope=filters.scope)
    found, more = page_by(rows, "id", filters.after, filters.limit)
    return {"items": [tell_state(entry) for entry in found], "next": more}


@attempts.get(
    "/{id}/output",
    response=schemas.OutputTold,
    operation_id="read_output",
    summary="The lines of one try",
    openapi_extra={"responses": {200: {"content": {"text/plain": {"schema": {"type": "string"}}}}}},
)
def read_output(
    request: HttpRequest, id: Path[UUID], filters: Query[schemas.OutputFilters]
) -> HttpResponse | dict[str, Any]:
    """As JSON, or as plain text, where a Link header leads to the next page."""
    actor = allow(Action.SEE_PLANS)
    attempt = Attempt.objects.select_related("plan").filter(pk=id).first()
    if attempt is None or not may(actor, Action.SEE_PLAN, attempt.plan):
        raise missing("try")
    lines = live.lines_after(attempt.plan_id, attempt.pk, filters.after, filters.limit)
    more = str(lines[-1].seq) if len(lines) == filters.limit else None
    if filters.format == "text":
        text = "".join(f"{line.text}\n" for line in lines)
        response = HttpResponse(text, content_type="text/plain; charset=utf-8")
        if more:
            response["Link"] = f'<{request.path}?format=text&after={more}&limit={filters.limit}>; rel="next"'
        return response
    ended = bool(attempt.lines_sha256)
    return {
        "items": [{"seq": line.seq, "stream": line.stream, "text": line.text, "at": line.at} for line in lines],
        "next": more,
        "ended": ended,
        "count": attempt.line_count if ended else None,
        "sha256": attempt.lines_sha256 or None,
    }


def find_plan(actor: Actor, id: str) -> Plan:
    """The plan of this id or number, if the actor may see it. Raises Problem 403 or 404."""
    allow(Action.SEE_PLANS)
    plan = _by_name(id)
    if plan is None or not may(actor, Action.SEE_PLAN, plan):
        raise missing("plan")
    return plan


def find_request(actor: Actor, id: UUID) -> Request:
    """The request of this id, if the actor may see it. Raises Problem 403 or 404.

    Whoever asks or answers is told the result, also by a token that could not read it later.
    """
    found = Request.objects.select_related("requester", "plan").filter(pk=id).first()
    if found is not None and actor.user is not None and found.requester_id == actor.user.pk:
        return found
    allow(Action.SEE_REQUEST)
    if found is None or not may(actor, Action.SEE_REQUEST, found):
        raise missing("request")
    return found


def _by_name(id: str) -> Plan | None:
    plans = Plan.objects.select_related("requester")
    if id.isascii() and id.isdigit() and len(id) <= _LONGEST_NUMBER:
        return plans.filter(number=int(id)).first()
    try:
        return plans.filter(pk=UUID(id)).first()
    except ValueError:
        return None


def _to_decide(id: str) -> UUID:
    """The plan's id, for a service that asks itself who may."""
    plan = _by_name(id)
    if plan is None:
        raise missing("plan")
    return plan.pk


def _plan(pk: UUID) -> Plan:
    return Plan.objects.select_related("requester").get(pk=pk)
