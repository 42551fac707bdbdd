"""What a step waits for before it begins, as a sentence; it is written when the plan is drafted and stays until something changes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

TURN: Final = "Waits for its turn."
PAUSED: Final = "Waits until the plan is resumed."
ROLLBACK: Final = "Runs only if the plan is rolled back."
_NAMED: Final = 5  # as many steps as a sentence names


def first_sentence(depends_on: Sequence[str]) -> str:
    """What a step of the plan waits for at first, given the keys of the steps it depends on."""
    if not depends_on:
        return TURN
    named = ", ".join(sorted(depends_on)) if len(depends_on) <= _NAMED else f"{len(depends_on)} steps"
    return f"Waits for {named}."
