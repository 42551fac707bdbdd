"""Who gets the work, and why: the router's choices with their reasons. Pure."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.routing.router import CANDIDATES_KEPT, AgentRouter, why_not
from agents.routing.score import WEIGHTS, Candidate, Need, factors

NEED = Need("ansible.playbook", "infra", "playbook:kuma.yml")


def candidate(name="forge-01", **more):
    known = {"type": "infra", "status": "ready", "tools": frozenset({"ansible.playbook"}), "labels": frozenset()}
    return Candidate(**{"name": name, "slots": 2, "in_use": 0, **known, **more})


def choose(*candidates, need=NEED):
    return AgentRouter().choose(need, candidates)


def test_the_only_one_is_chosen_and_the_reason_says_so():
    choice = choose(candidate())
    assert choice.chosen == "forge-01"
    assert choice.reason == "forge-01 is the only agent that can take it now"


@pytest.mark.parametrize(
    ("better", "worse"),
    [
        ({"succeeded": 9, "tried": 9}, {"succeeded": 1, "tried": 9}),
        ({"hours_since_same": 1.0}, {"hours_since_same": 70.0}),
        ({"type": "infra"}, {"type": "code"}),
        ({"in_use": 0}, {"in_use": 1}),
        ({}, {"tools": frozenset({"ansible.playbook", *"abcdefghi"})}),
    ],
)
def test_each_factor_decides_when_all_else_is_equal(better, worse):
    choice = choose(candidate("worse", **worse), candidate("better", **better))
    assert choice.chosen == "better"
    assert [item["agent"] for item in choice.candidates] == ["better", "worse"]
    assert "scored highest of 2" in choice.reason


def test_a_tie_is_told_as_a_tie_and_names_no_merit():
    choice = choose(candidate("forge-02"), candidate("forge-01"))
    assert choice.chosen == "forge-01"
    assert choice.reason == "forge-01 scored as high as 1 other; among equals the least busy goes first, then by name"


@pytest.mark.parametrize(
    ("more", "need", "reason"),
    [
        ({"status": "draining"}, NEED, "is draining"),
        ({"status": "offline"}, NEED, "is offline"),
        ({"tools": frozenset()}, NEED, "has no tool ansible.playbook"),
        ({}, Need("ansible.playbook", "infra", "x", frozenset({"gpu", "big"})), "lacks the label big, gpu"),
        ({"in_use": 2}, NEED, "has no free slot (2 of 2 in use)"),
        ({}, Need("ansible.playbook", "infra", "x", excluded=frozenset({"forge-01"})), "did not take it in time"),
    ],
)
def test_who_can_not_take_it_is_told_why(more, need, reason):
    assert why_not(candidate(**more), need) == reason
    choice = choose(candidate(**more), need=need)
    assert choice.chosen is None
    assert choice.candidates[0]["out"] == reason


@pytest.mark.parametrize(
    ("candidates", "reason"),
    [
        ([], "No agent has registered; ansible.playbook needs one of type infra."),
        ([candidate(tools=frozenset())], "No agent has the tool ansible.playbook."),
        ([candidate(status="offline")], "No agent with ansible.playbook takes work now: forge-01 is offline."),
        ([candidate(in_use=2)], "Waits for a free slot: forge-01 has no free slot (2 of 2 in use)."),
    ],
)
def test_nobody_is_chosen_with_a_sentence(candidates, reason):
    choice = choose(*candidates)
    assert (choice.chosen, choice.reason) == (None, reason)


def test_equal_candidates_are_taken_by_name_so_that_a_choice_can_be_repeated():
    assert choose(candidate("b"), candidate("a")).chosen == "a"


def test_a_newcomer_is_neither_rewarded_nor_blamed():
    newcomer, proven, failing = (
        factors(candidate(**record), NEED)["success"]
        for record in ({}, {"succeeded": 10, "tried": 10}, {"succeeded": 0, "tried": 10})
    )
    assert failing < newcomer < proven
    assert newcomer == WEIGHTS["success"] / 2


def test_a_large_fleet_keeps_the_best_and_says_how_many_there_were():
    choice = choose(*(candidate(f"a{n:02}", in_use=0 if n == 33 else 1) for n in range(50)))
    assert choice.chosen == "a33"
    assert len(choice.candidates) == CANDIDATES_KEPT
    assert choice.to_json()["candidate_count"] == 50


FLEET = st.lists(
    st.builds(
        Candidate,
        name=st.sampled_from(["a", "b", "c", "d"]),
        type=st.sampled_from(["infra", "code"]),
        status=st.sampled_from(["ready", "busy", "draining", "offline"]),
        tools=st.sampled_from([frozenset(), frozenset({"ansible.playbook"})]),
        labels=st.just(frozenset()),
        slots=st.integers(1, 3),
        in_use=st.integers(0, 3),
        succeeded=st.just(1),
        tried=st.integers(1, 5),
        hours_since_same=st.none() | st.floats(0, 200),
    ),
    unique_by=lambda item: item.name,
)


@given(FLEET)
def test_the_choice_is_always_able_and_never_beaten(fleet):
    choice = choose(*fleet)
    able = {item.name: round(sum(factors(item, NEED).values()), 1) for item in fleet if not why_not(item, NEED)}
    assert (choice.chosen in able) if able else (choice.chosen is None and choice.reason.endswith("."))
    if able:
        assert choice.score == max(able.values()) <= 100
