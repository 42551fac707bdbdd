"""What has the shape of a secret is hidden, ordinary words stay, and no text takes long."""

import time

import pytest

from audit.redaction import redact, redact_value

# Each began a pattern anew, or could, wherever it stands.
WORST = [
    "a_",
    "password_",
    "secret-",
    "password ",
    "password=' ",
    'password="',
    "password=file:/",
    "password={{",
    "a_a-" * 8 + "api_key\n",
    "eyJaaaaaaaa-",
    "eyJaaaaaaaa.",
    "-eyJaaaaaaaa.eyJ",
    "ghp_",
    "glpat-",
    "xoxa-",
    "sk-",
    "chf_",
    "AKIA",
    "://a",
    "://a:",
    "://:a",
    "bearer ",
    "-----BEGIN A",
    "-----BEGIN PRIVATE KEY-----",
    "-----END A",
    "$ANSIBLE_VAULT;1",
    "$ANSIBLE_VAULT;1;a;",
    "$ANSIBLE_VAULT;1;a \n",
    " ",
    "{{",
]
STARTS = ["", "password", "password:", 'password="', "://", "-----BEGIN PRIVATE KEY-----", "$ANSIBLE_VAULT;1;a;"]


def seconds(text: str) -> float:
    """What redacting a text costs at best."""

    def once() -> float:
        began = time.process_time()
        redact(text)
        return time.process_time() - began

    return min(once() for _ in range(3))


@pytest.mark.parametrize("worst", WORST)
@pytest.mark.parametrize("start", STARTS)
def test_a_text_of_four_times_the_length_takes_about_four_times_as_long(start, worst):
    short, long = ((start + worst * size)[:size] for size in (4_096, 16_384))
    assert seconds(long) < 8 * seconds(short) + 0.003


def test_a_password_in_an_address_or_an_assignment_is_hidden_and_the_rest_stays():
    assert redact("postgres://chiffon:hunter22@db/x") == "postgres://[hidden credentials]@db/x"
    assert redact("db_password: hunter22 port: 3001") == "db_password: [hidden secret] port: 3001"
    assert redact_value({"a": ["known-secret-value"]}, known=["known-secret-value"]) == {"a": ["[hidden secret]"]}
    assert redact("Deploy Kuma to homelab on port 3001") == "Deploy Kuma to homelab on port 3001"
