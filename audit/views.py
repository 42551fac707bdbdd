"""The trail's pages: search, one trace, one record, one task."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Final
from uuid import UUID

from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, QueryDict
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.http import require_safe

from audit import links, query
from audit.authority import Action, Answer, may
from audit.context import Actor
from audit.decisions import DECISIONS
from audit.errors import BadFilter
from audit.tales import Tale, tell

GONE: Final = "There is no such thing, or it is not for you."
VIEWS: Final[Sequence[tuple[str, Mapping[str, str]]]] = (
    ("Everything", {}),
    ("Decisions of people", {"type": "people"}),
    ("Failures and retries", {"type": "failures"}),
    ("Approvals", {"type": "approvals"}),
    ("Configuration", {"type": "configuration"}),
    ("Sign-ins and tokens", {"type": "sign-ins"}),
)


@require_safe
def records(request: HttpRequest) -> HttpResponse:
    """Search the trail, newest first."""
    answer = may(Actor.person(request.user), Action.SEE_AUDIT)
    if not answer:
        raise PermissionDenied(answer.sentence)
    asked = {name: request.GET.get(name, "") for name in query.FIELDS}
    errors: Mapping[str, str] = {}
    found = query.Page([])
    wanted = query.RecordFilter()
    try:
        wanted = query.parse_filter(asked)
        before = query.parse_sequence(request.GET.get("before", ""), "before")
        after = query.parse_sequence(request.GET.get("after", ""), "after")
        found = query.find_records(wanted, before=before, after=after)
    except BadFilter as error:
        errors = {str(one["loc"][0]): str(one["msg"]) for one in error.errors}
    tales = tell(found.records)
    context = {
        "section": "audit",
        "tales": tales,
        "page": found,
        "heading": _heading(found, wanted, errors),
        "asked": asked,
        "errors": errors,
        "is_filtered": not wanted.is_empty,
        "groups": list(query.GROUPS),
        "types": sorted(DECISIONS),
        "views": _views(asked),
        "broken": [tale for tale in tales if not tale.proof],
    }
    return render(request, "audit/records.html", context, status=400 if errors else 200)


@require_safe
def trace(request: HttpRequest, trace_id: UUID) -> HttpResponse:
    """The whole story of one trace, oldest first, each record with its proof."""
    about = links.trace_subject(trace_id)
    _check_trace(request, about.subject if about else None)
    try:
        after = query.parse_sequence(request.GET.get("after", ""), "after") or 0
    except BadFilter as error:
        raise Http404(str(error)) from error
    found = query.timeline(trace_id, after=after)
    if not found.records and about is None:
        raise Http404(GONE)
    tales = tell(found.records, gaps=True)
    context = {
        "section": "audit",
        "trace_id": trace_id,
        "about": about,
        "tales": tales,
        "page": found,
        "is_continued": after > 0,
        "broken": [tale for tale in tales if not tale.proof],
        "people": _people(tales),
        "agents": sorted({tale.record.actor for tale in tales if tale.record.actor_kind == "agent"}),
        "services": sorted({tale.record.service for tale in tales if tale.record.service}),
        "commits": [tale.record.metadata["commit"] for tale in tales if tale.record.type == "tasks.committed"],
        "may_search": bool(may(Actor.person(request.user), Action.SEE_AUDIT)),
    }
    return render(request, "audit/trace.html", context)


@require_safe
def record(request: HttpRequest, sequence: int) -> HttpResponse:
    """One record with everything it holds, and whether it is still what was written."""
    row = query.find_record(sequence)
    about = links.trace_subject(row.trace_id) if row and row.trace_id else None
    _check_trace(request, about.subject if about else None)
    if row is None:
        raise Http404(GONE)
    context = {
        "section": "audit",
        "tale": tell([row])[0],
        "about": about,
        "alternatives": _pretty(row.alternatives) if row.alternatives else "",
        "metadata": _pretty(row.metadata) if row.metadata else "",
        "may_search": bool(may(Actor.person(request.user), Action.SEE_AUDIT)),
    }
    return render(request, "audit/record.html", context)


@require_safe
def task(request: HttpRequest, task_id: UUID) -> HttpResponse:
    """One task: its row, the records about it, and its file in the audit repository."""
    story = query.task_story(task_id)
    _check_trace(request, story.row.subject if story.row else None)
    if not story.is_known:
        raise Http404(GONE)
    context = {
        "section": "audit",
        "story": story,
        "tales": tell(story.records, gaps=True),
        "may_search": bool(may(Actor.person(request.user), Action.SEE_AUDIT)),
    }
    return render(request, "audit/task.html", context)


def _check_trace(request: HttpRequest, subject: Any) -> None:
    """Who reads the whole trail reads every trace; others those of what they may see. What is hidden is not there."""
    actor = Actor.person(request.user)
    whole = may(actor, Action.SEE_AUDIT)
    if whole:
        return
    answer = may(actor, Action.SEE_TRACE, subject) if subject is not None else Answer(False, hidden=True)
    if not answer:
        raise Http404(GONE) if answer.hidden else PermissionDenied(answer.sentence)


def _heading(found: query.Page, wanted: query.RecordFilter, errors: Mapping[str, str]) -> str:
    """The page's answer. Only what is on the page is counted: counting the whole trail would cost what it holds."""
    if errors:
        return "The search could not be read"
    count = len(found.records)
    fit = "" if wanted.is_empty else " that fit"
    if count == 0:
        return "No record fits" if not wanted.is_empty else "Nothing has been recorded yet"
    if found.newer is not None:
        return f"{count} earlier records{fit}"
    if found.older is not None:
        return f"The newest {count} records{fit}"
    return f"{count} record{'s' if count != 1 else ''}{fit}"


def _views(asked: Mapping[str, str]) -> list[dict[str, object]]:
    current = {name: value for name, value in asked.items() if value}
    shown = []
    for label, values in VIEWS:
        address = QueryDict(mutable=True)
        address.update(values)
        url = reverse("audit:list") + (f"?{address.urlencode()}" if values else "")
        shown.append({"label": label, "url": url, "current": current == values})
    return shown


def _people(tales: list[Tale]) -> list[tuple[str, int, str]]:
    """Who decided, how often, and what: the past-tense verbs of the records' types."""
    count: Counter[str] = Counter()
    verbs: dict[str, dict[str, None]] = {}
    for tale in tales:
        if tale.is_by_person:
            who = tale.who
            count[who] += 1
            verbs.setdefault(who, {})[tale.record.type.split(".")[1].replace("_", " ")] = None
    return [(who, number, ", ".join(verbs[who])) for who, number in count.most_common()]


def _pretty(value: Any) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False, sort_keys=True)
