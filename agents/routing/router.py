"""AgentRouter: filter, score, choose, explain. Nothing is dispatched around it. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from agents.routing.score import Candidate, Need, factors

CANDIDATES_KEPT: Final = 20
WEIGHTED: Final = "weighted score"
CONTINUATION: Final = "continuation"
_TAKES_WORK: Final = frozenset({"ready", "busy"})


@dataclass(frozen=True, slots=True)
class Choice:
    """Who was chosen (None: nobody can now), why, and every candidate with its factors or why it was not asked."""

    chosen: str | None
    score: float
    reason: str
    candidates: tuple[dict[str, Any], ...]
    total: int
    policy: str = WEIGHTED

    def to_json(self) -> dict[str, Any]:
        """The choice with its working, as a page and a record show it."""
        return {
            "chosen": self.chosen,
            "score": self.score,
            "reason": self.reason,
            "policy": self.policy,
            "candidates": list(self.candidates),
            "candidate_count": self.total,
        }


def why_not(candidate: Candidate, need: Need) -> str:
    """Why a candidate can not take the work now; empty if it can."""
    if candidate.name in need.excluded:
        return "did not take it in time"
    if candidate.status not in _TAKES_WORK:
        return f"is {candidate.status}"
    if need.tool not in candidate.tools:
        return f"has no tool {need.tool}"
    if missing := need.labels - candidate.labels:
        return f"lacks the label {', '.join(sorted(missing))}"
    if candidate.in_use >= candidate.slots:
        return f"has no free slot ({candidate.in_use} of {candidate.slots} in use)"
    return ""


class AgentRouter:
    """Chooses an agent for a piece of work by weighted score."""

    def choose(self, need: Need, candidates: Sequence[Candidate], *, continuing: str = "") -> Choice:
        """The best candidate that can take the work now, or nobody with the reason why it waits.

        `continuing` names an agent whose slot just became free: it goes on, if it can take the work at all, because no other
        has the context more at hand; all are scored and kept nevertheless.
        """
        judged = []
        for candidate in candidates:
            out = why_not(candidate, need)
            parts = {} if out else factors(candidate, need)
            judged.append((round(sum(parts.values()), 1), candidate, parts, out))
        judged.sort(key=lambda item: (bool(item[3]), -item[0], item[1].in_use, item[1].name))
        kept = tuple(
            {"agent": candidate.name, "score": score, "factors": parts, "out": out}
            for score, candidate, parts, out in judged[:CANDIDATES_KEPT]
        )
        able = [item for item in judged if not item[3]]
        if not able:
            return Choice(None, 0.0, _why_nobody(need, candidates, judged), kept, len(judged))
        if going_on := [item for item in able if item[1].name == continuing]:
            score, best, _, _ = going_on[0]
            why = f"{best.name} goes on: its slot has just become free"
            return Choice(best.name, score, why, kept, len(judged), CONTINUATION)
        score, best, parts, _ = able[0]
        equals = sum(item[0] == score for item in able) - 1
        return Choice(best.name, score, _why_this(best, parts, len(able), equals), kept, len(judged))


def _why_this(best: Candidate, parts: dict[str, float], able: int, equals: int) -> str:
    if able == 1:
        return f"{best.name} is the only agent that can take it now"
    if equals:
        return f"{best.name} scored as high as {equals} other{'s' if equals > 1 else ''}; among equals the least busy goes first, then by name"
    strongest = max(parts, key=lambda name: parts[name])
    words = {
        "success": "the best record on this kind of work",
        "context": "done this kind of work most recently",
        "specialisation": "the right type for it",
        "load": "the most room",
    }
    return f"{best.name} scored highest of {able}; {words[strongest]} counted most"


def _why_nobody(need: Need, candidates: Sequence[Candidate], judged: Sequence[Any]) -> str:
    if not candidates:
        return f"No agent has registered; {need.tool} needs one of type {need.agent_type}."
    have_tool = [candidate for candidate in candidates if need.tool in candidate.tools]
    if not have_tool:
        return f"No agent has the tool {need.tool}."
    awake = [candidate for candidate in have_tool if candidate.status in _TAKES_WORK]
    if not awake:
        states = ", ".join(f"{candidate.name} is {candidate.status}" for candidate in have_tool[:3])
        return f"No agent with {need.tool} takes work now: {states}."
    reasons = ", ".join(f"{candidate.name} {out}" for _, candidate, _, out in judged if candidate in awake and out)
    return f"Waits for a free slot: {reasons}."
