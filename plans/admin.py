"""Requests, plans and everything under them, to read, each with links to the next."""

from __future__ import annotations

from django.contrib import admin
from django.utils.safestring import SafeString

from audit.admin_base import ReadingRoom, anchor, list_url, row_url
from audit.links import page
from plans.links import plan_url, run_url
from plans.models import (
    Approval,
    ApprovalPolicy,
    Attempt,
    BudgetLedger,
    BudgetReservation,
    Message,
    Plan,
    Request,
    Revision,
    Session,
    StateEntry,
    Step,
    TargetLock,
)


def _tasks_records(step_id: object) -> str:
    return page("audit:task", step_id)


@admin.register(Session)
class SessionAdmin(ReadingRoom):
    """Conversations."""

    list_display = ("id", "owner", "created_at")
    related = ("owner",)
    words = ("owner__username",)

    def links(self, obj: Session) -> list[tuple[str, str]]:
        """What was said and asked in it."""
        return [
            ("Its messages", list_url("plans_message", session__id__exact=obj.pk)),
            ("Its requests", list_url("plans_request", session__id__exact=obj.pk)),
        ]


@admin.register(Message)
class MessageAdmin(ReadingRoom):
    """What was said."""

    list_display = ("at", "author", "kind", "text", "request")
    list_filter = ("at",)
    related = ("author", "request", "session")
    words = ("text", "author__username", "kind")
    ids = ("pk", "request", "session")

    def links(self, obj: Message) -> list[tuple[str, str]]:
        """The request it belongs to."""
        return [
            (str(obj.request), row_url(obj.request)),
            ("Its page", page("plans:request", obj.request_id)),
            ("Its trace", page("audit:trace", obj.request.trace_id)),
        ]


@admin.register(Request)
class RequestAdmin(ReadingRoom):
    """What was asked for."""

    list_display = ("number", "created_at", "requester", "status", "text", "its_plan")
    list_filter = ("status", "created_at")
    related = ("requester", "session", "plan")
    words = ("text", "requester__username")
    ids = ("pk", "trace_id", "session")
    numbers = ("number",)

    @admin.display(description="Plan")
    def its_plan(self, request: Request) -> SafeString | str:
        """The plan that came of it."""
        plan = getattr(request, "plan", None)
        return anchor(row_url(plan), plan) if plan else ""

    def links(self, obj: Request) -> list[tuple[str, str]]:
        """Its plan, its conversation, its trace."""
        plan = getattr(obj, "plan", None)
        return [
            (str(plan or ""), row_url(plan)),
            ("Its messages", list_url("plans_message", request__id__exact=obj.pk)),
            ("Its page", page("plans:request", obj.pk)),
            ("Its trace", page("audit:trace", obj.trace_id)),
        ]


@admin.register(Plan)
class PlanAdmin(ReadingRoom):
    """What was intended and how it went."""

    list_display = ("number", "created_at", "requester", "stage", "goal", "service", "revision_number")
    list_filter = ("stage", "complexity", "created_at")
    related = ("requester", "request")
    words = ("goal", "service", "requester__username")
    ids = ("pk", "trace_id", "request")
    numbers = ("number",)

    def links(self, obj: Plan) -> list[tuple[str, str]]:
        """Its request, revisions, steps, tries, approvals, records and trace."""
        return [
            (str(obj.request or ""), row_url(obj.request)),
            ("Its revisions", list_url("plans_revision", plan__id__exact=obj.pk)),
            ("Its steps", list_url("plans_step", plan__id__exact=obj.pk)),
            ("Its tries", list_url("plans_attempt", plan__id__exact=obj.pk)),
            ("Its approvals", list_url("plans_approval", plan__id__exact=obj.pk)),
            ("Its records", list_url("audit_decisionrecord", trace_id__exact=obj.trace_id)),
            ("Its page", plan_url(obj.number)),
            ("Its trace", page("audit:trace", obj.trace_id)),
        ]


@admin.register(Revision)
class RevisionAdmin(ReadingRoom):
    """Exact versions of plans."""

    list_display = ("plan", "number", "created_at", "author", "risk", "digest", "commit", "because")
    list_filter = ("risk", "created_at")
    related = ("plan", "author", "repository")
    words = ("digest", "commit", "because")
    ids = ("pk", "plan")
    numbers = ("plan__number",)

    def links(self, obj: Revision) -> list[tuple[str, str]]:
        """Its plan, steps, approvals and trace."""
        return [
            (str(obj.plan), row_url(obj.plan)),
            ("Its steps", list_url("plans_step", revision__id__exact=obj.pk)),
            ("Its approvals", list_url("plans_approval", revision__id__exact=obj.pk)),
            ("Its trace", page("audit:trace", obj.plan.trace_id)),
        ]


@admin.register(Step)
class StepAdmin(ReadingRoom):
    """Pieces of work."""

    list_display = ("key", "plan", "index", "name", "tool", "risk", "status", "attempts_made", "finished_at", "in_git")
    list_filter = ("status", "risk", "finished_at")
    related = ("plan", "revision")
    words = ("key", "name", "tool", "service")
    ids = ("pk", "plan", "revision")
    numbers = ("plan__number",)

    @admin.display(description="Task")
    def in_git(self, step: Step) -> SafeString | str:
        """Its records and its commit."""
        return anchor(_tasks_records(step.pk), "records, commit")

    def links(self, obj: Step) -> list[tuple[str, str]]:
        """Its plan, revision, tries, records, commit and trace."""
        return [
            (str(obj.plan), row_url(obj.plan)),
            (f"Its {obj.revision}", row_url(obj.revision)),
            ("Its tries", list_url("plans_attempt", step__id__exact=obj.pk)),
            ("Its records and commit", _tasks_records(obj.pk)),
            ("Its run", run_url(obj.plan.number, obj.key)),
            ("Its trace", page("audit:trace", obj.plan.trace_id)),
        ]


@admin.register(Attempt)
class AttemptAdmin(ReadingRoom):
    """Tries at steps."""

    list_display = ("id", "plan", "step", "number", "status", "agent", "failure_mode", "line_count", "finished_at")
    list_filter = ("status", "finished_at")
    related = ("plan", "step", "agent")
    words = ("step__key", "agent__name", "error")
    ids = ("pk", "plan", "step")
    numbers = ("plan__number",)

    def links(self, obj: Attempt) -> list[tuple[str, str]]:
        """Its step, plan, agent, output, records, commit and trace."""
        return [
            (f"Its step {obj.step}", row_url(obj.step)),
            (str(obj.plan), row_url(obj.plan)),
            (f"Its agent {obj.agent}" if obj.agent else "", row_url(obj.agent)),
            ("Its output", run_url(obj.plan.number, obj.step.key, obj.number)),
            ("Its records and commit", _tasks_records(obj.step_id)),
            ("Its trace", page("audit:trace", obj.plan.trace_id)),
        ]


@admin.register(BudgetLedger)
class BudgetLedgerAdmin(ReadingRoom):
    """What plans with a budget spent."""

    list_display = ("plan", "calls_spent", "calls_held", "cost_spent", "cost_held", "tokens_spent", "tokens_held")
    related = ("plan",)
    ids = ("plan",)
    numbers = ("plan__number",)

    def links(self, obj: BudgetLedger) -> list[tuple[str, str]]:
        """Its plan, and what each try held and used."""
        return [
            (str(obj.plan), row_url(obj.plan)),
            ("Its reservations", list_url("plans_budgetreservation", ledger__plan__exact=obj.plan_id)),
            ("Its records", list_url("audit_decisionrecord", trace_id__exact=obj.plan.trace_id)),
        ]


@admin.register(BudgetReservation)
class BudgetReservationAdmin(ReadingRoom):
    """What tries at steps held and used."""

    list_display = ("made_at", "ledger", "attempt", "calls", "cost", "cost_used", "tokens", "tokens_used", "settled_at")
    list_filter = ("in_full", "made_at")
    related = ("ledger__plan", "attempt__step")
    ids = ("attempt", "ledger")
    numbers = ("ledger__plan__number",)

    def links(self, obj: BudgetReservation) -> list[tuple[str, str]]:
        """The try it was made for, and the sums it went into."""
        return [
            (f"Its try at {obj.attempt.step}", row_url(obj.attempt)),
            ("Its ledger", row_url(obj.ledger)),
            (str(obj.ledger.plan), row_url(obj.ledger.plan)),
        ]


@admin.register(StateEntry)
class StateEntryAdmin(ReadingRoom):
    """What steps remember for later ones."""

    list_display = ("written_at", "scope", "owner", "key", "size", "plan", "step", "expires_at")
    list_filter = ("scope", "expires_at")
    related = ("plan", "step")
    words = ("key", "owner")
    ids = ("plan", "step", "attempt")
    numbers = ("plan__number",)

    def links(self, obj: StateEntry) -> list[tuple[str, str]]:
        """Who wrote it, and when."""
        return [
            (str(obj.plan), row_url(obj.plan)),
            (f"Its step {obj.step}", row_url(obj.step)),
            (f"Its {obj.attempt}", row_url(obj.attempt)),
            ("Its records", _tasks_records(obj.step_id)),
            ("Its trace", page("audit:trace", obj.plan.trace_id)),
        ]


@admin.register(Approval)
class ApprovalAdmin(ReadingRoom):
    """Answers of people to digests."""

    list_display = ("at", "plan", "revision", "decision", "approver", "requester", "digest", "comment", "policy")
    list_filter = ("decision", "at")
    related = ("plan", "revision", "approver", "requester", "policy")
    words = ("digest", "comment", "approver__username", "requester__username")
    ids = ("pk", "plan", "revision")
    numbers = ("plan__number",)

    def links(self, obj: Approval) -> list[tuple[str, str]]:
        """What was answered, under which policy, and its trace."""
        return [
            (str(obj.plan), row_url(obj.plan)),
            (f"Its {obj.revision}", row_url(obj.revision)),
            (f"Its policy {obj.policy}", row_url(obj.policy)),
            ("Its page", plan_url(obj.plan.number)),
            ("Its trace", page("audit:trace", obj.plan.trace_id)),
        ]


@admin.register(ApprovalPolicy)
class ApprovalPolicyAdmin(ReadingRoom):
    """Who must agree, version by version."""

    list_display = ("name", "version", "active", "approvals_needed", "four_eyes", "author", "because", "created_at")
    list_filter = ("active",)
    related = ("author",)
    words = ("name", "because")
    numbers = ("version",)

    def links(self, obj: ApprovalPolicy) -> list[tuple[str, str]]:
        """What was decided under it, and its page."""
        return [
            ("Answers under it", list_url("plans_approval", policy__id__exact=obj.pk)),
            ("Its page", page("plans:policy")),
        ]


@admin.register(TargetLock)
class TargetLockAdmin(ReadingRoom):
    """Hosts and services that plans have for themselves now."""

    list_display = ("target", "plan", "since")
    related = ("plan",)
    words = ("target",)
    ids = ("plan",)

    def links(self, obj: TargetLock) -> list[tuple[str, str]]:
        """The plan that works on it."""
        return [(str(obj.plan), row_url(obj.plan)), ("Its page", plan_url(obj.plan.number))]
