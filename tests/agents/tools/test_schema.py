"""Schemas in words for people."""

from typing import Any, Literal

import pytest
from pydantic import BaseModel, Field

from agents.tools.schema import fields_of, type_in_words


class Port(BaseModel):
    number: int = Field(ge=1, le=65535, description="Where it listens.")


class Everything(BaseModel):
    text: str = Field(max_length=1200, pattern="^a")
    count: int = 5
    rate: float = Field(gt=0, default=0.5)
    flag: bool = False
    maybe: str | None = None
    choice: Literal["one", "two"] = "one"
    names: list[str] = []
    ports: list[Port]
    main: Port
    table: dict[str, int]
    nested: dict[str, list[int]] = {}
    anything: Any = None


def test_each_field_is_told_in_words():
    told = {row.name: row for row in fields_of(Everything.model_json_schema())}
    assert {name: row.type for name, row in told.items()} == {
        "text": "text",
        "count": "whole number",
        "rate": "number",
        "flag": "yes or no",
        "maybe": "text or nothing",
        "choice": "one of one, two",
        "names": "list of text",
        "ports": "list of objects",
        "ports[].number": "whole number",
        "main": "object",
        "main.number": "whole number",
        "table": "object of whole numbers",
        "nested": "object of lists of whole numbers",
        "anything": "any value",
    }
    assert (told["text"].required, told["text"].limits) == (True, "at most 1 200 characters, like ^a")
    assert (told["count"].required, told["count"].default, told["rate"].limits) == (False, "5", "above 0")
    assert told["ports[].number"].limits == "from 1, up to 65 535"
    assert told["main.number"].description == "Where it listens."


class Tree(BaseModel):
    leaves: list["Tree"] = []


@pytest.mark.parametrize(
    "schema",
    [
        {}, {"properties": {"a": {}}}, {"properties": {"a": True}}, {"properties": {"a": {"$ref": "#/$defs/none"}}},
        {"properties": {"a": {"$ref": "#/$defs/a"}}, "$defs": {"a": {"$ref": "#/$defs/a"}}},
        {"properties": {"a": {"type": ["string", "null"]}}}, {"properties": {"a": {"type": "strange"}}},
        Tree.model_json_schema(),
    ],
)  # fmt: skip
def test_odd_schemas_are_read_to_an_end(schema):
    assert all(row.type for row in fields_of(schema))


def test_a_constant_is_said():
    assert type_in_words({"const": "yes"}) == 'always "yes"'
