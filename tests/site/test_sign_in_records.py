"""Who came, who left and who failed to come in is on record, and a record never keeps what may be a password."""

import pytest
from django.contrib.auth.hashers import PBKDF2PasswordHasher
from django.contrib.auth.models import User
from django.test import Client

from audit.models import DecisionRecord
from chiffon_site.settings import PASSWORD_HASHERS

LOCAL_MEMORY = "django.core.cache.backends.locmem.LocMemCache"
PASSWORD = "a long enough password"


@pytest.fixture
def mara(db) -> User:
    return User.objects.create_user("mara", password=PASSWORD)


def sign_in(client: Client, name: str, password: str):
    return client.post("/accounts/login/", {"login": name, "password": password})


def told() -> list[tuple[str, str, str, str]]:
    rows = DecisionRecord.objects.order_by("sequence")
    return [(row.type, row.actor, row.subject_id, row.reason) for row in rows]


@pytest.mark.e2e_04
def test_signing_in_and_out_is_recorded_with_the_address_it_came_from(client, mara):
    assert sign_in(client, "mara", PASSWORD).status_code == 302
    assert client.post("/accounts/logout/").status_code == 302
    assert told() == [("person.signed_in", "mara", "mara", ""), ("person.signed_out", "mara", "mara", "")]
    assert {row.metadata["address"] for row in DecisionRecord.objects.all()} == {"127.0.0.1"}


@pytest.mark.e2e_04
def test_a_wrong_password_is_recorded_once_and_neither_password_nor_a_mistyped_name_is_kept(client, mara):
    assert sign_in(client, "mara", "hunter2-hunter2").status_code == 200
    assert sign_in(client, "my-secret-passphrase", "mara").status_code == 200
    assert told() == [
        ("person.sign_in_failed", "chiffon", "mara", "wrong password"),
        ("person.sign_in_failed", "chiffon", "someone unknown", "nobody has that name"),
    ]
    everything = "".join(row.canonical for row in DecisionRecord.objects.all())
    assert "hunter2" not in everything
    assert "passphrase" not in everything


def test_a_disabled_account_cannot_come_in(client, mara):
    User.objects.update(is_active=False)
    sign_in(client, "mara", PASSWORD)
    assert [row[0] for row in told() if row[0] != "person.sign_in_failed"] == []
    assert "_auth_user_id" not in client.session


@pytest.mark.parametrize("name", ["", " ", "x" * 5000, "\0", "<b>", "mara\nadmin", "{actor}", "😀"])
def test_odd_names_are_answered_and_never_break_the_page(client, mara, name):
    assert sign_in(client, name, "whatever it is").status_code == 200
    assert "person.signed_in" not in [row[0] for row in told()]


def test_a_forged_forwarding_header_is_not_believed(client, mara):
    client.post("/accounts/login/", {"login": "mara", "password": PASSWORD}, headers={"X-Forwarded-For": "203.0.113.9"})
    assert DecisionRecord.objects.get().metadata["address"] == "127.0.0.1"


@pytest.mark.parametrize(
    ("header", "address"),
    [
        ("203.0.113.9", "203.0.113.9"),
        (
            "198.51.100.1, 203.0.113.9",
            "203.0.113.9",
        ),  # the first is what the client claimed, the last what the proxy saw
        ("2001:db8::1", "2001:db8::1"),
        ("", "127.0.0.1"),
    ],
)
def test_behind_a_trusted_proxy_a_record_has_the_address_that_the_proxy_saw(client, mara, settings, header, address):
    settings.ALLAUTH_TRUSTED_PROXY_COUNT = 1
    client.post("/accounts/login/", {"login": "mara", "password": PASSWORD}, headers={"X-Forwarded-For": header})
    assert DecisionRecord.objects.get().metadata["address"] == address


@pytest.mark.parametrize(("proxies", "second"), [(0, 429), (1, 200)])
def test_only_a_trusted_proxy_tells_those_who_sign_in_apart(client, mara, settings, proxies, second):
    settings.ALLAUTH_TRUSTED_PROXY_COUNT = proxies
    settings.ACCOUNT_RATE_LIMITS = {"login": "1/m/ip"}
    settings.CACHES = {
        "default": {"BACKEND": LOCAL_MEMORY, "LOCATION": f"{proxies} proxies"}
    }  # nobody else counts there

    def try_from(address):
        form = {"login": "mara", "password": "hunter2-hunter2"}
        return client.post("/accounts/login/", form, headers={"X-Forwarded-For": address}).status_code

    assert try_from("203.0.113.9") == 200
    assert try_from("203.0.113.10") == second


def test_a_password_that_an_earlier_version_kept_opens_the_door_and_is_kept_anew(client, mara, settings):
    settings.PASSWORD_HASHERS = PASSWORD_HASHERS  # tests have a quick one otherwise
    User.objects.filter(pk=mara.pk).update(password=PBKDF2PasswordHasher().encode(PASSWORD, "s" * 22))
    for _ in range(2):
        assert sign_in(client, "mara", PASSWORD).status_code == 302
        mara.refresh_from_db()
        assert mara.password.startswith("scrypt$16384$")
        client.logout()
    assert sign_in(client, "mara", PASSWORD + "!").status_code == 200
