"""Every type of decision: a past-tense fact with a sentence for people and the facts it must carry.

A sentence may name `{actor}`, `{subject}`, `{reason}` and any fact; what is missing is shown as it is written.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final


@dataclass(frozen=True, slots=True)
class DecisionType:
    """One type of decision. `icon` and `tone` are those of the design system."""

    name: str
    sentence: str
    facts: frozenset[str] = frozenset()
    icon: str = "check"
    tone: str = "idle"


def _table(*types: DecisionType) -> dict[str, DecisionType]:
    return {type_.name: type_ for type_ in types}


def _d(name: str, sentence: str, *facts: str, icon: str = "check", tone: str = "idle") -> DecisionType:
    return DecisionType(name, sentence, frozenset(facts), icon, tone)


DECISIONS: Final[Mapping[str, DecisionType]] = _table(
    # Requests
    _d("request.received", "{actor} asked: “{text}”", "text", icon="ask", tone="you"),
    _d("request.refused", "A request of {actor} was not taken: {reason}", "code", icon="rejected"),
    _d("request.decomposed", "Pieces of work found by {decomposer}: {count}", "decomposer", "count", icon="plan"),
    _d("request.clarification_asked", "Chiffon asked: “{question}”", "question", icon="ask", tone="you"),
    _d("request.answered", "{actor} answered: “{text}”", "text", icon="ask", tone="you"),
    _d("request.out_of_scope", "Nothing that can be asked for matches the request", icon="rejected"),
    # Plans
    _d("plan.created", "Plan {number} was drafted, steps: {steps}", "number", "steps", icon="plan"),
    _d("plan.refused", "A plan was not taken: {reason}", "errors", icon="rejected"),
    _d(
        "plan.revised",
        "{actor} made revision {revision}: {reason}",
        "revision",
        "digest",
        "kept",
        "changed",
        "added",
        "removed",
        "done",
        icon="diff",
        tone="you",
    ),
    _d("plan.stage_changed", "Plan went from {was} to {now}: {reason}", "was", "now", icon="plan"),
    _d("plan.approved", "{actor} approved revision {revision}", "digest", "revision", icon="shield", tone="you"),
    _d(
        "plan.rejected",
        "{actor} rejected revision {revision}: {reason}",
        "digest",
        "revision",
        icon="rejected",
        tone="you",
    ),
    _d("plan.decision_refused", "A decision of {actor} was not taken: {reason}", "code", icon="rejected", tone="warn"),
    _d("plan.start_refused", "Execution was refused: {reason}", "code", icon="failed", tone="bad"),
    _d("plan.cancel_requested", "{actor} cancelled the plan: {reason}", icon="cancelled", tone="you"),
    _d("plan.waits_for_lock", "Plan waits: {reason}", "behind", "target", "targets", icon="clock"),
    _d("plan.lock_taken", "Plan has what it works on for itself, after {seconds} s", "targets", "seconds", icon="key"),
    # Steps and attempts
    _d("step.routed", "{step} goes to {agent}: {reason}", "step", "agent", icon="agent"),
    _d("step.retried", "{actor} asked for another try of {step}: {reason}", "step", icon="retry", tone="you"),
    _d(
        "step.narrowed",
        "{actor} asked for another try of {step} on {hosts} only: {reason}",
        "step",
        "hosts",
        icon="retry",
        tone="you",
    ),
    _d(
        "step.brought_forward",
        "{actor} brought try {number} of {step} forward: {reason}",
        "step",
        "number",
        icon="play",
        tone="you",
    ),
    _d(
        "step.given_up",
        "{actor} gave up on {step} instead of waiting for try {number}: {reason}",
        "step",
        "number",
        icon="failed",
        tone="you",
    ),
    _d("step.skipped", "{actor} skipped {step}: {reason}", "step", icon="skip", tone="you"),
    _d("step.blocked", "{step} does not start: {reason}", "step", icon="pause", tone="warn"),
    _d(
        "attempt.started",
        "{actor} began try {number} of {step}",
        "step",
        "number",
        "token",
        icon="play",
        tone="run",
    ),
    _d("attempt.completed", "{step} completed: {reason}", "step", "number", icon="done", tone="ok"),
    _d(
        "attempt.failed",
        "Try {number} of {step} failed: {reason}",
        "step",
        "number",
        "failure_mode",
        icon="failed",
        tone="bad",
    ),
    _d("attempt.cancelled", "Try {number} of {step} was stopped: {reason}", "step", "number", icon="cancelled"),
    _d(
        "attempt.interrupted",
        "Try {number} of {step} was interrupted: {reason}",
        "step",
        "number",
        icon="unknown",
        tone="warn",
    ),
    _d(
        "budget.warned",
        "The budget comes to its end: {reason}",
        "spent",
        "held",
        "ceilings",
        icon="warning",
        tone="warn",
    ),
    _d(
        "budget.exceeded",
        "The budget has met its end: {reason}",
        "spent",
        "held",
        "ceilings",
        icon="warning",
        tone="bad",
    ),
    _d("attempt.retry_scheduled", "{step} is tried again in {seconds} s", "step", "number", "seconds", icon="retry"),
    _d("step.fanned_out", "{step} runs once for each of {count} items", "step", "count", "list_sha256", icon="plan"),
    _d("step.fell_back", "{step} goes on with {fallback}: {reason}", "step", "fallback", icon="retry", tone="warn"),
    _d(
        "plan.undo_asked",
        "{actor} asked for plan {number}, which undoes what was done: {reason}",
        "number",
        "steps",
        icon="undo",
        tone="you",
    ),
    _d("plan.rollback_begun", "What was done is undone: {reason}", "step", icon="undo", tone="warn"),
    _d("state.remembered", "{step} remembered {scope}.{key}", "step", "scope", "key", icon="book"),
    _d("state.forgotten", "{step} forgot {scope}.{key}", "step", "scope", "key", icon="book"),
    # Agents and playbooks
    _d("agent.registered", "Agent {subject} registered", "type", "slots", icon="agent"),
    _d("agent.status_changed", "Agent {subject} went from {was} to {now}: {reason}", "was", "now", icon="agent"),
    _d("playbooks.refreshed", "{actor} read the playbooks at {commit}", "commit", "playbooks", icon="book"),
    _d(
        "breaker.opened",
        "The breaker of {tool} on {where} opened for {seconds} s: {reason}",
        "tool",
        "where",
        "seconds",
        "failures",
        icon="failed",
        tone="bad",
    ),
    _d(
        "breaker.half_opened",
        "The breaker of {tool} on {where} lets one try through",
        "tool",
        "where",
        icon="unknown",
        tone="warn",
    ),
    _d("breaker.closed", "The breaker of {tool} on {where} closed: {reason}", "tool", "where", icon="done", tone="ok"),
    _d(
        "breaker.reset",
        "{actor} reset the breaker of {tool} on {where}: {reason}",
        "tool",
        "where",
        icon="undo",
        tone="you",
    ),
    # Policy, people, tokens
    _d(
        "policy.changed",
        "{actor} made {name} version {version}: {reason}",
        "name",
        "version",
        icon="shield",
        tone="you",
    ),
    _d("person.signed_in", "{actor} signed in", icon="key"),
    _d("person.sign_in_failed", "A sign-in as {subject} failed", icon="key", tone="warn"),
    _d("person.signed_out", "{actor} signed out", icon="key"),
    _d("person.added", "{actor} added {subject}: {reason}", "roles", icon="key", tone="you"),
    _d("person.changed", "{actor} changed {subject}: {reason}", "changed", "roles", icon="key", tone="you"),
    _d("token.created", "{actor} made the token {name}", "name", "scopes", icon="key", tone="you"),
    _d("token.revoked", "{actor} revoked the token {name}", "name", icon="key", tone="you"),
    # Chiffon itself
    _d("job.failed", "The job {kind} failed: {reason}", "kind", icon="failed", tone="bad"),
    _d(
        "tasks.committed",
        "Finished tasks committed to git as {commit}: {count}",
        "commit",
        "count",
        "traces",
        icon="git",
    ),
    _d("task.committed", "The task was committed to git as {commit}", "commit", "path", icon="git"),
)


def sentence(type_: str, *, actor: str, subject: str, reason: str, facts: Mapping[str, Any]) -> str:
    """A record as one sentence for a person. An unknown type is shown by its name."""
    decision = DECISIONS.get(type_)
    if decision is None:
        return f"{type_}: {reason}" if reason else type_
    known = {**facts, "actor": actor, "subject": subject, "reason": reason or "no reason given"}
    return decision.sentence.format_map(_Missing(known)).removesuffix(": no reason given")


class _Missing(dict[str, Any]):
    def __missing__(self, key: str) -> str:
        return f"({key} not recorded)"
