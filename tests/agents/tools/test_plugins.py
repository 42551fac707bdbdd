"""Tools that installed packages bring: offered, run and documented like ours; a broken one is left out, with the reason."""

from importlib.metadata import EntryPoint

import pytest

from agents.tools import plugins, registry
from agents.tools.plugins import GROUP, third_party
from agents.tools.registry import all_tools, describe, find_tool, left_out, source_of, tools_for
from audit.authority import Role
from tests import factories
from tests.agents.tools.listener import tool_named
from tests.engine import Engine, stage, statuses
from tests.packages import documented

GOOD = documented("python")


def broken(old, new):
    """The documented tool with something wrong in it."""
    assert old in GOOD
    return GOOD.replace(old, new)


class TestInstalled:
    pytestmark = pytest.mark.django_db(transaction=True)

    def test_it_is_offered_run_and_described(self, packages, requester, approver):
        packages.install_documented()
        assert left_out() == ()
        assert "acme.word_count" in tools_for("infra")
        told = describe(tool_named("acme.word_count"))
        assert (told["source"], told["version"], told["cost"]) == ("acme-tools 1.2", "1.2", "0")
        assert told["result"]["required"] == ["words"]
        factories.make_agent()
        plan = factories.make_plan(requester, [{"key": "count", "tool": "acme.word_count", "input": {"text": "a b c"}}])
        factories.approve(plan, approver)
        Engine().run()
        assert (stage(plan), statuses(plan)) == ("completed", {"count": "completed"})
        assert plan.steps.get().output == {"words": 3}

    def test_what_is_cached_per_user_answers_the_next_plan_of_the_same_person_only(self, packages, requester, approver):
        packages.install("acme-tools", broken('300, "shared"', '300, "user"'), "a = acme_tools:WordCount")
        factories.make_agent()

        def summary(person):
            step = {"key": "count", "tool": "acme.word_count", "input": {"text": "a b c d"}}
            plan = factories.approve(factories.make_plan(person, [step]), approver)
            Engine().run()
            return plan.steps.get().summary

        other = factories.make_user("other", Role.REQUESTER)
        assert ["From the cache" in summary(person) for person in (requester, other, requester, other)] == [
            False, False, True, True,
        ]  # fmt: skip

    def test_bad_input_for_it_is_found_before_anyone_is_asked(self, packages, requester):
        from plans.errors import InvalidPlan

        packages.install_documented()
        with pytest.raises(InvalidPlan) as refused:
            factories.make_plan(requester, [{"key": "a", "tool": "acme.word_count", "input": {"text": 5, "x": 1}}])
        assert [error["loc"] for error in refused.value.errors] == [
            ["steps", 0, "input", "text"], ["steps", 0, "input", "x"],
        ]  # fmt: skip

    def test_what_it_answers_is_checked(self, packages, requester, approver):
        packages.install(
            "acme-tools", broken('{"words": words}', '{"words": float("nan")}'), "a = acme_tools:WordCount"
        )
        factories.make_agent()
        plan = factories.make_plan(requester, [{"key": "count", "tool": "acme.word_count", "input": {"text": "a"}}])
        factories.approve(plan, approver)
        Engine().run(patiently=True)
        step = plan.steps.get()
        assert (step.status, step.attempts_made) == ("failed", 1)
        assert "acme.word_count" in step.error and "output.words" in step.error

    @pytest.mark.parametrize(
        "bug", ["raise ValueError('x')", "raise SystemExit(3)", "return {'words': 3}", "return None"]
    )
    def test_a_bug_in_it_fails_its_step_and_nothing_else(self, packages, requester, approver, bug):
        packages.install(
            "acme-tools", broken("asked = CountInput", f"{bug}\n        asked = CountInput"), "a = acme_tools:WordCount"
        )
        factories.make_agent()
        plan = factories.make_plan(requester, [{"key": "count", "tool": "acme.word_count", "input": {"text": "a"}}])
        factories.approve(plan, approver)
        Engine().run(patiently=True)
        step = plan.steps.get()
        assert (stage(plan), step.status) == ("failed", "failed")
        assert "acme.word_count" in step.error
        assert plan.attempts.get().failure_mode == "agent"


def test_an_object_does_as_well_as_a_class(packages):
    packages.install("acme-tools", GOOD + "\n\ncounter = WordCount()\n", "word_count = acme_tools:counter")
    assert find_tool("acme.word_count") is not None


@pytest.mark.parametrize(
    ("source", "entry", "reason"),
    [
        (GOOD, "a = acme_missing:WordCount", "ModuleNotFoundError"),
        (GOOD, "a = acme_tools:Missing", "AttributeError"),
        (GOOD, "a = acme_tools:CountInput", "can not be loaded"),
        (GOOD, "a = acme_tools:", "can not be loaded"),
        ("raise RuntimeError('boom\\nboom')", "a = acme_tools:WordCount", "RuntimeError: boom boom"),
        ("raise SystemExit(1)", "a = acme_tools:WordCount", "SystemExit"),
        ("def f(:", "a = acme_tools:WordCount", "SyntaxError"),
        ("password='hunter22hunter'\nraise ValueError(f'password={password}')", "a = acme_tools:x", "hidden secret"),
        (broken("acme.word_count", "diagnostic.noop"), "a = acme_tools:WordCount", "of its own"),
        (broken("acme.word_count", "diagnostic.words"), "a = acme_tools:WordCount", "Chiffon's own"),
        (broken("acme.word_count", "state.words"), "a = acme_tools:WordCount", "Chiffon's own"),
        (broken("acme.word_count", "Word Count"), "a = acme_tools:WordCount", "name"),
        (broken("acme.word_count", "word"), "a = acme_tools:WordCount", "name"),
        (broken('version = "1.2"', 'version = "a\\x00"'), "a = acme_tools:WordCount", "version"),
        (broken("Counts the words of a text.\"\n    input", "Counts\"\n    input"), "a = acme_tools:WordCount", "description"),
        (broken("(BaseTool)", ""), "a = acme_tools:WordCount", "has no"),
        (broken("input_model = CountInput", "input_model = dict"), "a = acme_tools:WordCount", "no pydantic model"),
        (broken("    input_model = CountInput\n", ""), "a = acme_tools:WordCount", "has no input_model"),
        (broken("(ToolInput)", "(__import__('pydantic').BaseModel)"), "a = acme_tools:WordCount", "forbid"),
        (broken("default=1, ge=1", "default=0, ge=1"), "a = acme_tools:WordCount", "default that it refuses at shortest"),
        (broken("text: str", "text: 'Unheard'"), "a = acme_tools:WordCount", "no JSON Schema"),
        (broken("words: int", "words: type(lambda: 0)"), "a = acme_tools:WordCount", "PydanticSchemaGenerationError"),
        (
            broken("class CountOutput(ToolOutput):\n", "class CountOutput(ToolOutput):\n    model_config = {'json_schema_extra': {'type': 'rubbish'}}\n"),
            "a = acme_tools:WordCount",
            "no object",
        ),
        (broken('"text": "to be or not to be"', '"text": 5'), "a = acme_tools:WordCount", "refuses its example at text"),
        (broken("idempotent = True", "idempotent = 'yes'"), "a = acme_tools:WordCount", "idempotent"),
        (broken("idempotent = True", "idempotent = False"), "a = acme_tools:WordCount", "not idempotent"),
        (broken('True, 300, "shared"', 'True, 0, "shared"'), "a = acme_tools:WordCount", "cache_seconds"),
        (broken('True, 300, "shared"', 'False, 300, "shared"'), "a = acme_tools:WordCount", "not cacheable"),
        (broken('True, 300, "shared"', 'True, 300, "everybody"'), "a = acme_tools:WordCount", "cache_scope"),
        (broken("quick = True", "quick = True\n    cost = 0.5"), "a = acme_tools:WordCount", "Decimal"),
        (broken("quick = True", "quick = True\n    parallel_limit = 0"), "a = acme_tools:WordCount", "parallel_limit"),
        (broken("quick = True", "quick = True\n    agent_types = frozenset({'cook'})"), "a = acme_tools:WordCount", "agent_types"),
        (broken("def run(self, request: WorkRequest, ", "def run(self, "), "a = acme_tools:WordCount", "run()"),
        (broken("def run(self", "async def run(self"), "a = acme_tools:WordCount", "asynchronous"),
    ],
)  # fmt: skip
def test_a_broken_one_is_left_out_with_the_reason_and_stops_nothing(packages, source, entry, reason):
    before = [tool.name for tool in all_tools()]
    packages.install("acme-tools", source, entry)
    (left,) = left_out()
    assert reason in left.reason
    assert (left.source, "\n" in str(left), len(left.reason) <= 400) == ("acme-tools 1.2", False, True)
    assert [tool.name for tool in all_tools()] == before


def test_beside_a_broken_one_a_good_one_works(packages):
    packages.install("acme-broken", "raise RuntimeError", "a = acme_broken:x")
    packages.install_documented()
    assert [left.source for left in left_out()] == ["acme-broken 1.2"]
    assert find_tool("acme.word_count") is not None


def test_of_two_with_one_name_the_first_package_counts(packages):
    packages.install("b-tools", GOOD, "a = b_tools:WordCount")
    packages.install_documented()
    assert source_of(tool_named("acme.word_count")) == "acme-tools 1.2"
    assert [left.reason for left in left_out()] == ["acme-tools 1.2 has a tool called acme.word_count, too."]


def test_they_are_loaded_once(packages, tmp_path):
    counted = f"with open({str(tmp_path / 'loads')!r}, 'a') as file:\n    file.write('x')\n{GOOD}"
    packages.install("acme-tools", counted, "a = acme_tools:WordCount")
    for _ in range(3):
        all_tools(), left_out(), find_tool("acme.word_count"), tools_for("infra")
    assert (tmp_path / "loads").read_text() == "x"


def test_what_is_left_out_is_logged(packages, caplog):
    packages.install("acme-tools", "raise RuntimeError('boom')", "word = acme_tools:x")
    all_tools()
    assert "tool word of acme-tools 1.2 is left out: It can not be loaded (RuntimeError: boom)." in caplog.messages


def test_entry_points_that_can_not_be_read_hide_none_of_ours(monkeypatch):
    def damaged(**_):
        raise KeyError("Name")

    third_party.cache_clear()
    monkeypatch.setattr(plugins, "entry_points", damaged)
    try:
        assert find_tool("diagnostic.noop") is not None
        assert [left.reason for left in left_out()] == ["The packages' entry points can not be read: KeyError."]
    finally:
        third_party.cache_clear()


def test_an_entry_point_without_a_package_has_a_source_too():
    loaded = plugins.load([EntryPoint("a", "no_such_module:x", GROUP)], registry._TOOLS)
    assert [left.source for left in loaded.left_out] == ["an unnamed package"]
