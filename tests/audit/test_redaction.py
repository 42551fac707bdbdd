"""What has the shape of a secret is hidden, ordinary words stay, and no text takes long."""

import time

import pytest

from audit.redaction import Lines, redact, redact_value

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
    r'password="\"',
    "password='\\",
    "password: [hidden ",
    "pwd: ",
    "token=env:",
    "--",
    "--password",
    "--password ",
    "--a-",
    "authorization: ",
    "authorization: basic ",
    "\x1b[0",
    "\x1b[0m",
    "github_pat_",
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
STARTS = [
    "",
    "password",
    "password:",
    'password="',
    "://",
    "--",
    "--password",
    "-----BEGIN PRIVATE KEY-----",
    "$ANSIBLE_VAULT;1;a;",
]


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


@pytest.mark.parametrize(
    ("text", "hidden"),
    [
        ("PGPASSWORD=hunter22 psql", "PGPASSWORD=[hidden secret] psql"),
        ("AWS_SECRET_ACCESS_KEY=hunter22", "AWS_SECRET_ACCESS_KEY=[hidden secret]"),
        ("clientSecret: hunter22", "clientSecret: [hidden secret]"),
        ("dbPassword: hunter22", "dbPassword: [hidden secret]"),
        ('{"pwd": "hunter22", "port": 1}', '{"pwd": [hidden secret], "port": 1}'),
        ("token=hunter22", "token=[hidden secret]"),
        ("X-Auth-Token: hunter22", "X-Auth-Token: [hidden secret]"),
        ("Authorization: Basic aHVudGVyMjI=", "Authorization: Basic [hidden credentials]"),
        ("'authorization': 'Bearer hunter22'", "'authorization': 'Bearer [hidden credentials]'"),
        ("redis://:hunter22@host/0", "redis://[hidden credentials]@host/0"),
        ("https://hunter22@host/x", "https://[hidden credentials]@host/x"),
        ("see github_pat_11ABCDEFG0123456789_abcdef", "see [hidden token]"),
        ("login --db-password hunter22 --port 1", "login --db-password [hidden secret] --port 1"),
        (r'"password": "ab\"REST", "port": 1', '"password": [hidden secret], "port": 1'),
        (r"'password': 'ab\'REST', 'port': 1", "'password': [hidden secret], 'port': 1"),
        ('password: "hunter 22 and no end\nport: 1', "password: [hidden secret]\nport: 1"),
        ("password: file:hunter22", "password: [hidden secret]"),
        ("password: nonesuch22", "password: [hidden secret]"),
        ("password=env:A-hunter22", "password=[hidden secret]"),
        ('password: "file:/etc/x hunter22"', "password: [hidden secret]"),
        ("pass\x1b[0mword=hunter22", "password=[hidden secret]"),
        ("\x1b[1mpassword=\x1b[0;32mhunter22\x1b[0m ok", "password=[hidden secret] ok"),
    ],
)
def test_a_secret_is_hidden_whatever_names_or_quotes_or_colours_it(text, hidden):
    assert redact(text) == hidden
    assert redact(hidden) == hidden


def test_a_template_with_a_secret_after_it_is_no_reference():
    assert "hunter22" not in redact("password={{x}}hunter22")


@pytest.mark.parametrize(
    "text",
    [
        "tokens=310",
        "token_ceiling: 5",
        "3 tokens",
        "password_file: /etc/x",
        "PWD=/home/mara OLDPWD=/",
        "ssh://git@host/x",
        "http://host:8080/x",
        "--password-file /etc/x",
        "--password --port 1",
        "password: none",
        "token: null,",
        '"password": "env:KUMA_PASSWORD"}',
        "password: file:/run/secrets/kuma",
        "password={{ kuma_password }}",
        "password: '{{ kuma_password }}'",
        "Authorization: required",
        "a key: value of the keyboard",
        "\x1b[0;32mok: [web1]\x1b[0m",
    ],
)
def test_ordinary_words_and_references_stay(text):
    assert redact(text) == text


KEY = [
    "-----BEGIN OPENSSH PRIVATE KEY-----",
    "b3BlbnNzaC1rZXktdjEAAAAABG5vbmU",
    "QyNTUxOQAAACDtWQ==",
    "-----END OPENSSH PRIVATE KEY-----",
]
VAULT = ["$ANSIBLE_VAULT;1.1;AES256", "33363763316438643134376666", "3835"]


@pytest.mark.parametrize("before", ["", "    ", "+", "web1 | ", "\x1b[32m"])
def test_a_private_key_is_hidden_in_every_line_that_it_takes_and_nothing_after_it(before):
    lines = Lines()
    said = [lines.redact(before + line) for line in ["ready", *KEY, "ok: [web1]", "done"]]
    assert said[0].endswith("ready")
    assert all("hidden private key" in line for line in said[1:5])
    assert not [line for line in said if "b3Blb" in line or "QyNT" in line]
    assert [line.removeprefix(before) for line in said[5:]] == ["ok: [web1]", "done"]


@pytest.mark.parametrize(
    ("printed", "said"),
    [
        ([KEY[0], KEY[1], "it is running", "word"], ["[hidden private key]", "[hidden private key]", "it is running", "word"]),
        ([" ".join(KEY), "word"], ["[hidden private key]", "word"]),
        ([KEY[0], "Proc-Type: 4,ENCRYPTED", "", KEY[1]], ["[hidden private key]", "Proc-Type: 4,ENCRYPTED", "", "[hidden private key]"]),
        ([KEY[0], KEY[1], KEY[3] + " password=hunter22"], ["[hidden private key]", "[hidden private key]", "[hidden private key] password=[hidden secret]"]),
        ([*KEY, *KEY], ["[hidden private key]"] * 8),
        ([f'  "{line}",' for line in KEY] + ["ok"], ['  "[hidden private key]', *["[hidden private key]"] * 2, '[hidden private key]",', "ok"]),
        ([f"key: {VAULT[0]}", *VAULT[1:], "word", "3835"], ["key: [hidden vault text]", "[hidden vault text]", "[hidden vault text]", "word", "3835"]),
    ],
)  # fmt: skip
def test_what_goes_on_over_lines_ends_where_its_text_does(printed, said):
    lines = Lines()
    assert [lines.redact(line) for line in printed] == said


def test_a_key_that_names_a_secret_hides_its_value():
    assert redact_value({"db_password": "hunter22", "token": 7, "a": [{"apiKey": "hunter22"}]}) == {
        "db_password": "[hidden secret]",
        "token": 7,
        "a": [{"apiKey": "[hidden secret]"}],
    }
    kept = {
        "password": "env:KUMA",
        "secret": "{{ steps.a.output.b }}",
        "token": "",
        "passphrase": "file:/run/x",
        "tokens": "three",
    }
    assert redact_value(kept) == kept
