"""What a plan may say beyond order is checked whole before anyone is asked; each error names step and field."""

import time

import pytest

from agents.models import Playbook, PlaybookRepository
from audit.context import Actor
from plans import services
from plans.conf import MOST_DEPENDENCIES, MOST_ITEMS, MOST_STEPS
from plans.dag import ancestors
from plans.errors import InvalidPlan
from plans.models import Plan, Revision, Step
from tests import factories
from tests.factories import step
from tests.plans.execution.steps import failing, row, say

pytestmark = [pytest.mark.django_db, pytest.mark.e2e_03]
ECHO = {"tool": "diagnostic.echo", "input": {"value": 1}}


@pytest.fixture
def create(requester):
    factories.make_policy()

    def make(*steps, **more):
        return services.create_plan(actor=Actor.person(requester), goal="Try", steps=list(steps), **more)

    return make


def refused(create, *steps, **more):
    with pytest.raises(InvalidPlan) as error:
        create(*steps, **more)
    assert not Plan.objects.exists()
    return error.value.errors


def each(items="{{ steps.find.output.value }}", value="{{ item }}", **more):
    return say("each", value, for_each=items, depends_on=["find"], **more)


@pytest.mark.parametrize(("bad", "loc", "said"), [
    (each({"a": 1}), ["for_each"], "it can not be nested"),
    (each(5), ["for_each"], "for_each must be a list or a text"),
    (each(None), ["for_each"], "for_each must be a list or a text"),
    (each("abc"), ["for_each"], "one reference"),
    (each(""), ["for_each"], "one reference"),
    (each("{{ steps.find.output.value }} x"), ["for_each"], "one reference"),
    (each("{{ steps.find.output.value"), ["for_each"], "one reference"),
    (each("{{ steps.gone.output.value }}"), ["for_each"], "does not come before"),
    (each("{{ steps.each.output.value }}"), ["for_each"], "does not come before"),
    (each("{{ item.hosts }}"), ["for_each"], "can not be nested: item and index are only known in the input"),
    (each("{{ ''.__class__ }}"), ["for_each"], "reads __class__"),
    (each(["{{ steps.find.output.value }}"]), ["for_each"], "The items of a list are values"),
    (each(list(range(MOST_ITEMS + 1))), ["for_each"], f"at most {MOST_ITEMS} items"),
    (each(["x" * 200_000, "y" * 200_000]), ["for_each"], "longer than"),
    (each(["\x00"]), ["for_each", 0], "can not be stored"),
    (each([1], when="item > 1"), ["when"], "decided once for the whole step"),
    (each([1], rollback={"tool": "diagnostic.echo", "input": {"value": "{{ item }}"}}), ["rollback", "input"], "undone once"),
    (each([1], "{{ state.x.__class__ }}"), ["input", "value"], "reads __class__"),
    (say("x", "{{ item }}"), ["input", "value"], "which only a step with for_each has"),
    (say("x", "{{ index }}"), ["input", "value"], "which only a step with for_each has"),
    (step("x", "diagnostic.sleep", input={"seconds": "{{ item }}"}, for_each=[1, "soon", 2]), ["for_each", 1],
     "With this item, seconds does not fit diagnostic.sleep"),
    (say("x", "{{ item.host }}", for_each=[{"host": 1}, {}]), ["for_each", 1], "there is no host"),
    (say("x", on_failure="fallback"), ["fallback"], "the step has none"),
    (say("x", fallback=ECHO), ["fallback"], "only tried with on_failure fallback; here it is stop"),
    (say("x", on_failure="fallback", fallback="echo"), ["fallback"], "must be of type dict"),
    (say("x", on_failure="fallback", fallback={}), ["fallback", "tool"], "A fallback needs a tool"),
    (say("x", on_failure="fallback", fallback={"tool": 5}), ["fallback", "tool"], "must be of type str"),
    (say("x", on_failure="fallback", fallback={**ECHO, "for_each": [1]}), ["fallback", "for_each"], "no field for_each"),
    (say("x", on_failure="fallback", fallback={"tool": "no.tool"}), ["fallback", "tool"], "There is no tool"),
    (say("x", on_failure="fallback", fallback={"tool": "diagnostic.echo"}), ["fallback", "input", "value"], "required"),
    (say("x", on_failure="fallback", fallback={"tool": "diagnostic.sleep", "input": {"seconds": "x"}}),
     ["fallback", "input", "seconds"], "number"),
    (say("x", on_failure="fallback", fallback={"tool": "diagnostic.echo", "input": {"value": "{{ steps.y.output.z }}"}}),
     ["fallback", "input", "value"], "does not come before"),
    (say("x", on_failure="fallback", fallback={"tool": "ansible.playbook", "input": {"playbook": "../x"}}),
     ["fallback", "input", "playbook"], "no such playbook"),
    (say("x", rollback={"tool": "no.tool"}), ["rollback", "tool"], "There is no tool"),
    (say("x", rollback={"tool": "diagnostic.echo", "input": {"value": 1, "more": 2}}), ["rollback", "input", "more"], "not permitted"),
    (say("x", rollback={"tool": "diagnostic.echo", "input": {"value": "{{ steps.later.output.value }}"}}),
     ["rollback", "input", "value"], "does not come before"),
    (say("x", rollback={"tool": "diagnostic.echo", "input": {"value": "\x00"}}), ["rollback", "input", "value"], "can not be stored"),
    (say("x", on_failure="rollback"), ["on_failure"], "no step says how it is undone"),
    (say("x", on_failure="undo"), ["on_failure"], "one of stop, continue, fallback, rollback"),
    (step("x", "ansible.playbook", agent_type="research", input={"playbook": "p.yml"}), ["tool"], "do not offer ansible.playbook"),
    (say("x", timeout_seconds=0, on_failure="fallback", fallback=ECHO), ["timeout_seconds"], "from 1"),
])  # fmt: skip
def test_each_error_names_the_step_and_the_field(create, bad, loc, said):
    Playbook.objects.create(
        repository=PlaybookRepository.objects.create(name="one", location="/one", commit="c" * 40), path="p.yml"
    )
    errors = refused(create, say("find", [1]), bad, say("later", "", depends_on=[bad["key"]]))
    places = [error["loc"] for error in errors]
    assert ["steps", 1, *loc] in [place[: 2 + len(loc)] for place in places], errors
    assert said in " ".join(str(error["msg"]) for error in errors)


@pytest.mark.parametrize("limit", [0, -1, MOST_STEPS + 1, True, 1.5, "2"])
def test_a_limit_lets_at_least_one_step_run(create, limit):
    (error,) = refused(create, say("a"), max_parallel=limit)
    assert error["loc"] == ["max_parallel"]


def test_what_reads_a_step_that_may_be_skipped_looks_at_its_status_first(create):
    steps = [say("maybe", when="1 > 2"), say("reads", "{{ steps.maybe.output.value }}", depends_on=["maybe"])]
    (error,) = refused(create, *steps)
    assert error["loc"] == ["steps", 1, "input"]
    assert "maybe may be skipped by its condition, and then has no output" in str(error["msg"])
    assert "when: steps.maybe.status == 'completed'" in str(error["msg"])
    steps[1]["when"] = "steps.maybe.status == 'completed'"
    assert create(*steps)


def test_what_reads_a_step_that_the_plan_can_do_without_looks_at_its_status_first(create):
    reads = say("reads", when="steps['may-fail'].output.value > 1", depends_on=["may-fail"])
    (error,) = refused(create, failing("may-fail", on_failure="continue"), reads)
    assert error["loc"] == ["steps", 1, "when"]
    assert "steps['may-fail'].status" in str(error["msg"])
    reads["when"] = "steps['may-fail'].status == 'completed' and " + reads["when"]
    assert create(failing("may-fail", on_failure="continue"), reads)


def test_its_status_may_be_read_without_more(create):
    assert create(say("maybe", when="1 > 2"), say("reads", "{{ steps.maybe.status }}", depends_on=["maybe"]))


def test_a_rollback_reads_its_own_step_although_that_has_a_condition(create):
    undo = {"tool": "diagnostic.echo", "input": {"value": "{{ steps.a.output.value }}"}}
    assert create(say("a", when="1 < 2", rollback=undo), say("b", on_failure="rollback"))


def test_the_longest_list_that_a_plan_may_hold_is_taken(create):
    plan = create(say("each", "{{ item }}", for_each=list(range(MOST_ITEMS))))
    assert Step.objects.get(plan=plan).for_each == list(range(MOST_ITEMS))


def test_the_items_of_its_lists_count_as_steps(create):
    lists = [say(f"s{n}", "{{ item }}", for_each=list(range(MOST_ITEMS))) for n in range(5)]
    (error,) = refused(create, *lists)
    assert f"at most {MOST_STEPS} steps, the items of its lists included; this one has 5 and 1000 items" in error["msg"]


def test_a_plan_has_only_so_many_dependencies(create):
    wide = MOST_DEPENDENCIES // 100 + 1
    first = [say(f"a{n}") for n in range(wide)]
    keys = [one["key"] for one in first]
    (error,) = refused(create, *first, *(say(f"b{n}", depends_on=keys) for n in range(100)))
    assert f"at most {MOST_DEPENDENCIES} dependencies" in error["msg"]


def test_everything_before_a_step_is_known_in_a_chain_of_five_thousand_in_no_time():
    began = time.process_time()
    before = ancestors({f"s{n}": [f"s{n - 1}"] if n else [] for n in range(5_000)})
    assert time.process_time() - began < 0.5
    assert "s0" in before["s4999"] and "s4999" not in before["s4999"]
    assert len(before["s2000"]) == 2_000
    assert sorted(before["s2"]) == ["s0", "s1"]
    assert "s2" in before["s2"].also("s2")


def test_five_thousand_steps_are_refused_in_no_time(create):
    began = time.process_time()
    errors = refused(create, *(say(f"s{n}", depends_on=[f"s{n - 1}"] if n else []) for n in range(5_000)))
    assert f"at most {MOST_STEPS} steps; this one has 5000" in errors[0]["msg"]
    assert time.process_time() - began < 0.5


def test_a_playbooks_own_word_for_what_undoes_it_is_taken_where_a_step_asks_for_a_rollback(create):
    repository = PlaybookRepository.objects.create(name="one", location="/one", commit="c" * 40)
    port = {"name": "port", "type": "integer"}
    known = {"variables": [port, {"name": "title"}]}
    Playbook.objects.create(repository=repository, path="deploy.yml", reversible_by="remove.yml", details=known)
    Playbook.objects.create(repository=repository, path="remove.yml", details={"variables": [port]})
    deploy = step("deploy", "ansible.playbook",
                  input={"playbook": "deploy.yml", "variables": {"port": 3001, "title": "x"}})  # fmt: skip
    plan = create(deploy, say("check", depends_on=["deploy"], on_failure="rollback"))
    undo = row(plan, "deploy.rollback")
    assert (undo.playbook["path"], undo.input, undo.work_type) == ("remove.yml", {"port": 3001}, "playbook:remove.yml")
    assert not Step.objects.filter(plan=create(deploy, say("check", depends_on=["deploy"])), kind="rollback").exists()


def test_a_playbook_that_names_what_is_not_there_as_its_undoing_is_refused_where_that_is_needed(create):
    repository = PlaybookRepository.objects.create(name="one", location="/one", commit="c" * 40)
    Playbook.objects.create(repository=repository, path="deploy.yml", reversible_by="gone.yml")
    deploy = step("deploy", "ansible.playbook", input={"playbook": "deploy.yml"})
    (error,) = refused(create, deploy, say("check", depends_on=["deploy"], on_failure="rollback"))
    assert "gone.yml undoes it, and the catalogue has no such playbook" in error["msg"]


def test_people_read_what_the_plan_may_do_besides(create):
    plan = create(
        say("find", []), each(), failing("ask", on_failure="fallback", fallback=ECHO),
        say("x", rollback=ECHO, on_failure="rollback"),
    )  # fmt: skip
    facts = [fact["text"] for fact in Revision.objects.get(plan=plan).risk_facts]
    assert facts[1:] == [
        "each runs once for each item of a list that is found on the way",
        "ask falls back on diagnostic.echo",
        "If x fails, what was done is undone",
    ]
