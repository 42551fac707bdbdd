"""Going on with another tool: once a step has failed for good, its fallback makes the further tries."""

from __future__ import annotations

from django.db.models import Max

from audit import trail
from audit.trail import requires_transaction
from plans.enums import OnFailure
from plans.models import Attempt


def can_take_over(attempt: Attempt) -> bool:
    """Whether the step of an attempt that failed for good goes on with its fallback."""
    step = attempt.step
    return step.on_failure == OnFailure.FALLBACK and step.fallback is not None and not attempt.by_fallback


@requires_transaction
def take_over(attempt: Attempt, why: str, *, what: str = "failed for good") -> str:
    """Record that the fallback goes on, and why; the sentence for its first try."""
    step, plan = attempt.step, attempt.plan
    work = step.fallback_work
    trail.record(
        "step.fell_back",
        subject=("step", step.pk),
        trace_id=plan.trace_id,
        service=step.service,
        reason=why,
        step=step.key,
        tool=step.tool,
        fallback=work.tool if work else "",
    )
    return f"{step.tool} {what}, so {work.tool if work else 'nothing'} goes on: {why}"


def tries_with_this_tool(attempt: Attempt) -> int:
    """How many tries this tool has begun, this one included: a fallback's tries count from its own first."""
    tries = Attempt.objects.filter(step=attempt.step, number__lte=attempt.number)
    if attempt.by_fallback:
        last = tries.filter(by_fallback=False).aggregate(last=Max("number"))["last"] or 0
        tries = tries.filter(number__gt=last)
    return tries.filter(started_at__isnull=False).count()
