"""How a request falls into clauses, and that each keeps its place in the text."""

from __future__ import annotations

import pytest

from plans.intake.clauses import ClauseKind, split_clauses
from plans.intake.slots import known_words


@pytest.fixture
def split(homelab, homelab_facts):
    return lambda text: split_clauses(text, homelab, known_words(homelab_facts))


@pytest.mark.parametrize(
    ("text", "clauses"),
    [
        ("deploy kuma and add the portals", ["deploy kuma", "add the portals"]),
        (
            "deploy kuma, add the portals; check the certificates",
            ["deploy kuma", "add the portals", "check the certificates"],
        ),
        ("First deploy kuma. After that, add the portals!", ["First deploy kuma", "add the portals"]),
        ("add grafana, gitea and jellyfin to kuma", ["add grafana, gitea and jellyfin to kuma"]),
        ("add a=https://a.lab and b=https://b.lab to kuma", ["add a=https://a.lab and b=https://b.lab to kuma"]),
        ("set up postgres with database app and port 5433", ["set up postgres with database app and port 5433"]),
        ("deploy kuma on atlas and dns-01", ["deploy kuma on atlas and dns-01"]),
        ('set up a database called "this and that"', ['set up a database called "this and that"']),
        ("remove kuma but keep the data", ["remove kuma but keep the data"]),
        ("install kuma on the homelab, please", ["install kuma on the homelab, please"]),
        ("deploy kuma\n- add the portals", ["deploy kuma", "add the portals"]),
    ],
)
def test_request_falls_into_clauses(split, text, clauses):
    assert [clause.text for clause in split(text)] == clauses


def test_clauses_stand_where_they_say(split):
    text = "  deploy kuma ,  then add   the portals . "
    assert all(text[clause.start : clause.end] == clause.text for clause in split(text))


def test_noun_alone_takes_the_verb_before_it(split):
    assert [clause.inherits for clause in split("deploy kuma and postgres")] == [False, True]


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("how do I remove kuma?", ClauseKind.QUESTION),
        ("could you remove kuma?", ClauseKind.WORK),
        ("do not remove kuma", ClauseKind.LIMIT),
        ("we removed kuma yesterday", ClauseKind.STATEMENT),
        ("we need kuma removed", ClauseKind.WORK),
    ],
)
def test_clause_knows_what_it_does(split, text, kind):
    assert [clause.kind for clause in split(text)] == [kind]


def test_condition_and_work_are_told_apart(split):
    kinds = [clause.kind for clause in split("if the check passes, remove kuma")]
    assert kinds == [ClauseKind.CONDITION, ClauseKind.WORK]


def test_many_clauses_are_bounded(split):
    assert len(split("deploy kuma. " * 300)) == 40
