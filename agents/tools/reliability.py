"""How reliable tools have been, measured over the attempts of late. The attempts are the plans app's; it counts them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

from django.db import transaction
from django.db.models.functions import Now

from agents.models import ToolRecord
from agents.tools.registry import all_tools


@dataclass(frozen=True, slots=True)
class ToolCalls:
    """What the attempts of late say of one tool. Cancelled attempts and answers from the cache are no calls."""

    tool: str
    calls: int
    succeeded: int
    from_cache: int
    median_seconds: float | None
    last_called_at: datetime | None


def since() -> Mapping[str, datetime]:
    """From when on the calls of each tool are those of the version that is offered now.

    A version that is offered for the first time is noted: an attempt does not say which version it called.
    """
    tools = {tool.name: tool.version for tool in all_tools()}
    ToolRecord.objects.bulk_create(
        [ToolRecord(name=name, version=version) for name, version in tools.items()], ignore_conflicts=True
    )
    known = ToolRecord.objects.filter(name__in=tools).values_list("name", "version", "seen_at")
    return {name: seen_at for name, version, seen_at in known if tools[name] == version}


def note(measured: Iterable[ToolCalls]) -> int:
    """Keep what was measured, each with the version that is offered now. How many tools were called of late."""
    calls = {found.tool: found for found in measured}
    called = 0
    with transaction.atomic():
        for tool in all_tools():
            found = calls.get(tool.name, ToolCalls(tool.name, 0, 0, 0, None, None))
            called += bool(found.calls)
            ToolRecord.objects.filter(name=tool.name, version=tool.version).update(
                calls=found.calls,
                succeeded=found.succeeded,
                from_cache=found.from_cache,
                median_seconds=found.median_seconds,
                last_called_at=found.last_called_at,
                measured_at=Now(),
            )
    return called
