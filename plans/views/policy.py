"""The approval policy: in words, its versions, and the next one."""

from __future__ import annotations

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect

from audit.authority import Action, check
from plans import services
from plans.errors import PlansError
from plans.forms import PolicyForm
from plans.selectors.policy import policy_page
from plans.views.common import actor_of, page


def policy(request: HttpRequest) -> HttpResponse:
    """Who must agree; posting makes the next version."""
    actor = actor_of(request)
    check(actor, Action.SEE_POLICY)
    shown = policy_page(actor)
    if request.method != "POST":
        form = PolicyForm(
            initial={
                "approvals_needed": shown.policy.approvals_needed if shown.policy else 1,
                "four_eyes": shown.policy.four_eyes if shown.policy else True,
            }
        )
        return page(request, "plans/policy.html", "policy", {"shown": shown, "form": form})
    check(actor, Action.CHANGE_POLICY)
    form = PolicyForm(request.POST)
    status = 400
    if form.is_valid():
        try:
            made = services.change_policy(actor=actor, **form.cleaned_data)
        except PlansError as error:
            form.add_error(None, error.sentence)
            status = error.status
        else:
            messages.success(request, f"Version {made.version} of the policy is in force.")
            return redirect("plans:policy")
    return page(request, "plans/policy.html", "policy", {"shown": shown, "form": form}, status=status)
