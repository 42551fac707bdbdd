"""Signing in does not need Redis, and guessing passwords is bounded without it, too."""

import socket
import time

import pytest
from django.contrib.auth.models import User
from django.core.cache import cache
from django.core.cache.backends.locmem import LocMemCache
from django.test import Client, override_settings

from chiffon_site.cache import RedisOrMemory

PASSWORD = "a long enough password"


@pytest.fixture
def silent_redis(settings, monkeypatch):
    """A cache whose server takes connections and never answers, as one that is stopped."""
    monkeypatch.setattr(RedisOrMemory, "_away_until", 0.0)
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        where = {"LOCATION": f"redis://127.0.0.1:{server.getsockname()[1]}/0"}
        with override_settings(CACHES={"default": {**settings.CACHES["default"], **where}}):
            yield
    LocMemCache("while Redis is away", {}).clear()


@pytest.mark.django_db
def test_somebody_can_sign_in_at_once_while_redis_does_not_answer(client, silent_redis):
    User.objects.create_user("mara", password=PASSWORD)
    began = time.monotonic()
    answer = client.post("/accounts/login/", {"login": "mara", "password": PASSWORD})
    assert time.monotonic() - began < 2
    assert answer.status_code == 302
    assert client.session["_auth_user_id"]


@pytest.mark.django_db
def test_passwords_can_not_be_guessed_without_end_while_redis_does_not_answer(silent_redis):
    User.objects.create_user("mara", password=PASSWORD)
    for _ in range(40):
        answer = Client().post("/accounts/login/", {"login": "mara", "password": "a guess"})
        if answer.status_code == 429 or "many" in answer.content.decode():
            break
    else:
        pytest.fail("forty wrong passwords were taken one after the other")
    assert "_auth_user_id" not in Client().session


def test_the_cache_remembers_in_memory_and_goes_back_to_redis(embedded_servers, monkeypatch):
    monkeypatch.setattr(RedisOrMemory, "_away_until", time.monotonic() + 60)
    assert cache.add("k", 1) is True
    assert cache.add("k", 2) is False
    assert cache.get("k") == 1
    assert cache.delete("k") is True
    assert cache.get("k", "nothing") == "nothing"
    cache.set("k", "in memory")
    monkeypatch.setattr(RedisOrMemory, "_away_until", 0.0)
    assert cache.get("k") is None
    cache.set("k", "in Redis")
    assert cache.get("k") == "in Redis"
