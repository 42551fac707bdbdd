"""Which offering a clause means: the score, the reasons, and the question where nothing is sure."""

from __future__ import annotations

from pathlib import Path

import pytest

from agents.playbooks.catalogue import Catalogue, Offering, PlaybookFile, offerings_of
from agents.playbooks.discovery import scan
from agents.playbooks.matching import SURE, MatchContext, choose, match, services_named

HOMELAB = Path(__file__).resolve().parents[3] / "examples" / "homelab"


@pytest.fixture(scope="module")
def catalogue() -> Catalogue:
    return scan(HOMELAB).catalogue()


def sure(clause: str, catalogue: Catalogue, context: MatchContext | None = None) -> str:
    choice = choose(match(clause, catalogue, context))
    return choice.matches[0].offering.key if choice.kind == "match" else choice.kind


@pytest.mark.parametrize(
    "words", ["Kuma Uptime", "Uptime Kuma", "uptime-kuma", "KUMA", "Kúma", "kuma's monitor", "uptime kumma"]
)
def test_names_are_known_in_any_order_case_accent_and_with_a_slip(catalogue, words):
    assert sure(f"deploy {words}", catalogue) == "kuma-deploy.yml#deploy"


@pytest.mark.parametrize("verb", ["deploy", "install", "set up", "installing", "provision", "roll out", "delpoy"])
def test_verbs_have_synonyms_and_forms(catalogue, verb):
    assert sure(f"{verb} kuma", catalogue) == "kuma-deploy.yml#deploy"


def test_reasons_are_sentences_that_name_the_words(catalogue):
    best = match("Deploy Kuma Uptime", catalogue)[0]
    assert best.score == 1.0
    assert best.words == ("Kuma", "Uptime")
    assert best.explanation == (
        "“Kuma” and “Uptime” are names of kuma.",
        "“Deploy” asks to deploy, which is what it does.",
    )


def test_name_without_a_verb_is_a_question(catalogue):
    choice = choose(match("kuma", catalogue))
    assert choice.kind == "ask"
    assert {found.offering.playbook for found in choice.matches} >= {"kuma-deploy.yml", "kuma-remove.yml"}


@pytest.mark.parametrize(
    "clause",
    ["restart kuma", "renew the certificates", "remove the backup job", "deploy nextcloud", "", "   ", "the of and"],
)
def test_what_nothing_offers_matches_nothing(catalogue, clause):
    assert sure(clause, catalogue) == "none"


@pytest.mark.parametrize(
    "clause", ["remove the portals from kuma", "remove kumma", "clean kuma", "remove kuma backups"]
)
def test_what_takes_away_is_never_guessed(catalogue, clause):
    assert sure(clause, catalogue) in ("ask", "none")


def test_context_supplies_the_service(catalogue):
    assert sure("remove it", catalogue) == "none"
    assert sure("remove it", catalogue, MatchContext(service="kuma")) == "kuma-remove.yml#remove"


def test_context_does_not_lend_its_service_to_other_words(catalogue):
    assert sure("add milk to the shopping list", catalogue, MatchContext(service="kuma")) == "none"


def test_file_name_is_a_name(catalogue):
    assert sure("run kuma-config-update.yml", catalogue).startswith("kuma-config-update.yml#")


def test_equal_offerings_are_a_tie_in_a_stable_order():
    twins = [
        PlaybookFile(path, service="wiki", description="Deploy wiki", verbs=("deploy",))
        for path in ("y/wiki.yml", "x/wiki.yml")
    ]
    found = match("deploy wiki", Catalogue(offerings=tuple(o for twin in twins for o in offerings_of(twin))))
    assert [m.offering.playbook for m in found] == ["x/wiki.yml", "y/wiki.yml"]
    assert found[0].score == found[1].score >= SURE
    assert choose(found).kind == "ask"


def test_one_playbook_with_many_verbs_is_no_rival_to_itself(catalogue):
    found = match("add portals to the kuma config", catalogue)
    assert len({m.offering.playbook for m in found}) == len(found)


def test_services_are_named_in_the_order_of_the_text(catalogue):
    assert services_named("postgres and then uptime kuma", catalogue) == ("postgres", "kuma")


def test_empty_catalogue_matches_nothing():
    assert match("deploy kuma", Catalogue(offerings=())) == ()


def test_catalogue_survives_json(catalogue):
    again = Catalogue.from_json(catalogue.to_json())
    assert again.to_json() == catalogue.to_json()
    assert [m.score for m in match("deploy kuma", again)] == [m.score for m in match("deploy kuma", catalogue)]


def test_unknown_variable_type_and_risk_are_refused():
    with pytest.raises(ValueError, match="variable type"):
        Offering.from_json({"key": "k", "playbook": "p", "verb": "v", "variables": [{"name": "n", "type": "blob"}]})
    with pytest.raises(ValueError, match="no risk"):
        PlaybookFile.from_json({"path": "p", "risk": "extreme"})
