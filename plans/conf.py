"""This app's knobs, with names, types and reasons. Times are seconds on the database's clock."""

from __future__ import annotations

from typing import Final

from agents.conf import LARGEST_RESULT

LEASE_SECONDS: Final = 30  # a holder that is silent this long has lost its attempt
BEAT_SECONDS: Final = 8  # three beats fit into a lease, one may be lost
UNCLAIMED_SECONDS: Final = 10  # a message nobody took is sent again, to another agent if there is one
SWEEP_SECONDS: Final = 5  # how often a dispatcher looks by itself, in case a notification was lost
LOOK_SECONDS: Final = 0.5  # how often a running attempt looks whether it was asked to stop
CONTINUE_SECONDS: Final = (
    2.0  # how long an agent goes on with the next step without the broker; then others have a turn
)
LINES_PER_FLUSH: Final = 200
FLUSH_SECONDS: Final = 0.08
OVERTIME_SECONDS: Final = 1.0  # how long after its timeout a tool that ends its work by itself has to say so
KEEP_SECONDS: Final = 1.0  # how often a running attempt's checkpoint is stored
LONGEST_TEXT: Final = 4_000  # characters of a request
LONGEST_OUTPUT: Final = LARGEST_RESULT  # bytes of a step's result kept in the database
LARGEST_RESOLVED: Final = 4 * 1024 * 1024  # characters that the references of one input bring in
LONGEST_TIMEOUT: Final = 24 * 3600
MOST_STEPS: Final = 1_000  # the items of lists that are written in a plan count as steps
MOST_DEPENDENCIES: Final = 20_000
MOST_VALUES: Final = 50_000  # in the inputs of a plan, with all that is nested in them
MOST_REFERENCES: Final = 5_000  # in the inputs of a plan
MOST_ITEMS: Final = 200  # of one fan-out
MOST_ATTEMPTS: Final = 10
COMMIT_TASKS: Final = "audit.commit_tasks"  # the job that writes finished tasks to the audit repository
