"""What can go wrong while keeping the trail.

AuditError
├── UnknownDecision      a type that the table of decisions does not have, or facts that it asks for are missing
├── NoTransaction        a record was asked for outside a transaction
├── NotAllowed           a person may not do this; carries the code and the sentence for page and API
├── BadFilter            a question to the trail that cannot be read; each error names its field
├── InvalidTaskFile      a task's file does not have the documented fields
└── GitTrailError        the audit repository cannot be written or read now; trying again later may help
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


class AuditError(Exception):
    """The root of this app's errors. `code` fits the trail and the API."""

    code = "audit_error"


class UnknownDecision(AuditError):
    """A decision type that the table does not have, or without the facts it asks for."""

    code = "unknown_decision"


class NoTransaction(AuditError):
    """A record must commit together with its change, so it needs an open transaction."""

    code = "no_transaction"


class NotAllowed(AuditError):
    """Someone asked for what they may not do."""

    def __init__(self, code: str, sentence: str) -> None:
        super().__init__(sentence)
        self.code = code
        self.sentence = sentence


class BadFilter(AuditError):
    """A question to the trail that cannot be read. `errors` are {"loc": [field], "msg": sentence}."""

    code = "bad_filter"

    def __init__(self, errors: Sequence[dict[str, Any]]) -> None:
        super().__init__(" ".join(str(error["msg"]) for error in errors))
        self.errors = list(errors)


class InvalidTaskFile(AuditError):
    """A task's file does not have the documented fields."""

    code = "invalid_task_file"


class GitTrailError(AuditError):
    """The audit repository cannot be written or read now. Nothing is lost: whoever asked asks again."""

    code = "git_trail"
