"""The file of a finished task in the audit repository, `.audit/tasks/<task_id>.json`: its fields, and its bytes.

| field | holds |
|---|---|
| `task_id`, `plan_id`, `trace_id` | UUIDs as strings |
| `revision`, `digest` | the plan's revision as a number, and the 64 hexadecimal digits that were approved |
| `status` | how the step ended: completed, failed, cancelled, skipped or unknown |
| `step` | object: at least `key`, `name` and `tool` |
| `dispatch` | object `{agent, score, reason, at}`: who got it and why |
| `execution_result` | object: at least `outcome`, `resources_used`, `services_touched`, `started_at`, `finished_at` |
| `approvals` | list of objects: who answered what to which digest, and when |

The fields of the file are fixed; the objects inside may hold more than is named here. Pure: no Django.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from audit.errors import InvalidTaskFile

FOLDER: Final = ".audit/tasks"
STATUSES: Final = frozenset({"completed", "failed", "cancelled", "skipped", "unknown"})
_DIGEST: Final = re.compile(r"[0-9a-f]{64}")
Check = Callable[[Any], bool]


def path_of(task_id: str | UUID) -> str:
    """The path of a task's file inside the audit repository. Raises InvalidTaskFile for what is no UUID."""
    if not _is_uuid(str(task_id)):
        raise InvalidTaskFile(f"{str(task_id)[:80]!r} is not the id of a task.")
    return f"{FOLDER}/{UUID(str(task_id))}.json"


def validate(payload: Mapping[str, Any]) -> None:
    """Go on if the payload has the documented fields and no others, or raise InvalidTaskFile naming everything wrong."""
    wrong = _compare("", payload, _FIELDS, exact=True)
    if not wrong:
        wrong += _compare("step.", payload["step"], _STEP, exact=False)
        wrong += _compare("dispatch.", payload["dispatch"], _DISPATCH, exact=True)
        wrong += _compare("execution_result.", payload["execution_result"], _RESULT, exact=False)
    if wrong:
        raise InvalidTaskFile(f"The file of the task is not written: {'; '.join(wrong)}.")


def render(payload: Mapping[str, Any]) -> bytes:
    """The bytes of the file: validated, sorted keys, two spaces, UTF-8, one newline at the end. Raises InvalidTaskFile.

    Not the canonical form of hashes: that one knows no integers beyond 2^53, and a playbook may report such a number.
    """
    validate(payload)
    try:
        text = json.dumps(payload, indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False)
        return f"{text}\n".encode()
    except (ValueError, TypeError) as error:
        raise InvalidTaskFile(f"The file of the task is not written: {error}.") from error


def _compare(
    place: str, value: Mapping[str, Any], fields: Mapping[str, tuple[Check, str]], *, exact: bool
) -> list[str]:
    wrong = [f"{place}{name} is missing" for name in fields if name not in value]
    if exact:
        wrong += [f"{place}{name} is not a field of it" for name in value if name not in fields]
    return wrong + [
        f"{place}{name} must be {wanted}"
        for name, (fits, wanted) in fields.items()
        if name in value and not fits(value[name])
    ]


def _is_uuid(value: Any) -> bool:
    try:
        return isinstance(value, str) and bool(UUID(value))
    except ValueError:
        return False


def _is_time(value: Any) -> bool:
    try:
        return value is None or (isinstance(value, str) and datetime.fromisoformat(value).tzinfo is not None)
    except ValueError:
        return False


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


_UUID: Final = (_is_uuid, "a UUID")
_TEXT: Final = (lambda value: isinstance(value, str), "text")
_OBJECT: Final = (lambda value: isinstance(value, dict), "an object")
_LIST: Final = (lambda value: isinstance(value, list), "a list")
_TIME: Final = (_is_time, "a time with its zone, or null")
_FIELDS: Final[Mapping[str, tuple[Check, str]]] = {
    "task_id": _UUID,
    "plan_id": _UUID,
    "trace_id": _UUID,
    "revision": (
        lambda value: isinstance(value, int) and not isinstance(value, bool) and value > 0,
        "a positive number",
    ),
    "digest": (lambda value: isinstance(value, str) and bool(_DIGEST.fullmatch(value)), "64 hexadecimal digits"),
    "status": (lambda value: value in STATUSES, f"one of {', '.join(sorted(STATUSES))}"),
    "step": _OBJECT,
    "dispatch": _OBJECT,
    "execution_result": _OBJECT,
    "approvals": (
        lambda value: isinstance(value, list) and all(isinstance(item, dict) for item in value),
        "a list of objects",
    ),
}
_STEP: Final[Mapping[str, tuple[Check, str]]] = {"key": _TEXT, "name": _TEXT, "tool": _TEXT}
_DISPATCH: Final[Mapping[str, tuple[Check, str]]] = {
    "agent": (lambda value: value is None or isinstance(value, str), "text or null"),
    "score": (lambda value: value is None or _is_number(value), "a number or null"),
    "reason": _TEXT,
    "at": _TIME,
}
_RESULT: Final[Mapping[str, tuple[Check, str]]] = {
    "outcome": _TEXT,
    "resources_used": _OBJECT,
    "services_touched": _LIST,
    "started_at": _TIME,
    "finished_at": _TIME,
}
