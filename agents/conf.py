"""This app's knobs, with names, types and reasons. Times are seconds on the database's clock."""

from __future__ import annotations

from typing import Final

BEAT_SECONDS: Final = 10
SILENT_SECONDS: Final = 90  # after this an agent is offline
# The processes of a step end when their owner was silent this long: before its lease can have ended, and others work on the host.
UNOWNED_SECONDS: Final = 18
JOB_LEASE_SECONDS: Final = 120
JOB_TRIES: Final = 8
DUE_CHANNEL: Final = "chiffon_due"  # what dispatchers listen on
JOB_QUEUE: Final = "jobs"
DRAIN_SECONDS: Final = 6  # how long running steps may go on after SIGTERM; the keeper's own deadline is 10 s
BREAKER_FAILURES: Final = 5  # tries of one tool on one target that fail in a row within the window: it opens
BREAKER_WINDOW_SECONDS: Final = 120
BREAKER_OPEN_SECONDS: Final = 30  # then one try is let through; twice as long each time that fails
BREAKER_LONGEST_SECONDS: Final = 600
LARGEST_RESULT: Final = 256 * 1024  # bytes of a tool's output, as JSON, that are kept; the rest is cut and said so
LONGEST_SUMMARY: Final = 2_000  # characters of the one sentence about a result
LARGEST_CACHED: Final = 128 * 1024  # bytes of one result in the cache of tools
LONGEST_CACHED: Final = 7 * 24 * 3600  # seconds that a result may be answered from the cache
MEASURED_CALLS: Final = 5_000  # how many of the last attempts a tool's reliability is measured over
