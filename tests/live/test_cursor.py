"""A cursor comes back as it went out, and nothing else is taken for one."""

import base64
import json
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plans.live.cursor import BadCursor, Cursor


@given(
    epoch=st.text(max_size=40),
    xid=st.integers(0, 2**63 - 1),
    event=st.integers(0, 2**63 - 1),
    streams=st.dictionaries(st.uuids(), st.integers(0, 2**31 - 1), max_size=5),
)
def test_a_cursor_comes_back_as_it_went_out(epoch, xid, event, streams):
    cursor = Cursor(epoch.encode("utf-8", "ignore").decode(), xid, event, streams)
    assert Cursor.decode(cursor.encode()) == cursor


def _text(value: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "x",
        "not a cursor",
        "-1",
        "1e400",
        "é",
        "AAAA",
        "A" * 200_000,
        _text([]),
        _text({}),
        _text(["epoch", 1, 2]),
        _text(["epoch", -1, 2, {}]),
        _text(["epoch", 1.5, 2, {}]),
        _text(["epoch", True, 2, {}]),
        _text(["epoch", "1", 2, {}]),
        _text(["epoch", 2**63, 2, {}]),
        _text(["epoch", 1, 2, []]),
        _text(["epoch", 1, 2, {"nobody": 1}]),
        _text(["epoch", 1, 2, {uuid4().hex: 2**31}]),
        _text(["epoch", 1, 2, {uuid4().hex: None}]),
        _text([7, 1, 2, {}]),
        _text(["epoch", 1, 2, {uuid4().hex: 1 for _ in range(2_001)}]),
        base64.urlsafe_b64encode(b"[" * 5_000).decode(),
    ],
)
def test_anything_else_is_refused_with_a_sentence(text):
    with pytest.raises(BadCursor) as caught:
        Cursor.decode(text)
    assert caught.value.status == 422
    assert caught.value.code == "bad_cursor"
    assert caught.value.sentence


@given(st.text(max_size=200))
def test_no_text_makes_decoding_fail_in_another_way(text):
    try:
        Cursor.decode(text)
    except BadCursor:
        pass
