"""When to try again: a policy is data, the decision is a pure function of policy, failure and number of tries."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import timedelta
from typing import Any, Final

from agents.protocol import Failure
from plans.errors import brief

STRATEGIES: Final = ("exponential", "linear", "none")


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How often to try, and how long to wait in between. Waits are seconds; `attempts` counts the first try too."""

    strategy: str = "exponential"
    attempts: int = 3
    first_wait_seconds: float = 2.0
    factor: float = 2.0
    longest_wait_seconds: float = 60.0

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> RetryPolicy:
        """The policy of a step; what it does not say is the default. Raises ValueError, with the field named."""
        known = {name: data[name] for name in asdict(cls()) if name in data}
        if unknown := set(data) - set(known):
            raise ValueError(f"retry has no field {brief(', '.join(sorted(unknown)))}")
        policy = cls(**known)
        if policy.strategy not in STRATEGIES:
            raise ValueError(f"retry.strategy is one of {', '.join(STRATEGIES)}")
        if isinstance(policy.attempts, bool) or not isinstance(policy.attempts, int) or not 1 <= policy.attempts <= 10:
            raise ValueError("retry.attempts is a whole number from 1 to 10")
        for name in ("first_wait_seconds", "factor", "longest_wait_seconds"):
            value = getattr(policy, name)
            if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= 3600:
                raise ValueError(f"retry.{name} is a number from 0 to 3600")
        return policy

    def to_json(self) -> dict[str, Any]:
        """The policy as the digest, the API and the page know it."""
        return asdict(self)

    def wait_after(self, failure: Failure, *, attempt: int, jitter: float) -> timedelta | None:
        """How long to wait before the next try, with `jitter` from 0 to 1; None to give up."""
        if self.strategy == "none" or attempt >= self.attempts or not failure.transient:
            return None
        growth = self.factor ** (attempt - 1) if self.strategy == "exponential" else attempt
        seconds = min(self.first_wait_seconds * growth * (1 + 0.25 * jitter), self.longest_wait_seconds)
        return timedelta(seconds=seconds)


ONCE: Final = RetryPolicy(strategy="none", attempts=1)
