"""A plan's program as fields and back: what nobody touched is what it was, and what was typed has the type it had."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plans.revise_form import revise_form

TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=120)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | st.floats(-1e9, 1e9) | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=12,
)
WHOLE = {"goal": "Try", "budget": {"call_ceiling": 2, "policy": "warn", "warn_at": 0.8}, "max_parallel": 2}


def told(key, **more):
    return {"key": key, "tool": "diagnostic.echo", "name": key, "input": {}, "timeout_seconds": 600, **more}


def posted(form):
    """What a browser sends of it untouched: one line has no line ends, of several lines they are its own."""
    fields = [*form.whole, *(entry for step in form.steps for entry in step.entries)]
    return {
        entry.name: re.sub(r"\r\n|\r|\n", "\r\n" if entry.kind in ("lines", "json") else "", entry.value)
        for entry in fields
    }


def read(program, **typed):
    form = revise_form(program, program, WHOLE)
    form.fill({**posted(form), **{name.replace("__", "."): value for name, value in typed.items()}})
    return form, form.read()


@given(st.dictionaries(TEXT.filter(bool), VALUES, max_size=4), st.none() | st.lists(VALUES, max_size=3))
def test_what_nobody_touched_is_what_it_was(values, each):
    step = told("a", input=values, when="true", on_failure="continue", **({} if each is None else {"for_each": each}))
    form, (steps, whole) = read([step])
    assert (steps, whole, form.typed()) == ([step], WHOLE, [])


@pytest.mark.parametrize(
    ("old", "typed", "new"),
    [
        ("text", "5", "5"), ("text", "", ""), (5, "6", 6), (5, "6.5", 6.5), (5, " 7 ", 7), (5, "1e3", 1000.0),
        (5, "{{ steps.a.output.n }}", "{{ steps.a.output.n }}"), (True, "false", False), ([1], "[1, 2]", [1, 2]),
        ([1], "{{ steps.a.output.list }}", "{{ steps.a.output.list }}"), (None, '"x"', "x"), ({"a": 1}, "{}", {}),
    ],
)  # fmt: skip
def test_what_was_typed_has_the_type_it_had(old, typed, new):
    _, (steps, _) = read([told("a", input={"x": old})], a__input__x=typed)
    assert steps[0]["input"] == {"x": new} and type(steps[0]["input"]["x"]) is type(new)


@pytest.mark.parametrize("old", [5, [1]])
def test_a_number_or_json_that_was_emptied_is_no_longer_said(old):
    _, (steps, _) = read([told("a", input={"x": old, "y": 1})], a__input__x="")
    assert steps[0]["input"] == {"y": 1}


@pytest.mark.parametrize(
    ("old", "typed", "said"),
    [
        (True, "maybe", "none of the choices"), (5, "five", "is no number"), (5, "inf", "is no finite number"), (5, "NaN", "is no finite number"),
        (5, "9" * 400, "is no finite number"), ([1], "[1", "This is no JSON"), ([1], "NaN", "is no value of JSON"),
        ([1], "[" * 100_000, "nested too deeply"),
    ],
)  # fmt: skip
def test_what_is_no_value_is_said_and_kept(old, typed, said):
    form, found = read([told("a", input={"x": old})], a__input__x=typed)
    assert found is None
    (entry,) = form.steps[0].inputs
    assert said in entry.errors[0] and entry.value == typed


def test_a_timeout_that_was_emptied_is_asked_for():
    form, found = read([told("a")], a__timeout_seconds=" ")
    assert found is None and form.wrong() == ["a, Timeout, in seconds"]


def test_a_value_longer_than_any_field_stays_what_it_was():
    values = {"x": ["y" * 1000] * 400}
    _, (steps, _) = read([told("a", input=values)])
    assert steps[0]["input"] == values


def test_a_page_holds_no_more_fields_than_can_be_sent():
    program = [told(f"s{n}", input={f"v{m}": m for m in range(100)}) for n in range(30)]
    form = revise_form(program, program, WHOLE)
    assert len(form.steps) == 5 and len(posted(form)) < 1000
    form.fill(posted(form))
    assert form.read() == (program, WHOLE)


def test_what_was_left_out_leaves_its_place_to_what_came_before_it():
    steps = [told("a"), told("b", depends_on=["a"]), told("c", depends_on=["b"]), told("d", depends_on=["b", "c"])]
    _, (left, _) = read(steps, b__leave_out="on", c__leave_out="on")
    assert [(step["key"], step.get("depends_on")) for step in left] == [("a", None), ("d", ["a"])]


def test_what_its_tool_takes_besides_can_be_said():
    sleep = told("a", input={"seconds": 1}) | {"tool": "diagnostic.sleep"}
    form, (steps, _) = read([sleep], a__input__target="atlas")
    assert steps[0]["input"] == {"seconds": 1, "target": "atlas"} and form.steps[0].more_opened


def test_a_fallback_goes_with_the_failure_it_was_for():
    step = told("a", on_failure="fallback", fallback={"tool": "diagnostic.noop", "input": {}})
    _, (steps, _) = read([step], a__on_failure="stop")
    assert "fallback" not in steps[0] and steps[0]["on_failure"] == "stop"


def test_each_error_is_put_to_its_field_and_what_has_none_is_not_lost():
    steps = [told("a", input={"x": {"y": 1}}), told("b")]
    form = revise_form(steps, steps[:1], WHOLE)
    form.refuse(
        steps,
        [
            {"loc": ["steps", 0, "input", "x", "y"], "msg": "One."}, {"loc": ["steps", 0, "depends_on"], "msg": "Two."},
            {"loc": ["steps", 1, "input", "x"], "msg": "Three."}, {"loc": ["budget", "call_ceiling"], "msg": "Four."},
            {"loc": ["steps"], "msg": "Five."}, {"loc": ["steps", 9, "key"], "msg": "Six."}, {"loc": [], "msg": "Seven."},
        ],
    )  # fmt: skip
    assert form.steps[0].inputs[0].errors == ["One."] and form.steps[0].errors == ["depends_on: Two."]
    assert next(entry for entry in form.whole if entry.name == "plan.call_ceiling").errors == ["Four."]
    assert form.errors == ["b.input.x: Three.", "steps: Five.", "steps.9.key: Six.", "Seven."]
