"""What can go wrong while keeping the trail.

AuditError
├── UnknownDecision      a type that the table of decisions does not have, or facts that it asks for are missing
├── NoTransaction        a record was asked for outside a transaction
└── NotAllowed           a person may not do this; carries the code and the sentence for page and API
"""

from __future__ import annotations


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
