"""Cancel, pause, resume, try all again, skip, give up: a page that says what will happen and asks once more, then one call."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect

from audit.authority import Action, check
from audit.errors import NotAllowed
from plans import services
from plans.enums import StepStatus
from plans.errors import NotFound, PlansError
from plans.forms import ReasonForm
from plans.models import Plan, Step
from plans.selectors.undoing import undoing_of
from plans.views.common import actor_of, find_plan, page


@dataclass(frozen=True, slots=True)
class Verb:
    """One thing a person may do to a plan or a step: what the page says, and the service it calls."""

    title: str  # "{what}" is the plan or the step
    effect: str
    button: str
    done: str
    icon: str
    call: Callable[..., Plan]
    needs_reason: bool
    danger: bool = False
    action: Action = Action.OPERATE_PLAN
    asks: bool = False  # it makes a plan, so it takes the right to ask for work as well


CANCEL: Final = Verb(
    "Cancel {what}?",
    "Nothing new starts. What runs is asked to stop, and made to after a few seconds. What is done stays done; "
    "nothing is undone.",
    "Cancel {what}",
    "{what} is being cancelled.",
    "cancelled",
    services.cancel_plan,
    needs_reason=True,
    danger=True,
)
PAUSE: Final = Verb(
    "Pause {what}?",
    "What runs now runs to its end; nothing new starts until somebody resumes it.",
    "Pause {what}",
    "{what} is paused.",
    "pause",
    services.pause_plan,
    needs_reason=False,
)
RESUME: Final = Verb(
    "Resume {what}?",
    "It goes on from where it was paused, under the same digest.",
    "Resume {what}",
    "{what} goes on.",
    "play",
    services.resume_plan,
    needs_reason=False,
)
RETRY: Final = Verb(
    "Go on with {what}?",
    "Every step that failed, or whose outcome is unknown, runs again from its beginning, under the digest that was "
    "approved. What is done stays done.",
    "Go on with {what}",
    "{what} goes on.",
    "retry",
    services.retry_plan,
    needs_reason=False,
)
UNDO: Final = Verb(
    "Undo {what}?",
    "A new plan is written, with the values that are known now. It waits for approval like any other, and nothing runs "
    "before that.",
    "Write the plan that undoes {what}",
    "Nothing is undone yet: this is the plan that undoes {what}, once it is approved.",
    "undo",
    services.undo_plan,
    needs_reason=False,
    asks=True,
)
GIVE_UP: Final = Verb(
    "Give up on {what}?",
    "It fails now, without its next try. What is done stays done; what depends on it does not start, unless the plan "
    "says that it can do without.",
    "Give up on {what}",
    "{what} is given up.",
    "x",
    services.give_up_step,
    needs_reason=True,
    danger=True,
)
SKIP: Final = Verb(
    "Skip {what}?",
    "It is left out for good. What depends on it goes on without its result, and fails if it needs that.",
    "Skip {what}",
    "{what} is skipped.",
    "skip",
    services.skip_step,
    needs_reason=True,
    danger=True,
    action=Action.DECIDE_PLAN,
)


def cancel(request: HttpRequest, number: int) -> HttpResponse:
    """End a plan."""
    return _steer(request, number, CANCEL)


def pause(request: HttpRequest, number: int) -> HttpResponse:
    """Start nothing new."""
    return _steer(request, number, PAUSE)


def resume(request: HttpRequest, number: int) -> HttpResponse:
    """Let a paused plan go on."""
    return _steer(request, number, RESUME)


def retry(request: HttpRequest, number: int) -> HttpResponse:
    """Try every stuck step again."""
    return _steer(request, number, RETRY)


def undo(request: HttpRequest, number: int) -> HttpResponse:
    """Write the plan that undoes this one."""
    return _steer(request, number, UNDO)


def give_up(request: HttpRequest, number: int, key: str) -> HttpResponse:
    """Do not wait for a step's next try."""
    return _steer(request, number, GIVE_UP, key)


def skip(request: HttpRequest, number: int, key: str) -> HttpResponse:
    """Leave a step out."""
    return _steer(request, number, SKIP, key)


def _steer(request: HttpRequest, number: int, verb: Verb, key: str = "") -> HttpResponse:
    actor = actor_of(request)
    plan = find_plan(actor, number, verb.action)
    if verb.asks:
        check(actor, Action.ASK)
    step = None
    if key:
        step = Step.objects.filter(revision__plan=plan, revision__number=plan.revision_number, key=key[:64]).first()
        if step is None:
            raise NotFound(f"Plan {number} has no step {key[:64]}.")
    what = step.key if step else f"plan {number}"
    form = ReasonForm(request.POST if request.method == "POST" else None, needed=verb.needs_reason)
    status, refusal = 200, None
    if request.method == "POST" and form.is_valid():
        target: dict[str, Any] = {"plan_id": plan.pk, **({"key": key} if key else {})}
        try:
            came_of_it = verb.call(actor=actor, reason=form.cleaned_data["reason"], **target)
        except (PlansError, NotAllowed) as error:
            status = error.status if isinstance(error, PlansError) else 403
            refusal = {"sentence": error.sentence, "code": error.code, "status": status}
        else:
            said = verb.done.format(what=what)
            messages.success(request, said if step else said[0].upper() + said[1:])  # a key stays as it is written
            if came_of_it.pk != plan.pk:
                return redirect("plans:plan", came_of_it.number)
            return redirect("plans:run", number)
    elif request.method == "POST":
        status = 400
    running = Step.objects.filter(plan=plan, status=StepStatus.RUNNING).values_list("key", flat=True)
    context = {
        "plan": plan,
        "step": step,
        "form": form,
        "refusal": refusal,
        "verb": verb,
        "title": verb.title.format(what=what),
        "button": verb.button.format(what=what),
        "running": list(running[:5]),
        "undoing": undoing_of(plan) if verb is UNDO else None,
    }
    return page(request, "plans/steer.html", "plans", context, status=status)
