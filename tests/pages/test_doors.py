"""Who gets which page, and what anybody else gets instead."""

from uuid import uuid4

import pytest
from django.urls import reverse

PAGES = (
    "plans:inbox",
    "plans:requests",
    "plans:list",
    "plans:policy",
    "agents:list",
    "agents:tools",
    "agents:playbooks",
)


@pytest.mark.parametrize("name", [*PAGES, "plans:new_request"])
def test_nobody_sees_a_page_without_signing_in(browse, db, name):
    address = reverse(name)
    answer = browse().get(address)
    assert (answer.status_code, answer["Location"]) == (302, f"/accounts/login/?next={address}")


@pytest.mark.parametrize("person", ["requester", "approver", "auditor", "admin"])
@pytest.mark.parametrize("name", PAGES)
def test_every_role_may_look_around(browse, request, person, name):
    answer = browse(request.getfixturevalue(person)).get(reverse(name))
    assert answer.status_code == 200
    assert answer["Cache-Control"] == "private, no-store"
    assert "script-src 'self'" in answer["Content-Security-Policy"]
    assert 'style="' not in answer.text
    assert "<script>" not in answer.text


def test_only_who_may_ask_gets_the_page_to_ask(browse, requester, approver):
    assert browse(requester).get(reverse("plans:new_request")).status_code == 200
    answer = browse(approver).get(reverse("plans:new_request"))
    assert answer.status_code == 403
    assert "You may not do this" in answer.text
    assert "requester" in answer.text  # it names who may


def test_someone_without_a_role_gets_a_clear_no(browse, db, django_user_model):
    nobody = django_user_model.objects.create_user("nobody", password="x")
    answer = browse(nobody).get(reverse("plans:inbox"))
    assert answer.status_code == 403
    assert "needs the role" in answer.text


def test_a_plan_of_someone_else_looks_like_one_that_does_not_exist(browse, stranger, pending):
    for name in ("plans:plan", "plans:run", "plans:approve", "plans:reject"):
        mine, none = (browse(stranger).post(reverse(name, args=[number])) for number in (pending.number, 987654))
        assert mine.status_code in (404, 405)
        assert mine.status_code == none.status_code
    mine, none = (browse(stranger).get(reverse("plans:plan", args=[number])) for number in (pending.number, 987654))
    assert (mine.status_code, none.status_code) == (404, 404)


@pytest.mark.parametrize("person", ["requester", "approver", "auditor", "admin"])
def test_everyone_else_reads_the_plan(browse, request, person, pending):
    answer = browse(request.getfixturevalue(person)).get(reverse("plans:plan", args=[pending.number]))
    assert answer.status_code == 200
    assert pending.goal in answer.text


@pytest.mark.parametrize(
    "address",
    [
        "/plans/0/",
        "/plans/99999999999999999999/",
        "/plans/abc/",
        "/plans/1/steps/%00/retry/",
        "/agents/no-such-agent/",
        f"/playbooks/{uuid4()}/",
        f"/requests/{uuid4()}/",
        "/nothing/at/all/",
        "/\x00",
    ],
)
def test_an_address_of_nothing_is_a_page_that_says_so(browse, admin, address):
    answer = browse(admin).get(address)
    assert answer.status_code == 404
    assert "Nothing here has this address" in answer.text


def test_a_conversation_is_its_requesters(browse, requester, approver, auditor, catalogue):
    browse(requester).post(reverse("plans:requests"), {"text": "paint the house"})
    address = reverse("plans:request", args=[requester.requests.get().pk])
    answers = [browse(person).get(address).status_code for person in (requester, auditor, approver)]
    assert answers == [200, 200, 404]


def test_signing_in_says_what_is_left_when_it_fails(browse, requester, fresh_limits):
    door = browse()
    assert door.get("/accounts/login/").status_code == 200
    wrong = door.post("/accounts/login/", {"login": "requester", "password": "no"})
    assert wrong.status_code == 200
    assert "running plans go on" in wrong.text
    right = door.post("/accounts/login/?next=/plans/", {"login": "requester", "password": "a password for tests"})
    assert (right.status_code, right["Location"]) == (302, "/plans/")


def test_the_theme_is_remembered_and_rendered_by_the_server(browse, requester):
    client = browse(requester)
    back = client.post(reverse("plans:theme"), {"theme": "dark", "next": "/plans/"})
    assert back["Location"] == "/plans/"
    assert 'data-theme="dark"' in client.get(reverse("plans:list")).text
    assert client.post(reverse("plans:theme"), {"theme": "<b>", "next": "https://evil.example/"})["Location"] == "/"
    assert 'data-theme="dark"' in client.get(reverse("plans:list")).text


def test_a_form_from_elsewhere_is_not_trusted(requester, pending):
    from django.test import Client

    client = Client(enforce_csrf_checks=True, raise_request_exception=False)
    client.force_login(requester)
    answer = client.post(reverse("plans:reject", args=[pending.number]), {"reason": "x"})
    assert answer.status_code == 403
    assert "could not be trusted" in answer.text


def test_changing_ones_password_looks_like_the_house(browse, requester):
    answer = browse(requester).get("/accounts/password/change/")
    assert answer.status_code == 200
    assert "css/components.css" in answer.text
    assert "Menu:" not in answer.text


@pytest.mark.parametrize("name", ["signup", "reset_password", "inactive", "email", "set_password"])
def test_a_door_that_is_not_opened_is_not_there(browse, requester, name):
    address = reverse(f"account_{name}")
    assert browse(None).get(address).headers["Location"].startswith("/accounts/login/")
    assert browse(requester).get(address).status_code == 404


def test_too_many_wrong_tries_pause_signing_in_and_say_so(browse, requester, fresh_limits):
    door = browse()
    answers = [door.post("/accounts/login/", {"login": "requester", "password": "no"}) for _ in range(7)]
    assert answers[-1].status_code in (200, 429)
    assert "running plans go on" in answers[-1].text


def test_only_a_demo_speaks_of_its_accounts_when_one_signs_in(browse, db, settings, tmp_path):
    settings.CHIFFON_DATA_DIR = tmp_path
    assert "Demo accounts" not in browse().get(reverse("account_login")).text
    (tmp_path / "demo-accounts.json").write_text("{}")
    assert "Demo accounts" in browse().get(reverse("account_login")).text
