"""Which hosts are left after some tries, under which limit they are worked on, and which ways are open. Pure."""

import pytest

from agents.playbooks.asked import LIMIT
from agents.protocol import FailureMode
from plans.recovery import (
    HostState,
    Rights,
    Stopped,
    Tried,
    hosts_after,
    narrowed_limit,
    plan_ways,
    trouble,
    unfinished,
    ways_on,
)

OK, FAILED, AWAY = {"ok": 3}, {"ok": 1, "failures": 1}, {"unreachable": 1}
DONE = HostState.FINISHED


def tried(hosts, *, only=None, whole=True):
    """A try that came to its end, where hosts without a failure are finished; or one that was cut short."""
    finished = [host for host, figures in hosts.items() if figures == OK] if whole else []
    return Tried(only, {"hosts": hosts, "finished": finished, "ended": whole})


def test_a_host_is_where_the_last_try_on_it_left_it():
    tries = [tried({"a": OK, "b": FAILED, "c": AWAY}), tried({"b": OK, "c": FAILED}, only=["b", "c"])]
    assert hosts_after(["a", "b", "c"], tries[:1]) == {
        "a": DONE, "b": HostState.FAILED, "c": HostState.UNREACHABLE,
    }  # fmt: skip
    assert hosts_after(["a", "b", "c"], tries) == {"a": DONE, "b": DONE, "c": HostState.FAILED}


def test_a_host_that_was_finished_and_worked_on_again_is_what_it_became():
    assert hosts_after(["a"], [tried({"a": OK}), tried({"a": FAILED})]) == {"a": HostState.FAILED}


def test_after_a_try_that_was_cut_short_no_host_counts_as_finished_by_it():
    cut = hosts_after(["a", "b"], [tried({"a": OK, "b": FAILED}, whole=False)])
    assert cut == {"a": HostState.UNKNOWN, "b": HostState.FAILED}
    assert unfinished(cut) == ([], "no host is known to be finished")


def test_a_narrowed_try_that_was_cut_short_leaves_the_others_finished():
    states = hosts_after(["a", "b"], [tried({"a": OK, "b": FAILED}), tried({}, only=["b"], whole=False)])
    assert unfinished(states) == (["b"], "")


def test_a_host_that_no_play_reached_is_left_to_do():
    assert unfinished(hosts_after(["a", "b"], [tried({"a": OK})])) == (["b"], "")


def test_without_hosts_in_the_plan_those_count_that_were_worked_on():
    assert unfinished(hosts_after([], [tried({"a": OK, "b": FAILED}), tried({"b": FAILED}, only=["b"])])) == (["b"], "")


@pytest.mark.parametrize(
    ("states", "reason"),
    [
        ({}, "not known"),
        ({"a": HostState.FAILED}, "no host is known to be finished"),
        ({"a": DONE}, "every host is finished"),
        ({"a": DONE, "b*": HostState.FAILED}, "can not be named"),
        ({"a": DONE, "::1": HostState.FAILED}, "can not be named"),
        ({"a": DONE, "@file": HostState.FAILED}, "can not be named"),
    ],
)
def test_a_step_that_can_not_be_narrowed_says_why(states, reason):
    left, said = unfinished(states)
    assert left == [] and reason in said


class TestLimit:
    def test_a_try_that_is_not_narrowed_runs_under_what_was_approved(self):
        assert narrowed_limit("web", ["a", "b"], None) == "web"
        assert narrowed_limit("", [], None) == ""

    def test_it_names_the_hosts_within_what_was_approved(self):
        assert narrowed_limit("", ["a", "b", "c"], ["b", "c"]) == "b,c"
        assert narrowed_limit("web", ["a", "b"], ["b"]) == "b,&web"

    @pytest.mark.parametrize(
        ("limit", "hosts", "only"),
        [
            ("", ["a"], ["b"]),
            ("web", [], ["b"]),
            ("", ["a*"], ["a*"]),
            ("", ["a"], []),
            ("", [], ["all,!x"]),
        ],
    )
    def test_what_was_not_approved_is_never_in_it(self, limit, hosts, only):
        assert narrowed_limit(limit, hosts, only) == "!all"

    def test_a_host_that_was_not_approved_is_left_out_beside_one_that_was(self):
        assert narrowed_limit("", ["a"], ["a", "b"]) == "a"

    def test_thousands_of_hosts_fit_into_a_limit(self):
        names = [f"host-{number}.example.org" for number in range(2_000)]
        assert LIMIT.fullmatch(narrowed_limit("", names, names))


@pytest.mark.parametrize("mode", list(FailureMode))
@pytest.mark.parametrize("transient", [True, False])
def test_every_failure_says_what_it_was_whether_it_may_pass_and_who_can_mend_it(mode, transient):
    told = trouble(str(mode), transient=transient)
    assert told is not None
    assert ("may pass by itself" in told.sentence) is transient
    assert told.mender in told.sentence and "can" in told.mender
    assert told.to_json()["mode"] == mode


def test_no_failure_has_no_words_and_an_unknown_one_has_some():
    assert trouble("", transient=False) is None
    told = trouble("weather", transient=False)
    assert told is not None and "weather" in told.sentence


def kinds(ways):
    return {way.kind: way.allowed for way in ways}


def test_a_failed_playbook_can_be_tried_again_narrowed_or_skipped():
    step = Stopped("a", 2, has_hosts=True, hosts={"x": DONE, "y": HostState.FAILED})
    ways = ways_on(step, Rights())
    assert [(way.kind, way.allowed) for way in ways] == [("resume", True), ("retry", True), ("skip", True)]
    assert (
        ways[0].hosts == ("y",) and "limit to y" in ways[0].effect and "1 finished host is left alone" in ways[0].effect
    )


def test_what_one_may_not_do_is_shown_with_the_reason():
    ways = ways_on(Stopped("a", 2), Rights(decide="Only approvers decide."))
    assert kinds(ways) == {"retry": True, "skip": False}
    assert ways[1].why_not == "It changes what was approved. Only approvers decide."


def test_what_nobody_can_do_says_so_to_everyone():
    ways = ways_on(Stopped("a", 2, has_hosts=True, hosts={"x": DONE}, barred="It was cancelled."), Rights())
    assert {way.why_not for way in ways} == {"It was cancelled."}


def test_a_paused_plan_can_skip_and_not_retry():
    assert kinds(ways_on(Stopped("a", 2), Rights(), no_retry="Paused.")) == {"retry": False, "skip": True}


def test_an_unknown_outcome_warns_unless_twice_is_harmless():
    assert "look at what it left" in ways_on(Stopped("a", 2, unknown=True), Rights())[0].effect
    assert "look at what it left" not in ways_on(Stopped("a", 2, unknown=True, idempotent=True), Rights())[0].effect


def test_beside_trying_again_one_can_undo_and_ask_anew():
    ways = plan_ways(undone="A is undone.", paths=["x.yml"], in_words=True, rights=Rights(ask="No."))
    assert [(way.kind, way.path, way.allowed) for way in ways] == [("undo", "x.yml", False), ("ask_again", "", False)]
    assert "A is undone." in ways[0].effect and "approves before anything runs" in ways[0].effect
    assert plan_ways(undone="", paths=[], in_words=False, rights=Rights()) == ()
