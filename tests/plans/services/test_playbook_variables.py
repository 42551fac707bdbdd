"""What a program may give a playbook: only variables that its catalogue entry names, each with a value of that variable's type."""

from typing import Any

import pytest

from audit.context import Actor
from plans import services
from plans.errors import InvalidPlan
from plans.models import Plan, Step
from tests import factories
from tests.engine import stage
from tests.factories import step
from tests.homelab import Homelab, playbook

pytestmark = pytest.mark.django_db
SHOWN = '- debug: msg="{{ title }} {{ port }} {{ password | default(omit) }} {{ flags | default([]) }}"'
VARIABLES = "  vars:\n    port: 3001\n    title: Kuma\n    flags: []\n    command: ['{{ playbook_dir }}/run']\n"


@pytest.fixture
def homelab(tmp_path):
    """Two playbooks: one undoes the other, and knows another type for one of its values."""
    undo = playbook("kuma", SHOWN, verb="Remove", variables="  vars:\n    port: 3001\n    title: 5\n")
    up = "# chiffon: reversible_by=down.yml\n" + playbook("kuma", SHOWN, variables=VARIABLES)
    made = Homelab(tmp_path, {"up.yml": up, "down.yml": undo, "plain.yml": playbook("plain")})
    made.read()
    return made


@pytest.fixture
def create(requester, homelab):
    factories.make_policy()

    def call(*steps):
        return services.create_plan(actor=Actor.person(requester), goal="Try", steps=list(steps))

    return call


def uses(path, **variables):
    """What runs a playbook, as a step, a fallback or a rollback says it."""
    return {"tool": "ansible.playbook", "input": {"playbook": path, "variables": variables}}


def run(key="up", path="up.yml", *, more: Any = (), **variables):
    return {"key": key, **uses(path, **variables), **dict(more)}


def refused(call, *steps):
    with pytest.raises(InvalidPlan) as caught:
        call(*steps)
    return [(error["loc"], error["msg"]) for error in caught.value.errors]


TAKES = "up.yml takes no variable “{}”; it takes flags, password, port and title."


@pytest.mark.parametrize("name", ["command", "playbook_dir", "ansible_connection", "anything", "vars"])
def test_a_variable_that_the_catalogue_does_not_know_of_the_playbook_is_refused(create, name):
    assert refused(create, run(**{name: ["/bin/sh"]})) == [
        (["steps", 0, "input", "variables", name], TAKES.format(name))
    ]
    assert not Plan.objects.exists()


def test_a_playbook_without_variables_says_so(create):
    ((_, said),) = refused(create, run(path="plain.yml", port=1))
    assert said == "plain.yml takes no variable “port”; it takes none."


def test_a_variable_that_belongs_to_ansible_is_refused_though_a_playbook_declares_it(create, homelab):
    homelab.commit({"odd.yml": playbook("odd", variables="  vars:\n    environment: a\n")})
    homelab.read()
    ((loc, said),) = refused(create, run(path="odd.yml", environment="b"))
    assert (loc, "belongs to Ansible itself" in said) == (["steps", 0, "input", "variables"], True)


@pytest.mark.parametrize(
    ("name", "value", "wants"),
    [
        ("port", "/bin/sh", "which takes a whole number"), ("port", "3001", "which takes a whole number"),
        ("port", True, "which takes a whole number"), ("port", None, "which takes a whole number"),
        ("port", 70_000, "is no port for port"), ("title", 5, "which takes text"), ("title", ["/bin/sh"], "which takes text"),
        ("flags", "a, b", "which takes a list"), ("flags", {"a": 1}, "which takes a list"),
    ],
)  # fmt: skip
def test_a_value_of_another_type_is_refused_at_its_place(create, name, value, wants):
    ((loc, said),) = refused(create, step("first"), run(**{name: value}))
    assert (loc, wants in said) == (["steps", 1, "input", "variables", name], True)


def test_values_of_the_right_type_are_taken_as_they_are(create):
    values = {"port": 0, "title": "no", "flags": ["a", {"b": 1}]}
    plan = create(run(**values))
    assert Step.objects.get(plan=plan).input == values


@pytest.mark.parametrize("variables", [["port"], "{{ steps.up.output }}", None, 5])
@pytest.mark.parametrize("name", ["", "rollback"])
def test_variables_are_an_object_and_no_reference_to_one(create, variables, name):
    means = {"tool": "ansible.playbook", "input": {"playbook": "up.yml", "variables": variables}}
    ((loc, said),) = refused(create, run(more={name: means}) if name else {"key": "up", **means})
    assert (loc, said) == (
        ["steps", 0, *([name] if name else []), "input", "variables"],
        "The variables are an object of names and values.",
    )


@pytest.mark.parametrize("name", ["fallback", "rollback"])
def test_what_a_step_falls_back_on_and_what_undoes_it_are_held_to_the_same(create, name):
    more = {name: uses("up.yml", command=["x"], port="x")} | ({"on_failure": name} if name == "fallback" else {})
    found = refused(create, run(more=more))
    assert [loc for loc, _ in found] == [["steps", 0, name, "input", "variables", one] for one in ("command", "port")]


def test_what_a_playbook_says_undoes_it_is_given_nothing_of_another_type(create):
    check = step("check", depends_on=["up"], on_failure="rollback")
    assert Step.objects.filter(plan=create(run(port=3002), check), key="up.rollback", input={"port": 3002}).exists()
    ((loc, said),) = refused(create, run(title="Kuma"), check)
    assert loc == ["steps", 0, "rollback", "input", "variables", "title"]
    assert said == "“Kuma” does not fit title, which takes a whole number without leading zeros or an exponent."


def test_a_revision_is_held_to_the_same(create, requester):
    plan = create(run(port=3002))
    revise = lambda one: services.revise_plan(  # noqa: E731
        actor=Actor.person(requester), plan_id=plan.pk, steps=[one], reason="More"
    )
    assert refused(revise, run(command=["x"])) == [
        (["steps", 0, "input", "variables", "command"], TAKES.format("command"))
    ]
    assert revise(run(port=3003)).revision_number == 2


@pytest.mark.parametrize("value", ["hunter2", "env:KUMA_PASSWORD", "{{ steps.first.output.value }}", ["x"], None])
def test_no_secret_is_taken_not_even_by_reference(create, value):
    ((loc, said),) = refused(create, step("first"), run(more={"depends_on": ["first"]}, password=value))
    assert loc == ["steps", 1, "input", "variables", "password"]
    assert said == "password is a secret, and playbooks can not be given secrets yet; leave it out."


def test_an_empty_secret_is_none(create):
    assert Step.objects.get(plan=create(run(password=""))).input == {"password": ""}


class TestReferences:
    """A value that an earlier step finds has its type checked when the step starts."""

    def found(self, create, approver, engine, value, **variables):
        first = step("first", "diagnostic.echo", input={"value": value})
        plan = create(first, run(more={"depends_on": ["first"]}, **variables))
        factories.approve(plan, approver)
        engine.run()
        return plan, Step.objects.get(plan=plan, key="up")

    def test_one_of_the_right_type_runs(self, create, approver, engine):
        values = {"port": "{{ steps.first.output.value }}", "title": "Kuma {{ steps.first.output.value }}"}
        plan, row = self.found(create, approver, engine, 3002, **values)
        assert stage(plan) == "completed", row.error
        assert row.playbook["types"] == {"port": "integer", "title": "string"}

    def test_one_of_another_type_fails_its_step_and_says_so(self, create, approver, engine):
        _, row = self.found(create, approver, engine, ["/bin/sh"], title="{{ steps.first.output.value }}")
        assert row.error == (
            "What variables.title refers to does not fit ansible.playbook: "
            "1: /bin/sh (list) does not fit title, which takes text; "
            "write it in quotes where YAML would read something else."
        )

    def test_one_inside_a_list_is_checked_as_well(self, create, approver, engine):
        plan, row = self.found(create, approver, engine, "a", flags=["{{ steps.first.output.value }}", "b"])
        assert (stage(plan), row.playbook["types"]) == ("completed", {"flags": "list"})

    def test_a_text_with_braces_stays_the_text_it_is(self, create, approver, engine):
        plan, row = self.found(create, approver, engine, "a", title="{{ '{' }}{ x }}")
        assert stage(plan) == "completed", row.error

    def test_a_plan_from_before_types_were_kept_runs_on(self, create, approver, engine, monkeypatch):
        monkeypatch.setattr("plans.planning.programs._Means._types", lambda means: {})
        plan, row = self.found(create, approver, engine, ["a"], title="{{ steps.first.output.value }}")
        assert (stage(plan), "types" in row.playbook) == ("completed", False)
