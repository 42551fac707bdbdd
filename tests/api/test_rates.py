"""How many calls a token may make."""

import socket
import time

from django.conf import settings
from django.core.cache import cache

from chiffon_site.api.rates import Buckets, buckets
from tests import factories
from tests.api.conftest import Program, is_problem


def test_a_bucket_is_emptied_and_fills_again(embedded_servers):
    cache.clear()
    # Slow to fill, so that a busy machine cannot make the six calls last as long as one takes to come back.
    mine = Buckets(settings.CHIFFON_REDIS_URL, sustained=0.5, burst=5)
    waits = [mine.wait("one") for _ in range(6)]
    assert waits[:5] == [0] * 5
    assert waits[5] in {1, 2}
    assert mine.wait("another") == 0
    time.sleep(2.1)
    assert mine.wait("one") == 0


def test_fifty_calls_a_second_are_free(embedded_servers):
    cache.clear()
    mine = Buckets(settings.CHIFFON_REDIS_URL)
    begun, calls = time.monotonic(), 0
    while calls < 150:  # more than the bucket holds: a machine that stops for a while only takes longer
        if calls < 50 * (passed := time.monotonic() - begun):
            assert mine.wait("steady") == 0, f"refused after {calls} calls in {passed:.1f} s"
            calls += 1
        else:
            time.sleep(0.002)


def test_nobody_is_refused_while_redis_is_away():
    with socket.socket() as taken:  # bound and not listening: whoever connects is turned away
        taken.bind(("127.0.0.1", 0))
        mine = Buckets(f"redis://127.0.0.1:{taken.getsockname()[1]}/0", sustained=1, burst=1)
        begun = time.monotonic()
        assert [mine.wait("one") for _ in range(50)] == [0] * 50
        assert time.monotonic() - begun < 2


def test_too_fast_is_told_with_how_long_to_wait(requester, monkeypatch):
    monkeypatch.setattr(buckets(), "_sustained", 1.0)  # a busy machine is no faster than what is free
    program = Program(factories.make_token(requester))
    other = Program(factories.make_token(requester))
    for _ in range(600):
        answer = program.get("/tools")
        if answer.status_code == 429:
            break
    is_problem(answer, 429, "too_many_requests")
    assert int(answer["Retry-After"]) >= 1
    assert other.get("/tools").status_code == 200
