"""What the frame around every page needs to know."""

from __future__ import annotations

from pathlib import Path

from django import template
from django.conf import settings

from audit.context import Actor
from plans.selectors.inbox import waiting_count

register = template.Library()
_DEMO_ACCOUNTS = "demo-accounts.json"  # the first start of a demo writes it into the data folder


@register.simple_tag(takes_context=True)
def waiting(context: template.Context) -> int:
    """How many things wait for the signed-in person."""
    user = context["request"].user
    return waiting_count(Actor.person(user)) if user.is_authenticated else 0


@register.simple_tag
def demo_accounts() -> bool:
    """Whether this installation has the accounts of the demo, whose passwords the console printed."""
    return Path(settings.CHIFFON_DATA_DIR, _DEMO_ACCOUNTS).is_file()
