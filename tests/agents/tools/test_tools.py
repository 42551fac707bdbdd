"""What each of the tools that are always there does. What all of them promise is in test_conformance.py."""

import pytest

from agents.protocol import FailureMode, Outcome, WorkResult
from agents.tools.calling import call
from agents.tools.registry import all_tools, find_tool, input_errors, tools_for
from tests.agents.tools.listener import Listener, tool_named, work


def run(name, context=None, number=1, timeout=60.0, **given):
    request = work(name, given, number=number, timeout=timeout)
    tool = tool_named(name)
    assert input_errors(tool, given) == []
    return tool.run(request, context or Listener())


def test_only_infra_agents_run_playbooks_and_all_run_diagnostics():
    assert "ansible.playbook" in tools_for("infra")
    assert "ansible.playbook" not in tools_for("code")
    anyones = {tool.name for tool in all_tools() if tool.name.startswith(("diagnostic.", "state."))}
    assert set(tools_for("desktop")) == anyones
    assert set(tools_for("research")) == anyones | {"playbook.inspect"}


def test_a_setting_turns_the_diagnostics_off(settings):
    settings.CHIFFON_DIAGNOSTICS = False
    ours = ["ansible.playbook", "playbook.inspect", "state.forget", "state.recall", "state.remember"]
    assert [tool.name for tool in all_tools()] == ours
    assert find_tool("diagnostic.noop") is None


def test_noop_does_nothing():
    assert run("diagnostic.noop").outcome is Outcome.COMPLETED


@pytest.mark.parametrize("value", ["text", 5, None, [1, {"a": None}], {"a": [True]}, "", "x" * 10_000])
def test_echo_answers_any_value(value):
    context = Listener()
    assert run("diagnostic.echo", context, value=value).output == {"value": value}
    assert len(context.lines) == 1


class TestSleep:
    def test_it_sleeps_as_long_as_asked(self):
        done = run("diagnostic.sleep", seconds=0.15)
        assert done.outcome is Outcome.COMPLETED
        assert 0.15 <= done.resources.wall_seconds < 1

    @pytest.mark.parametrize("context", [Listener(stops=2), Listener(loses=2)])
    def test_it_stops_when_asked_to_or_when_the_lease_is_lost(self, context):
        assert run("diagnostic.sleep", context, seconds=3600).outcome is Outcome.CANCELLED

    @pytest.mark.parametrize("seconds", [-1, 86_401, float("nan"), float("inf"), "5", None, True, [1]])
    def test_a_time_that_is_none_is_refused(self, seconds):
        assert input_errors(tool_named("diagnostic.sleep"), {"seconds": seconds})


class TestFail:
    def test_it_fails_as_often_as_asked_and_then_succeeds(self):
        outcomes = [run("diagnostic.fail", number=number, times=2).outcome for number in (1, 2, 3)]
        assert outcomes == [Outcome.FAILED, Outcome.FAILED, Outcome.COMPLETED]

    @pytest.mark.parametrize("mode", FailureMode)
    @pytest.mark.parametrize("transient", [True, False])
    def test_it_fails_in_the_way_asked(self, mode, transient):
        failure = run("diagnostic.fail", times=1, failure_mode=str(mode), transient=transient).failure
        assert (failure.mode, failure.transient) == (mode, transient)

    @pytest.mark.parametrize("bad", [{"times": -1}, {"times": 1001}, {"times": 1.5}, {"failure_mode": "agent\n"}])
    def test_what_it_can_not_do_is_refused(self, bad):
        assert input_errors(tool_named("diagnostic.fail"), bad)


class TestLines:
    def test_it_says_each_line_once_in_order(self):
        context = Listener()
        assert run("diagnostic.lines", context, count=250).output == {"count": 250}
        assert [text for _, text in context.lines] == [f"line {n} of 250" for n in range(1, 251)]

    def test_it_keeps_to_its_pace(self):
        done = run("diagnostic.lines", count=20, per_second=100)
        assert done.resources.wall_seconds >= 0.19

    @pytest.mark.parametrize("context", [Listener(stops=2), Listener(loses=2)])
    def test_it_stops_when_asked_to(self, context):
        assert run("diagnostic.lines", context, count=1_000_000).outcome is Outcome.CANCELLED
        assert len(context.lines) < 1_000

    @pytest.mark.parametrize(
        "bad", [{}, {"count": -1}, {"count": 10**7}, {"count": 5, "per_second": -1}, {"count": "5"}]
    )
    def test_a_count_that_is_none_is_refused(self, bad):
        assert input_errors(tool_named("diagnostic.lines"), bad)


class TestSpend:
    def test_it_says_what_it_used_and_announces_at_least_that(self):
        done = run("diagnostic.spend", cost=0.5, tokens=7)
        assert (done.resources.cost, done.resources.tokens) == (0.5, 7)
        tool = tool_named("diagnostic.spend")
        assert tool.announce({"cost": 0.5}) == (0.5, 0)  # type: ignore[attr-defined]
        assert tool.announce({"cost": 0.5, "most_cost": 2, "most_tokens": 9}) == (2, 9)  # type: ignore[attr-defined]

    @pytest.mark.parametrize(
        "bad",
        [
            {"cost": -1},
            {"cost": float("nan")},
            {"cost": float("inf")},
            {"tokens": 1.5},
            {"tokens": "5"},
            {"cost": 1e308},
        ],
    )
    def test_what_nobody_can_use_up_is_refused(self, bad):
        assert input_errors(tool_named("diagnostic.spend"), bad)


class TestState:
    def test_what_is_remembered_is_recalled_and_forgotten(self):
        context = Listener()
        place = {"scope": "execution", "key": "url"}
        assert run("state.remember", context, **place, value=None).output == place
        assert run("state.recall", context, **place).output == {"value": None, "found": True}
        assert run("state.forget", context, **place).output == {"found": True}
        assert run("state.forget", context, **place).output == {"found": False}
        gone = run("state.recall", context, **place)
        assert (gone.outcome, gone.failure.mode) == (Outcome.FAILED, FailureMode.USER)
        assert run("state.recall", context, **place, default=None).output == {"value": None, "found": False}

    def test_a_refusal_is_a_failure_with_its_sentence(self):
        given = {"scope": "global", "key": "a", "value": "refused"}
        refused = call(tool_named("state.remember"), work("state.remember", given), Listener())
        assert refused == WorkResult.failed(FailureMode.USER, "There is no room.")

    @pytest.mark.parametrize("name", ["state.remember", "state.recall", "state.forget"])
    @pytest.mark.parametrize("bad", [
        {"scope": "world"}, {"scope": "Global"}, {"key": ""}, {"key": "A"}, {"key": "a-b"}, {"key": "a.b"}, {"key": "a" * 65},
        {"key": "a\n"}, {"key": "__class__"}, {"key": 5}, {"scope": None},
    ])  # fmt: skip
    def test_a_place_that_is_none_is_named(self, name, bad):
        given = {"scope": "global", "key": "a"} | ({"value": 1} if name == "state.remember" else {}) | bad
        assert [error["loc"] for error in input_errors(tool_named(name), given)] == [list(bad)]


def test_a_playbook_step_without_a_playbook_is_a_failure_and_no_crash():
    request = work("ansible.playbook", {}, timeout=5)
    done = tool_named("ansible.playbook").run(request, Listener())
    assert done.outcome is Outcome.FAILED
    assert done.failure and done.failure.mode is FailureMode.USER


@pytest.mark.parametrize("name", ["", "nothing", "diagnostic.noop ", "Diagnostic.Noop", "a\x00"])
def test_an_unknown_tool_is_none(name):
    assert find_tool(name) is None
