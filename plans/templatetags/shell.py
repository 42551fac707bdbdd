"""What the frame around every page needs to know."""

from __future__ import annotations

from django import template

from audit.context import Actor
from plans.selectors.inbox import waiting_count

register = template.Library()


@register.simple_tag(takes_context=True)
def waiting(context: template.Context) -> int:
    """How many things wait for the signed-in person."""
    user = context["request"].user
    return waiting_count(Actor.person(user)) if user.is_authenticated else 0
