"""Values for an offering's variables from what already exists, each with its origin (PLAN-8).

Pure. The checks and the search through the inventory are `agents.playbooks.filling`; this is the planner's door to them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from agents.playbooks.catalogue import Offering, Variable
from agents.playbooks.facts import Facts
from agents.playbooks.filling import Filled, UnusableValue, fill, variable_of

__all__ = ["FROM_ANSWER", "FROM_REQUEST", "Facts", "Filled", "UnusableValue", "prefill"]

FROM_REQUEST: Final = "request"
FROM_ANSWER: Final = "answer"


def prefill(
    offering: Offering,
    text_values: Mapping[str, Any],
    facts: Facts,
    *,
    earlier: Mapping[str, Any] | None = None,
) -> tuple[dict[str, Filled], tuple[Variable, ...]]:
    """Fill an offering's variables: words of the request, earlier answers, the inventory, playbook defaults.

    A value may be bare or a `Filled` that brings its own origin. Returns the values by name, and the required
    variables that are still missing. Raises UnusableValue for a name the playbook does not take, a value of the wrong
    type, any value for a secret, or anything that holds a template.
    """
    for name in [*text_values, *(earlier or {})]:
        variable_of(name, offering.variables, offering.playbook)
    return fill(
        offering.variables,
        said={name: _with_origin(value, FROM_REQUEST) for name, value in text_values.items()},
        earlier={name: _with_origin(value, FROM_ANSWER) for name, value in (earlier or {}).items()},
        facts=facts,
        service=offering.service,
    )


def _with_origin(value: Any, origin: str) -> Filled:
    return value if isinstance(value, Filled) else Filled(value, origin)
