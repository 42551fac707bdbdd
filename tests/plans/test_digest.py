"""The digest: everything with meaning is inside, prose and the order of keys are outside. Pure."""

import itertools
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plans import digest

STEP = {
    "key": "deploy",
    "tool": "ansible.playbook",
    "input": {"port": 3001, "names": ["a", "b"], "deep": {"x": None}},
    "playbook": {"path": "kuma.yml", "inventory": "hosts", "limit": "", "tags": []},
    "depends_on": ["prepare"],
    "agent_type": "infra",
    "work_type": "playbook:kuma.yml",
    "resources": {"cpu": 1},
    "risk": "low",
    "timeout_seconds": 600,
    "retry": {"strategy": "none", "attempts": 1},
    "idempotent": False,
    "when": "",
    "on_failure": "stop",
    "hosts": ["forge"],
    "preview": None,
    "kind": "step",
    "undoes": "",
    "for_each": None,
    "fallback": None,
}
HEADER = {"commit": "c" * 40, "tree": "t" * 40, "repository": "playbooks", "budget": {"call_ceiling": 5}, "steps": 1}


def sealed(header=None, *steps):
    return digest.seal(
        digest.header_content(**{**HEADER, **(header or {})}),
        [digest.step_content(step) for step in steps or (STEP,)],
    )


def other(value):
    """Another value of the same shape."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        return value + 1
    if isinstance(value, str):
        return value + "x"
    if isinstance(value, list):
        return [*value, "x"]
    return {"x": 1} if value is None else {**value, "x": 1}


def shuffled(value):
    """The same value with its keys the other way round."""
    if isinstance(value, dict):
        return {key: shuffled(value[key]) for key in reversed(value)}
    return value


def test_every_field_with_meaning_is_in_the_example():
    assert set(STEP) == set(digest.STEP_FIELDS)


@pytest.mark.parametrize("name", digest.STEP_FIELDS)
def test_any_field_of_a_step_changes_the_digest_and_its_leaf(name):
    changed = sealed(None, {**STEP, name: other(STEP[name])})
    assert changed.digest != sealed().digest
    assert changed.leaves != sealed().leaves


@pytest.mark.parametrize("name", HEADER)
def test_any_field_of_the_header_changes_the_digest_and_no_leaf(name):
    changed = sealed({name: other(HEADER[name])})
    assert changed.digest != sealed().digest
    assert changed.leaves == sealed().leaves


def test_the_order_of_keys_changes_nothing():
    assert sealed(None, shuffled(STEP)) == sealed()


def test_prose_is_outside():
    assert sealed(None, {**STEP, "name": "Another", "reason": "because"}) == sealed()


def test_the_order_of_steps_has_meaning():
    one, two = STEP, {**STEP, "key": "verify"}
    assert sealed({"steps": 2}, one, two).digest != sealed({"steps": 2}, two, one).digest


def test_a_missing_field_is_no_content():
    with pytest.raises(KeyError):
        digest.step_content({name: value for name, value in STEP.items() if name != "hosts"})


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 2**53])
def test_what_has_no_canonical_form_has_no_digest(value):
    with pytest.raises(ValueError):
        digest.leaf(digest.step_content({**STEP, "input": {"x": value}}))


@pytest.mark.parametrize("count", [1, 2, 3, 7, 8, 9, 33])
def test_each_step_proves_its_place_and_no_other(count):
    steps = [{**STEP, "key": f"s{place}"} for place in range(count)]
    done = sealed({"steps": count}, *steps)
    for (place, step), claimed in itertools.product(enumerate(steps, 1), range(count + 2)):
        fits = digest.belongs(
            digest.step_content(step), index=claimed, steps=count, siblings=done.proofs[place - 1], digest=done.digest
        )
        assert fits == (claimed == place)
    changed = digest.step_content({**steps[0], "timeout_seconds": 601})
    assert not digest.belongs(changed, index=1, steps=count, siblings=done.proofs[0], digest=done.digest)


def test_an_untouched_step_keeps_its_leaf_in_another_revision():
    steps = [{**STEP, "key": f"s{place}"} for place in range(5)]
    before, after = (
        sealed({"steps": 5}, *steps),
        sealed({"steps": 5}, *steps[:4], {**steps[4], "input": {}}),
    )
    assert before.digest != after.digest
    assert before.leaves[:4] == after.leaves[:4]
    assert before.leaves[4] != after.leaves[4]


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53) + 1, 2**53 - 1)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("ab{}é", max_size=3), inner, max_size=3),
    max_leaves=8,
)


@given(JSON, JSON)
def test_two_inputs_have_the_same_leaf_only_if_they_are_the_same(one, two):
    leaves = [digest.leaf(digest.step_content({**STEP, "input": {"v": value}})) for value in (one, two)]
    same = json.dumps(one, sort_keys=True) == json.dumps(two, sort_keys=True)
    assert (leaves[0] == leaves[1]) == same
