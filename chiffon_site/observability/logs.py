"""Log lines: one per event, as key=value pairs, with the trace and the actor, and without secrets.

Code logs through the standard library. The settings name `line_formatter` as the formatter of the one handler, so lines of
libraries look the same.
"""

from __future__ import annotations

import logging
import re
from collections.abc import MutableMapping
from datetime import UTC, datetime
from typing import Any, Final

import structlog

from audit.context import SYSTEM, current_actor, current_trace
from audit.redaction import redact
from chiffon_site.observability.middleware import caller_of

_ORDER: Final = ["time", "level", "logger", "trace_id", "actor", "event"]
_PLAIN: Final = (str, int, float, bool)
_LONGEST: Final = 2_000  # characters of a text; a stranger chooses how long the path is that was not found
_LONGEST_TRACEBACK: Final = 20_000
# What could move a terminal's cursor, start a line that nobody logged, or hide text from its reader.
_CONTROL: Final = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")
Event = MutableMapping[str, Any]


def line_formatter() -> logging.Formatter:
    """The formatter that the settings name."""
    return structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=[
            structlog.stdlib.add_log_level,
            structlog.stdlib.add_logger_name,
            structlog.stdlib.ExtraAdder(),
            _add_context,
        ],
        processors=[
            _add_time,
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            structlog.processors.format_exc_info,
            _make_safe,
            structlog.processors.LogfmtRenderer(key_order=_ORDER, drop_missing=True, bool_as_flag=False),
        ],
    )


def _add_context(_logger: Any, _method: str, event: Event) -> Event:
    """Who acts, on which trace. A service's actor counts more than whoever sent the request."""
    caller = caller_of(event.get("request"))
    if trace := current_trace() or (caller and caller.trace_id):
        event["trace_id"] = str(trace)
    actor = current_actor()
    name = caller.name if actor is SYSTEM and caller else actor.name
    if name:
        event["actor"] = name
    return event


def _add_time(_logger: Any, _method: str, event: Event) -> Event:
    record: logging.LogRecord = event["_record"]
    event["time"] = (
        datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    )
    return event


def _make_safe(_logger: Any, _method: str, event: Event) -> Event:
    """Keep plain values only (some libraries attach whole requests), without secrets and without control characters."""
    return {
        re.sub(r"[^\w.-]", "_", name): _clean(name, value) if isinstance(value, str) else value
        for name, value in event.items()
        if isinstance(value, _PLAIN)
    }


def _clean(name: str, text: str) -> str:
    """Of a long text the start, and of a traceback the end, which says what went wrong.

    Twice as much is redacted as is kept, so that a secret which the cut halves is still known as one.
    """
    most = _LONGEST_TRACEBACK if name == "exception" else _LONGEST
    if len(text) <= most:
        text = redact(text)
    elif name == "exception":
        text = f"…{redact(text[-2 * most :])[-most:]}"
    else:
        text = f"{redact(text[: 2 * most])[:most]}…"
    return _CONTROL.sub(lambda found: f"\\x{ord(found[0]):02x}", text)
