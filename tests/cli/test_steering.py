"""`chiffon cancel|pause|resume|retry|skip|give-up|revise|undo` and the end of `chiffon watch`, against a real server."""

import json
import threading
import time

import pytest
from django.db import connection, transaction

from agents.protocol import Outcome, WorkResult
from audit.authority import Role
from audit.context import Actor
from plans import services
from plans.execution import attempt
from plans.execution.finish import finish
from plans.live.reading import events_after
from plans.models import Attempt, Plan
from tests import factories
from tests.engine import Engine, stage, statuses, tries
from tests.factories import step

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.integration]


@pytest.fixture
def requester(transactional_db):
    return factories.make_user("requester", Role.REQUESTER)


@pytest.fixture
def approver(transactional_db):
    return factories.make_user("approver", Role.APPROVER)


@pytest.fixture
def asks(chiffon, requester):
    return chiffon(factories.make_token(requester))


@pytest.fixture
def decides(chiffon, approver):
    return chiffon(factories.make_token(approver))


@pytest.fixture
def engine():
    factories.make_agent("infra-1", slots=4)
    return Engine()


@pytest.fixture
def make(requester, approver, engine):
    def made(*steps, run=True):
        plan = factories.approve(factories.make_plan(requester, list(steps)), approver)
        if run:
            engine.run()
        return plan

    return made


def broken(key="a", **more):
    return step(key, "diagnostic.fail", input={"times": 1, "transient": False}, **more)


def flaky(**more):
    return step("a", "diagnostic.fail", input={"times": 1}, retry={"attempts": 3, "first_wait_seconds": 60}, **more)


def test_a_plan_is_cancelled_with_a_reason(asks, make):
    plan = make(step("a"), step("b", depends_on=["a"]), run=False)
    assert asks("cancel", str(plan.number)).code == 2
    ran = asks("cancel", str(plan.number), "--reason", "not today")
    assert (ran.code, ran.out) == (0, f"Plan {plan.number} is cancelled.\n")
    assert stage(plan) == "cancelled"
    again = asks("cancel", str(plan.number), "--reason", "twice", "--json")
    assert again.code == 1 and again.json["code"] == "illegal_transition"
    assert "nothing is left to cancel" in again.err


def test_a_run_is_paused_and_resumed(asks, make, engine):
    plan = make(step("a"), step("b", depends_on=["a"]), run=False)
    engine.step()
    assert "is paused" in asks("pause", str(plan.number), "--reason", "lunch").out
    ran = asks("resume", str(plan.number), "--json")
    assert ran.code == 0 and ran.json["stage"] == "executing"
    assert asks("resume", str(plan.number)).code == 1


def test_a_failed_plan_goes_on_and_a_step_alone(asks, make, engine):
    plan = make(broken("a"), broken("b"))
    ran = asks("retry", str(plan.number), "--step", "a", "--reason", "mended")
    assert (ran.code, ran.out) == (0, f"Plan {plan.number} is executing.\n  a is ready.\n")
    engine.run()
    assert statuses(plan) == {"a": "completed", "b": "failed"}
    assert asks("retry", str(plan.number)).code == 0
    engine.run()
    assert stage(plan) == "completed"
    late = asks("retry", str(plan.number))
    assert late.code == 1 and "is completed; only steps of a plan that executes or has failed" in late.err


def test_hosts_that_are_not_known_are_a_sentence(asks, make):
    plan = make(broken("a"))
    ran = asks("retry", str(plan.number), "--unfinished-hosts", "--json")
    assert ran.code == 1 and ran.json["code"] == "hosts_unknown" and "Try it as a whole" in ran.err
    assert tries(plan, "a") == [(1, "failed")]


def test_a_step_is_skipped_by_who_may_approve(asks, decides, make, engine):
    plan = make(broken("a"), step("b", depends_on=["a"]))
    refused = asks("skip", str(plan.number), "a", "--reason", "by hand")
    assert refused.code == 1 and "approver" in refused.err
    ran = decides("skip", str(plan.number), "a", "--reason", "by hand")
    assert ran.code == 0 and "a is skipped." in ran.out
    engine.run()
    assert stage(plan) == "completed"


def test_what_was_done_is_undone_by_a_plan_that_waits_for_approval(asks, make):
    plan = make(step("a", rollback={"tool": "diagnostic.noop"}), step("b", rollback={"tool": "diagnostic.noop"}))
    ran = asks("undo", str(plan.number), "--reason", "the wrong host")
    made = Plan.objects.latest("number")
    assert ran.code == 0 and f"Plan {made.number} waits for approval: " in ran.out
    assert (stage(plan), stage(made)) == ("completed", "pending_approval")
    assert list(statuses(made)) == ["undo-b", "undo-a"]
    twice = asks("undo", str(plan.number))
    assert twice.code == 1 and f"Plan {made.number} waits for approval to undo what plan" in twice.err
    again = asks("undo", str(make(step("c")).number), "--json")
    assert again.code == 1 and again.json["code"] == "illegal_transition" and "nothing that says" in again.err


def test_a_wait_is_ended_now_or_for_good(asks, make, engine):
    first, second = make(flaky()), make(flaky())
    assert asks("retry", str(first.number), "--step", "a").code == 0
    engine.run()
    assert stage(first) == "completed"
    ran = asks("give-up", str(second.number), "a", "--reason", "gone", "--json")
    assert ran.code == 0 and ran.json["stage"] == "failed"
    again = asks("give-up", str(second.number), "a", "--reason", "gone")
    assert again.code == 1 and "does not wait" in again.err


@pytest.mark.parametrize(
    "words",
    [
        ("cancel", "999", "--reason", "x"),
        ("pause", "nothing"),
        ("resume", "../agents"),
        ("retry", "1/approve"),
        ("retry", "999", "--step", "a"),
        ("skip", "\x01", "a", "--reason", "x"),
        ("give-up", "x y", "a", "--reason", "x"),
        ("undo", "999"),
    ],
)
def test_an_unknown_plan_is_a_sentence(decides, requester, words):
    ran = decides(*words)
    assert ran.code in {1, 3} and ran.err.startswith("chiffon: ") and ran.err.count("\n") == 1


@pytest.mark.parametrize("key", ["nope", "..", ".", "a/b", "", b"\x00".hex(), "ä", "x" * 300])
def test_an_unknown_step_is_a_sentence(asks, make, key):
    plan = make(broken("a"))
    ran = asks("retry", str(plan.number), "--step", key)
    assert ran.code in {1, 3} and ran.err.startswith("chiffon: ")
    assert tries(plan, "a") == [(1, "failed")]


@pytest.mark.parametrize("words", [("skip", "1", "a"), ("give-up", "1", "a"), ("skip", "1"), ("retry",), ("cancel",)])
def test_what_is_missing_is_said(asks, words):
    ran = asks(*words)
    assert ran.code == 2 and "usage: chiffon" in ran.err


def test_without_a_server_each_ends_in_3(chiffon):
    client = chiffon("chf_x", CHIFFON_SERVER="http://127.0.0.1:9")
    assert client("retry", "1").code == 3
    assert client("cancel", "1", "--reason", "x").code == 3


class TestWatchToTheEnd:
    def test_the_last_events_of_steps_side_by_side_are_shown_however_late_they_can_be_read(self, asks, make, engine):
        """While an older transaction runs, what came after it is not handed out: the watcher waits for that."""
        plan = make(*[step(f"s{n}", "diagnostic.lines", input={"count": 3}) for n in range(4)], run=False)
        with asks.running("watch", str(plan.number), "--json") as process:
            time.sleep(1)
            release = hold_back()
            engine.run()
            assert stage(plan) == "completed"
            time.sleep(3)
            assert process.poll() is None
            release()
            out, err = process.communicate(timeout=30)
        assert process.returncode == 0, err
        events = [json.loads(line) for line in out.splitlines()]
        ended = [event["step"] for event in events if event["type"] == "output_end"]
        assert sorted(ended) == ["s0", "s1", "s2", "s3"]
        assert [event["data"]["now"] for event in events if event["type"] == "stage_changed"][-1] == "completed"
        assert len([event for event in events if event["type"] == "output"]) == 12
        cursors = [event["cursor"] for event in events]
        assert len(set(cursors)) == len(cursors)
        assert cursors == [item["cursor"] for item in events_after(plan.pk, None, 1_000).events]

    def test_it_says_that_a_plan_is_being_cancelled_and_then_that_it_is(self, asks, make, engine, requester):
        plan = make(step("a"), run=False)
        [(pk, token, _)] = engine.dispatch()
        held = attempt.claim(pk, expects=token)
        assert held
        services.cancel_plan(actor=Actor.person(requester), plan_id=plan.pk, reason="Not today")
        finish(held.attempt_id, token=held.token, result=WorkResult(Outcome.CANCELLED, summary="x"), lines=(0, ""))
        ran = asks("watch", str(plan.number))
        assert ran.code == 1
        assert "Plan: being cancelled. Cancelled by requester: Not today\n" in ran.out
        assert ran.out.endswith(f"Plan {plan.number} is cancelled.\n")

    def test_a_plan_that_failed_and_goes_on_is_watched_on(self, asks, make, engine):
        plan = make(broken("a"))
        assert asks("watch", str(plan.number)).code == 1
        asks("retry", str(plan.number))
        with asks.running("watch", str(plan.number)) as process:
            time.sleep(1.5)
            assert process.poll() is None
            engine.run()
            out, _ = process.communicate(timeout=30)
        assert process.returncode == 0 and "is completed" in out

    def test_a_plan_whose_agent_died_ends_it_too(self, asks, make, engine):
        plan = make(step("a", "diagnostic.sleep", input={"seconds": 60}, retry={"attempts": 1}), run=False)
        ((pk, token, _),) = engine.dispatch()
        assert attempt.claim(pk, expects=token)
        engine.forget_beats()
        engine.sweep()
        assert Attempt.objects.get(pk=pk).status == "interrupted"
        assert asks("watch", str(plan.number)).code == 1


def hold_back():
    """Keep a transaction open on a connection of its own; call the answer to end it."""
    ready, over = threading.Event(), threading.Event()

    def held():
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute("SELECT pg_current_xact_id()")
            ready.set()
            over.wait(60)
        connection.close()

    thread = threading.Thread(target=held)
    thread.start()
    assert ready.wait(10)

    def release():
        over.set()
        thread.join(10)

    return release


def test_the_help_names_each_of_them(chiffon):
    said = chiffon()("--help").out
    for name in ("cancel", "pause", "resume", "retry", "skip", "give-up", "undo"):
        assert name in said
    assert Plan.objects.count() == 0


def test_a_failed_plan_is_written_to_a_file_and_handed_back_changed(asks, make, tmp_path):
    plan = make(step("before"), broken("a", depends_on=["before"]))
    file = tmp_path / "plan.json"
    ran = asks("revise", str(plan.number), "--write", str(file))
    assert ran.code == 0 and f"chiffon revise {plan.number} {file} --reason WHY" in ran.out
    told = json.loads(file.read_text())
    assert (told["digest"], [one["key"] for one in told["steps"]]) == (factories.digest_of(plan), ["before", "a"])
    told["steps"][1]["input"]["times"] = 0
    file.write_text(json.dumps(told))
    ran = asks("revise", str(plan.number), str(file))
    assert ran.code == 1 and "Say why it is changed" in ran.err
    ran = asks("revise", str(plan.number), str(file), "--reason", "It fails no more")
    assert ran.code == 0 and ran.out == (
        f"Plan {plan.number} has revision 2, which waits for approval.\nNot repeated: before.\n"
        f"Read it with: chiffon show {plan.number}\n"
    )
    assert "completed in revision 1: it is not repeated" in asks("show", str(plan.number)).out
    again = asks("revise", str(plan.number), str(file), "--reason", "twice", "--json")
    assert again.code == 1 and again.json["code"] == "digest_mismatch"


@pytest.mark.parametrize(
    ("text", "said"),
    [("{", "holds no JSON"), ("[]", "holds no plan"), ('{"steps": [], "x": 1}', "'x'"), (None, "read")],
)
def test_a_file_that_is_no_plan_is_a_sentence(asks, requester, tmp_path, text, said):
    file = tmp_path / "plan.json"
    if text is not None:
        file.write_text(text)
    ran = asks("revise", "1", str(file), "--reason", "x")
    assert ran.code == 2 and said in ran.err
    assert asks("revise", "1").code == 2
