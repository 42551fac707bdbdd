"""`chiffon ask|plans|show|approve|reject|watch|token create|agents|playbooks` against a real server."""

import json
import signal
import time

import pytest
from django.db import transaction

from audit.authority import Role
from chiffon_site.accounts.models import ApiToken
from plans import lifecycle
from plans.enums import Stage
from plans.models import Plan
from tests import factories
from tests.cli.cut import Way
from tests.live import stories

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.integration]


@pytest.fixture
def requester(transactional_db):
    return factories.make_user("requester", Role.REQUESTER)


@pytest.fixture
def approver(transactional_db):
    return factories.make_user("approver", Role.APPROVER)


@pytest.fixture
def plan(requester):
    return factories.make_plan(requester)


@pytest.fixture
def asks(chiffon, requester):
    return chiffon(factories.make_token(requester))


@pytest.fixture
def decides(chiffon, approver):
    return chiffon(factories.make_token(approver))


def test_a_token_is_made_beside_the_data_folder_and_works(chiffon, plan):
    made = chiffon()("token", "create", "--user", "requester", "--scopes", "plans:read", "--json")
    assert made.code == 0, made.err
    assert made.json["scopes"] == ["plans:read"]
    listed = chiffon(made.json["token"])("plans", "--json")
    assert [item["number"] for item in listed.json["items"]] == [plan.number]
    plain = chiffon()("token", "create", "--user", "requester", "--scopes", "plans:read")
    assert plain.out.startswith("chf_") and plain.out.count("\n") == 1


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--user", "nobody", "--scopes", "plans:read"), "no person called nobody"),
        (("--user", "requester", "--scopes", "everything"), "no scope 'everything'"),
        (("--user", "requester", "--scopes", ","), "at least one scope"),
        (("--user", "requester", "--scopes", "plans:read", "--days", "0"), "valid for 1 to"),
    ],
)
def test_a_token_that_cannot_be_made_says_why(chiffon, requester, words, says):
    ran = chiffon()("token", "create", *words)
    assert ran.code == 1 and says in ran.err and not ran.out


def test_a_plan_is_listed_shown_and_approved(asks, decides, plan):
    listed = asks("plans")
    assert "awaiting approval" in listed.out and str(plan.number) in listed.out
    assert decides("plans", "--awaiting", "--json").json["items"][0]["id"] == str(plan.pk)
    shown = decides("show", str(plan.number))
    assert shown.code == 0
    assert factories.digest_of(plan) in shown.out and "diagnostic.echo" in shown.out
    assert decides("show", str(plan.pk), "--json").json["digest"] == factories.digest_of(plan)
    approved = decides("approve", str(plan.number), "--comment", "Go", "--json")
    assert approved.code == 0, approved.err
    assert approved.json["approvals"][0]["comment"] == "Go"
    assert decides("approve", str(plan.number)).code == 0


def test_an_approval_of_something_else_is_refused(decides, plan):
    ran = decides("approve", str(plan.number), "--digest", "0" * 64, "--json")
    assert ran.code == 1
    assert ran.json["code"] == "digest_mismatch" and ran.err.startswith("chiffon: ")


def test_a_requester_may_not_approve(asks, plan):
    ran = asks("approve", str(plan.number))
    assert ran.code == 1 and "approver" in ran.err


def test_a_rejection_needs_a_reason(decides, plan):
    assert decides("reject", str(plan.number)).code == 2
    ran = decides("reject", str(plan.number), "--reason", "Not in the evening")
    assert ran.code == 0 and "rejected" in ran.out
    assert Plan.objects.get().stage == "rejected"


def test_words_without_playbooks_end_in_a_sentence(asks):
    ran = asks("ask", "Deploy Kuma")
    assert ran.code == 1 and "playbooks" in ran.out
    assert asks("ask", "Deploy Kuma", "--json").json["status"] == "failed"
    assert asks("ask", "").code == 1


@pytest.mark.parametrize("id", ["999", "nothing", "../agents", "1/approve", "x y", "\x01"])
def test_an_unknown_plan_is_a_sentence(asks, plan, id):
    ran = asks("show", id)
    assert ran.code in {1, 3} and ran.err.startswith("chiffon: ") and ran.err.count("\n") == 1


def test_agents_and_playbooks_are_listed(asks):
    assert "No agent" in asks("agents").out
    factories.make_agent("infra-1")
    assert "infra-1" in asks("agents").out
    assert asks("agents", "--json").json["items"][0]["name"] == "infra-1"
    assert asks("playbooks", "--json").json == {"items": []}
    assert asks("playbooks", "--refresh").code == 1


class TestWatch:
    def test_each_event_is_said_once_until_the_plan_completes(self, asks, plan, approver):
        factories.approve(plan, approver)
        lines = [f"line {n}" for n in range(1, 301)]
        with asks.running("watch", str(plan.number), "--json") as process:
            attempt = stories.attempt_of(plan.steps.get())
            stories.start(plan, attempt)
            for start in range(0, 300, 100):
                stories.say(attempt, lines[start : start + 100])
                time.sleep(0.3)
            stories.finish(plan, attempt, lines)
            move(plan, Stage.COMPLETED)
            out, err = process.communicate(timeout=30)
        assert process.returncode == 0, err
        events = [json.loads(line) for line in out.splitlines()]
        assert [event["data"]["seq"] for event in events if event["type"] == "output"] == list(range(1, 301))
        cursors = [event["cursor"] for event in events]
        assert len(set(cursors)) == len(cursors)
        stages = [event["data"]["now"] for event in events if event["type"] == "stage_changed"]
        assert stages[-1] == "completed"

    def test_a_connection_that_is_cut_loses_nothing_and_repeats_nothing(self, chiffon, web, requester, plan, approver):
        factories.approve(plan, approver)
        lines = [f"line {n}" for n in range(1, 301)]
        way = Way(int(web.rpartition(":")[2]))
        asks = chiffon(factories.make_token(requester), CHIFFON_SERVER=way.address)
        cuts = 0
        with asks.running("watch", str(plan.number), "--json") as process:
            attempt = stories.attempt_of(plan.steps.get())
            stories.start(plan, attempt)
            for start in range(0, 300, 100):
                stories.say(attempt, lines[start : start + 100])
                time.sleep(1)
                cuts += way.cut() > 0
            stories.finish(plan, attempt, lines)
            move(plan, Stage.COMPLETED)
            out, err = process.communicate(timeout=30)
        way.close()
        assert cuts >= 2 and process.returncode == 0, err
        assert "Trying again" in err
        events = [json.loads(line) for line in out.splitlines()]
        assert [event["data"]["seq"] for event in events if event["type"] == "output"] == list(range(1, 301))
        assert len({event["cursor"] for event in events}) == len(events)

    def test_a_token_that_is_over_ends_it_after_a_cut(self, chiffon, web, requester, plan):
        way = Way(int(web.rpartition(":")[2]))
        asks = chiffon(factories.make_token(requester), CHIFFON_SERVER=way.address)
        with asks.running("watch", str(plan.number)) as process:
            assert process.stdout.readline().startswith(f"Plan {plan.number}")
            time.sleep(1)
            ApiToken.objects.update(expires_at="2020-01-01T00:00:00Z")
            way.cut()
            _, err = process.communicate(timeout=30)
        way.close()
        assert process.returncode == 1 and "token" in err

    def test_a_plan_that_ends_otherwise_ends_in_1(self, asks, decides, plan):
        decides("reject", str(plan.number), "--reason", "no")
        ran = asks("watch", str(plan.number))
        assert ran.code == 1 and "is rejected" in ran.out

    def test_ctrl_c_is_clean(self, asks, plan):
        with asks.running("watch", str(plan.number)) as process:
            assert process.stdout.readline().startswith(f"Plan {plan.number}")
            process.send_signal(signal.SIGINT)
            out, err = process.communicate(timeout=10)
        assert process.returncode == 130
        assert "Traceback" not in err

    def test_lines_play_no_tricks_with_the_terminal(self, asks, plan, approver):
        factories.approve(plan, approver)
        attempt = stories.attempt_of(plan.steps.get())
        stories.start(plan, attempt)
        stories.say(attempt, ["\x1b[31mred\x1b[0m \x1b]8;;javascript:x\x07link\x9b2J\u202eend"])
        stories.finish(plan, attempt, ["x"])
        move(plan, Stage.COMPLETED)
        out = asks("watch", str(plan.number)).out
        assert "\x1b" not in out and "\x9b" not in out and "\u202e" not in out and "red" in out


class TestWithoutServer:
    def test_a_server_that_is_not_there_is_a_sentence(self, chiffon):
        ran = chiffon("chf_x", CHIFFON_SERVER="http://127.0.0.1:9")("plans")
        assert ran.code == 3 and "No Chiffon answers at http://127.0.0.1:9" in ran.err

    @pytest.mark.parametrize("server", ["nonsense", "ftp://x", "http://", "http://[", "http://127.0.0.1:99999"])
    def test_an_address_that_is_none_is_a_sentence(self, chiffon, server):
        ran = chiffon("chf_x", CHIFFON_SERVER=server)("plans")
        assert ran.code == 3 and ran.err.startswith("chiffon: ")

    def test_without_a_token_it_says_how_to_get_one(self, chiffon, tmp_path):
        ran = chiffon("", CHIFFON_DATA_DIR=str(tmp_path))("plans")
        assert ran.code == 3 and "chiffon token create" in ran.err

    def test_without_an_installation_it_says_so(self, chiffon, tmp_path):
        ran = chiffon("chf_x", CHIFFON_SERVER="", CHIFFON_DATA_DIR=str(tmp_path))("plans")
        assert ran.code == 3 and "CHIFFON_SERVER is not set" in ran.err

    def test_beside_the_data_folder_nothing_needs_to_be_set(self, chiffon, web, plan, tmp_path):
        (tmp_path / "env.json").write_text(json.dumps({"CHIFFON_PUBLIC_URL": web}))
        beside = chiffon("", CHIFFON_SERVER="", CHIFFON_DATA_DIR=str(tmp_path))
        assert beside("token", "create", "--user", "requester", "--scopes", "plans:read", "--save").code == 0
        assert (tmp_path / "cli-token").stat().st_mode & 0o777 == 0o600
        assert beside("plans", "--json").json["items"][0]["number"] == plan.number

    @pytest.mark.parametrize("token", ["chf_wrong", "ü", "a b", "\n"])
    def test_a_wrong_token_is_a_sentence(self, chiffon, token):
        ran = chiffon(token)("plans")
        assert ran.code in {1, 3} and ran.err.startswith("chiffon: ")


def move(plan, *stages):
    """Through these stages, as the engine does it."""
    fresh = Plan.objects.get(pk=plan.pk)
    with transaction.atomic():
        if fresh.stage == Stage.APPROVED:
            lifecycle.transition(fresh, to=Stage.EXECUTING, because="It starts.")
        for stage in stages:
            lifecycle.transition(fresh, to=stage, because="As told.")
