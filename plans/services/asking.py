"""From words, or from a program's steps, to a plan that waits for approval."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Any
from uuid import UUID

from django.db import transaction
from django.db.models import Avg, Count, F, Q
from django.db.models.functions import Now

from agents import selectors as agents_selectors
from agents.playbooks.filling import UnusableValue
from audit import trail
from audit.authority import Action, check, may
from audit.context import Actor, acting
from audit.errors import NotAllowed
from audit.redaction import redact
from plans import lifecycle
from plans.decomposition import Decomposition
from plans.enums import RequestStatus, Stage
from plans.errors import BadText, Conflict, InvalidPlan, NotFound
from plans.intake import conversation
from plans.intake.decomposer import RequestDecomposer, UnusableText, check_text
from plans.models import Attempt, Plan, Request, Session
from plans.planning.drafts import Kept, PlanDraft
from plans.planning.planner import History, WorkPlanner
from plans.planning.programs import draft_from_program
from plans.planning.saving import save_plan
from plans.planning.validation import errors_in, text_errors

_RECENT = timedelta(days=90)
_NEWEST = 20_000  # tries of any kind that are looked through


def submit_request(*, actor: Actor, text: str, session_id: UUID | None = None) -> Request:
    """Take a request in words, understand it, and plan it if nothing is open.

    Raises BadText for what no request can be read from (recorded, nothing saved), NotAllowed, NotFound for a session
    that is not the actor's.
    """
    check(actor, Action.ASK)
    _check_words(actor, text)
    with acting(actor), transaction.atomic():
        session = _session(actor, session_id)
        request = Request(session=session, requester=actor.user, text=redact(text))
        request.save(force_insert=True)
        request.refresh_from_db(fields=["number"])
        with acting(actor, request.trace_id):
            trail.record("request.received", subject=("request", request.pk), text=request.text, number=request.number)
            conversation.said(request, actor.user, request.text)
            _understand(request)
    return request


def answer_request(*, actor: Actor, request_id: UUID, text: str) -> Request:
    """Answer the open question of a request; what was understood is refined, and planned if nothing is open.

    Raises NotFound, NotAllowed, BadText, and Conflict if the request has a plan already.
    """
    request = Request.objects.filter(pk=request_id).first()
    answer = may(actor, Action.ANSWER_REQUEST, request) if request else None
    if request is None or answer is None or (not answer and answer.hidden):
        raise NotFound("There is no such request, or it is not for you.")
    if not answer:
        raise NotAllowed(answer.code, answer.sentence)
    if not text.strip() or len(text) > 1_000 or text_errors(text, ["text"]):
        raise BadText("bad_answer", "An answer has 1 to 1,000 characters, and none that can not be stored.")
    with acting(actor, request.trace_id), transaction.atomic():
        request = Request.objects.select_for_update().get(pk=request_id)
        open_questions = (request.decomposition or {}).get("ambiguities", [])
        if request.status != RequestStatus.NEEDS_CLARIFICATION or not open_questions:
            raise Conflict("Nothing is asked here now. Make a new request for what else you want.")
        said = redact(text.strip())
        request.answers = {**request.answers, open_questions[0]["key"]: said}
        Request.objects.filter(pk=request.pk).update(answers=request.answers)
        trail.record(
            "request.answered",
            subject=("request", request.pk),
            text=said,
            question=open_questions[0]["question"],
        )
        conversation.said(request, actor.user, said)
        _understand(request)
    return request


def _check_words(actor: Actor, text: str) -> None:
    try:
        check_text(text)
    except UnusableText as error:
        with acting(actor), transaction.atomic():
            subject = ("person", actor.name)
            trail.record("request.refused", subject=subject, reason=error.sentence, code=error.code, length=len(text))
        raise BadText(error.code, error.sentence) from error


def _session(actor: Actor, session_id: UUID | None) -> Session:
    if session_id is None:
        return Session.objects.create(owner=actor.user)
    session = Session.objects.filter(pk=session_id, owner=actor.user).first()
    if session is None:
        raise NotFound("There is no such conversation, or it is not yours.")
    return session


def _understand(request: Request) -> None:
    """Take the request apart with what is known today, say what was understood, and plan it if nothing is open."""
    repository = agents_selectors.repository()
    if repository is None:
        lifecycle.move_request(request, to=RequestStatus.FAILED)
        conversation.refused(
            request, "No playbooks are known yet, so nothing can be planned. An agent admin reads them in."
        )
        return
    catalogue, facts = agents_selectors.catalogue_of(repository), agents_selectors.facts_of(repository)
    try:
        found = RequestDecomposer().decompose(request.text, catalogue, facts, request.answers)
    except UnusableValue as error:
        lifecycle.move_request(request, to=RequestStatus.FAILED)
        conversation.refused(request, error.sentence)
        trail.record("request.refused", subject=("request", request.pk), reason=error.sentence, code="unusable_value")
        return
    request.decomposition = found.to_json()
    Request.objects.filter(pk=request.pk).update(decomposition=request.decomposition)
    trail.record(
        "request.decomposed",
        subject=("request", request.pk),
        decomposer=found.decomposer,
        count=len(found.subtasks),
        alternatives=[{"subtask": task.name, "explanation": list(task.explanation)} for task in found.subtasks],
        subtasks=[
            {"name": task.name, "playbook": task.playbook, "confidence": task.confidence} for task in found.subtasks
        ],
        out_of_scope=[part.to_json() for part in found.out_of_scope],
    )
    if found.ambiguities:
        lifecycle.move_request(request, to=RequestStatus.NEEDS_CLARIFICATION)
        conversation.understood(request, found)
        conversation.asked(request, found.ambiguities[0])
        question = found.ambiguities[0].question
        trail.record("request.clarification_asked", subject=("request", request.pk), question=question)
    elif not found.subtasks:
        lifecycle.move_request(request, to=RequestStatus.OUT_OF_SCOPE)
        conversation.out_of_scope(request, found, catalogue)
        trail.record(
            "request.out_of_scope", subject=("request", request.pk), reason=conversation.why_out_of_scope(found)
        )
    else:
        conversation.understood(request, found)
        planner = WorkPlanner(repository, catalogue, facts, _history())
        _plan(request, found, planner)


def _plan(request: Request, found: Decomposition, planner: WorkPlanner) -> None:
    draft = planner.draft(request.text, found, clashes=other_plans())
    if errors := errors_in(draft):
        lifecycle.move_request(request, to=RequestStatus.FAILED)
        conversation.refused(request, f"No plan could be made: {errors[0]['msg']}")
        trail.record("plan.refused", subject=("request", request.pk), reason=str(errors[0]["msg"]), errors=errors[:20])
        return
    plan = save_plan(
        draft, requester=request.requester, request=request, because=f"Request {request.number} asked for it."
    )
    lifecycle.move_request(request, to=RequestStatus.PLANNED)
    conversation.planned(request, plan)


def _history() -> dict[str, History]:
    """What the last 90 days say about each playbook: of the newest tries, so that asking costs the same whatever the history."""
    newest = Attempt.objects.order_by("-pk").values("pk")[:_NEWEST]
    ended = Attempt.objects.filter(
        pk__in=newest,
        step__work_type__startswith="playbook:",
        finished_at__gt=Now() - _RECENT,
        status__in=["completed", "failed"],
    )
    well = Q(status="completed")
    rows = ended.values("step__work_type").annotate(
        tried=Count("pk"), well=Count("pk", filter=well), took=Avg(F("finished_at") - F("started_at"), filter=well)
    )
    return {
        row["step__work_type"].removeprefix("playbook:"): History(
            row["well"], row["tried"], row["took"].total_seconds() if row["took"] else None
        )
        for row in rows.order_by()
    }


def record_of_playbooks() -> dict[str, tuple[int, int]]:
    """How often each playbook went well in the last 90 days, and how often it was tried."""
    return {path: (known.well, known.tried) for path, known in _history().items()}


def other_plans() -> list[str]:
    """Plans that run now, as people name them."""
    running = Plan.objects.in_stages(Stage.APPROVED, Stage.EXECUTING).exclude(service="")
    return [f"plan {number} ({service})" for number, service in running.values_list("number", "service")[:5]]


def create_plan(
    *,
    actor: Actor,
    goal: str,
    steps: Sequence[Any],
    budget: Mapping[str, Any] | None = None,
    max_parallel: int | None = None,
) -> Plan:
    """A plan written by a program, digested and waiting for approval. Raises NotAllowed, and InvalidPlan, which is on record then."""
    check(actor, Action.ASK)
    with refusals_on_record(actor, ("person", actor.name)):
        draft = valid_draft(goal, steps, budget, max_parallel)
    with acting(actor), transaction.atomic():
        return save_plan(draft, requester=actor.user, request=None, because="Written by a program.")


@contextmanager
def refusals_on_record(
    actor: Actor, subject: tuple[str, object], *, trace_id: UUID | None = None, service: str = ""
) -> Iterator[None]:
    """Record what is refused as no valid plan. It goes around the transaction, of which nothing is saved then."""
    try:
        yield
    except InvalidPlan as error:
        with acting(actor, trace_id), transaction.atomic():
            trail.record(
                "plan.refused", subject=subject, service=service, reason=error.sentence, errors=error.errors[:20]
            )
        raise


def valid_draft(
    goal: str,
    steps: Sequence[Any],
    budget: Mapping[str, Any] | None,
    max_parallel: int | None,
    *,
    kept: Mapping[str, Kept] | None = None,
) -> PlanDraft:
    """The draft of a plan in a program's words, or all that is wrong with it. Raises InvalidPlan."""
    draft = draft_from_program(goal, steps, budget, max_parallel, kept=kept)
    if errors := errors_in(draft) + text_errors(goal, ["goal"]):
        raise InvalidPlan(errors)
    return draft
