"""The labelled set: how often words lead to the right playbooks and values, and that nothing is guessed."""

from __future__ import annotations

import json

import pytest

from tests.plans.intake.accuracy import LABELLED, Tally, measure


@pytest.fixture(scope="module")
def tally() -> Tally:
    found = measure()
    print(json.dumps(found.summary()))
    for miss in found.misses:
        print("missed:", miss)
    return found


def test_labelled_set_is_large_and_says_each_request_once():
    texts = [row["text"] for row in json.loads(LABELLED.read_text(encoding="utf-8"))]
    assert len(texts) >= 60
    assert len(set(texts)) == len(texts)


def test_nothing_wrong_is_planned_without_a_question(tally):
    assert tally.wrong == []


def test_playbooks_intents_and_values_are_mostly_right(tally):
    summary = tally.summary()
    assert summary["playbook"] >= 0.9
    assert summary["intent"] >= 0.9
    assert summary["slots"] >= 0.9


def test_questions_and_leftovers_are_mostly_right(tally):
    assert tally.questions / tally.requests >= 0.9
    assert tally.left_out / tally.requests >= 0.9


def test_request_takes_far_less_than_fifty_milliseconds(tally):
    assert tally.milliseconds / tally.requests < 50
