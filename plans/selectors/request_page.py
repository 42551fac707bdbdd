"""The page of one request: the conversation, what was understood, and where it stands."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from audit.authority import Action, may
from audit.context import Actor
from plans.enums import RequestStatus, Stage
from plans.models import Message, Plan, Request
from plans.words import Coverage, cover, spans_of

_CERTAIN = 95  # percent
_LIKELY = 80
_DECOMPOSERS = {"catalogue": "catalogue matcher, no language model"}


@dataclass(frozen=True, slots=True)
class Subtask:
    """One piece of work that was understood, for people."""

    order: int
    name: str
    playbook: str
    confidence: int
    explanation: str
    parameters: list[tuple[str, Any, str]] = field(default_factory=list)
    questioned: bool = False

    @property
    def sure(self) -> bool:
        """Whether it was understood without doubt."""
        return self.confidence >= _LIKELY and not self.questioned

    @property
    def certainty(self) -> str:
        """How sure Chiffon is that this is what was meant, as a word."""
        if self.questioned:
            return "Needs an answer"
        return "Certain" if self.confidence >= _CERTAIN else "Likely" if self.sure else "Unsure"


@dataclass(frozen=True, slots=True)
class Stand:
    """One line of "where this stands"."""

    word: str
    detail: str
    icon: str
    tone: str
    current: bool = False


@dataclass(frozen=True, slots=True)
class RequestPage:
    """Everything the page of a request shows, for one reader."""

    request: Request
    plan: Plan | None
    messages: list[Message]
    subtasks: list[Subtask]
    questions: list[dict[str, Any]]
    out_of_scope: list[dict[str, Any]]
    coverage: Coverage
    complexity: str
    decomposer: str
    found: list[tuple[str, Any, str]]
    stands: list[Stand]
    may_answer: bool

    @property
    def awaits_answer(self) -> bool:
        """Whether a question is open. They are asked one after the other."""
        return bool(self.questions)

    @property
    def may_ask_again(self) -> bool:
        """Whether nothing came of it, so that other words may help."""
        return self.request.status in (RequestStatus.OUT_OF_SCOPE, RequestStatus.FAILED) and self.may_answer


def request_page(request: Request, actor: Actor) -> RequestPage:
    """What one reader sees of a request. The caller has asked whether they may see it."""
    plan = Plan.objects.filter(request=request).first()
    read: dict[str, Any] = request.decomposition or {}
    questions = [part for part in _parts(read, "ambiguities") if request.status == RequestStatus.NEEDS_CLARIFICATION]
    subtasks = [_subtask(part, at, questions) for at, part in enumerate(_parts(read, "subtasks"), start=1)]
    spans = {
        subtask.order: spans_of(part.get("words") or part.get("span"))
        for subtask, part in zip(subtasks, _parts(read, "subtasks"), strict=True)
    }
    messages = list(Message.objects.filter(request=request).select_related("author").order_by("at", "id")[:500])
    if questions and messages and messages[-1].kind == "question":
        messages.pop()  # it is open: the page asks it as a form
    return RequestPage(
        request=request,
        plan=plan,
        messages=messages,
        subtasks=subtasks,
        questions=questions,
        out_of_scope=_parts(read, "out_of_scope"),
        coverage=cover(request.text, spans),
        complexity=str(read.get("complexity", "")),
        decomposer=_DECOMPOSERS.get(str(read.get("decomposer", "")), str(read.get("decomposer", ""))),
        found=[row for subtask in subtasks for row in subtask.parameters],
        stands=_stands(request, plan, len(questions)),
        may_answer=bool(may(actor, Action.ANSWER_REQUEST, request)),
    )


def _parts(read: dict[str, Any], name: str) -> list[dict[str, Any]]:
    return [part for part in read.get(name) or [] if isinstance(part, dict)]


def _subtask(part: dict[str, Any], at: int, questions: list[dict[str, Any]]) -> Subtask:
    parameters = part.get("parameters") or {}
    why = part.get("explanation") or ()
    asked = {str(question.get("about", "")) for question in questions}
    return Subtask(
        order=int(part.get("order", at)),
        name=str(part.get("name", "")),
        playbook=str(part.get("playbook") or part.get("offering_key", "")),
        confidence=round(float(part.get("confidence", 0)) * 100),
        explanation=why if isinstance(why, str) else " ".join(str(reason) for reason in why),
        parameters=[
            (name, value.get("value"), str(value.get("origin", ""))) if isinstance(value, dict) else (name, value, "")
            for name, value in parameters.items()
        ],
        questioned=bool(asked & set(parameters)),
    )


def _stands(request: Request, plan: Plan | None, questions: int) -> list[Stand]:
    """The way from the first word to the result, and how far this request is on it."""
    count = len(request.text.split())
    stands = [Stand("Asked", f"{count} word{'' if count == 1 else 's'}", "done", "ok")]
    match request.status:
        case RequestStatus.NEEDS_CLARIFICATION:
            missing = "one answer is missing" if questions <= 1 else f"{questions} answers are missing"
            stands.append(Stand("Understood", missing, "ask", "you", current=True))
        case RequestStatus.OUT_OF_SCOPE:
            return [
                *stands,
                Stand("Not understood", "no playbook does this; nothing will run", "rejected", "idle", True),
            ]
        case RequestStatus.FAILED:
            return [*stands, Stand("Failed", "it could not be planned; nothing will run", "failed", "bad", True)]
        case RequestStatus.RECEIVED:
            stands.append(Stand("Understood", "being read now", "clock", "run", current=True))
        case _:
            stands.append(Stand("Understood", "every piece has a playbook", "done", "ok"))
    stands += _plan_stands(plan)
    return stands


def _plan_stands(plan: Plan | None) -> list[Stand]:
    if plan is None:
        return [
            Stand("Planned", "steps with their inputs and risk", "clock", "idle"),
            Stand("Approved", "by people, exactly as it was read", "clock", "idle"),
            Stand("Done", "agents carry it out, and the trail keeps it", "clock", "idle"),
        ]
    stands = [Stand("Planned", f"plan {plan.number}", "done", "ok")]
    match plan.stage:
        case Stage.DRAFT:
            stands.append(Stand("Approved", "the plan is being completed", "clock", "idle", current=True))
        case Stage.PENDING_APPROVAL:
            stands.append(Stand("Approved", "waits for an approver", "hand", "you", current=True))
        case Stage.REJECTED | Stage.EXPIRED:
            detail = plan.stage_reason or "nothing ran"
            stands.append(Stand(Stage(plan.stage).label, detail, str(plan.stage), "idle", current=True))
            return stands
        case Stage.CANCELLED:
            stands.append(Stand("Cancelled", plan.stage_reason or "nothing more will run", "cancelled", "idle", True))
            return stands
        case _:
            stands.append(Stand("Approved", "exactly as it was read", "done", "ok"))
    match plan.stage:
        case Stage.EXECUTING | Stage.APPROVED:
            stands.append(Stand("Done", "running now", "running", "run", current=True))
        case Stage.PAUSED:
            stands.append(Stand("Done", "paused", "pause", "warn", current=True))
        case Stage.FAILED:
            stands.append(Stand("Done", plan.stage_reason or "a step failed", "failed", "bad", current=True))
        case Stage.COMPLETED:
            stands.append(Stand("Done", plan.stage_reason or "all steps are done", "done", "ok", current=True))
        case _:
            stands.append(Stand("Done", "after approval", "clock", "idle"))
    return stands


def words_of(actor: Actor, plan_number: int | None) -> str:
    """The words that a plan answers, to ask them again; none if this person may not read them."""
    asked = Request.objects.filter(plan__number=plan_number).first() if plan_number else None
    return asked.text if asked is not None and may(actor, Action.SEE_REQUEST, asked) else ""
