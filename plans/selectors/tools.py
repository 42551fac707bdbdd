"""How the tools fared in the attempts of late, in one query that does not grow with the attempts there are."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Final

from django.db import connection

from agents.conf import MEASURED_CALLS
from agents.tools.cache import FROM_CACHE
from agents.tools.reliability import ToolCalls

# The newest attempts by key first, whatever their state; only then what ended, tool by tool.
_MEASURE: Final = """
WITH recent AS MATERIALIZED (
    SELECT step_id, status, failure_mode, started_at, finished_at, progress ? %(from_cache)s AS cached
    FROM plans_attempt ORDER BY id DESC LIMIT %(most)s
), ended AS (
    SELECT step.tool, recent.status = 'completed' AS well, recent.cached, recent.finished_at,
        extract(epoch FROM recent.finished_at - recent.started_at) AS seconds
    FROM recent
    JOIN plans_step AS step ON step.id = recent.step_id
    JOIN unnest(%(tools)s::text[], %(since)s::timestamptz[]) AS version (tool, since) ON version.tool = step.tool
    WHERE recent.status IN ('completed', 'failed', 'interrupted') AND recent.started_at >= version.since
        AND recent.failure_mode <> 'policy' -- such as the end of a budget: the tool was not called
)
SELECT tool,
    count(*) FILTER (WHERE NOT cached),
    count(*) FILTER (WHERE NOT cached AND well),
    count(*) FILTER (WHERE cached),
    percentile_cont(0.5) WITHIN GROUP (ORDER BY seconds) FILTER (WHERE NOT cached AND well),
    max(finished_at) FILTER (WHERE NOT cached)
FROM ended GROUP BY tool ORDER BY tool
"""


def tool_calls(since: Mapping[str, datetime], *, most: int = MEASURED_CALLS) -> list[ToolCalls]:
    """For each of these tools, the calls since its time among the last `most` attempts; a tool without any is absent."""
    with connection.cursor() as cursor:
        cursor.execute(
            _MEASURE, {"from_cache": FROM_CACHE, "most": most, "tools": list(since), "since": list(since.values())}
        )
        return [ToolCalls(*row) for row in cursor.fetchall()]
