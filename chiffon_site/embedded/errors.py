"""Why an installation cannot start.

CannotStart
└── Interrupted    a person or the system asked for the end while something was still starting
"""


class CannotStart(Exception):
    """The installation cannot start; the message is one sentence for the person who ran the command."""


class Interrupted(CannotStart):
    """Somebody asked for the end."""
