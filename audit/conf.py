"""This app's constants."""

from __future__ import annotations

from typing import Final

SEQUENCE: Final = "audit_decisionrecord_sequence"

# Tables that the application's database role may only read and insert into. Partitions follow their parents.
APPEND_ONLY_TABLES: Final = ("audit_decisionrecord",)
