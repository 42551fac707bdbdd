"""When a step is tried again: arithmetic of a policy, a failure and a number of tries. Pure."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.protocol import Failure, FailureMode
from plans.retry import ONCE, RetryPolicy

SHORT = Failure(FailureMode.SYSTEM, "The network was away.", transient=True)
LASTING = Failure(FailureMode.USER, "There is no such host.")


def seconds(policy, attempt, jitter=0.0):
    wait = policy.wait_after(SHORT, attempt=attempt, jitter=jitter)
    return None if wait is None else wait.total_seconds()


def test_waits_double_until_the_last_try():
    policy = RetryPolicy(attempts=5, first_wait_seconds=2, factor=2, longest_wait_seconds=10)
    assert [seconds(policy, attempt) for attempt in range(1, 7)] == [2, 4, 8, 10, None, None]


def test_linear_waits_grow_by_the_first():
    policy = RetryPolicy(strategy="linear", attempts=4, first_wait_seconds=3)
    assert [seconds(policy, attempt) for attempt in range(1, 5)] == [3, 6, 9, None]


def test_a_lasting_failure_is_not_tried_again():
    assert RetryPolicy().wait_after(LASTING, attempt=1, jitter=0) is None


def test_no_strategy_means_one_try():
    assert seconds(RetryPolicy(strategy="none", attempts=9), 1) is None
    assert seconds(ONCE, 1) is None


def test_jitter_spreads_by_a_quarter_and_never_beyond_the_longest():
    policy = RetryPolicy(first_wait_seconds=4, longest_wait_seconds=60)
    assert (seconds(policy, 1, 0), seconds(policy, 1, 1)) == (4, 5)
    assert seconds(RetryPolicy(first_wait_seconds=60, longest_wait_seconds=60), 1, 1) == 60


@given(
    st.sampled_from(["exponential", "linear", "none"]),
    st.integers(1, 10),
    st.floats(0, 3600),
    st.floats(0, 3600),
    st.floats(0, 3600),
    st.integers(1, 20),
    st.floats(0, 1),
)
def test_every_policy_ends_and_never_waits_longer_than_it_says(name, attempts, first, factor, longest, attempt, jitter):
    policy = RetryPolicy.from_json(
        {
            "strategy": name,
            "attempts": attempts,
            "first_wait_seconds": first,
            "factor": factor,
            "longest_wait_seconds": longest,
        }
    )
    wait = policy.wait_after(SHORT, attempt=attempt, jitter=jitter)
    if attempt >= attempts or name == "none":
        assert wait is None
    else:
        assert wait is not None
        assert timedelta() <= wait <= timedelta(seconds=longest)
    assert RetryPolicy.from_json(policy.to_json()) == policy


@pytest.mark.parametrize(
    ("data", "named"),
    [
        ({"attempts": 0}, "retry.attempts"),
        ({"attempts": 10**6}, "retry.attempts"),
        ({"attempts": True}, "retry.attempts"),
        ({"attempts": 2.0}, "retry.attempts"),
        ({"attempts": "3"}, "retry.attempts"),
        ({"strategy": "forever"}, "retry.strategy"),
        ({"strategy": None}, "retry.strategy"),
        ({"strategy": ["none"]}, "retry.strategy"),
        ({"factor": -1}, "retry.factor"),
        ({"factor": float("nan")}, "retry.factor"),
        ({"first_wait_seconds": float("inf")}, "retry.first_wait_seconds"),
        ({"longest_wait_seconds": 10**9}, "retry.longest_wait_seconds"),
        ({"longest_wait_seconds": "60"}, "retry.longest_wait_seconds"),
        ({"tries": 3}, "tries"),
        ({"x" * 900_000: 3}, "xxx…$"),
    ],
)
def test_a_policy_that_is_none_is_named(data, named):
    with pytest.raises(ValueError, match=named):
        RetryPolicy.from_json(data)
