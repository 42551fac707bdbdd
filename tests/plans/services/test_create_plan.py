"""A plan written by a program: taken whole or refused whole, with the place of each error."""

import json
import math
from typing import Any

import pytest

from agents.models import Playbook, PlaybookRepository
from audit.context import Actor
from audit.errors import NotAllowed
from audit.models import DecisionRecord
from plans import services
from plans.conf import MOST_REFERENCES, MOST_STEPS, MOST_VALUES
from plans.enums import Stage, StepStatus
from plans.errors import InvalidPlan
from plans.models import Dependency, Plan, Revision, Step
from tests import factories
from tests.factories import step

pytestmark = pytest.mark.django_db
NUL, HALF = "a\x00b", "a\ud800b"


@pytest.fixture
def create(requester):
    factories.make_policy()

    def call(*steps, goal="Try", budget=None):
        return services.create_plan(actor=Actor.person(requester), goal=goal, steps=list(steps), budget=budget)

    return call


def test_a_plan_is_digested_and_waits_for_approval(create):
    plan = create(step("a"), step("b", depends_on=["a"]), step("c", depends_on=["a", "b", "a"]))
    revision = Revision.objects.get(plan=plan)
    steps = list(Step.objects.filter(revision=revision).order_by("index"))
    assert plan.stage == Stage.PENDING_APPROVAL
    assert len(revision.digest) == 64
    assert [(item.key, item.status, item.unmet, item.waiting_for) for item in steps] == [
        ("a", StepStatus.WAITING, 0, "Waits for its turn."),
        ("b", StepStatus.WAITING, 1, "Waits for a."),
        ("c", StepStatus.WAITING, 2, "Waits for a, b."),
    ]
    assert {plan.show(item).status for item in steps} == {StepStatus.PENDING}
    assert all(len(item.leaf) == 64 for item in steps)
    assert Dependency.objects.filter(revision=revision).count() == 3
    kinds = DecisionRecord.objects.filter(trace_id=plan.trace_id).values_list("type", flat=True)
    assert sorted(kinds) == ["plan.created", "plan.stage_changed"]


def deep(levels):
    value: Any = "end"
    for _ in range(levels):
        value = [value]
    return value


@pytest.mark.parametrize(
    ("bad", "loc", "said"),
    [
        ({"key": "a"}, ["tool"], "needs a tool"),
        ({"tool": "diagnostic.noop"}, ["key"], "needs a key"),
        (step("A b"), ["key"], "is no key"),
        (step("a" * 64), ["key"], "is no key"),
        (step("a\n"), ["key"], "is no key"),
        (step(NUL), ["key"], "is no key"),
        (step(tool="no.tool"), ["tool"], "There is no tool"),
        (step(tool="x" * 5000), ["tool"], "There is no tool"),
        (step(tool=NUL), ["tool"], "There is no tool"),
        (step(agent_type="wizard"), ["agent_type"], "There is no agent type"),
        (step(timeout_seconds=0), ["timeout_seconds"], "The timeout is from 1"),
        (step(timeout_seconds=-1), ["timeout_seconds"], "The timeout is from 1"),
        (step(timeout_seconds=10**9), ["timeout_seconds"], "The timeout is from 1"),
        (step(timeout_seconds=1.5), ["timeout_seconds"], "must be of type int"),
        (step(timeout_seconds=True), ["timeout_seconds"], "must be of type int"),
        (step(retry={"attempts": 10**6}), ["retry"], "retry.attempts"),
        (step(retry={"factor": math.nan}), ["retry"], "retry.factor"),
        (step(retry=[]), ["retry"], "must be of type dict"),
        (step(depends_on="a"), ["depends_on"], "must be of type list"),
        (step(depends_on=[["a"]]), ["depends_on"], "list of keys"),
        (step(surprise=1), ["surprise"], "no field surprise"),
        (step(input={}), ["input", "value"], "required"),
        (step(input={"value": 1, "more": 1}), ["input", "more"], "not permitted"),
        (step(tool="diagnostic.sleep", input={"seconds": "1e3"}), ["input", "seconds"], "number"),
        (step(tool="diagnostic.sleep", input={"seconds": True}), ["input", "seconds"], "number"),
        (step(tool="diagnostic.fail", input={"times": "no"}), ["input", "times"], "integer"),
        (step(tool="diagnostic.fail", input={"failure_mode": "magic"}), ["input", "failure_mode"], "pattern"),
        (step(input={"value": "{{ lookup('pipe', 'id') }}"}), ["input", "value"], "holds a call"),
        (step(input={"value": {"{% x %}": 1}}), ["input", "value", "{% x %}"], "only values may"),
        (step(input={"value": [[{"a": "{{ x }}"}]]}), ["input", "value", 0, 0, "a"], "refers to x"),
        (step(input={"value": NUL}), ["input", "value"], "can not be stored"),
        (step(input={"value": {HALF: 1}}), ["input", "value", HALF], "can not be stored"),
        (step(input={"value": math.nan}), ["input", "value"], "finite"),
        (step(input={"value": -math.inf}), ["input", "value"], "finite"),
        (step(input={"value": 2**53}), ["input", "value"], "too large"),
        (step(input={"value": -1e17}), ["input", "value"], "too large"),
        (step(input={"value": [1e300]}), ["input", "value", 0], "too large"),
        (step(input={"value": -(10**20_000)}), ["input", "value"], "too large"),
        (step(input={"value": deep(3000)}), ["input", "value"], "nested deeper"),
        (step(input={"value": "x" * 300_000}), ["input", "value"], "longer than"),
        (step(tool="ansible.playbook", input={"playbook": "../x.yml"}), ["input", "playbook"], "no such playbook"),
        (step(tool="ansible.playbook", input={"playbook": "-e@x"}), ["input", "playbook"], "no such playbook"),
        (step(tool="ansible.playbook", input={"playbook": NUL}), ["input", "playbook"], "no such playbook"),
        (step(tool="ansible.playbook", input={"playbook": ["x"]}), ["input", "playbook"], "no such playbook"),
        (step(tool="ansible.playbook"), ["input", "playbook"], "no such playbook"),
        (step(name=NUL), ["name"], "can not be stored"),
        (step(reason=HALF), ["reason"], "can not be stored"),
        (step(work_type="x" * 256), ["work_type"], "at most 255"),
        (step(name="x" * 501), ["name"], "at most 500"),
        (step(work_type=NUL), ["work_type"], "can not be stored"),
        (step(resources={"labels": 5}), ["resources", "labels"], "list of"),
        (step(resources={"labels": "gpu"}), ["resources", "labels"], "list of"),
        (step(resources={"labels": [["gpu"]]}), ["resources", "labels"], "list of"),
        (step(resources={"cpu": math.nan}), ["resources", "cpu"], "finite"),
        (step(resources={"memory_mb": 2**60}), ["resources", "memory_mb"], "too large"),
        (step(resources={"cpu": -1}), ["resources", "cpu"], "from 0"),
        (step(resources={"cpu": "much"}), ["resources", "cpu"], "from 0"),
        (step(resources={"gpu_memory_mb": True}), ["resources", "gpu_memory_mb"], "from 0"),
        (step(resources={"disk": 1}), ["resources", "disk"], "cpu, memory_mb, gpu_memory_mb or labels"),
        (step(resources={NUL: 1}), ["resources", NUL], "can not be stored"),
        ("a", [], "A step is an object"),
        (None, [], "A step is an object"),
        ([], [], "A step is an object"),
    ],
)
def test_a_bad_step_is_refused_with_its_place_and_nothing_is_saved(create, bad, loc, said):
    with pytest.raises(InvalidPlan) as refused:
        create(step("first"), bad)
    places: list[Any] = [error["loc"] for error in refused.value.errors]
    assert any(place[: 2 + len(loc)] == ["steps", 1, *loc] for place in places), refused.value.errors
    assert said in " ".join(str(error["msg"]) for error in refused.value.errors)
    assert not Plan.objects.exists()
    assert DecisionRecord.objects.get().type == "plan.refused"


LONG = "x" * 200_000


@pytest.mark.parametrize(
    "bad",
    [
        step(LONG),
        step(tool=LONG, name="n"),
        step(agent_type=LONG),
        step(on_failure=LONG),
        step(depends_on=[LONG]),
        step(retry={LONG: 1}),
        step(retry={f"{LONG}{n}": 1 for n in range(3)}),
        step(on_failure="fallback", fallback={"tool": "diagnostic.noop", LONG: 1}),
        step(on_failure="fallback", fallback={"tool": LONG}),
        {**step(), LONG: 1},
        step(input={"value": 1, LONG: 1}),
        step(input={"value": {f"{LONG}\x00": 1}}),
        step(input={"value": {f"{LONG}{{{{": 1}}),
        step(input={"value": f"{{{{ {LONG} }}}}"}),
        step(when=LONG),
        step(input={"value": "{{ %s }}" % ("x" * 1_900)}),
    ],
)
def test_a_refusal_repeats_no_long_name_neither_to_its_writer_nor_in_the_trail(create, bad):
    with pytest.raises(InvalidPlan) as refused:
        create(bad, budget={LONG: 1})
    record = DecisionRecord.objects.get()
    assert len(json.dumps([refused.value.sentence, refused.value.errors])) < 2_000
    assert record.type == "plan.refused"
    assert len(json.dumps([record.reason, record.metadata])) < 2_000


def test_of_many_errors_the_first_hundred_are_told_and_the_others_counted(create):
    with pytest.raises(InvalidPlan, match="and 299 more") as refused:
        create(step(input={"value": [math.nan] * 300}))
    assert len(refused.value.errors) == 100


@pytest.mark.parametrize(
    ("value", "taken"),
    [
        ([[]] * (MOST_VALUES - 10), True),
        ([[]] * MOST_VALUES, False),
        (["{{ steps.first.output.value }}"] * MOST_REFERENCES, True),
        (["{{ steps.first.output.value }}"] * (MOST_REFERENCES + 1), False),
        (["{{1}}"] * 40_000, False),
    ],
)
def test_a_plan_holds_only_so_much_as_can_be_looked_through_at_once(create, value, taken):
    steps = step("first"), step("second", depends_on=["first"], input={"value": value})
    if taken:
        assert create(*steps)
        return
    with pytest.raises(InvalidPlan, match=f"at most {MOST_VALUES} values and {MOST_REFERENCES} references") as refused:
        create(*steps)
    assert [error["loc"] for error in refused.value.errors] == [["steps", 1, "input"]]


@pytest.mark.parametrize(
    ("steps", "said"),
    [
        ([], "at least one step"),
        ([step("a"), step("a")], "Two steps have the key a"),
        ([step("a", depends_on=["a"])], "a waits for itself"),
        ([step("a", depends_on=["gone"])], "a waits for gone, which is not in the plan"),
        ([step("a", depends_on=["b"]), step("b", depends_on=["a"])], "wait for each other: a → b → a"),
        (
            [step("x"), step("a", depends_on=["c"]), step("b", depends_on=["a"]), step("c", depends_on=["b", "x"])],
            "wait for each other",
        ),
        ([step(f"s{n}") for n in range(MOST_STEPS + 1)], f"at most {MOST_STEPS} steps"),
        ([step(f"s{n}") for n in range(5_000)], "this one has 5000"),
    ],
)
def test_a_shape_that_can_not_run_is_refused_with_the_exact_edge(create, steps, said):
    with pytest.raises(InvalidPlan, match="not saved") as refused:
        create(*steps)
    assert not str(refused.value).endswith("..")
    assert said in " ".join(str(error["msg"]) for error in refused.value.errors)
    assert not Plan.objects.exists()


def test_a_chain_of_as_many_steps_as_a_plan_may_have_is_taken(create):
    count = MOST_STEPS
    plan = create(step("s0"), *(step(f"s{n}", depends_on=[f"s{n - 1}"]) for n in range(1, count)))
    assert Step.objects.filter(plan=plan).count() == count


@pytest.mark.parametrize("name", ["cost_ceiling", "call_ceiling", "token_ceiling"])
@pytest.mark.parametrize("value", [-1, 0, math.nan, math.inf, 1e308, "10", True, [], {}, "ten", -0.0])
def test_a_budget_that_is_no_amount_is_named(create, name, value):
    with pytest.raises(InvalidPlan) as refused:
        create(step(), budget={name: value})
    assert [error["loc"] for error in refused.value.errors] == [["budget", name]]
    assert not Plan.objects.exists()


def test_calls_and_tokens_are_whole_and_cost_is_not(create):
    assert create(step(), budget={"cost_ceiling": 0.1 + 0.2, "call_ceiling": 5, "token_ceiling": None})
    with pytest.raises(InvalidPlan):
        create(step(), budget={"call_ceiling": 1.5})
    with pytest.raises(InvalidPlan):
        create(step(), budget={"free": 5})


@pytest.mark.parametrize("goal", ["", "  \n", "x" * 2001, NUL, HALF, None, 5])
def test_a_goal_is_a_text_that_can_be_stored(create, goal):
    with pytest.raises(InvalidPlan) as refused:
        create(step(), goal=goal)
    assert refused.value.errors[0]["loc"] == ["goal"]


def test_playbooks_of_two_repositories_do_not_mix(create):
    for name in ("one", "two"):
        repository = PlaybookRepository.objects.create(name=name, location=f"/{name}", commit="c" * 40)
        Playbook.objects.create(repository=repository, path=f"{name}.yml")
    steps = [step(name, tool="ansible.playbook", input={"playbook": f"{name}.yml"}) for name in ("one", "two")]
    with pytest.raises(InvalidPlan, match="one repository"):
        create(*steps)


def test_who_may_not_ask_makes_no_plan(auditor):
    with pytest.raises(NotAllowed):
        services.create_plan(actor=Actor.person(auditor), goal="Try", steps=[step()])
    assert not Plan.objects.exists()
