"""The page of a person's tokens."""

import pytest

from audit.models import DecisionRecord
from chiffon_site.accounts.models import ApiToken
from tests.factories import make_token, make_user

PAGE = "/accounts/tokens/"


@pytest.fixture
def signed_in(client, requester):
    client.force_login(requester)
    return client


def test_a_new_token_is_shown_once_and_works(signed_in):
    made = signed_in.post(PAGE, {"name": "backup job", "scopes": ["plans:read"], "days": "30"})
    assert made.status_code == 201
    text = made.context["text"]
    assert text.startswith("chf_") and text in made.content.decode()
    assert "no-store" in made["Cache-Control"]
    assert text not in signed_in.get(PAGE).content.decode()
    signed_in.logout()
    assert signed_in.get("/api/v1/plans", headers={"Authorization": f"Bearer {text}"}).status_code == 200
    assert DecisionRecord.objects.filter(type="token.created", actor="requester").count() == 1


def test_a_revoked_token_ends_at_once(signed_in, requester):
    text = make_token(requester)
    token = ApiToken.objects.get()
    for _ in range(2):
        assert signed_in.post(f"{PAGE}{token.pk}/revoke/").status_code == 302
    assert signed_in.get("/api/v1/plans", headers={"Authorization": f"Bearer {text}"}).status_code == 401
    assert DecisionRecord.objects.filter(type="token.revoked").count() == 1


def test_the_token_of_somebody_else_is_not_there(signed_in, approver):
    make_token(approver)
    token = ApiToken.objects.get()
    assert signed_in.post(f"{PAGE}{token.pk}/revoke/").status_code == 404
    assert str(token.pk) not in signed_in.get(PAGE).content.decode()
    token.refresh_from_db()
    assert token.revoked_at is None


@pytest.mark.parametrize(
    "form",
    [
        {},
        {"name": "", "scopes": ["plans:read"]},
        {"name": "x" * 101, "scopes": ["plans:read"]},
        {"name": "x", "scopes": []},
        {"name": "x", "scopes": ["everything"]},
        {"name": "x", "scopes": ["plans:read"], "days": "0"},
        {"name": "x", "scopes": ["plans:read"], "days": "99999"},
        {"name": "x\x00", "scopes": ["plans:read"]},
        {"name": "x\u202e", "scopes": ["plans:read"]},
    ],
)
def test_a_form_that_is_wrong_makes_no_token(signed_in, form):
    assert signed_in.post(PAGE, form).status_code == 422
    assert not ApiToken.objects.exists()


def test_it_is_for_people_who_signed_in_and_have_a_role(client, db):
    assert client.get(PAGE).status_code == 302
    client.force_login(make_user("guest"))
    assert client.get(PAGE).status_code == 403


def test_looking_revokes_nothing(signed_in, requester):
    make_token(requester)
    assert signed_in.get(f"{PAGE}{ApiToken.objects.get().pk}/revoke/").status_code == 405
