"""What differs between two revisions, told field by field."""

import copy

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plans.differences import Difference, FieldChange, Kind, StepChange, compare

A = {"key": "a", "tool": "diagnostic.echo", "input": {"value": 1, "more": [1]}, "depends_on": [], "when": ""}
B = {**A, "key": "b", "depends_on": ["a"]}
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)
CONTENTS = st.dictionaries(
    st.sampled_from(["a", "b", "c", "a.rollback"]),
    st.fixed_dictionaries(
        {"tool": st.sampled_from("xy"), "input": st.dictionaries(st.text(max_size=2), JSON, max_size=3)}
    ),
).map(lambda found: {key: found[key] for key in sorted(found) if key.partition(".")[0] in found})


def test_a_changed_value_is_told_with_what_it_was():
    now = {**A, "input": {"value": 2, "more": [1]}}
    assert compare({"a": A, "b": B}, {"a": now, "b": B}) == Difference(
        steps=(StepChange("a", Kind.CHANGED, (FieldChange("input.value", 1, 2),)),), same=("b",)
    )


def test_steps_that_come_and_go_are_told():
    found = compare({"a": A}, {"b": B})
    assert (found.keys(Kind.ADDED), found.keys(Kind.REMOVED), found.same) == (["b"], ["a"], ())


@pytest.mark.parametrize(("was", "now"), [(1, True), (0, False), ([1], [True]), ({"x": 0}, {"x": False}), (None, "")])
def test_values_of_another_type_differ(was, now):
    (step,) = compare({"a": {**A, "input": {"value": was}}}, {"a": {**A, "input": {"value": now}}}).steps
    assert step.fields == (FieldChange("input.value", was, now),)


def test_a_value_that_comes_or_goes_has_nothing_on_the_other_side():
    (step,) = compare({"a": A}, {"a": {**A, "input": {"value": 1, "new": 3}}}).steps
    assert step.fields == (FieldChange("input.new", None, 3), FieldChange("input.more", [1], None))


def test_a_field_that_only_one_side_says_is_compared_with_nothing():
    (step,) = compare({"a": A}, {"a": {**A, "for_each": ["x"]}}).steps
    assert step.fields == (FieldChange("for_each", None, ["x"]),)
    (step,) = compare({"a": {**A, "fallback": {"tool": "x", "input": {}}}}, {"a": A}).steps
    assert [one.name for one in step.fields] == ["fallback.tool", "fallback.input"]


def test_what_undoes_a_step_is_told_with_it():
    undo = {"key": "a.rollback", "tool": "x", "input": {"value": 1}, "playbook": None, "retry": {"attempts": 1}}
    (step,) = compare({"a": A}, {"a": A, "a.rollback": undo}).steps
    assert (step.key, step.change) == ("a", Kind.CHANGED)
    assert [one.name for one in step.fields] == ["rollback.tool", "rollback.input.value"]
    (step,) = compare({"a": A, "a.rollback": undo}, {"a": A, "a.rollback": {**undo, "input": {"value": 2}}}).steps
    assert step.fields == (FieldChange("rollback.input.value", 1, 2),)
    assert compare({"a": A, "a.rollback": undo}, {"b": B}).keys(Kind.REMOVED) == ["a"]


def test_the_plan_as_a_whole_is_told_apart_from_its_steps():
    was = {"v": 2, "commit": "a", "tree": "b", "repository": "r", "budget": {"call_ceiling": 2}, "steps": 1}
    now = {**was, "commit": "c", "tree": "d", "budget": {"call_ceiling": 3}, "max_parallel": 2, "carried": ["a"]}
    assert compare({"a": A}, {"a": A}, (was, now)).plan == (
        FieldChange("commit", "a", "c"), FieldChange("budget.call_ceiling", 2, 3), FieldChange("max_parallel", None, 2),
    )  # fmt: skip


@given(CONTENTS, CONTENTS)
def test_nothing_differs_exactly_where_all_is_equal(was, now):
    assert compare(was, copy.deepcopy(was)).steps == ()
    there, back = compare(was, now), compare(now, was)
    assert there.keys(Kind.ADDED) == sorted(back.keys(Kind.REMOVED), key=there.keys(Kind.ADDED).index)
    flipped = {(step.key, one.name): (one.now, one.was) for step in back.steps for one in step.fields}
    assert {(step.key, one.name): (one.was, one.now) for step in there.steps for one in step.fields} == flipped
