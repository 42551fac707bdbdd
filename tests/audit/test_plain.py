"""A value as it is stored, written and hashed: the short way of each and the long one agree."""

import json
import math
from datetime import UTC, datetime
from enum import StrEnum
from uuid import UUID

import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st

from audit.canonical import LARGEST_INTEGER, as_json, canonical, plain

LEAVES = st.none() | st.booleans() | st.integers() | st.floats() | st.text()
VALUES = st.recursive(LEAVES, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=20)


class Word(StrEnum):
    """A text that is not of the type str itself."""

    ONE = "one"


def same(one, other):
    """Whether two values are stored alike; 1 and 1.0 and True are not."""
    return json.dumps(one) == json.dumps(other)


@given(VALUES, st.booleans())
def test_what_is_stored_is_what_the_encoder_would_have_made_of_it(value, exact):
    long_way = plain({1: value}, exact=exact)["1"]  # a key that is no text makes the whole go through the encoder
    assert same(plain(value, exact=exact), long_way)


@pytest.mark.parametrize(
    ("value", "stored"),
    [
        (Word.ONE, "one"),
        ({Word.ONE: 1, 2: "x", None: True}, {"one": 1, "2": "x", "null": True}),
        (UUID(int=1), "00000000-0000-0000-0000-000000000001"),
        (datetime(2026, 1, 2, tzinfo=UTC), "2026-01-02T00:00:00+00:00"),
        ({"b", "a"}, ["a", "b"]),
        ((1, (2,)), [1, [2]]),
        (math.inf, "inf"),
        ("a\x00\ud800", "a\ufffd\ufffd"),
        ({"a\x00": 1}, {"a\ufffd": 1}),
        (LARGEST_INTEGER + 1, LARGEST_INTEGER + 1),
    ],
)
def test_a_value_that_json_does_not_know_is_stored_as_something_that_it_does(value, stored):
    assert same(plain(value), stored)
    assert same(plain([{"deep": value}]), [{"deep": stored}])


def test_an_integer_that_no_record_holds_exactly_becomes_its_digits():
    assert plain(-LARGEST_INTEGER - 1, exact=True) == str(-LARGEST_INTEGER - 1)
    assert plain([LARGEST_INTEGER], exact=True) == [LARGEST_INTEGER]


def test_what_can_not_be_stored_is_named():
    with pytest.raises(TypeError, match="object has no canonical form"):
        plain({"a": object()})


@given(VALUES)
def test_the_canonical_bytes_are_those_of_the_standards_own_encoder(value):
    value = plain(value, exact=True)
    assert canonical(value) == rfc8785.dumps(value)


@given(st.floats(min_value=1e-5, max_value=1e16))
def test_a_number_has_one_canonical_form(number):
    assert canonical([number, -number]) == rfc8785.dumps([number, -number])


@given(VALUES | st.integers(min_value=2**63))
def test_what_is_written_as_json_is_read_as_the_same_value(value):
    value = plain(value)
    assert same(json.loads(as_json(value)), value)
