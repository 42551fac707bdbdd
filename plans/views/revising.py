"""The page on which a plan is changed, and the one that shows what differs between two of its revisions."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.views.decorators.http import require_safe

from audit.authority import Action, check
from audit.errors import NotAllowed
from plans import services
from plans.enums import StepKind
from plans.errors import DigestMismatch, InvalidPlan, NotFound, PlansError
from plans.forms import RevisionFilter, RevisionForm, whole_number
from plans.models import Plan
from plans.recovery import named
from plans.revise_form import SHOWN, ReviseForm, revise_form
from plans.selectors.revisions import revisions_page
from plans.selectors.steps import done_before
from plans.services.revising import Before, revision_before, still_done, why_not_revised
from plans.views.common import actor_of, find_plan, page


def revise(request: HttpRequest, number: int) -> HttpResponse:
    """Change what is left of a plan; what comes of it is a new revision, which somebody approves."""
    actor = actor_of(request)
    plan = find_plan(actor, number, Action.OPERATE_PLAN)
    check(actor, Action.ASK)
    before = revision_before(plan)
    if why_not := why_not_revised(plan):
        return _not_now(request, plan, before, why_not)
    form, context = _form(request, plan, before)
    typed = RevisionForm(request.POST if request.method == "POST" else None)
    status, refusal = 200, None
    if request.method == "POST":
        form.fill(request.POST.dict())
        found = form.read()
        if typed.is_valid() and found is not None:
            steps, whole = found
            try:
                services.revise_plan(actor=actor, plan_id=plan.pk, steps=steps, **typed.cleaned_data, **whole)
            except InvalidPlan as error:
                form.refuse(steps, error.errors)
                status, refusal = error.status, _refusal(error)
            except DigestMismatch as error:
                context["typed"] = form.typed()
                form.forget()
                status, refusal = error.status, _refusal(error)
            except (PlansError, NotAllowed) as error:
                status, refusal = error.status if isinstance(error, PlansError) else 403, _refusal(error)
            else:
                messages.success(
                    request, f"Plan {number} has revision {before.revision.number + 1}. It waits for approval."
                )
                return redirect("plans:plan", number)
        else:
            status, refusal = 400, _not_sent(typed, form)
    context |= {"plan": plan, "form": form, "typed_form": typed, "refusal": refusal, "revision": before.revision}
    return page(request, "plans/revise.html", "plans", context, status=status)


@require_safe
def revisions(request: HttpRequest, number: int) -> HttpResponse:
    """Two revisions of a plan side by side."""
    plan = find_plan(actor_of(request), number)
    form = RevisionFilter(request.GET)
    wanted = form.cleaned_data if form.is_valid() else {}
    found = revisions_page(plan, wanted.get("a"), wanted.get("b"))
    if found is None:
        raise NotFound(f"Plan {number} has no such revision; it has {plan.revision_number}.")
    return page(request, "plans/revisions.html", "plans", {"plan": plan, "shown": found}, status=200 if wanted else 400)


def _not_now(request: HttpRequest, plan: Plan, before: Before, why_not: str) -> HttpResponse:
    """Why the plan stays as it is; somebody who had the form open finds what they typed."""
    context: dict[str, Any] = {"plan": plan, "why_not": why_not}
    if request.method != "POST":
        return page(request, "plans/revise.html", "plans", context)
    form, _ = _form(request, plan, before)
    form.fill(request.POST.dict())
    reason = request.POST.get("reason", "").strip()
    context["typed"] = form.typed() + ([("Why is it changed?", reason)] if reason else [])
    return page(request, "plans/revise.html", "plans", context, status=409)


def _form(request: HttpRequest, plan: Plan, before: Before) -> tuple[ReviseForm, dict[str, Any]]:
    """The form with the steps of this page. Of a large plan only those that are not done, a page at a time."""
    done = still_done(plan, before)
    program = before.program
    revisions = dict(plan.revisions.values_list("pk", "number"))
    numbers = {row.pk: revisions[row.revision_id] for row in done.values()} | done_before(done.values())
    left = program if len(program) <= SHOWN else [step for step in program if step["key"] not in done]
    first = min(whole_number(request.GET.get("from")) or 1, max(len(left), 1))
    shown = left[first - 1 : first - 1 + SHOWN]
    whole = {"goal": plan.goal, "budget": before.revision.budget, "max_parallel": plan.max_parallel}
    form = revise_form(program, shown, whole)
    rows = {row.key: plan.show(row) for row in before.rows if row.kind == StepKind.STEP}
    for step in form.steps:
        step.row = rows[step.key]
        step.done_in = numbers[done[step.key].pk] if step.key in done else None
    after = first + len(form.steps)
    return form, {
        "done": sorted(done, key=lambda key: rows[key].index),
        "done_named": named(sorted(done, key=lambda key: rows[key].index), 4),
        "done_hidden": len(program) > SHOWN and bool(done),
        "total": len(program),
        "first": first,
        "last": after - 1,
        "left": len(left),
        "next_from": after if after <= len(left) else None,
        "number": before.revision.number + 1,
    }


def _not_sent(typed: RevisionForm, form: ReviseForm) -> dict[str, Any]:
    """What of the form does not fit, before anything was asked of a service."""
    said = " ".join(str(error) for errors in typed.errors.values() for error in errors)
    wrong = form.wrong()
    marked = f"Marked below: {named(wrong, 5)}." if wrong else ""
    return {"sentence": f"Nothing was changed. {said} {marked}".strip(), "code": "bad_input", "status": 400}


def _refusal(error: PlansError | NotAllowed) -> dict[str, Any]:
    status = error.status if isinstance(error, PlansError) else 403
    return {"sentence": error.sentence, "code": error.code, "status": status}
