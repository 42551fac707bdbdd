"""SQL that lives in the database: the hot path of execution, as functions. Installed anew after each migration."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from django.db import connections


def install(*, using: str, **_: Any) -> None:
    """Make or replace the functions, as the role that migrates; the receiver of `post_migrate`."""
    connection = connections[using]
    with connection.cursor() as cursor:
        if "plans_attempt" in connection.introspection.table_names(cursor):  # else everything was just unmigrated
            cursor.execute(Path(__file__).with_name("hot_path.sql").read_text(encoding="utf-8"))
