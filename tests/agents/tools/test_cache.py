"""Results of cacheable tools: answered again for a while, to whom they may be, and never because of Redis a wrong one."""

import json
from datetime import UTC, datetime, timedelta
from typing import ClassVar

import pytest
import redis
from django.conf import settings as django_settings
from pydantic import BaseModel, Field

from agents.conf import LARGEST_CACHED
from agents.protocol import FailureMode, Outcome, PlaybookRef, WorkResult
from agents.tools import cache
from agents.tools.base import AnyOutput, BaseTool, CacheScope, ToolInput
from agents.tools.calling import call
from agents.tools.registry import find_tool
from tests.agents.tools.listener import Listener, work


class Asked(ToolInput):
    word: str = Field(default="a", description="What to answer.")


class Counting(BaseTool):
    """Answers how often it was called."""

    name: ClassVar[str] = "test.counting"
    description: ClassVar[str] = "Answers how often it was called."
    idempotent: ClassVar[bool] = True
    input_model: ClassVar[type[BaseModel]] = Asked
    output_model: ClassVar[type[BaseModel]] = AnyOutput
    cacheable: ClassVar[bool] = True
    cache_seconds: ClassVar[int] = 60
    cache_scope: ClassVar[CacheScope] = "shared"

    def __init__(self):
        self.calls, self.more, self.failure = 0, {}, None

    def run(self, request, context):
        self.calls += 1
        if self.failure:
            return WorkResult.failed(*self.failure)
        return WorkResult(
            Outcome.COMPLETED, output={"call": self.calls, **self.more}, summary="Counted.", services_touched=("kuma",)
        )


class PerUser(Counting):
    cache_scope: ClassVar[CacheScope] = "user"


class NextVersion(Counting):
    version: ClassVar[str] = "2"


@pytest.fixture
def link(embedded_servers):
    """Redis, with no result in it."""
    cache._store.cache_clear()
    with redis.Redis.from_url(django_settings.CHIFFON_REDIS_URL, decode_responses=True) as link:
        for key in link.scan_iter("chiffon:*:tool:*"):
            link.delete(key)
        yield link
    cache._store.cache_clear()


@pytest.fixture
def tool(link):
    return Counting()


def ask(tool, user="", context=None, playbook=None, **given):
    return call(tool, work(tool.name, given, playbook=playbook), context or Listener(), user=user)


def entry(link):
    (key,) = link.scan_iter("chiffon:*:tool:*")
    return key, link.get(key)


def test_the_same_input_is_answered_from_the_cache_and_says_so(tool):
    first, context = ask(tool, word="b"), Listener()
    second = ask(tool, context=context, word="b")
    assert tool.calls == 1
    assert (second.output, second.services_touched) == (first.output, ("kuma",))
    assert second.summary.startswith(f"Counted. From the cache: worked out at {datetime.now(UTC):%Y-%m-%d}")
    assert second.summary.endswith(" UTC.")
    assert datetime.fromisoformat(second.progress["from_cache"]) <= datetime.now(UTC)
    assert "tool_executing" not in [type_ for type_, _ in context.events]
    assert ask(tool, word="c").output == {"call": 2}


def test_the_order_of_keys_is_no_different_input(tool):
    ask(tool, word={"x": 1, "y": 2})
    assert ask(tool, word={"y": 2, "x": 1}).output == {"call": 1}
    assert ask(tool, word={"y": 2, "x": "1"}).output == {"call": 2}


def test_another_version_another_tool_and_another_commit_are_worked_out_anew(tool):
    ask(tool)
    following = NextVersion()
    ask(following)
    assert following.calls == 1
    assert ask(find_tool("diagnostic.noop")).output == {}
    ref = PlaybookRef(repository="/r", commit="a" * 40, tree="t", path="p.yml", inventory="")
    assert [ask(tool, playbook=ref).output, ask(tool, playbook=ref).output] == [{"call": 2}, {"call": 2}]
    ref = PlaybookRef(repository="/r", commit="b" * 40, tree="t", path="p.yml", inventory="")
    assert ask(tool, playbook=ref).output == {"call": 3}


def test_what_is_kept_per_user_answers_nobody_else(link):
    tool = PerUser()
    assert [ask(tool, user=user).output["call"] for user in ("ada", "grace", "ada", "grace")] == [1, 2, 1, 2]
    assert [ask(tool, user="").output["call"] for _ in range(2)] == [3, 4]  # nobody in particular: never kept


def test_only_completed_results_are_kept(tool):
    tool.failure = (FailureMode.SYSTEM, "No route.")
    assert [ask(tool).outcome, ask(tool).outcome] == [Outcome.FAILED, Outcome.FAILED]
    tool.failure = None
    assert ask(tool).output == {"call": 3}


def test_a_tool_that_is_not_cacheable_is_called_each_time(link):
    class Plain(Counting):
        cacheable: ClassVar[bool] = False

    tool = Plain()
    assert [ask(tool).output["call"] for _ in range(2)] == [1, 2]
    assert not list(link.scan_iter("chiffon:*:tool:*"))


def test_a_result_is_kept_as_long_as_the_tool_says(tool, link):
    ask(tool)
    key, _ = entry(link)
    assert 0 < link.ttl(key) <= 60
    link.delete(key)
    assert ask(tool).output == {"call": 2}


def test_an_entry_that_outlived_its_time_is_not_believed(tool, link):
    """A Redis whose clock stood still, or a version whose results hold shorter than when this one was kept."""
    ask(tool)

    def kept(at):
        key, text = entry(link)
        told = json.loads(cache._signer().unsign(text)) | {"at": at.isoformat()}
        link.set(key, cache._signer().sign(json.dumps(told)))

    now = datetime.now(UTC)
    for at, known in [(now - timedelta(seconds=50), True), (now - timedelta(seconds=70), False)]:
        kept(at)
        assert bool(cache.lookup(tool, {"input": {}, "playbook": None})) is known
    for at in (now + timedelta(hours=1), now.replace(tzinfo=None)):
        kept(at)
        assert cache.lookup(tool, {"input": {}, "playbook": None}) is None


def test_a_result_that_is_too_large_is_not_kept(tool):
    tool.more = {"large": "x" * LARGEST_CACHED}
    assert [ask(tool).output["call"] for _ in range(2)] == [1, 2]


def test_secrets_do_not_reach_redis(tool, link):
    tool.more = {"note": "password=hunter22hunter"}
    ask(tool)
    _, text = entry(link)
    assert "hunter22" not in text
    assert "hidden secret" in ask(tool).output["note"]


@pytest.mark.parametrize(
    "forged",
    [
        "", "junk", "{}", "[]", '{"at": 5}',
        json.dumps({"output": {"call": 99}, "summary": "", "services": [], "at": datetime.now(UTC).isoformat()}),
    ],
)  # fmt: skip
@pytest.mark.parametrize("signed", [True, False])
def test_what_we_did_not_put_there_is_a_miss(tool, link, forged, signed):
    ask(tool)
    key, _ = entry(link)
    link.set(key, cache._signer().sign(forged) if signed else forged)
    assert ask(tool).output == {"call": 2}


def test_an_entry_that_somebody_changed_is_a_miss(tool, link):
    ask(tool)
    key, text = entry(link)
    changed = text.replace('"call": 1', '"call": 9')
    assert changed != text
    link.set(key, changed)
    assert ask(tool).output == {"call": 2}


def test_an_entry_in_the_place_of_another_is_a_miss(tool, link):
    ask(tool, word="a")
    key_of_a, text_of_a = entry(link)
    link.delete(key_of_a)
    ask(tool, word="b")
    key_of_b, _ = entry(link)
    link.set(key_of_b, text_of_a)
    assert ask(tool, word="b").output == {"call": 3}


def test_another_type_of_value_or_bytes_in_its_place_is_a_miss(tool, link):
    ask(tool)
    key, _ = entry(link)
    link.delete(key)
    link.lpush(key, "a")
    assert ask(tool).output == {"call": 2}
    cache._store.cache_clear()
    link.delete(key)
    link.set(key, b"\xff\xfe")
    assert ask(tool).output == {"call": 3}


def test_an_answer_that_the_tool_no_longer_promises_is_a_miss(tool, monkeypatch):
    class Narrow(BaseModel):
        word: str

    ask(tool)
    monkeypatch.setattr(Counting, "output_model", Narrow)
    assert cache.lookup(tool, {"input": {}, "playbook": None}) is None


def test_without_redis_every_call_is_worked_out_and_no_call_waits_long(tool, settings):
    settings.CHIFFON_REDIS_URL = "redis://127.0.0.1:1/0"
    cache._store.cache_clear()
    assert [ask(tool).output["call"] for _ in range(3)] == [1, 2, 3]


def test_without_a_canonical_form_nothing_is_kept(tool):
    assert [ask(tool, word=2**60).output["call"] for _ in range(2)] == [1, 2]
