"""What the settings promise: one sentence for a mistake, and a closed door by default."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parents[2]


def django(code_or_command, tmp_path, **variables):
    """Run manage.py, or a piece of Python after django.setup(), with these variables and no installation."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    environment = {**kept, "CHIFFON_DATA_DIR": str(tmp_path / "data"), "CHIFFON_SECRET_KEY": "k" * 60, **variables}
    environment.setdefault("DJANGO_SETTINGS_MODULE", "chiffon_site.settings")
    arguments = ["manage.py", code_or_command] if " " not in code_or_command else ["-c", code_or_command]
    return subprocess.run(
        [sys.executable, *arguments], cwd=CHECKOUT, env=environment, capture_output=True, text=True, check=False
    )


SERVERS = {"DATABASE_URL": "postgres://a:b@127.0.0.1:1/c", "REDIS_URL": "redis://127.0.0.1:1/0"}


@pytest.mark.parametrize(
    ("variables", "named"),
    [
        ({}, "DATABASE_URL"),
        ({"DATABASE_URL": SERVERS["DATABASE_URL"]}, "REDIS_URL"),
        ({**SERVERS, "CHIFFON_PORT": "eighty"}, "CHIFFON_PORT"),
        ({**SERVERS, "CHIFFON_SECRET_KEY": "changeme"}, "CHIFFON_SECRET_KEY"),
        ({**SERVERS, "CHIFFON_DEBUG": "1", "CHIFFON_BIND": "0.0.0.0"}, "CHIFFON_DEBUG"),
    ],
)
def test_mistake_ends_a_command_with_one_sentence_that_names_the_variable(tmp_path, variables, named):
    done = django("check", tmp_path, **variables)
    assert done.returncode == 1
    assert done.stderr.startswith(named)
    assert len(done.stderr.splitlines()) == 1


def test_https_address_makes_cookies_secure_and_a_local_one_does_not(tmp_path):
    code = (
        "import json, django; django.setup(); from django.conf import settings as s; "
        "print(json.dumps([s.SESSION_COOKIE_SECURE, s.CSRF_COOKIE_SECURE, s.SECURE_HSTS_SECONDS > 0, s.DEBUG]))"
    )
    secure = django(code, tmp_path, **SERVERS, CHIFFON_PUBLIC_URL="https://chiffon.example.org")
    local = django(code, tmp_path, **SERVERS)
    assert json.loads(secure.stdout) == [True, True, True, False]
    assert json.loads(local.stdout) == [False, False, False, False]


def test_forwarding_headers_are_believed_only_on_request(tmp_path):
    code = (
        "import json, django; django.setup(); from django.conf import settings as s; "
        "print(json.dumps([s.ALLAUTH_TRUSTED_PROXY_COUNT, s.SECURE_PROXY_SSL_HEADER]))"
    )
    trusting = django(code, tmp_path, **SERVERS, CHIFFON_TRUST_PROXY="true")
    assert json.loads(trusting.stdout) == [1, ["HTTP_X_FORWARDED_PROTO", "https"]]
    assert json.loads(django(code, tmp_path, **SERVERS).stdout) == [0, None]


def test_only_the_web_process_pools_connections(tmp_path):
    code = "import django; django.setup(); from django.db import connection as c; print('pool' in c.settings_dict['OPTIONS'])"
    for process, pooled in (("web", "True"), ("worker", "False"), ("agent", "False"), ("command", "False")):
        assert django(code, tmp_path, **SERVERS, CHIFFON_PROCESS=process).stdout.strip() == pooled


@pytest.mark.django_db
def test_pages_are_private_unless_they_say_otherwise(client):
    answer = client.get("/admin/")
    assert answer.status_code == 302
    assert "login" in answer["Location"]
    assert client.get("/healthz").content == b"ok\n"


@pytest.mark.django_db
def test_first_page_has_a_strict_content_security_policy(client):
    policy = client.get("/accounts/login/")["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "frame-ancestors 'none'" in policy


@pytest.mark.django_db
def test_nobody_signs_up_by_themselves(client):
    assert b"<input" not in client.get("/accounts/signup/").content


@pytest.mark.django_db
def test_ready_tries_database_migrations_and_broker(client):
    answer = client.get("/readyz")
    assert answer.status_code == 200
    assert set(answer.json()["checks"]) == {"database", "migrations", "broker"}
    assert "owns its tables" in answer.json()["warnings"][0]  # the tests run as the owner


@pytest.mark.django_db
def test_ready_warns_of_tools_that_are_left_out_and_names_none_of_them(client, packages):
    assert len(client.get("/readyz").json()["warnings"]) == 1
    packages.install("acme-tools", "raise RuntimeError", "word = acme_tools:x")
    answer = client.get("/readyz")
    assert answer.status_code == 200
    assert "Third-party tools are left out (1)" in answer.json()["warnings"][1]
    assert "acme" not in answer.text


def test_broker_that_is_gone_makes_it_unready_within_seconds_and_names_no_address(tmp_path, process_environment):
    code = (
        "import django; django.setup(); from django.test import Client; r = Client().get('/readyz', headers={'host': 'localhost'}); "
        "print(r.status_code, r['Retry-After'], r.content.decode())"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=CHECKOUT,
        env={**process_environment, "CELERY_BROKER_URL": "redis://127.0.0.1:1/1"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.stdout.startswith('503 2 {"ready": false'), done.stderr
    assert "The broker does not answer" in done.stdout
    assert "127.0.0.1" not in done.stdout
