"""References and conditions: what is let through, what is filled in, and what can not be decided."""

import pytest

from plans import references
from plans.conf import LARGEST_RESOLVED
from plans.references import Unresolvable

OUTPUT = {"x": {"items": [1, 2]}, "text": "one\r\ntwo\n", "flag": True, "kuma-url": "http://here", "name": "Kuma"}
SCOPE = {"steps": {"b": {"status": "completed", "output": OUTPUT}}, "item": {"host": "atlas"}, "index": 0}


def wrong(value):
    return [error for _, error in references.errors_in(value, upstream={"b"})]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("status: {{ steps.b.status }}\n", "status: completed\n"),
        ("\r\n{{ steps.b.status }}\r\n\n", "\r\ncompleted\r\n\n"),
        ("a\rb {{ steps.b.status }}", "a\rb completed"),
        ("{{ steps.b.output.text }}", "one\r\ntwo\n"),
        (" {{steps.b.status}}  {{ steps['b'].output['kuma-url'] }}}}", " completed  http://here}}"),
        ("{{ steps.b.output.x['items'][1] }}", 2),
        ("{{ steps.b.output.x }}", {"items": [1, 2]}),
        ("{{ steps.b.output.x }}\n", {"items": [1, 2]}),
        ("{{ steps.b.output.text }}\r\n", "one\r\ntwo\n"),
        ("{{ steps.b.output.x['items'] }}\n\n", "[1, 2]\n\n"),
        (" {{ steps.b.output.x['items'] }}", " [1, 2]"),
        ("{{ '{' }}\n", "{\n"),
        ("[" * 30 + "{{ steps.b.status }}", "[" * 30 + "completed"),
        ({"k": ["{{ steps.b.output.flag }}", 5]}, {"k": [True, 5]}),
    ],
)
def test_all_around_a_reference_stays_byte_for_byte_and_a_lone_one_keeps_its_type(value, expected):
    assert wrong(value) == []
    assert references.resolve(value, SCOPE) == expected


@pytest.mark.parametrize("after", ["", "\n", "\r\n", "\n\n", "\r", " ", "\t\n", "x"])
def test_what_is_called_one_reference_is_filled_in_as_one(after):
    value = "{{ steps.b.output.x['items'] }}" + after
    assert references.is_one(value) is isinstance(references.resolve(value, SCOPE), list)
    assert references.is_one(value) is (after in ("", "\n", "\r\n"))
    assert not references.is_one("\n" + value)


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("a{# c #}b", "a statement or a comment"),
        ("{% raw %}{{ x }}{% endraw %}", "a statement or a comment"),
        ("100 {% off", "a statement or a comment"),
        ("{{ none }}", "write null without them"),
        ("{{ true }}", "write true without them"),
        ("at {{ 5 }}", "write 5 without them"),
        ("{{ 'text' }}", 'write "text" without them'),
        ("{{ '{\\x00' }}", "can not be stored"),
        ("{{ '\ud800' }}", "holds a constant"),
        ("{{ '\x00' }}", "holds a constant"),
        ("{{ steps.b.output['\x00'] }}", "can not be stored"),
        ("{{ steps.b.output['\ud800'] }}", "can not be stored"),
        ("{{ steps.b.output['__class__'] }}", "reads __class__"),
        ("{{ steps.b.output.__class__ }}", "reads __class__"),
        ("{{ steps.b.output[index] }}", "a computed index"),
        ("{{ steps.b.output.x[0:1] }}", "a computed index"),
        ("{{ steps.b.status }} {{", "its {{ or a quote in it is not closed"),
        ("{{ steps.b.output.name 'x }}", "its {{ or a quote in it is not closed"),
        ("{{ }}", "is no reference"),
        ("{{- steps.b.status }}", "which references can not have"),
        ("{{ steps.b.status == 'x' }}", "holds a compare"),
        ("{{ steps.b.output" + ".x" * 975 + " }}", "deeper than 100 levels"),
        ("{{ " + "(" * 900 + "steps.b.status" + ")" * 900 + " }}", "too deeply"),
    ],
)
def test_what_is_no_plain_reference_is_refused_with_what_to_write_instead(value, said):
    (error,) = wrong(value)
    assert said in error


@pytest.mark.parametrize(
    ("value", "expected"),
    [("{{ 5 }}", "5"), ("{{ none }}", "None"), ("{{ 'text' }}", "text"), ("a {{ '{# c #}' }}", "a {# c #}")],
)
def test_what_was_approved_before_it_was_refused_is_still_filled_in(value, expected):
    assert references.resolve(value, SCOPE) == expected


@pytest.mark.parametrize(
    "value",
    [
        "a{# c #}b",
        "echo {{ steps.b.status }} {# note #}",
        "{{ steps.b.output.x }}{#",
        "{% if steps.b.status %}x{% endif %}",
        "{% raw %}{{ x }}{% endraw %}",
        "100 {% off",
    ],
)
def test_a_comment_or_statement_that_was_approved_before_is_not_handed_on_as_text(value):
    with pytest.raises(Unresolvable, match="leads nowhere: it holds a statement or a comment"):
        references.resolve(value, SCOPE)


@pytest.mark.parametrize(
    ("value", "expected"),
    [("{{ '{{ 1 }}' }}", "{{ 1 }}"), ("a {{ '{%' }} b", "a {% b"), ("{{ '{' }}{ steps.zz }}", "{{ steps.zz }}")],
)
def test_a_brace_in_braces_stands_for_itself(value, expected):
    assert wrong(value) == []
    assert references.resolve(value, SCOPE) == expected


@pytest.mark.parametrize(
    "condition",
    [
        "1) }} {{ (2",
        "steps.b.status == 'completed') }} x",
        "1 }}",
        "1 }}{# x #}",
        "1, 2",
        "",
        "-" * 700 + "1",
        "not " * 450 + "true",
        "steps.b.output" + ".x" * 250,
        "steps.b.output" + ".x" * 900,
        "(" * 30 + "true" + ")" * 30,
        "[" * 900 + "]" * 900,
        "1 if true else 2",
        "steps.b.output['__class__'] == 1",
        "steps.b.status == '\x00'",
        "steps.b.status is defined",
    ],
)
def test_a_condition_that_means_nothing_or_is_nested_too_deeply_is_refused(condition):
    assert len(references.condition_errors(condition, upstream={"b"})) == 1


@pytest.mark.parametrize(
    "condition",
    [
        "1) }} {{ (2",
        "-" * 1_900 + "'a'",
        "[" * 900 + "]" * 900,
        "steps.b.output" + ".x" * 900,
        "steps.b.output.x > 1",
        "steps.b.output.x.nothing in []",
        "steps.b.output['items'] != []",
        "steps.b.output.items != []",
        "steps.b.output.name['upper'] != ''",
        "1 in 5",
        "x" * 5_000,
    ],
)
def test_a_condition_that_can_not_be_decided_says_so_whatever_goes_wrong(condition):
    with pytest.raises(Unresolvable, match="can not be decided"):
        references.holds(condition, SCOPE)


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        ("steps.b.status == 'completed' and not steps.b.output.x['items'] == []", True),
        ("steps.b.output.x.items in [[1, 2], 3] or steps.b.output.nothing", True),
        ("steps.b.status == 'failed' and steps.b.output.nothing", False),
        ("1 < 2 <= 2 > -3", True),
        ("1 < 2 > 2", False),
        ("'Kuma' not in steps.b.output.name", False),
        ("(1, 'a') == (1, 'a') and 1 != 1.5 and 2 >= 2", True),
        ("none", False),
        ("'}}' == '}}'", True),
        (" or ".join(["steps.b.status == 'x'"] * 80), False),
    ],
)
def test_a_condition_is_decided_as_it_reads(condition, expected):
    assert references.condition_errors(condition, upstream={"b"}) == []
    assert references.holds(condition, SCOPE) is expected
    assert references.reads(references.as_template(condition)) <= {("b", "status"), ("b", "output")}


@pytest.mark.parametrize("value", [["{{ steps.b.output.big }}"] * 1_500, "{{ steps.b.output.big }}, " * 60])
def test_what_references_bring_in_is_counted_each_time_and_has_an_end(value):
    scope = {"steps": {"b": {"output": {"big": "y" * 200_000}}}}
    with pytest.raises(Unresolvable, match=rf"4200000 characters or more, and .* at most {LARGEST_RESOLVED}"):
        references.resolve(value, scope)
    assert len(references.resolve(["{{ steps.b.output.big }}"] * 5, scope)) == 5


def test_all_references_of_a_condition_are_found_however_deep_its_brackets_are():
    condition = "(" * references.DEEPEST_BRACKETS + "steps.b.status" + ")" * references.DEEPEST_BRACKETS
    assert references.condition_errors(condition, upstream={"b"}) == []
    assert references.steps_in(references.as_template(condition)) == {"b"}
