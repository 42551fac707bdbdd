"""The dialogue: what Chiffon says back, in short sentences, and how it is kept."""

from __future__ import annotations

from typing import Any

from agents.playbooks.catalogue import Catalogue
from plans.decomposition import Ambiguity, Decomposition
from plans.models import Message, Plan, Request

_MOST_SUGGESTED = 6


def said(request: Request, author: Any, text: str) -> Message:
    """A person said something."""
    return Message.objects.create(session=request.session, request=request, author=author, kind="said", text=text)


def understood(request: Request, found: Decomposition) -> None:
    """Say what was read from the words; the page shows the decomposition itself below."""
    count = len(found.subtasks)
    pieces = "one piece of work" if count == 1 else f"{count} pieces of work"
    left = f" {len(found.out_of_scope)} part of your words leads to no work." if found.out_of_scope else ""
    _reply(request, "understood", f"I read {pieces}.{left}", found.to_json())


def asked(request: Request, question: Ambiguity) -> None:
    """Ask the one thing that is open first."""
    _reply(request, "question", question.question, question.to_json())


def planned(request: Request, plan: Plan) -> None:
    """Say that a plan waits for approval."""
    _reply(
        request,
        "planned",
        f"Plan {plan.number} is made and waits for approval. Nothing has run.",
        {"plan_id": str(plan.pk), "number": plan.number},
    )


def refused(request: Request, sentence: str) -> None:
    """Say why there is no plan."""
    _reply(request, "refused", sentence, {})


def out_of_scope(request: Request, found: Decomposition, catalogue: Catalogue) -> None:
    """Say that nothing matches, and what can be asked for instead."""
    titles = list(dict.fromkeys(offering.title for offering in catalogue.offerings))[:_MOST_SUGGESTED]
    _reply(
        request,
        "refused",
        f"{why_out_of_scope(found)} Nothing was planned.",
        {"suggestions": titles, "out_of_scope": [part.to_json() for part in found.out_of_scope]},
    )


def why_out_of_scope(found: Decomposition) -> str:
    """Why nothing came of the words, as one sentence."""
    reasons = list(dict.fromkeys(part.reason for part in found.out_of_scope))
    return reasons[0] if reasons else "No playbook here does what the words ask for."


def _reply(request: Request, kind: str, text: str, data: dict[str, Any]) -> None:
    Message.objects.create(session=request.session, request=request, author=None, kind=kind, text=text, data=data)
