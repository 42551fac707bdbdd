"""Whatever a tool answers becomes a result that can be kept, and junk becomes a failure that says where it is."""

# Wrong types are what is tested here.
# mypy: disable-error-code="arg-type"

import math
import sys
from types import SimpleNamespace
from typing import Any, ClassVar

import pytest
from pydantic import BaseModel, Field, field_validator

from agents.conf import LARGEST_RESULT, LONGEST_SUMMARY
from agents.protocol import Failure, FailureMode, Outcome, ResourcesUsed, WorkResult
from agents.tools import results
from agents.tools.base import AnyOutput, BaseTool, ToolInput, ToolOutput
from agents.tools.results import checked, input_errors


class Output(ToolOutput):
    answer: int = Field(ge=0)
    note: str = ""


class Asked(BaseTool):
    name: ClassVar[str] = "test.asked"
    description: ClassVar[str] = "Answers whatever the test wants."
    input_model: ClassVar[type[BaseModel]] = ToolInput
    output_model: ClassVar[type[BaseModel]] = Output

    def run(self, request, context):
        raise NotImplementedError


class Anything(Asked):
    output_model: ClassVar[type[BaseModel]] = AnyOutput


def done(output=None, **more):
    return WorkResult(Outcome.COMPLETED, output={"answer": 1} if output is None else output, **more)


def why(answer, tool=None):
    """Why an answer was refused; the test fails if it was not refused the way junk is."""
    result = checked(tool or Asked(), answer)
    assert (result.outcome, result.output) == (Outcome.FAILED, {})
    assert result.failure is not None
    assert (result.failure.mode, result.failure.transient) == (FailureMode.AGENT, False)
    assert "test.asked" in result.failure.message
    return result.failure.message


def test_a_result_as_promised_stays_what_it_is():
    good = done(
        {"answer": 5, "note": "é🙂"}, summary="Fine.", services_touched=("kuma",), progress={"a": [1, None, 2.5]}
    )
    assert checked(Asked(), good) == good


@pytest.mark.parametrize(
    "answer",
    [None, 5, "done", {"outcome": "completed"}, b"x", object(), WorkResult, SimpleNamespace(outcome="completed")],
)
def test_what_is_no_result_is_refused(answer):
    assert "instead of a WorkResult" in why(answer)


@pytest.mark.parametrize(
    ("output", "place"),
    [
        ({}, "output.answer"),
        ({"answer": "1"}, "output.answer"),
        ({"answer": -1}, "output.answer"),
        ({"answer": True}, "output.answer"),
        ({"answer": 1, "more": 2}, "output.more"),
        ({"answer": 1, "note": None}, "output.note"),
    ],
)
def test_what_is_not_as_promised_is_named_by_its_place(output, place):
    assert place in why(done(output))


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (math.nan, "no number"),
        (math.inf, "no number"),
        (2**63, "2^63"),
        (10**5000, "2^63"),
        ("a\x00b", "can not be stored"),
        ("\ud800", "can not be stored"),
        (b"bytes", "bytes"),
        ({1, 2}, "set"),
        (object(), "object"),
        (1j, "complex"),
        ({1: 2}, "key 1"),
        ({"\x00": 2}, "no text that can be stored"),
        ({None: 2}, "key"),
    ],
    ids="nan inf large huge NUL half bytes set object complex number-key NUL-key none-key".split(),
)
def test_what_can_not_be_kept_is_named_by_its_place(value, words):
    for field in ("output", "progress"):
        good = {"output": {"answer": 1}} | {field: {"deep": [{"x": value}]}}
        message = why(WorkResult(Outcome.COMPLETED, **good), Anything())
        assert words in message
        assert f"{field}.deep.0.x" in message


def test_what_holds_itself_or_is_too_deep_is_refused():
    endless: list[Any] = []
    endless += [endless, endless]
    assert "nested" in why(done({"a": endless}), Anything())
    deep: dict[str, Any] = {}
    for _ in range(sys.getrecursionlimit() * 2):
        deep = {"a": deep}
    assert "nested" in why(done(deep), Anything())


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"output": [1]}, "as its output"),
        ({"output": None}, "nothing as its output"),
        ({"progress": "half"}, "as its progress"),
        ({"summary": None}, "summary"),
        ({"summary": b"x"}, "summary"),
        ({"failure": "it broke"}, "failure"),
        ({"failure": Failure(FailureMode.USER, "No.")}, "completed, and a failure"),
        ({"failure": Failure("bad luck", "No.")}, "failure.mode"),
        ({"failure": Failure(FailureMode.USER, None)}, "message"),
        ({"failure": Failure(FailureMode.USER, "No.", transient="maybe")}, "transient"),
        ({"resources": {"wall_seconds": 1}}, "resources"),
        ({"resources": ResourcesUsed(wall_seconds=math.nan)}, "resources.wall_seconds"),
        ({"resources": ResourcesUsed(cpu_seconds=-1)}, "resources.cpu_seconds"),
        ({"resources": ResourcesUsed(peak_rss_bytes="1")}, "resources.peak_rss_bytes"),
        ({"services_touched": "kuma"}, "services_touched"),
        ({"services_touched": (1,)}, "services_touched"),
        ({"outcome": "done"}, "outcome"),
        ({"outcome": None}, "outcome"),
    ],
)
def test_each_field_of_a_result_is_looked_at(more, words):
    good = {"outcome": Outcome.COMPLETED, "output": {"answer": 1}}
    assert words in why(WorkResult(**good | more))


def test_plain_words_for_outcome_and_mode_are_understood():
    failed = checked(Asked(), WorkResult("failed", failure=Failure("user", "No.")))
    assert (failed.outcome, failed.failure) == (Outcome.FAILED, Failure(FailureMode.USER, "No."))


def test_a_failure_needs_no_promised_output_but_one_that_can_be_kept():
    partial = WorkResult.failed(FailureMode.SYSTEM, "Half done.", transient=True, output={"half": 1})
    assert checked(Asked(), partial) == partial
    assert "output.half" in why(WorkResult.failed(FailureMode.SYSTEM, "x", output={"half": math.nan}))


def test_what_it_took_and_touched_stays_known_when_the_output_is_junk():
    used = ResourcesUsed(wall_seconds=2.0)
    result = checked(
        Asked(), done({"answer": "one"}, resources=used, services_touched=["kuma"], progress={"task": "x"})
    )
    assert (result.outcome, result.resources, result.services_touched) == (Outcome.FAILED, used, ("kuma",))
    assert result.progress == {"task": "x"}


class TestTooLarge:
    def test_the_largest_field_is_left_out_and_that_is_said(self):
        result = checked(Anything(), done({"small": 1, "large": "x" * LARGEST_RESULT, "also": [1]}, summary="Done."))
        assert result.outcome is Outcome.COMPLETED
        assert {key: value for key, value in result.output.items() if key != "reason"} == {
            "small": 1, "also": [1], "cut": True,
        }  # fmt: skip
        assert result.output["reason"].endswith("left out: large.")
        assert result.summary == f"Done. {result.output['reason']}"

    def test_many_small_fields_are_cut_too(self):
        result = checked(Anything(), done({f"field {number}": "x" * 90 for number in range(5_000)}))
        assert result.output["cut"] is True
        assert " more." in result.output["reason"]

    def test_fields_called_like_the_note_of_the_cut_are_not_mistaken_for_it(self):
        result = checked(Anything(), done({"cut": False, "reason": "mine", "large": "x" * LARGEST_RESULT}))
        assert result.output["cut"] is True
        assert "cut, reason, large" in result.output["reason"]
        honest = {"cut": True, "answer": "no number"}
        assert "output.answer" in why(done(honest))  # saying "cut" spares no tool its promise

    def test_what_is_just_small_enough_is_kept(self):
        output = {"large": "x" * (LARGEST_RESULT - len('{"large": ""}'))}
        assert checked(Anything(), done(output)).output == output
        output["large"] += "x"
        assert checked(Anything(), done(output)).output["cut"] is True

    def test_words_progress_and_services_are_cut(self):
        result = checked(
            Asked(),
            done(summary="s" * 10_000, progress={"log": "x" * LARGEST_RESULT}, services_touched=["x" * 500] * 1_000),
        )
        assert len(result.summary) <= LONGEST_SUMMARY and result.summary.endswith("(cut)")
        assert result.progress["cut"] is True
        assert len(result.services_touched) == results.MOST_SERVICES
        assert max(map(len, result.services_touched)) == 128
        failed = checked(Asked(), WorkResult.failed(FailureMode.USER, "m" * 10_000))
        assert failed.failure is not None and len(failed.failure.message) <= LONGEST_SUMMARY


class Hostile(dict[str, Any]):
    def items(self):
        raise SystemError("gotcha")


class Breaking(ToolInput):
    value: int = 0

    @field_validator("value")
    @classmethod
    def broken(cls, value):
        raise ZeroDivisionError


class Broken(Asked):
    input_model: ClassVar[type[BaseModel]] = Breaking
    output_model: ClassVar[type[BaseModel]] = Breaking


def test_what_breaks_while_it_is_looked_at_is_a_failure_and_no_error():
    assert "SystemError" in why(done(Hostile(a=1)), Anything())
    assert "ZeroDivisionError" in why(done({"value": 1}), Broken())
    assert input_errors(Broken(), {"value": 1}) == [
        {"loc": [], "msg": "The tool's own check of its input broke: ZeroDivisionError."}
    ]
