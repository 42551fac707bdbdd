"""SQL that lives in the database: the hot path of execution and the course of a plan, as functions. Installed anew after each migration."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from django.db import connections

_FILES: Final = ("hot_path.sql", "course.sql")  # each uses only what comes before it


def install(*, using: str, **_: Any) -> None:
    """Make or replace the functions, as the role that migrates; the receiver of `post_migrate`."""
    connection = connections[using]
    with connection.cursor() as cursor:
        if "plans_attempt" in connection.introspection.table_names(cursor):  # else everything was just unmigrated
            for name in _FILES:
                cursor.execute(Path(__file__).with_name(name).read_text(encoding="utf-8"))
