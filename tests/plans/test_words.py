"""Which words of a request are answered by a step."""

from hypothesis import given
from hypothesis import strategies as st

from plans.words import cover, spans_of

TEXT = "Deploy Kuma to homelab and paint the fence"


def test_pieces_say_which_steps_answer_them_and_the_rest_is_left_out():
    found = cover(TEXT, {1: [(0, 11)], 2: [(12, 22), (7, 11)]})
    assert [(piece.text, piece.steps) for piece in found.rows] == [
        ("Deploy ", (1,)),
        ("Kuma", (1, 2)),
        ("to homelab", (2,)),
    ]
    assert found.left_out == ["paint", "fence"]


def test_a_text_without_spans_is_one_piece():
    assert [piece.text for piece in cover("and the", {}).pieces] == ["and the"]
    assert cover("and the", {}).left_out == []


def test_spans_are_read_as_one_pair_or_a_list_of_pairs():
    assert spans_of([0, 5]) == [(0, 5)]
    assert spans_of([[0, 5], [6, 9]]) == [(0, 5), (6, 9)]
    assert [spans_of(odd) for odd in (None, [], "ab", 3, ["a", "b"], [1, 2, 3])] == [[]] * 6


@given(
    st.text(max_size=40),
    st.dictionaries(
        st.integers(1, 5), st.lists(st.tuples(st.integers(-5, 50), st.integers(-5, 50)), max_size=3), max_size=4
    ),
)
def test_the_pieces_together_are_always_the_text(text, spans):
    assert "".join(piece.text for piece in cover(text, spans).pieces) == text
