"""Results as agents give them."""

from agents.protocol import FailureMode, Outcome, WorkResult


def completed(**output):
    return WorkResult(Outcome.COMPLETED, output=output, summary="Done.")


def failed(*, transient=False):
    return WorkResult.failed(FailureMode.USER, "It can not work.", transient=transient)


def stopped():
    return WorkResult(Outcome.CANCELLED, summary="Stopped.")
