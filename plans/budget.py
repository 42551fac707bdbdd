"""What a plan may spend: its ceilings, what is left of them, when people are warned, and how a call is refused. Pure.

Amounts are exact: a cost is a Decimal with nine places, so that 0.1 and 0.2 fill a ceiling of 0.3 and do not pass it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import ROUND_FLOOR, Decimal
from typing import Any, Final

from plans.errors import brief

CEILINGS: Final[Mapping[str, str]] = {"calls": "call_ceiling", "cost": "cost_ceiling", "tokens": "token_ceiling"}
FIELDS: Final = (*CEILINGS.values(), "policy", "warn_at")
POLICIES: Final = ("block", "warn")
MOST: Final = 10**9  # of any ceiling
MOST_USED: Final = 10**12  # of one call; whatever claims more is not believed
_PLACES: Final = Decimal("0.000000001")


@dataclass(frozen=True, slots=True)
class Amounts:
    """How much of each measure."""

    cost: Decimal = Decimal(0)
    calls: int = 0
    tokens: int = 0

    def __add__(self, other: Amounts) -> Amounts:
        return Amounts(self.cost + other.cost, self.calls + other.calls, self.tokens + other.tokens)

    def of(self, measure: str) -> Decimal:
        """One measure as an exact number."""
        return Decimal(getattr(self, measure))

    def to_json(self) -> dict[str, int | float]:
        """The amounts as plain data; a cost without a fraction is a whole number."""
        return {"cost": _number(self.cost), "calls": self.calls, "tokens": self.tokens}


@dataclass(frozen=True, slots=True)
class Budget:
    """The ceilings of a plan, by measure, and what happens at them."""

    ceilings: Mapping[str, Decimal] = field(default_factory=dict)
    blocks: bool = True  # the call that would pass a ceiling is not made; otherwise it is, and people are told
    warn_at: Decimal = Decimal("0.8")

    @classmethod
    def from_json(cls, told: Mapping[str, Any]) -> Budget:
        """A budget that errors_in() found nothing wrong with."""
        ceilings = {
            measure: exact for measure, name in CEILINGS.items() if (exact := amount(told.get(name))) is not None
        }
        return cls(ceilings, told.get("policy", "block") == "block", Decimal(str(told.get("warn_at", "0.8"))))


@dataclass(frozen=True, slots=True)
class Meter:
    """How far one measure has gone, for a page: `words` says it all, such as “8 of 10 calls, 80 %”."""

    measure: str
    ceiling: Decimal
    committed: Decimal
    percent: int
    words: str
    tone: str


def amount(value: Any) -> Decimal | None:
    """A number as an exact amount; None if it is no number, not finite, negative, or more than anybody spends."""
    if isinstance(value, bool) or not isinstance(value, (int, float, Decimal)):
        return None
    finite = value.is_finite() if isinstance(value, Decimal) else isinstance(value, int) or math.isfinite(value)
    if not finite:
        return None
    return Decimal(str(value)).quantize(_PLACES) if 0 <= value <= MOST_USED else None


def whole(value: Any) -> int | None:
    """A number as a count; None if it is none."""
    exact = amount(value)
    return int(exact) if exact is not None and exact == exact.to_integral_value() else None


def errors_in(told: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What is wrong with a budget: (field, sentence) for each; the field is empty where it is the budget as a whole."""
    found = [(brief(name), f"A budget has no field {brief(name)}.") for name in told if name not in FIELDS]
    for measure, name in CEILINGS.items():
        value = told.get(name)
        exact = amount(value) if measure == "cost" else whole(value)
        if value is not None and (exact is None or not 0 < exact <= MOST):
            found.append((name, f"{name} is a {'' if measure == 'cost' else 'whole '}number above 0 and up to 10^9."))
    if told.get("policy") is not None and told["policy"] not in POLICIES:
        found.append(("policy", f"The policy of a budget is one of {', '.join(POLICIES)}."))
    level = told.get("warn_at")
    if level is not None and not ((exact := amount(level)) is not None and 0 < exact <= 1):
        found.append(("warn_at", "warn_at is a fraction above 0 and up to 1, such as 0.8."))
    if not found and any(value is not None for value in told.values()) and not _ceilings(told):
        found.append(("", f"A budget needs at least one of {', '.join(CEILINGS.values())}."))
    return found


def completed(told: Mapping[str, Any]) -> dict[str, Any]:
    """The budget with everything said that it leaves open, so that the digest covers it; empty without a ceiling.

    Takes also what errors_in() complains about, and leaves it as it is.
    """
    said = {name: value for name, value in told.items() if value is not None or name not in FIELDS}
    return {**said, "policy": said.get("policy", "block"), "warn_at": said.get("warn_at", 0.8)} if said else {}


def refusal(budget: Budget, *, spent: Amounts, held: Amounts, wanted: Amounts) -> str:
    """Why a call that wants this much is not made, as a sentence; empty if it fits."""
    for measure, ceiling in budget.ceilings.items():
        used, waiting, more = spent.of(measure), held.of(measure), wanted.of(measure)
        if used + waiting + more <= ceiling:
            continue
        if used >= ceiling:
            why = (
                f"The budget's {_words(measure, ceiling)} {'is' if ceiling == 1 or measure == 'cost' else 'are'} spent"
            )
        else:
            why = (
                f"The budget allows {'a ' if measure == 'cost' else ''}{_words(measure, ceiling)}: {_plain(used)} spent"
            )
            why += f", {_plain(waiting)} held for calls under way" if waiting else ""
            why += f", and this call may need {_plain(more)}"
        return f"{why}; the call was not made. What is done is kept; whoever needs more asks for a plan with a higher ceiling."
    return ""


def reached(budget: Budget, committed: Amounts) -> str:
    """Whether what is spent and held has passed a ceiling ("exceeded"), the warning level ("warned"), or neither ("")."""
    shares = [committed.of(measure) / ceiling for measure, ceiling in budget.ceilings.items()]
    if any(share > 1 for share in shares):
        return "exceeded"
    return "warned" if any(share >= budget.warn_at for share in shares) else ""


def meters(budget: Budget, committed: Amounts) -> list[Meter]:
    """One meter for each ceiling. Percents are rounded down, so that 100 % means that nothing is left."""
    found = []
    for measure, ceiling in budget.ceilings.items():
        used = committed.of(measure)
        percent = int((used * 100 / ceiling).to_integral_value(ROUND_FLOOR))
        tone = "bad" if used >= ceiling else "warn" if used >= ceiling * budget.warn_at else "ok"
        share = (
            f"{_plain(used)} of {_plain(ceiling)}"
            if measure == "cost"
            else f"{_plain(used)} of {_words(measure, ceiling)}"
        )
        words = f"{'cost ' if measure == 'cost' else ''}{share}, {percent} %"
        found.append(Meter(measure, ceiling, used, percent, words, tone))
    return found


def limits(budget: Budget) -> str:
    """The ceilings in a few words, such as “10 calls, cost of 2.5”."""
    return ", ".join(_words(measure, ceiling) for measure, ceiling in budget.ceilings.items())


def _ceilings(told: Mapping[str, Any]) -> list[str]:
    return [name for name in CEILINGS.values() if told.get(name) is not None]


def _words(measure: str, number: Decimal) -> str:
    if measure == "cost":
        return f"cost of {_plain(number)}"
    return f"{_plain(number)} {measure.removesuffix('s') if number == 1 else measure}"


def _plain(number: Decimal) -> str:
    text = f"{number:,f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def _number(number: Decimal) -> int | float:
    return int(number) if number == number.to_integral_value() else float(number)
