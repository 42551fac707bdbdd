"""What becomes of a request's words: subtasks with values and reasons, questions, and parts that are out of scope."""

from __future__ import annotations

import dataclasses
import json
import time

import pytest

from agents.playbooks.catalogue import Catalogue, Offering, Variable
from agents.playbooks.facts import Facts
from plans.intake.decomposer import RequestDecomposer, UnusableText, check_text

THE_SENTENCE = "Deploy Kuma Uptime to homelab and add our existing portals to the config"


def test_the_kuma_sentence_becomes_two_ordered_subtasks(decompose):
    found = decompose(THE_SENTENCE)
    deploy, portals = found.subtasks
    assert (deploy.playbook, deploy.intent, deploy.depends_on) == ("kuma-deploy.yml", "deploy", ())
    assert (portals.playbook, portals.intent, portals.depends_on) == ("kuma-config-update.yml", "add", (1,))
    assert deploy.place == {"kind": "inventory", "name": "homelab"}
    assert [item["name"] for item in portals.parameters["portals"].value][:2] == ["Grafana", "Gitea"]
    assert portals.parameters["portals"].origin == "group_vars/all.yml: portals (7)"
    assert (found.ambiguities, found.out_of_scope) == ((), ())
    assert found.complexity in ("simple", "medium")
    assert found.decomposer == "catalogue"


def test_every_subtask_points_at_its_words(decompose):
    found = decompose(THE_SENTENCE)
    words = [THE_SENTENCE[start:end] for subtask in found.subtasks for start, end in subtask.words]
    assert words == ["Deploy Kuma Uptime to homelab", "add our existing portals to the config"]


def test_json_has_the_contracts_field_names(decompose):
    data = json.loads(json.dumps(decompose(THE_SENTENCE).to_json()))
    assert set(data) == {"subtasks", "ambiguities", "out_of_scope", "complexity", "decomposer"}
    assert {"order", "name", "intent", "confidence", "parameters"} <= set(data["subtasks"][0])
    assert set(data["subtasks"][1]["parameters"]["portals"]) == {"value", "origin"}
    assert 0 <= data["subtasks"][0]["confidence"] <= 1


def test_same_words_give_the_same_decomposition(decompose):
    assert decompose(THE_SENTENCE).to_json() == decompose(THE_SENTENCE).to_json()


@pytest.mark.parametrize(
    ("answer", "key"),
    [("1", "kuma-deploy.yml#deploy"), ("the second one", "kuma-remove.yml#remove"), ("kuma-deploy.yml#deploy", "kuma-deploy.yml#deploy"),
     ("Deploy Kuma", "kuma-deploy.yml#deploy"), ("please add the portals", "kuma-config-update.yml#add")],
)  # fmt: skip
def test_a_number_a_title_or_own_words_settle_which_playbook(decompose, answer, key):
    (question,) = decompose("kuma").ambiguities
    assert [option.value for option in question.options][-1] == "none"
    settled = decompose("kuma", clause_1__offering=answer)
    assert settled.ambiguities == ()
    assert [subtask.offering_key for subtask in settled.subtasks] == [key]


def test_none_of_these_leaves_the_words_out(decompose):
    found = decompose("kuma", clause_1__offering="none of these")
    assert (found.subtasks, found.ambiguities) == ((), ())
    assert [part.words for part in found.out_of_scope] == ["kuma"]


def test_an_answer_that_fits_nothing_is_asked_again(decompose):
    (question,) = decompose("kuma", clause_1__offering="bananas").ambiguities
    assert question.key == "clause-1:offering"
    assert "bananas" in question.question


def test_a_missing_value_is_asked_for_and_the_answer_fills_it(decompose):
    (question,) = decompose("create a database for grafana").ambiguities
    assert (question.key, question.about, question.free) == ("clause-1:postgres_database", "postgres_database", True)
    assert [option.value for option in question.options] == ["grafana"]
    settled = decompose("create a database for grafana", clause_1__postgres_database="call it grafana")
    filled = settled.subtasks[0].parameters["postgres_database"]
    assert (filled.value, filled.origin) == ("grafana", "answer: “call it grafana”")
    assert settled.ambiguities == ()


def test_an_unknown_place_is_a_question_and_the_answer_settles_it(decompose):
    (question,) = decompose("deploy kuma to production").ambiguities
    assert "production" in question.question
    settled = decompose("deploy kuma to production", clause_1__place="homelab")
    assert settled.ambiguities == ()
    assert settled.subtasks[0].place == {"kind": "inventory", "name": "homelab"}


def test_a_host_that_the_playbook_does_not_run_on_is_a_question(decompose):
    (question,) = decompose("deploy kuma on dns-01").ambiguities
    assert [option.value for option in question.options] == ["homelab", "atlas", "none"]


def test_a_condition_is_asked_about_and_may_stop_everything(decompose):
    text = "if the certificates are fine, remove kuma"
    assert [a.key for a in decompose(text).ambiguities] == ["clause-1:limit"]
    assert [s.playbook for s in decompose(text, clause_1__limit="go on").subtasks] == ["kuma-remove.yml"]
    stopped = decompose(text, clause_1__limit="no")
    assert (stopped.subtasks, stopped.ambiguities) == ((), ())


def test_two_offerings_that_fit_equally_are_both_offered():
    twins = [
        Offering(key=f"{path}#deploy", playbook=path, verb="deploy", service="wiki", title=f"Deploy the wiki ({path})")
        for path in ("a/wiki.yml", "b/wiki.yml")
    ]
    found = RequestDecomposer().decompose("deploy the wiki", Catalogue(offerings=tuple(twins)))
    assert found.subtasks == ()
    assert [option.value for option in found.ambiguities[0].options] == [
        "a/wiki.yml#deploy",
        "b/wiki.yml#deploy",
        "none",
    ]


@pytest.mark.parametrize("text", ["deploy kuma with port {{ lookup('pipe','id') }}", "deploy kuma with port {% raw %}"])
def test_a_template_is_never_taken_as_a_value(decompose, text):
    found = decompose(text)
    assert "kuma_port" not in {
        k for s in found.subtasks for k, v in s.parameters.items() if v.origin.startswith("request")
    }
    assert "evaluate" in found.ambiguities[0].question


def test_a_template_in_an_answer_is_refused(decompose):
    (question,) = decompose("set up postgres", clause_1__postgres_database="{{ lookup('pipe','id') }}").ambiguities
    assert "evaluate" in question.question


def with_secret(*, required=False):
    """A catalogue whose one playbook takes a secret."""
    variables = (Variable("vpn_port", "integer", default=51820), Variable("vpn_password", "secret", required=required))
    return Catalogue(offerings=(
        Offering(key="vpn.yml#deploy", playbook="vpn.yml", verb="deploy", service="vpn", title="Deploy the VPN", variables=variables),
    ))  # fmt: skip


def test_a_secret_that_is_not_needed_is_left_out_and_not_asked_for():
    known = Facts(variables={"vpn_password": ("hunter2", "group_vars/all.yml: vpn_password")})
    for facts, required in ((Facts(), False), (known, False), (known, True)):
        found = RequestDecomposer().decompose("deploy vpn", with_secret(required=required), facts, {})
        assert (found.ambiguities, set(found.subtasks[0].parameters)) == ((), {"vpn_port"})


def test_work_that_needs_a_secret_can_not_be_asked_for_yet_and_says_so():
    found = RequestDecomposer().decompose("deploy vpn", with_secret(required=True), Facts(), {})
    assert (found.subtasks, found.ambiguities) == ((), ())
    assert [part.reason for part in found.out_of_scope] == [
        "vpn.yml needs the secret vpn_password, and playbooks can not be given secrets yet."
    ]


@pytest.mark.parametrize("value", ["env:VPN_PW", "hunter2"])
@pytest.mark.parametrize("required", [True, False])
def test_work_that_is_given_a_secret_is_refused_and_says_so(value, required):
    text = f"deploy vpn with password {value}"
    found = RequestDecomposer().decompose(text, with_secret(required=required), Facts(), {})
    assert (found.subtasks, found.ambiguities) == ((), ())
    assert "the secret vpn_password, and playbooks can not be given secrets yet" in found.out_of_scope[0].reason


@pytest.mark.parametrize("more", [", password env:VPN_PW", " if the password is env:VPN_PW"])
def test_a_secret_that_is_said_later_refuses_the_work_before_it(more):
    found = RequestDecomposer().decompose(f"deploy vpn{more}", with_secret(), Facts(), {})
    assert (found.subtasks, found.ambiguities) == ((), ())
    assert any("playbooks can not be given secrets yet" in part.reason for part in found.out_of_scope)


@pytest.mark.parametrize(
    ("text", "code"),
    [("", "empty_text"), (" \n\t ", "blank_text"), ("x" * 4001, "text_too_long"), ("deploy\x00kuma", "binary_text"),
     ("deploy \x1b[31mkuma", "binary_text"), ("deploy \ud800 kuma", "binary_text"), ("\ufffd\ufffdPK", "binary_text"),
     ("1234 !!! 🎉", "no_words")],
)  # fmt: skip
def test_unusable_text_says_why(text, code):
    with pytest.raises(UnusableText) as caught:
        check_text(text)
    assert caught.value.code == code
    assert caught.value.sentence.endswith(".")


@pytest.mark.parametrize(
    "text",
    ["שלום עולם", "احذف الخادم من فضلك", "🎉 party 🎉", "a", "w" * 300, "{{{{ }} %} so", "=" + "x" * 50, "“unclosed"],
)
def test_strange_but_readable_text_is_out_of_scope(decompose, text):
    found = decompose(text)
    assert (found.subtasks, found.ambiguities) == ((), ())
    assert len(found.out_of_scope) >= 1


def test_emoji_and_invisible_characters_do_not_hide_the_words(decompose):
    assert [s.playbook for s in decompose("deploy 🚀 \u200fkuma\u200b 🎉").subtasks] == ["kuma-deploy.yml"]


@pytest.mark.parametrize(
    "text",
    [
        ("deploy kuma and " * 300)[:4000],
        ("x" * 3990),
        ("a b " * 1000),
        ("{{ " * 1300 + "a"),
        ("“'\" " * 900 + "a")[:4000],
    ],
)
def test_the_longest_text_is_read_quickly(decompose, text):
    began = time.process_time()
    found = decompose(text)
    assert time.process_time() - began < 2
    assert len(found.subtasks) <= 2


def test_a_frozen_result_cannot_be_altered(decompose):
    with pytest.raises(dataclasses.FrozenInstanceError):
        decompose("deploy kuma").subtasks[0].order = 2
