"""Which plans use a playbook, told to the playbook's page."""

from __future__ import annotations

from collections.abc import Sequence

from django.urls import reverse

from agents.models import Playbook
from agents.pages import Use, register_usage
from audit.context import Actor
from plans.enums import StepKind
from plans.models import Step
from plans.permissions import visible_plans

SHOWN = 12


@register_usage
def uses_of(playbook: Playbook, actor: Actor) -> Sequence[Use]:
    """The last steps that run this playbook, in plans that this person may see."""
    steps = (
        Step.objects.filter(playbook__path=playbook.path, plan__in=visible_plans(actor))
        .exclude(kind=StepKind.ITEM)
        .select_related("plan")
        .order_by("-id")[:SHOWN]
    )
    return [
        Use(
            label=f"{step.plan.number} {step.key}",
            state=step,
            href=reverse("plans:plan", args=[step.plan.number]) + f"#step-{step.key}",
            at=step.finished_at or step.plan.created_at,
        )
        for step in steps
    ]
