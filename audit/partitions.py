"""Next months' partitions, made before their first row comes."""

from __future__ import annotations

from typing import Final

from django.db import connection

# Parent table and what its partition key is; the SQL function refuses any other pair.
PARTITIONED: Final = (("audit_decisionrecord", "time"), ("plans_outputline", "uuid7"))
MONTHS_AHEAD: Final = 3


def ensure(months: int = MONTHS_AHEAD) -> int:
    """Make the partitions of this month and of the next ones that are missing; answers how many were made.

    May run any number of times. The database's function makes them as the owner, so the application's role suffices.
    """
    made = 0
    with connection.cursor() as cursor:
        for parent, kind in PARTITIONED:
            cursor.execute("SELECT chiffon_make_partitions(%s, %s, %s)", [parent, kind, months])
            made += cursor.fetchone()[0]
    return made
