"""What can go wrong between a request and its result. Each has a code for trail and API, and a sentence for a person.

PlansError
├── NotFound             no such request, plan or step, or not for you: the two look alike
├── Refused              what was asked cannot be taken
│   ├── BadText          a request's text is empty, too long, binary or nonsense
│   └── InvalidPlan      a plan by a program has errors; each names its place
├── Conflict             it could be taken, but not now
│   ├── DigestMismatch   the plan is no longer what was seen
│   ├── AlreadyDecided   somebody was first
│   ├── IllegalTransition  the stage or status does not allow it
│   ├── HostsUnknown     it can not be said which hosts are left to do
│   └── StaleTransition  someone else moved it at the same moment
└── SelfApproval         four eyes: nobody approves what they asked for
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

LONGEST_NAME: Final = 80  # characters of what somebody sent, as a sentence repeats it
MOST_ERRORS: Final = 100  # of one answer; nobody reads more before they mend these


def brief(name: object) -> str:
    """A name as an error repeats it: whoever sent it knows the rest, and page and trail stay short."""
    text = str(name)
    return text if len(text) <= LONGEST_NAME else text[: LONGEST_NAME - 1] + "…"


def told(errors: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The first errors of an answer, with names in their places that are as brief as those in their sentences."""
    return [
        error | {"loc": [brief(part) if isinstance(part, str) else part for part in error["loc"]]}
        for error in errors[:MOST_ERRORS]
    ]


class PlansError(Exception):
    """The root of this app's errors. `status` is the HTTP status that fits it."""

    code = "plans_error"
    status = 400

    def __init__(self, sentence: str) -> None:
        super().__init__(sentence)
        self.sentence = sentence


class NotFound(PlansError):
    """There is no such thing, or it is not for you."""

    code = "not_found"
    status = 404


class Refused(PlansError):
    """What was asked cannot be taken. `code` says why more exactly."""

    status = 422

    def __init__(self, code: str, sentence: str) -> None:
        super().__init__(sentence)
        self.code = code


class BadText(Refused):
    """The text of a request is unusable."""


class InvalidPlan(Refused):
    """A plan written by a program has errors. `errors` are the first of them, {"loc": [...], "msg": …} for each place."""

    def __init__(self, errors: Sequence[dict[str, Any]]) -> None:
        first = str(errors[0]["msg"]).removesuffix(".") if errors else "it has no steps"
        more = f" (and {len(errors) - 1} more)" if len(errors) > 1 else ""
        super().__init__("invalid_plan", f"The plan was not saved: {first}{more}.")
        self.errors = told(errors)


class Conflict(PlansError):
    """It could be taken, but not in the state things are in."""

    code = "conflict"
    status = 409


class DigestMismatch(Conflict):
    """The plan is no longer what was on the screen."""

    code = "digest_mismatch"


class AlreadyDecided(Conflict):
    """Somebody decided before."""

    code = "already_decided"


class IllegalTransition(Conflict):
    """The object's stage or status does not allow this move."""

    code = "illegal_transition"


class HostsUnknown(Conflict):
    """A step can not be narrowed to the hosts that are left: which those are is not known, or it makes no difference."""

    code = "hosts_unknown"


class StaleTransition(Conflict):
    """Someone else moved the object at the same moment."""

    code = "stale"


class SelfApproval(PlansError):
    """Nobody approves what they asked for."""

    code = "self_approval"
    status = 403
