"""The page of a run, and another try for a step."""

from __future__ import annotations

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.views.decorators.http import require_safe

from audit.authority import Action
from audit.errors import NotAllowed
from plans import services
from plans.errors import NotFound, PlansError
from plans.forms import NarrowForm, whole_number
from plans.models import Step
from plans.selectors.partial_result import partial_result
from plans.selectors.run_page import run_page
from plans.views.common import actor_of, find_plan, follow_plan, page


@require_safe
def run(request: HttpRequest, number: int) -> HttpResponse:
    """Is a person needed, and for what; then steps, time, output, hosts."""
    actor = actor_of(request)
    plan, cursor = follow_plan(actor, number)
    shown = run_page(
        plan,
        actor,
        step=request.GET.get("step", ""),
        number=whole_number(request.GET.get("try")),
        line=whole_number(request.GET.get("line")),
    )
    return page(request, "plans/run.html", "plans", {"run": shown, "cursor": cursor})


def retry_step(request: HttpRequest, number: int, key: str) -> HttpResponse:
    """Ask once more, then give a failed or unknown step another try, or begin now the try that it waits for."""
    actor = actor_of(request)
    plan = find_plan(actor, number, Action.OPERATE_PLAN)
    step = Step.objects.filter(revision__plan=plan, revision__number=plan.revision_number, key=key[:64]).first()
    if step is None:
        raise NotFound(f"Plan {number} has no step {key[:64]}.")
    form = NarrowForm(request.POST if request.method == "POST" else None, initial={"hosts": request.GET.get("hosts")})
    status = 200
    refusal = None
    if request.method == "POST" and form.is_valid():
        try:
            services.retry_step(actor=actor, plan_id=plan.pk, key=key, **form.cleaned_data)
        except (PlansError, NotAllowed) as error:
            status = error.status if isinstance(error, PlansError) else 403
            if status == 404:
                raise
            refusal = {"sentence": error.sentence, "code": error.code, "status": status}
        else:
            messages.success(request, f"{key} gets another try.")
            return redirect("plans:run", number)
    elif request.method == "POST":
        status = 400
    left = partial_result(plan, actor).of(step.key)
    ways = {way.kind: way for way in left.recoveries} if left else {}
    context = {"plan": plan, "step": step, "form": form, "refusal": refusal, "left": left, "ways": ways}
    return page(request, "plans/retry.html", "plans", context, status=status)
