"""Values for variables: where they come from, in which order, and that no value silently changes its type."""

from __future__ import annotations

import contextlib
import time
from typing import Any

import pytest

from agents.playbooks.catalogue import Offering, Variable
from agents.playbooks.facts import Facts
from plans.planning.prefill import Filled, UnusableValue, prefill

PORTALS = [{"name": "Grafana", "url": "https://grafana.lab"}]


def offering(*variables: Variable) -> Offering:
    return Offering(key="x.yml#deploy", playbook="x.yml", verb="deploy", service="kuma", title="X", variables=variables)


def facts(**variables: object) -> Facts:
    return Facts(variables={name: (value, f"group_vars/all.yml: {name}") for name, value in variables.items()})


def test_words_come_before_answers_before_inventory_before_default():
    wanted = offering(*(Variable(name, "integer", default=1) for name in ("a", "b", "c", "d")))
    values, missing = prefill(wanted, {"a": "4"}, facts(a=2, b=2, c=2), earlier={"a": "3", "b": "3"})
    assert {name: filled.value for name, filled in values.items()} == {"a": 4, "b": 3, "c": 2, "d": 1}
    assert values["c"].origin == "group_vars/all.yml: c"
    assert values["d"].origin == "playbook default"
    assert missing == ()


def test_list_from_the_inventory_says_how_many():
    values, _ = prefill(offering(Variable("portals", "list", required=True)), {}, facts(portals=PORTALS))
    assert values["portals"] == Filled(PORTALS, "group_vars/all.yml: portals (1)")


def test_similar_name_fills_a_required_variable():
    wanted = offering(Variable("portals", "list", required=True))
    values, missing = prefill(wanted, {}, facts(kuma_existing_portals=PORTALS))
    assert values["portals"].origin == "group_vars/all.yml: kuma_existing_portals (1)"
    assert missing == ()


def test_two_similar_names_fill_nothing():
    wanted = offering(Variable("portals", "list", required=True))
    _, missing = prefill(wanted, {}, facts(existing_portals=PORTALS, current_portals=[]))
    assert [variable.name for variable in missing] == ["portals"]


def test_inventory_template_is_left_to_the_run():
    wanted = offering(Variable("sandbox_root", required=True))
    assert prefill(wanted, {}, facts(sandbox_root="{{ lookup('env', 'X') }}")) == ({}, ())


def test_missing_required_variable_is_named():
    values, missing = prefill(offering(Variable("name", required=True), Variable("other")), {}, Facts())
    assert (values, [variable.name for variable in missing]) == ({}, ["name"])


def test_name_the_playbook_does_not_take_is_refused():
    with pytest.raises(UnusableValue, match="takes no variable “ansible_connection”"):
        prefill(offering(), {"ansible_connection": "local"}, Facts())


def test_a_secret_is_left_out_whether_the_inventory_knows_it_or_not():
    wanted = offering(Variable("token", "secret"), Variable("password", "secret", required=True))
    assert prefill(wanted, {}, facts(password="hunter2", token="env:X")) == ({}, ())
    values, missing = prefill(wanted, {}, Facts())
    assert (values, [variable.name for variable in missing]) == ({}, ["password"])


@pytest.mark.parametrize("value", ["no", "0777", "12:30:45", "1e3", "~", "on", "null", "007"])
def test_text_that_yaml_would_change_stays_text(value):
    values, _ = prefill(offering(Variable("name")), {"name": value}, Facts())
    assert values["name"].value == value


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("integer", "0777"), ("integer", "1e3"), ("integer", "3.0"), ("integer", "no"), ("integer", True), ("integer", 1.5),
        ("integer", "9" * 30), ("integer", 10**30), ("number", "1e3"), ("number", "NaN"), ("number", "inf"), ("number", True),
        ("boolean", "1"), ("boolean", 0), ("boolean", "maybe"), ("string", 5), ("string", True), ("string", None),
        ("list", 5), ("list", {"a": 1}), ("object", "x"), ("object", [1]), ("secret", "hunter2"), ("secret", "env:KUMA_PASSWORD"),
        ("string", "x" * 2001),
    ],
)  # fmt: skip
def test_wrong_type_is_a_clear_error(kind, value):
    with pytest.raises(UnusableValue) as caught:
        prefill(offering(Variable("thing", kind)), {"thing": Filled(value, "request")}, Facts())
    assert caught.value.name == "thing"
    assert "thing" in caught.value.sentence


@pytest.mark.parametrize(
    ("kind", "value", "typed"),
    [("integer", "3002", 3002), ("integer", " 0 ", 0), ("integer", "-5", -5), ("number", "1.50", 1.5), ("boolean", "no", False),
     ("boolean", "Yes", True), ("list", "a, b and c", ["a", "b", "c"]),
     ("list", "wiki=https://w.lab, nas=https://n.lab", [{"name": "wiki", "url": "https://w.lab"}, {"name": "nas", "url": "https://n.lab"}]),
     ("object", "a=1", {"a": "1"}), ("object", "a b = 1  _c-d=x=y", {"a b": "1", "c-d": "x=y"}), ("object", "= a=1 b=", {"a": "1"}),
     ("list", "my wiki: https://w.lab=x", [{"name": "w.lab", "url": "x"}])],
)  # fmt: skip
def test_right_value_has_the_variables_type(kind, value, typed):
    values, _ = prefill(offering(Variable("thing", kind)), {"thing": value}, Facts())
    assert values["thing"].value == typed


@pytest.mark.parametrize("kind", ["object", "list"])
@pytest.mark.parametrize("value", ["a" * 999 + " " * 999, "a " * 999, "a=" * 999, "= " * 999, "a= " * 660])
def test_no_text_takes_long_to_be_read_as_pairs(kind, value):
    began = time.process_time()
    with contextlib.suppress(UnusableValue):
        prefill(offering(Variable("thing", kind)), {"thing": f"{value}x"}, Facts())
    assert time.process_time() - began < 0.2


@pytest.mark.parametrize(
    "value",
    ["{{ lookup('pipe','id') }}", "a{%b", ["{{ x }}"], {"k": "{{ x }}"}, {"{{ x }}": 1}, [{"a": [["{# x #}"]]}]],
)
def test_template_in_a_value_is_refused_wherever_it_hides(value):
    kind: Any = {"str": "string", "list": "list", "dict": "object"}[type(value).__name__]
    with pytest.raises(UnusableValue, match="evaluate"):
        prefill(offering(Variable("thing", kind)), {"thing": value}, Facts())


@pytest.mark.parametrize("port", ["-1", "65536", "99999"])
def test_port_out_of_range_is_refused(port):
    with pytest.raises(UnusableValue, match="no port"):
        prefill(offering(Variable("kuma_port", "integer")), {"kuma_port": port}, Facts())
