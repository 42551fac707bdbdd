"""The chat client's three routes: thin doors to the same services as everything else."""

from __future__ import annotations

from typing import Annotated, Any
from uuid import UUID

from django.http import HttpRequest
from ninja import Path, Router
from pydantic import Field

from audit.api import TaskTold, tell_task
from audit.http import Given, Told, caller
from plans import services
from plans.api_schemas import Digest, MessageTold, Remark, Text
from plans.api_tell import tell_message
from plans.enums import RequestStatus, Stage
from plans.models import Message, Plan, Request

dashboard = Router(tags=["dashboard"])
_Id = Annotated[UUID, Field(strict=False)]
_STARTED = frozenset({Stage.APPROVED, Stage.EXECUTING, Stage.PAUSED, Stage.COMPLETED, Stage.FAILED})


class ChatGiven(Given):
    """What a person says; with a session it goes on in that conversation."""

    message: Text
    session_id: _Id | None = None


class ChatTold(Told):
    """The conversation so far, and what came of the last request."""

    session_id: UUID
    request_id: UUID
    plan_id: UUID | None
    messages: list[MessageTold]


class ApproveGiven(Given):
    """The answer yes to one digest of one plan."""

    plan_id: _Id
    digest: Digest
    comment: Remark = ""


class ApproveTold(Told):
    """Where the plan stands now. `dispatch_started`: no further answer is needed, and agents get its work."""

    plan_id: UUID
    stage: Stage
    dispatch_started: bool


@dashboard.post("/chat", response=ChatTold, operation_id="chat", summary="Say something")
def chat(request: HttpRequest, body: ChatGiven) -> dict[str, Any]:
    """A question that is open in the conversation is answered; otherwise it is a new request."""
    actor = caller()
    asked = (
        Request.objects.filter(
            session=body.session_id, requester=actor.user, status=RequestStatus.NEEDS_CLARIFICATION
        ).first()
        if body.session_id
        else None
    )
    if asked is None:
        made = services.submit_request(actor=actor, text=body.message, session_id=body.session_id)
    else:
        made = services.answer_request(actor=actor, request_id=asked.pk, text=body.message)
    said = Message.objects.filter(session=made.session_id).select_related("author").order_by("id")
    return {
        "session_id": made.session_id,
        "request_id": made.pk,
        "plan_id": Plan.objects.filter(request=made.pk).values_list("pk", flat=True).first(),
        "messages": [tell_message(message) for message in said],
    }


@dashboard.post("/approve", response=ApproveTold, operation_id="chat_approve", summary="Approve a digest")
def approve(request: HttpRequest, body: ApproveGiven) -> dict[str, Any]:
    """The same as approving under /api/v1/plans/."""
    plan = services.approve_plan(actor=caller(), plan_id=body.plan_id, digest=body.digest, comment=body.comment)
    stage = Plan.objects.values_list("stage", flat=True).get(pk=plan.pk)
    return {"plan_id": plan.pk, "stage": stage, "dispatch_started": stage in _STARTED}


@dashboard.get("/audit/task/{task_id}", response=TaskTold, operation_id="chat_task", summary="One task")
def task(request: HttpRequest, task_id: Path[UUID]) -> dict[str, Any]:
    """Its row, records and commit."""
    return tell_task(task_id)
