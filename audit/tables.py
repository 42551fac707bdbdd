"""Which tables only grow. Apart from everything else, because the database roles are made before Django runs."""

from typing import Final

# Tables that the application's database role may only read and insert into. Partitions follow their parents.
APPEND_ONLY_TABLES: Final = ("audit_decisionrecord", "plans_approval")
