"""The page of one plan: what will happen, what could go wrong, who must still agree."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from audit.authority import Action, may
from audit.context import Actor
from plans.enums import Decision, Stage, StepKind
from plans.graph import SHOWN, Drawing
from plans.models import Approval, ApprovalPolicy, Plan, Request, Revision, Step
from plans.selectors.budget import BudgetView, budget_view
from plans.selectors.partial_result import PartialResult, partial_result
from plans.selectors.policy import active_policy, approvers
from plans.selectors.revisions import Changes, changes_of, done_in
from plans.selectors.steps import STEPS_SHOWN, StepView, graph_of, undoing, views_of
from plans.selectors.undoing import undone_since, why_not_gone_on
from plans.selectors.waits import behind
from plans.words import Coverage, cover, spans_of


@dataclass(frozen=True, slots=True)
class Verdict:
    """Who must agree to the current revision, who did, and what the person who looks may do about it."""

    policy: ApprovalPolicy | None
    needed: int
    have: int  # approvals that count
    votes: list[Approval]
    deciders: list[Any]
    more_deciders: int
    may_decide: bool
    why_not: str
    mine: Approval | None
    author: Any = None  # who wrote the revision and may not decide about it, if that is not the requester
    overtaken: str = ""  # why nobody can approve it as it is: what it builds on, or undoes, has changed meanwhile

    @property
    def missing(self) -> int:
        """How many approvals are still needed."""
        return max(self.needed - self.have, 0)


@dataclass(frozen=True, slots=True)
class PlanPage:
    """Everything the page of a plan shows, for one reader."""

    plan: Plan
    revision: Revision
    request: Request | None
    steps: list[StepView]
    step_count: int
    row_count: int  # with what undoes steps
    first: int
    graph: Drawing
    budget: BudgetView | None
    coverage: Coverage | None
    unasked: list[str]
    matrix: list[str]
    hosts: list[str]
    reversible: list[str]
    reversible_count: int
    verdict: Verdict
    may_see_request: bool
    may_see_trace: bool
    partial: PartialResult | None = None
    undone_since: str = ""  # what other plans undid of it, where `partial` does not say so
    behind: Plan | None = None
    undoes: Plan | None = None
    changes: Changes | None = None  # what the current revision changed of the one before
    may_revise: bool = False

    @property
    def done(self) -> list[str]:
        """The steps that earlier revisions have done."""
        return done_in(self.revision)

    @property
    def pending(self) -> bool:
        """Whether it waits for approval."""
        return self.plan.stage == Stage.PENDING_APPROVAL

    @property
    def has_run(self) -> bool:
        """Whether there is a run to look at."""
        return self.plan.stage in (Stage.APPROVED, Stage.EXECUTING, Stage.PAUSED, Stage.COMPLETED, Stage.FAILED) or (
            self.plan.started_at is not None
        )

    @property
    def last(self) -> int:
        """The place of the last step shown."""
        return self.first + len(self.steps) - 1

    @property
    def older(self) -> int | None:
        """The place of the step after the last one shown, if there is one."""
        after = self.first + len(self.steps)
        return after if after <= self.row_count else None


def plan_page(plan: Plan, actor: Actor, first: int = 1, step: str = "") -> PlanPage:
    """What one reader sees of a plan. At most 50 steps in full, from the place `first` or the step named on."""
    revision = current_revision(plan)
    request = plan.request
    graph, upstream, everything = graph_of(plan, revision, link="#step-{key}", far_link="?step={key}#step-{key}")
    rows = [row for row in everything if row["kind"] != StepKind.ITEM]
    facts = [row for row in rows if row["kind"] == StepKind.STEP]
    undo = undoing(rows)
    if step:
        first = next((row["index"] for row in everything if row["key"] == step), first)
    first = max(min(first, len(rows)), 1)
    shown = Step.objects.filter(revision=revision, index__gte=first).exclude(kind=StepKind.ITEM)
    told_in_full = (Stage.FAILED, Stage.CANCELLED)
    coverage = None
    if request is not None:
        coverage = cover(request.text, {row["index"]: spans_of(row["span"]) for row in facts})
    return PlanPage(
        plan=plan,
        revision=revision,
        request=request,
        steps=views_of(
            map(plan.show, shown.order_by("index")[:STEPS_SHOWN]), upstream, undo, words_matter=request is not None
        ),
        step_count=len(facts),
        row_count=len(rows),
        first=first,
        graph=graph,
        budget=budget_view(revision),
        coverage=coverage,
        unasked=[row["key"] for row in facts if not row["span"]] if request is not None else [],
        matrix=[row["key"] for row in facts] if coverage and len(facts) <= SHOWN else [],
        hosts=list(dict.fromkeys(host for row in facts for host in row["hosts"])),
        reversible=list(dict.fromkeys(undo.values())),
        reversible_count=len(undo),
        verdict=verdict_on(plan, revision, actor),
        may_see_request=request is not None and bool(may(actor, Action.SEE_REQUEST, request)),
        may_see_trace=bool(may(actor, Action.SEE_TRACE, plan)),
        partial=partial_result(plan, actor) if plan.stage in told_in_full else None,
        undone_since="" if plan.stage in told_in_full else undone_since(plan),
        behind=seen_behind(plan, actor),
        undoes=_seen(plan.undoes, actor),
        changes=changes_of(plan, revision),
        may_revise=plan.stage == Stage.PENDING_APPROVAL
        and bool(may(actor, Action.OPERATE_PLAN, plan))
        and bool(may(actor, Action.ASK)),
    )


def seen_behind(plan: Plan, actor: Actor) -> Plan | None:
    """The plan that this one waits for, if this reader may open it."""
    return _seen(behind(plan), actor)


def _seen(other: Plan | None, actor: Actor) -> Plan | None:
    return other if other is not None and may(actor, Action.SEE_PLAN, other) else None


def current_revision(plan: Plan) -> Revision:
    """The revision that the plan stands for now."""
    return Revision.objects.select_related("repository", "plan", "author").get(plan=plan, number=plan.revision_number)


def verdict_on(plan: Plan, revision: Revision, actor: Actor) -> Verdict:
    """Who must agree to a revision, who did, and what this person may do."""
    answers = Approval.objects.filter(revision=revision).select_related("approver", "policy").order_by("at", "id")
    pending, asked = plan.stage == Stage.PENDING_APPROVAL, active_policy()
    votes = list(answers.weighed(asked))
    policy = votes[-1].policy if votes and not pending else asked
    four_eyes = policy is None or policy.four_eyes
    mine = next((vote for vote in votes if actor.user is not None and vote.approver_id == actor.user.pk), None)
    named, more = approvers()
    spoken = {vote.approver_id for vote in votes}
    concerned = {plan.requester_id, revision.author_id} if four_eyes else set()
    deciders = [person for person in named if person.pk not in spoken | concerned]
    why_not = _why_not(plan, revision, actor, mine, four_eyes=four_eyes)
    return Verdict(
        policy=policy,
        needed=policy.approvals_needed if policy else 1,
        have=sum(vote.counts if pending else vote.decision == Decision.APPROVED for vote in votes),
        votes=votes,
        deciders=deciders,
        more_deciders=more,
        may_decide=not why_not,
        why_not=why_not,
        mine=mine,
        author=revision.author if four_eyes and revision.author_id != plan.requester_id else None,
        overtaken=why_not_gone_on(plan) if pending else "",
    )


def _why_not(plan: Plan, revision: Revision, actor: Actor, mine: Approval | None, *, four_eyes: bool) -> str:
    """Why this person may not decide now, or nothing if they may."""
    if plan.stage != Stage.PENDING_APPROVAL:
        return f"This plan is {Stage(plan.stage).label.lower()}."
    answer = may(actor, Action.DECIDE_PLAN, plan)
    if not answer:
        return answer.sentence
    if mine is not None:
        return f"You have {mine.decision} this revision."
    if four_eyes and actor.user is not None and plan.requester_id == actor.user.pk:
        return "You asked for it, and the policy wants four eyes: somebody else decides."
    if four_eyes and actor.user is not None and revision.author_id == actor.user.pk:
        return "You wrote this revision, and the policy wants four eyes: somebody else decides."
    return ""
