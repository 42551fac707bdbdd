"""Asking in words and answering questions, as plain forms."""

import pytest
from django.urls import reverse

from plans.models import Plan, Request, Session

SENTENCE = "Deploy Kuma Uptime to homelab and add our existing portals to the config"


def ask(client, text):
    return client.post(reverse("plans:requests"), {"text": text})


def test_the_kuma_sentence_becomes_a_plan_that_waits(browse, requester, approver, catalogue):
    answer = ask(browse(requester), SENTENCE)
    request = Request.objects.get()
    assert (answer.status_code, answer["Location"]) == (302, reverse("plans:request", args=[request.pk]))
    page = browse(requester).get(answer["Location"]).text
    plan = Plan.objects.get(request=request)
    assert f"Read plan {plan.number}" in page
    assert "kuma-deploy.yml" in page
    assert "kuma-config-update.yml" in page
    read = browse(approver).get(reverse("plans:plan", args=[plan.number])).text
    assert "Every word of the request is covered" in read
    assert "No step that nobody asked for" in read
    assert "group_vars" in read  # where the portals come from
    assert f"{plan.goal}" in browse(approver).get(reverse("plans:inbox")).text


@pytest.mark.parametrize("text", ["", "   \n ", "x" * 100_000, "\x00\x01\x02" * 30, "a\x00b"])
def test_text_that_can_not_be_read_gets_an_answer_and_nothing_is_saved(browse, requester, catalogue, text):
    answer = ask(browse(requester), text)
    assert answer.status_code in (400, 422)
    assert "This can not become a plan" in answer.text
    assert not Request.objects.exists()


@pytest.mark.parametrize(
    "text", ["🚀 deploy kuma", "نشر كوما", "<script>alert(1)</script> deploy kuma", "{{ 7*7 }} deploy"]
)
def test_odd_words_are_shown_as_they_were_said(browse, requester, catalogue, text):
    answer = ask(browse(requester), text)
    assert answer.status_code in (302, 422)
    if answer.status_code == 302:
        page = browse(requester).get(answer["Location"]).text
        assert "<script>alert" not in page
        assert "49 deploy" not in page


def test_what_matches_nothing_says_what_can_be_asked_for(browse, requester, catalogue):
    page = browse(requester).get(ask(browse(requester), "paint the house green")["Location"]).text
    assert "No playbook does this" in page
    assert "What can be asked for today" in page
    assert "Ask again" in page


def test_a_question_is_answered_in_own_words(browse, requester, catalogue):
    client = browse(requester)
    address = ask(client, "set up a database")["Location"]
    request = Request.objects.get()
    assert request.status == "needs_clarification"
    page = client.get(address).text
    assert "1 question before there is a plan" in page
    assert "postgres_database" in page
    assert client.get(reverse("plans:inbox")).text.count("Questions to you") == 1
    empty = client.post(address, {"text": "  "})
    assert empty.status_code == 422
    assert "Your answer was not taken" in empty.text
    assert client.post(address, {"text": "paperless"}).status_code == 302
    request.refresh_from_db()
    assert list(request.answers.values()) == ["paperless"]


def test_the_options_of_a_question_are_buttons(browse, requester):
    option = {"value": "1", "label": "The 8 in portals.yml", "detail": "<b>6</b> new"}
    question = {"key": "k", "question": "Which portals do you mean?", "options": [option], "about": "portals"}
    request = Request.objects.create(
        session=Session.objects.create(owner=requester),
        requester=requester,
        text="add portals",
        decomposition={"subtasks": [], "ambiguities": [question, {**question, "question": "And where?"}]},
    )
    Request.objects.filter(pk=request.pk).update(status="needs_clarification")
    page = browse(requester).get(reverse("plans:request", args=[request.pk])).text
    assert page.count('name="text" value="1"') == 1  # one question after the other
    assert "&lt;b&gt;6&lt;/b&gt; new" in page
    assert "After that, 1 more: “And where?”" in page


def test_only_the_requester_answers(browse, requester, admin, catalogue):
    address = ask(browse(requester), "set up a database")["Location"]
    assert browse(admin).get(address).status_code == 200
    assert browse(admin).post(address, {"text": "1"}).status_code == 403


def test_an_answer_to_nothing_is_kept_and_explained(browse, requester, catalogue):
    client = browse(requester)
    address = ask(client, SENTENCE)["Location"]
    answer = client.post(address, {"text": "and one more thing"})
    assert answer.status_code == 409
    assert "Nothing is asked here now" in answer.text


def test_requests_are_listed_for_their_requester_only(browse, requester, stranger, catalogue):
    ask(browse(requester), "paint the house green")
    address = reverse("plans:requests")
    assert "paint the house green" in browse(requester).get(address).text
    assert "paint the house green" not in browse(stranger).get(address).text
    assert "paint the house green" not in browse(requester).get(address, {"status": "planned"}).text
    assert browse(requester).get(address, {"before": "x"}).status_code == 400


def test_without_playbooks_the_answer_says_so(browse, requester, db):
    page = browse(requester).get(ask(browse(requester), "deploy kuma")["Location"]).text
    assert "This could not be planned" in page
    assert "No playbooks are known yet" in page


def test_how_sure_chiffon_is_comes_as_a_word(browse, requester, catalogue):
    page = browse(requester).get(ask(browse(requester), SENTENCE)["Location"]).text
    assert "Certain" in page
    assert "% match" in page
    assert "% sure" not in page


def test_a_question_without_options_asks_for_own_words_only(browse, requester):
    question = {"key": "port", "question": "Which port?", "options": [], "about": "port"}
    asked = Request.objects.create(
        session=Session.objects.create(owner=requester),
        requester=requester,
        text="deploy it",
        decomposition={"subtasks": [], "ambiguities": [question]},
    )
    Request.objects.filter(pk=asked.pk).update(status="needs_clarification")
    page = browse(requester).get(reverse("plans:request", args=[asked.pk])).text
    assert "Answer in your own words, below." in page
    assert "You may also answer" not in page
