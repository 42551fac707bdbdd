"""What every tool promises, ours and a third party's alike (AGT-5). A new tool is in here as soon as it is registered."""

import json
import time
from dataclasses import replace
from typing import Any

import jsonschema
import pytest

from agents.enums import AgentType
from agents.protocol import Outcome, WorkResult
from agents.tools import results
from agents.tools.base import Tool
from agents.tools.check import faults
from agents.tools.registry import all_tools, describe, find_tool, input_errors, tools_for
from agents.tools.schema import fields_of
from tests.agents.tools.listener import Listener, work

THIRD_PARTY = "acme.word_count"
# An input for which the tool would be busy for hours; any other tool is tried with its example.
LONG = {
    "diagnostic.sleep": {"seconds": 3600},
    "diagnostic.lines": {"count": 1_000_000, "per_second": 100},
}
QUICK_SECONDS = 0.25  # "milliseconds", on a machine that does other things too
ODD: tuple[Any, ...] = ("", "\u202e🙂", "../../etc/passwd", 0, -1, [], {}, None)
WRONG = {"string": 5, "integer": "five", "number": "five", "boolean": "yes", "array": "a", "object": [], "null": 0}

pytestmark = pytest.mark.django_db


@pytest.fixture(params=[*(tool.name for tool in all_tools()), THIRD_PARTY])
def tool(request, packages):
    if request.param == THIRD_PARTY:
        packages.install_documented()
    found = find_tool(request.param)
    assert isinstance(found, Tool)
    return found


def run(tool, given=None, context=None, **more):
    return tool.run(work(tool.name, dict(tool.example) if given is None else given, **more), context or Listener())


def test_nothing_is_wrong_with_what_it_says_of_itself(tool):
    assert faults(tool) == []


def test_its_schemas_are_valid_and_its_page_names_each_field(tool):
    told = describe(tool)
    for name in ("parameters", "result"):
        jsonschema.Draft202012Validator.check_schema(told[name])
        rows = {row.name for row in fields_of(told[name])}
        assert set(told[name].get("properties", {})) <= rows
        assert all(row.type for row in fields_of(told[name]))
    assert json.loads(json.dumps(told)) == told


def test_its_defaults_and_its_example_are_inputs_that_it_takes(tool):
    told = describe(tool)
    assert input_errors(tool, told["example"]) == []
    jsonschema.validate(told["example"], told["parameters"])
    for name, part in told["parameters"].get("properties", {}).items():
        if "default" in part:
            assert input_errors(tool, {**told["example"], name: part["default"]}) == []


def test_each_field_says_what_it_is_for(tool):
    for name in ("parameters", "result"):
        for row in fields_of(describe(tool)[name]):
            assert row.description.endswith("."), row.name


def test_some_agent_offers_it(tool):
    assert [kind for kind in AgentType.values if tool.name in tools_for(kind)]


def test_bad_input_is_named_by_its_place(tool):
    assert ["surprise"] in [error["loc"] for error in input_errors(tool, {**tool.example, "surprise": 1})]
    schema = describe(tool)["parameters"]
    for name, part in schema.get("properties", {}).items():
        if part.get("type") in WRONG:
            wrong = input_errors(tool, {**tool.example, name: WRONG[part["type"]]})
            assert [error["loc"][0] for error in wrong] == [name]
            assert all(error["msg"] for error in wrong)
    for name in schema.get("required", ()):
        missing = {key: value for key, value in tool.example.items() if key != name}
        assert [error["loc"] for error in input_errors(tool, missing)] == [[name]]


def test_its_result_is_a_result_as_promised(tool):
    for number in (1, 2):
        answer = run(tool, number=number)
        assert isinstance(answer, WorkResult)
        checked = results.checked(tool, answer)
        assert checked == replace(answer, output=checked.output, progress=checked.progress)  # nothing was wrong or cut
        assert checked.output == json.loads(json.dumps(answer.output))
        assert answer.summary
        if answer.outcome is Outcome.COMPLETED:
            jsonschema.validate(checked.output, describe(tool)["result"])


def test_it_stops_when_it_is_asked_to_and_when_its_lease_is_lost(tool):
    for context in (Listener(stops=1), Listener(loses=1), Listener(stops=2), Listener(loses=2)):
        begun = time.monotonic()
        answer = run(tool, LONG.get(tool.name), context)
        assert time.monotonic() - begun < 2
        if tool.name in LONG:
            assert answer.outcome is Outcome.CANCELLED


def test_it_is_as_quick_as_it_claims(tool):
    if tool.quick:
        run(tool)
        begun = time.monotonic()
        run(tool)
        assert time.monotonic() - begun < QUICK_SECONDS


def test_what_is_cacheable_answers_the_same_twice_and_changes_nothing(tool):
    if tool.cacheable:
        assert tool.idempotent
        first, second = run(tool), run(tool)
        assert (first.outcome, first.output, first.summary) == (second.outcome, second.output, second.summary)


def test_a_failure_is_a_result_and_never_an_exception(tool):
    """Its example with each field emptied: what the schema lets through the tool has to cope with."""
    for name in tool.example:
        for value in ODD:
            given = {**tool.example, name: value}
            if not input_errors(tool, given):
                assert isinstance(run(tool, given), WorkResult)
