"""What a plan may spend: exact amounts, bad ceilings named, and words for what is left. Pure."""

import math
from decimal import Decimal

import pytest

from plans.budget import Amounts, Budget, amount, completed, errors_in, meters, reached, refusal, whole


def budget(**told):
    assert errors_in(told) == []
    return Budget.from_json(completed(told))


def used(cost=0, calls=0, tokens=0):
    return Amounts(Decimal(str(cost)), calls, tokens)


NONE = Amounts()


@pytest.mark.parametrize("name", ["cost_ceiling", "call_ceiling", "token_ceiling"])
@pytest.mark.parametrize("value", [
    -1, 0, 0.0, math.nan, math.inf, -math.inf, 1e308, 10**400, -(10**400), "10", True, [1], {}, 10**9 + 1, 1e-12,
    Decimal("NaN"), Decimal("sNaN"), Decimal("Infinity"),
])  # fmt: skip
def test_a_ceiling_that_is_no_amount_is_named(name, value):
    assert [field for field, _ in errors_in({name: value})] == [name]


@pytest.mark.parametrize("told", [
    {"call_ceiling": 1}, {"call_ceiling": 2.0}, {"cost_ceiling": 0.1 + 0.2}, {"cost_ceiling": 10**9}, {"token_ceiling": 5},
    {"call_ceiling": 1, "policy": "warn"}, {"call_ceiling": 1, "policy": "block", "warn_at": 1}, {}, {"call_ceiling": None},
])  # fmt: skip
def test_a_budget_that_is_one_is_taken(told):
    assert errors_in(told) == []


@pytest.mark.parametrize(("told", "field"), [
    ({"call_ceiling": 1.5}, "call_ceiling"),
    ({"call_ceiling": 1, "policy": "shrug"}, "policy"),
    ({"call_ceiling": 1, "policy": ["warn"]}, "policy"),
    ({"call_ceiling": 1, "policy": 1}, "policy"),
    ({"call_ceiling": 1, "warn_at": 0}, "warn_at"),
    ({"call_ceiling": 1, "warn_at": -0.1}, "warn_at"),
    ({"call_ceiling": 1, "warn_at": 1.1}, "warn_at"),
    ({"call_ceiling": 1, "warn_at": math.nan}, "warn_at"),
    ({"call_ceiling": 1, "warn_at": "0.8"}, "warn_at"),
    ({"call_ceiling": 1, "warn_at": True}, "warn_at"),
    ({"policy": "warn"}, ""),
    ({"warn_at": 0.5, "call_ceiling": None}, ""),
    ({"call_ceiling": 1, "free": None}, "free"),
    ({"call_ceiling": 1, "x" * 500: 1}, "x" * 79 + "…"),
])  # fmt: skip
def test_what_a_budget_can_not_say_is_named(told, field):
    assert [name for name, _ in errors_in(completed(told))] == [field]


def test_what_a_budget_leaves_open_is_said_so_that_the_digest_covers_it():
    assert completed({"call_ceiling": 5, "cost_ceiling": None}) == {
        "call_ceiling": 5, "policy": "block", "warn_at": 0.8,
    }  # fmt: skip
    assert completed({}) == completed({"call_ceiling": None}) == {}


def test_tenths_add_up_exactly():
    allowed = budget(cost_ceiling=0.3)
    spent = used(0.1) + used(0.2)
    assert spent.cost == Decimal("0.3")
    assert refusal(allowed, spent=used(0.1), held=NONE, wanted=used(0.2, 1)) == ""
    assert refusal(allowed, spent=spent, held=NONE, wanted=used(0.000000001, 1))
    assert refusal(budget(cost_ceiling=0.1 + 0.2), spent=used(0.1), held=used(0.2), wanted=used(0, 1)) == ""


def test_a_call_that_does_not_fit_is_refused_with_a_reason():
    allowed = budget(call_ceiling=10, cost_ceiling=5, token_ceiling=1000)
    assert refusal(allowed, spent=used(calls=9), held=NONE, wanted=used(calls=1)) == ""
    spent = refusal(allowed, spent=used(calls=10), held=NONE, wanted=used(calls=1))
    assert spent.startswith("The budget's 10 calls are spent; the call was not made.")
    held = refusal(allowed, spent=used(calls=8), held=used(calls=2), wanted=used(calls=1))
    assert held.startswith("The budget allows 10 calls: 8 spent, 2 held for calls under way, and this call may need 1")
    costly = refusal(allowed, spent=used(4.5), held=NONE, wanted=used(1, 1))
    assert costly.startswith("The budget allows a cost of 5: 4.5 spent, and this call may need 1")
    assert "1,000 tokens are spent" in refusal(allowed, spent=used(tokens=1000), held=NONE, wanted=used(0, 1, 1))
    assert refusal(budget(call_ceiling=1), spent=used(calls=1), held=NONE, wanted=used(calls=1)).startswith(
        "The budget's 1 call is spent;"
    )


@pytest.mark.parametrize(("calls", "level"), [(0, ""), (7, ""), (8, "warned"), (10, "warned"), (11, "exceeded")])
def test_people_are_warned_before_the_end(calls, level):
    assert reached(budget(call_ceiling=10), used(calls=calls)) == level


def test_a_meter_says_it_in_words_and_never_rounds_up():
    allowed = budget(call_ceiling=10, token_ceiling=1_000_000, cost_ceiling=0.3)
    words = [meter.words for meter in meters(allowed, used(0.1, 8, 999_999))]
    assert words == ["8 of 10 calls, 80 %", "cost 0.1 of 0.3, 33 %", "999,999 of 1,000,000 tokens, 99 %"]
    assert [meter.tone for meter in meters(allowed, used(0.3, 8, 0))] == ["warn", "bad", "ok"]
    assert meters(Budget(), used(calls=5)) == []


@pytest.mark.parametrize("junk", [None, "5", math.nan, math.inf, -1, 1e308, 10**400, True, [], {}])
def test_what_a_tool_can_not_have_used_is_not_believed(junk):
    assert (amount(junk), whole(junk)) == (None, None)
