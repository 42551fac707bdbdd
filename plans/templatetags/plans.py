"""Badges, times, durations and digests, as the design system wants them."""

from __future__ import annotations

import json
import math
from datetime import datetime, timedelta
from typing import Any

from django import template
from django.templatetags.static import static
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString

from audit.authority import Action, may, roles_of
from audit.context import Actor, full_name
from plans.enums import Risk
from plans.looks import LOOKS, Look, look_of

register = template.Library()
THEMES = ("system", "light", "dark")
_ONE_LINE = 300  # characters


@register.simple_tag
def icon(name: str, extra: str = "") -> SafeString:
    """One icon of static/icons.svg. It is decoration: the word beside it says the same."""
    classes = f"icon {extra}".strip()
    return format_html(
        '<svg class="{}" aria-hidden="true"><use href="{}#{}"/></svg>', classes, static("icons.svg"), name
    )


@register.simple_tag
def icon_address(name: str) -> str:
    """The address of one icon, for use inside a drawing."""
    return f"{static('icons.svg')}#{name}"


@register.simple_tag
def badge(thing: Any, plain: bool = False) -> SafeString:
    """The badge of a state: icon, word, tone. Takes the object that has the state, or the state itself."""
    return _badge(look_of(thing), plain)


@register.simple_tag
def risk(value: str) -> SafeString:
    """The badge of a risk: low, medium or high."""
    return _badge(LOOKS[Risk, value], plain=True)


@register.simple_tag
def mark(word: str, icon: str, tone: str, plain: bool = True) -> SafeString:
    """A badge for a fact that has no state of its own, such as "Can undo"."""
    return _badge(Look(word, icon, tone), plain)


def _badge(look: Look, plain: bool) -> SafeString:
    return format_html(
        '<span class="badge{}" data-tone="{}">{}{}</span>',
        " plain" if plain else "",
        look.tone,
        icon(look.icon, "spin" if look.spins else ""),
        look.word,
    )


@register.filter
def tone(thing: Any) -> str:
    """The tone of a state, for `data-tone`."""
    return look_of(thing).tone


@register.filter
def look(thing: Any) -> Look:
    """The word, icon and tone of a state."""
    return look_of(thing)


@register.filter
def short(digest: str) -> str:
    """The first and last 8 of 64 hex digits; a commit (40) by its first 7; anything shorter as it is."""
    if len(digest) == 64:
        return f"{digest[:8]} … {digest[-8:]}"
    return digest[:7] if len(digest) == 40 else digest


@register.filter
def first8(value: Any) -> str:
    """The first 8 characters of an id, enough to recognise it beside its link."""
    return str(value)[:8]


@register.simple_tag
def when(moment: datetime | None, words: str = "ago") -> SafeString | str:
    """A time relative to now ("17 min ago"), exact on hover. With words="clock" the time of day."""
    if moment is None:
        return "unknown"
    exact = f"{timezone.localtime(moment):%Y-%m-%d %H:%M:%S %Z}"
    if words == "clock":
        return format_html(
            '<time datetime="{}" title="{}">{}</time>',
            moment.isoformat(),
            exact,
            f"{timezone.localtime(moment):%H:%M:%S}",
        )
    return format_html(
        '<time datetime="{}" title="{}" data-relative>{}</time>', moment.isoformat(), exact, _ago(moment)
    )


@register.simple_tag
def until(moment: datetime) -> SafeString:
    """How long it is until a moment ("in 14 s"), counted down while the page is open."""
    exact = f"{timezone.localtime(moment):%Y-%m-%d %H:%M:%S %Z}"
    left = (moment - timezone.now()).total_seconds()
    said = f"in {duration(math.ceil(left))}" if left > 0 else "any moment now"
    return format_html('<time datetime="{}" title="{}" data-until>{}</time>', moment.isoformat(), exact, said)


def _ago(moment: datetime) -> str:
    seconds = (timezone.now() - moment).total_seconds()
    if seconds < 0:
        return f"in {duration(-seconds)}"
    if seconds < 5:
        return "just now"
    if seconds < 60:
        return f"{int(seconds)} s ago"
    if seconds < 3600:
        return f"{int(seconds // 60)} min ago"
    if seconds < 86400:
        return f"{int(seconds // 3600)} h ago"
    if seconds < 7 * 86400:
        return f"{int(seconds // 86400)} d ago"
    return f"{timezone.localtime(moment):%-d %b %Y}"


@register.filter
def duration(value: float | timedelta | None) -> str:
    """Seconds in words: 0.4 s, 19 s, 2 min 31 s, 1 h 5 min."""
    if value is None:
        return "unknown"
    seconds = value.total_seconds() if isinstance(value, timedelta) else float(value)
    if seconds < 1:
        return f"{seconds:.1f} s"
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s" if rest and minutes < 10 else f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if minutes else f"{hours} h"


@register.filter
def took(thing: Any) -> str:
    """How long a step or attempt took, up to now if it still runs."""
    if thing.started_at is None:
        return "not started"
    return duration(((thing.finished_at or timezone.now()) - thing.started_at).total_seconds())


@register.filter
def shown(value: Any) -> str:
    """An input's value in one line for people: text as it is, a list by its names, anything else as JSON."""
    if isinstance(value, str):
        return value if value else "(empty text)"
    if isinstance(value, list) and value:
        names = [item.get("name") if isinstance(item, dict) else item for item in value]
        if all(isinstance(name, str | int | float) for name in names):
            return ", ".join(str(name) for name in names)
    return json.dumps(value, ensure_ascii=False)


@register.filter
def whole(value: Any) -> str:
    """An input's value with everything in it, where one line does not hold all of it; else nothing."""
    said = shown(value)
    full = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, indent=2)
    simple = isinstance(value, str | int | float) or value in (None, [], {})
    plain_list = isinstance(value, list) and all(isinstance(item, str | int | float) for item in value)
    return "" if (simple or plain_list) and len(said) <= _ONE_LINE else full


@register.filter
def rows(text: str) -> int:
    """How many rows a field for this text has: as many as its lines, within reason."""
    return min(max(text.count("\n") + 1 + len(text) // 120, 2), 14)


@register.filter
def as_words(name: str) -> str:
    """The name of a field that differs, as words: “input port”, “what undoes it, input value”."""
    first, _, rest = name.partition(".")
    known = {
        "depends_on": "after",
        "timeout_seconds": "timeout",
        "on_failure": "if it fails",
        "for_each": "once for each of",
    }
    known |= {"max_parallel": "steps at once", "when": "only if", "rollback": "what undoes it,"}
    return " ".join(
        part for part in (known.get(first, first.replace("_", " ")), as_words(rest) if rest else "") if part
    )


@register.filter
def bytes_of(value: float | None) -> str:
    """A size in words: 5.4 GB."""
    if value is None:
        return "unknown"
    size = float(value)
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.0f} {unit}" if unit in ("B", "kB") or size >= 100 else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} TB"


@register.filter
def person(user: Any) -> str:
    """What a person is called: their full name, or the name they sign in with."""
    return full_name(user) if user else "Chiffon"


@register.simple_tag
def avatar(user: Any) -> SafeString:
    """Initials of a person in a circle; Chiffon itself in a square."""
    if not user:
        return format_html('<span class="avatar machine" aria-hidden="true">{}</span>', "C")
    words = person(user).split()
    letters = "".join(word[0] for word in words[:2]) if len(words) > 1 else words[0][:2]
    return format_html('<span class="avatar" aria-hidden="true">{}</span>', letters.upper())


@register.filter
def role(user: Any) -> str:
    """The roles of a person, in words."""
    return ", ".join(sorted(r.value.replace("-", " ") for r in roles_of(user))).capitalize() or "No role yet"


@register.simple_tag(takes_context=True)
def can(context: template.Context, action: str, subject: Any = None) -> bool:
    """Whether the signed-in person may do this, by the name of an Action, such as "ASK"."""
    user = context["request"].user
    return user.is_authenticated and bool(may(Actor.person(user), Action[action], subject))


@register.simple_tag(takes_context=True)
def theme(context: template.Context) -> str:
    """The theme this browser chose: light, dark, or system."""
    chosen = context["request"].COOKIES.get("chiffon_theme", "system") if "request" in context else "system"
    return chosen if chosen in THEMES else "system"


@register.simple_tag(takes_context=True)
def here(context: template.Context, **changes: Any) -> str:
    """This page's query with some parameters changed; an empty value removes one."""
    query = context["request"].GET.copy()
    for name, value in changes.items():
        if value in (None, ""):
            query.pop(name, None)
        else:
            query[name] = str(value)
    return f"?{query.urlencode()}" if query else "?"
