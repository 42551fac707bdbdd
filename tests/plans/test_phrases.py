"""A phrase says exactly what the events say that it stands for, and nothing else becomes one."""

import copy

import pytest

from plans import phrases


def ended(**changes):
    told = [
        ["agent_thinking", {"text": phrases.COMPARES}, 4],
        ["tool_executing", {"tool": "diagnostic.noop", "playbook": ""}, 3],
        ["tool_completed", {"tool": "diagnostic.noop", "outcome": "completed", "summary": "Did it."}, 1],
        ["output_end", {"count": 0}, 0],
        ["agent_completed", {"outcome": "completed", "summary": "Did it.", "attempt": 2}, 0],
        ["step_changed", {"was": "running", "now": "completed", "waiting_for": ""}, 0],
    ]
    for place, data in changes.items():
        told[int(place[1:])][1] |= data
    return told


@pytest.mark.parametrize("ages", [[0] * 6, [4, 3, 1, 0, 0, 0]])
def test_a_step_that_went_well_is_one_phrase_and_reads_back_as_it_was(ages):
    told = [[type_, data, age] for (type_, data, _), age in zip(ended(), ages, strict=True)]
    short = phrases.shortened(copy.deepcopy(told))
    assert [type_ for type_, _, _ in short] == [phrases.WENT_WELL]
    assert [list(event) for event in phrases.spelled_out(short)] == told


@pytest.mark.parametrize(
    "told",
    [
        ended(_3={"count": 1, "sha256": "7f"}),
        ended(_2={"outcome": "failed"}),
        ended(_4={"outcome": "failed"}),
        ended(_4={"summary": "Something else."}),
        ended(_0={"text": "Thinks."}),
        ended(_1={"hosts": ["atlas"]}),
        ended()[:-1],
        ended()[1:],
        [*ended(), ended()[-1]],
        [],
        [["step_changed", {"now": "running"}, 0]],
    ],
)
def test_whatever_says_anything_else_is_kept_word_by_word(told):
    assert phrases.shortened(told) == told
    assert [list(event) for event in phrases.spelled_out(told)] == told
