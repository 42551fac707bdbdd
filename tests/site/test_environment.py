"""Every variable is checked, and a wrong one is named with what it accepts."""

import json

import pytest

from chiffon_site.environment import DEBUG_SECRET_KEY, WrongEnvironment, read_environment, read_given

KEY = "k" * 40


def read(tmp_path, **variables):
    return read_environment({"CHIFFON_DATA_DIR": str(tmp_path), "CHIFFON_SECRET_KEY": KEY, **variables})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("CHIFFON_PORT", "0"),
        ("CHIFFON_PORT", "65536"),
        ("CHIFFON_PORT", "-1"),
        ("CHIFFON_PORT", "8000.0"),
        ("CHIFFON_PORT", "٨٠٠٠"),
        ("CHIFFON_PORT", "8000; rm"),
        ("CHIFFON_BIND", "everywhere"),
        ("CHIFFON_BIND", "127.0.0.1:80"),
        ("CHIFFON_PUBLIC_URL", "chiffon.example.org"),
        ("CHIFFON_PUBLIC_URL", "javascript:alert(1)"),
        ("CHIFFON_PUBLIC_URL", "https://host:port"),
        ("CHIFFON_DEBUG", "perhaps"),
        ("CHIFFON_TRUST_PROXY", "2"),
        ("CHIFFON_LOG_LEVEL", "loud"),
        ("CHIFFON_PROCESS", "dragon"),
        ("CHIFFON_DB_POOL_SIZE", "many"),
        ("DATABASE_URL", "sqlite:///x.db"),
        ("DATABASE_URL", "mysql://root@host/db"),
        ("CHIFFON_MIGRATE_DATABASE_URL", "postgres://"),
        ("REDIS_URL", "localhost:6379"),
        ("REDIS_URL", "amqp://host"),
        ("CELERY_BROKER_URL", "sqs://"),
        ("CELERY_BROKER_URL", "redis://host name"),
        ("CHIFFON_LLM_BASE_URL", "ftp://host"),
        ("CHIFFON_LLM_LOCAL_BASE_URL", "file:///etc/passwd"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "collector"),
        ("CHIFFON_EMAIL_URL", "mail.example.org"),
        ("CHIFFON_SECRET_KEY", "short"),
        ("CHIFFON_SECRET_KEY", DEBUG_SECRET_KEY),
        ("CHIFFON_SECRET_KEY", "django-insecure-" + "x" * 60),
    ],
)
def test_wrong_value_is_one_sentence_that_names_the_variable(tmp_path, name, value):
    with pytest.raises(WrongEnvironment) as caught:
        read(tmp_path, **{name: value})
    sentence = str(caught.value)
    assert sentence.startswith(name)
    assert "accepts" in sentence
    assert "\n" not in sentence


def test_password_in_an_address_is_not_repeated_in_the_complaint(tmp_path):
    with pytest.raises(WrongEnvironment) as caught:
        read(tmp_path, DATABASE_URL="mysql://me:hunter2@host/db")
    assert "hunter2" not in str(caught.value)


def test_without_any_variable_everything_is_local_and_closed(tmp_path):
    (tmp_path / "secret-key").write_text(KEY)
    environment = read_environment({"CHIFFON_DATA_DIR": str(tmp_path)})
    assert (environment.bind, environment.port, environment.public_url) == ("127.0.0.1", 8000, "http://127.0.0.1:8000")
    assert not environment.debug
    assert environment.secret_key == KEY


def test_missing_secret_key_is_refused(tmp_path):
    with pytest.raises(WrongEnvironment, match="CHIFFON_SECRET_KEY"):
        read_environment({"CHIFFON_DATA_DIR": str(tmp_path)})


@pytest.mark.parametrize(
    "open_to", [{"CHIFFON_BIND": "0.0.0.0"}, {"CHIFFON_PUBLIC_URL": "https://chiffon.example.org"}]
)
def test_debug_is_refused_where_others_can_reach_it(tmp_path, open_to):
    with pytest.raises(WrongEnvironment, match="CHIFFON_DEBUG"):
        read(tmp_path, CHIFFON_DEBUG="true", **open_to)


def test_commands_beside_the_folder_find_the_servers_of_the_last_start(tmp_path):
    (tmp_path / "env.json").write_text(
        json.dumps({"DATABASE_URL": "postgres://a:b@127.0.0.1:1/c", "CHIFFON_PORT": "8123"})
    )
    environment = read(tmp_path)
    assert (environment.database_url, environment.port) == ("postgres://a:b@127.0.0.1:1/c", 8123)
    assert read(tmp_path, CHIFFON_PORT="9000").port == 9000


def test_start_decides_anew_what_is_embedded(tmp_path):
    (tmp_path / "env.json").write_text(json.dumps({"DATABASE_URL": "postgres://a:b@127.0.0.1:1/c"}))
    assert read_given({"CHIFFON_DATA_DIR": str(tmp_path)}).database_url == ""


@pytest.mark.parametrize("content", ["{", "[]", "\x00"])
def test_broken_memory_is_named(tmp_path, content):
    (tmp_path / "env.json").write_text(content)
    with pytest.raises(WrongEnvironment, match=r"env\.json"):
        read(tmp_path)


def test_public_address_decides_hosts_and_tls(tmp_path):
    environment = read(tmp_path, CHIFFON_PUBLIC_URL="https://chiffon.example.org/", CHIFFON_BIND="::")
    assert "chiffon.example.org" in environment.allowed_hosts
    assert "*" not in environment.allowed_hosts
    assert environment.is_https
    assert environment.public_url == "https://chiffon.example.org"
