"""Every tool keeps the same promises: described, checked by its schema, and a failure is a result."""

import pytest

from agents.protocol import FailureMode, Outcome, WorkRequest
from agents.tools.base import Tool
from agents.tools.registry import all_tools, describe, find_tool, input_errors, tools_for

TOOLS = all_tools()


class Listener:
    """A context that remembers; `stops` says after how many looks it wants the tool to stop, `loses` likewise."""

    def __init__(self, stops=None, loses=None):
        self.lines, self.looks, self.stops, self.loses = [], 0, stops, loses

    def line(self, stream, text):
        self.lines.append((stream, text))

    def event(self, type_, data):
        pass

    def checkpoint(self, reached):
        pass

    def beat(self):
        self.looks += 1
        return self.loses is None or self.looks < self.loses

    def cancelled(self):
        self.looks += 1
        return self.stops is not None and self.looks >= self.stops


def tool_named(name: str) -> Tool:
    tool = find_tool(name)
    assert tool is not None
    return tool


def run(name, context=None, number=1, timeout=60.0, **given):
    request = WorkRequest(
        attempt_id="1", agent="infra-1", token=1, number=number, trace_id="1", plan_id="1", step_key="a", tool=name,
        work_type="diagnostic", timeout_seconds=timeout, input=given,
    )  # fmt: skip
    tool = tool_named(name)
    assert input_errors(tool, given) == []
    return tool.run(request, context or Listener())


@pytest.mark.parametrize("tool", TOOLS, ids=lambda tool: tool.name)
class TestEveryTool:
    def test_it_describes_itself(self, tool):
        assert isinstance(tool, Tool)
        told = describe(tool)
        assert told["description"].endswith(".")
        assert told["parameters"]["type"] == "object"
        assert told["parameters"]["additionalProperties"] is False

    def test_some_agent_offers_it(self, tool):
        assert any(tool.name in tools_for(kind) for kind in ("infra", "code", "research", "desktop"))

    def test_what_its_schema_does_not_know_is_named(self, tool):
        errors = input_errors(tool, {"surprise": 1})
        assert ["surprise"] in [error["loc"] for error in errors]


def test_only_infra_agents_run_playbooks_and_all_run_diagnostics():
    assert "ansible.playbook" in tools_for("infra")
    assert "ansible.playbook" not in tools_for("code")
    assert set(tools_for("research")) == {tool.name for tool in TOOLS if tool.name.startswith("diagnostic.")}


def test_a_setting_turns_the_diagnostics_off(settings):
    settings.CHIFFON_DIAGNOSTICS = False
    assert [tool.name for tool in all_tools()] == ["ansible.playbook"]
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

    def test_it_ends_at_its_time_limit(self):
        done = run("diagnostic.sleep", timeout=0.1, seconds=3600)
        assert (done.outcome, done.failure.mode) == (Outcome.FAILED, FailureMode.RESOURCE)

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


def test_a_playbook_step_without_a_playbook_is_a_failure_and_no_crash():
    request = WorkRequest(
        attempt_id="1", agent="infra-1", token=1, number=1, trace_id="1", plan_id="1", step_key="a",
        tool="ansible.playbook", work_type="playbook", timeout_seconds=5,
    )  # fmt: skip
    done = tool_named("ansible.playbook").run(request, Listener())
    assert done.outcome is Outcome.FAILED
    assert done.failure and done.failure.mode is FailureMode.USER


@pytest.mark.parametrize("name", ["", "nothing", "diagnostic.noop ", "Diagnostic.Noop", "a\x00"])
def test_an_unknown_tool_is_none(name):
    assert find_tool(name) is None
