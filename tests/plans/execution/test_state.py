"""State in scopes: what one step remembers, later ones read; whose it is, how much, how long, and who may write."""

from datetime import timedelta

import pytest
from django.db.models.functions import Now

from agents.errors import StateRefused
from agents.protocol import Outcome, WorkResult
from audit.authority import Role
from audit.context import Actor
from audit.models import DecisionRecord
from chiffon_site import jobs
from plans import services, state
from plans.enums import StateScope
from plans.errors import InvalidPlan, Refused
from plans.execution import finish
from plans.execution.output import StepContext
from plans.models import Attempt, Plan, Request, Session, StateEntry, Step
from plans.state import Holder, Limits
from tests import factories
from tests.engine import claim, stage, statuses
from tests.factories import make_user, step

pytestmark = [pytest.mark.django_db, pytest.mark.e2e_03]


def remember(key, value, scope="execution", name="keep", **more):
    return step(name, "state.remember", input={"scope": scope, "key": key, "value": value}, **more)


def say(name, value, **more):
    return step(name, "diagnostic.echo", input={"value": value}, **more)


def output(plan, key):
    return Step.objects.get(plan=plan, key=key).output


def error(plan, key):
    return Step.objects.get(plan=plan, key=key).error


@pytest.fixture
def run(approved, engine):
    def go(*steps):
        plan = approved(*steps)
        engine.run()
        return plan

    return go


@pytest.fixture
def by(approver, agent, engine):
    """Run a plan of these steps for somebody else."""

    def go(name, *steps, session=None):
        person = make_user(name, Role.REQUESTER)
        plan = factories.make_plan(person, steps)
        if session:
            asked = Request.objects.create(session=session, requester=person, text="Try", status="planned")
            Plan.objects.filter(pk=plan.pk).update(request=asked)
        plan = factories.approve(plan, approver)
        engine.run()
        return plan

    return go


@pytest.fixture
def holder(approved, engine):
    """A running attempt, as the one that asks."""

    def make():
        plan = approved(step("a", "diagnostic.sleep", input={"seconds": 1}))
        ((pk, token, _),) = [sent for sent in engine.dispatch() if Attempt.objects.get(pk=sent[0]).plan_id == plan.pk]
        return Holder(pk, claim(pk, token).token)

    return make


def test_a_later_step_reads_what_an_earlier_one_remembered_with_its_type(run):
    plan = run(
        remember("url", {"http": ["here", 8080]}),
        say("whole", "{{ state.execution.url }}", depends_on=["keep"]),
        say("part", "at {{ state.execution.url.http[1] }}", depends_on=["keep"]),
        say("then", "yes", when="state.execution.url.http[1] > 80", depends_on=["keep"]),
        say("never", "no", when="state.execution.url.http[1] < 80", depends_on=["keep"]),
    )
    assert stage(plan) == "completed"
    assert output(plan, "whole") == {"value": {"http": ["here", 8080]}}
    assert output(plan, "part") == {"value": "at 8080"}
    assert (statuses(plan)["then"], statuses(plan)["never"]) == ("completed", "skipped")
    assert Attempt.objects.get(plan=plan, step__key="whole").input == {"value": {"http": ["here", 8080]}}


def test_the_last_writer_wins_and_every_write_is_recorded_without_its_value(run):
    plan = run(remember("n", 1, name="one"), remember("n", 2, name="two", depends_on=["one"]))
    entry = StateEntry.objects.get()
    assert (entry.value, entry.size, entry.step.key, entry.owner) == (2, 1, "two", str(plan.pk))
    written = DecisionRecord.objects.filter(trace_id=plan.trace_id, type="state.remembered").order_by("sequence")
    assert [record.metadata["step"] for record in written] == ["one", "two"]
    assert all(set(record.metadata) == {"step", "scope", "key", "bytes"} for record in written)


def test_recall_and_forget_are_steps_too(run):
    plan = run(
        remember("n", [1]),
        step("look", "state.recall", input={"scope": "execution", "key": "n"}, depends_on=["keep"]),
        step("drop", "state.forget", input={"scope": "execution", "key": "n"}, depends_on=["look"]),
        step("again", "state.recall", input={"scope": "execution", "key": "n"}, depends_on=["drop"]),
    )
    assert output(plan, "look") == {"value": [1], "found": True}
    assert statuses(plan)["again"] == "failed"
    assert error(plan, "again") == "Nothing is remembered as execution.n, or it has expired."
    assert not StateEntry.objects.exists()


def test_a_key_that_is_not_there_fails_the_step_that_reads_it_and_says_so(run):
    plan = run(say("a", "{{ state.execution.url }}"))
    assert (stage(plan), Attempt.objects.get(plan=plan).failure_mode) == ("failed", "user")
    assert "nothing is remembered as execution.url, or it has expired" in error(plan, "a")
    plan = run(say("a", "", when="state.execution.url == 1"))
    assert "can not be decided" in error(plan, "a")


def test_a_list_of_items_may_be_remembered_and_each_item_reads_and_writes_as_a_step_of_its_own(run):
    plan = run(
        remember("hosts", ["atlas", "helios"]),
        step("note", "state.remember", input={"scope": "step", "key": "host", "value": "{{ item }} {{ state.execution.hosts[1] }}"},
            for_each="{{ state.execution.hosts }}", depends_on=["keep"]),
    )  # fmt: skip
    assert stage(plan) == "completed"
    kept = StateEntry.objects.filter(scope="step")
    assert {str(entry.value) for entry in kept} == {"atlas helios", "helios helios"}
    assert set(kept.values_list("owner", flat=True)) == {str(item.pk) for item in Step.objects.filter(kind="item")}


def test_a_fallback_and_what_undoes_a_step_read_it_too(run):
    given = {"tool": "diagnostic.echo", "input": {"value": "{{ state.execution.url }}"}}
    fails = {"input": {"times": 9, "failure_mode": "user", "transient": False}}
    plan = run(
        remember("url", "here", rollback=given),
        step("ask", "diagnostic.fail", on_failure="fallback", fallback=given, depends_on=["keep"], **fails),
        step("last", "diagnostic.fail", on_failure="rollback", depends_on=["ask"], **fails),
    )
    assert output(plan, "ask") == output(plan, "keep.rollback") == {"value": "here"}


@pytest.mark.parametrize("wrong", [
    {"for_each": "{{ state.world.hosts }}"}, {"for_each": "{{ state.execution }}"},
    {"fallback": {"tool": "diagnostic.echo", "input": {"value": "{{ state.execution.URL }}"}}, "on_failure": "fallback"},
    {"rollback": {"tool": "diagnostic.echo", "input": {"value": "{{ state.url }}"}}},
])  # fmt: skip
def test_a_reference_that_can_never_lead_anywhere_is_named_wherever_it_stands(requester, wrong):
    with pytest.raises(InvalidPlan) as refused:
        factories.make_plan(requester, [say("a", 1, **wrong)])
    assert [str(error["loc"]).startswith(f"['steps', 0, '{next(iter(wrong))}'") for error in refused.value.errors] == [
        True
    ]


@pytest.mark.parametrize("key", ["items", "keys", "values", "get"])
def test_a_key_may_have_the_name_of_a_method(run, key):
    plan = run(
        remember(key, 5),
        say("then", f"{{{{ state.execution.{key} }}}}", when=f"state.execution.{key} == 5", depends_on=["keep"]),
    )
    assert output(plan, "then") == {"value": 5}


@pytest.mark.parametrize(("reference", "says"), [
    ("state", "must read state.SCOPE.KEY"),
    ("state.execution", "must read state.SCOPE.KEY"),
    ("state.world.url", "the scopes are global, session, execution, step"),
    ("state.execution.URL", "is no key"),
    ("state.execution[0]", "is no key"),
    ("state.execution['a-b']", "is no key"),
    ("state.execution.__class__", "reads __class__"),
    ("state['execution']['" + "a" * 65 + "']", "is no key"),
    ("state[steps]", "computed index"),
])  # fmt: skip
def test_a_reference_that_can_never_lead_anywhere_is_named_before_anyone_is_asked(requester, reference, says):
    for bad in (say("a", f"{{{{ {reference} }}}}"), say("a", "", when=f"{reference} == 1")):
        with pytest.raises(InvalidPlan) as refused:
            services.create_plan(actor=Actor.person(requester), goal="Try", steps=[bad])
        assert says in str(refused.value.errors[0]["msg"])


@pytest.mark.parametrize("bad", [
    {"scope": "world", "key": "a", "value": 1}, {"scope": "global", "key": "A", "value": 1}, {"scope": "global", "key": "a"},
])  # fmt: skip
def test_a_place_that_is_none_is_named_before_anyone_is_asked(requester, bad):
    with pytest.raises(InvalidPlan):
        factories.make_plan(requester, [step("a", "state.remember", input=bad)])


def test_the_execution_state_of_one_plan_is_not_that_of_another(run):
    run(remember("url", 1))
    plan = run(say("a", "{{ state.execution.url }}"))
    assert stage(plan) == "failed"


def test_global_state_is_read_by_the_plans_of_everybody(run, by):
    run(remember("greeting", "hello", "global"))
    plan = by("stranger", say("a", "{{ state.global.greeting }}"))
    assert output(plan, "a") == {"value": "hello"}


def test_plans_by_programs_share_a_session_with_those_of_the_same_person_only(run, by):
    run(remember("mine", "secretive", "session"))
    assert output(run(say("a", "{{ state.session.mine }}")), "a") == {"value": "secretive"}
    plan = by("stranger", say("a", "{{ state.session.mine }}"))
    assert (stage(plan), "nothing is remembered as session.mine" in error(plan, "a")) == ("failed", True)
    by("stranger", remember("mine", "theirs", "session"))
    assert output(run(say("a", "{{ state.session.mine }}")), "a") == {"value": "secretive"}


def test_a_conversation_has_a_session_of_its_own(by):
    person = make_user("talker", Role.REQUESTER)
    first, second = Session.objects.create(owner=person), Session.objects.create(owner=person)
    by("talker", remember("x", 1, "session"), session=first)
    assert output(by("talker", say("a", "{{ state.session.x }}"), session=first), "a") == {"value": 1}
    assert stage(by("talker", say("a", "{{ state.session.x }}"), session=second)) == "failed"
    assert stage(by("talker", say("a", "{{ state.session.x }}"))) == "failed"


def test_a_step_finds_its_own_state_at_its_next_try_and_no_other_step_does(approved, approver, engine):
    plan = approved(say("a", "{{ state.step.seen }}"), say("b", "{{ state.step.seen }}"))
    one = Step.objects.get(plan=plan, key="a")
    attempt = Attempt.objects.get(step=one)
    StateEntry.objects.create(
        scope="step", owner=str(one.pk), key="seen", value=3, size=1, plan=plan, step=one, attempt=attempt,
        expires_at=Now() + timedelta(hours=1),
    )  # fmt: skip
    engine.run()
    assert statuses(plan) == {"a": "completed", "b": "failed"}
    assert output(plan, "a") == {"value": 3}


def test_what_has_expired_is_gone_at_once_and_swept_away_later(run, holder):
    plan = run(remember("old", 1), remember("new", 2, name="other"))
    StateEntry.objects.filter(key="old").update(expires_at=Now() - timedelta(seconds=1))
    assert state.read({("execution", "old"), ("execution", "new")}, step_id=plan.pk, plan_id=plan.pk)["execution"] == {
        "new": 2
    }
    assert "plans.clean_state" in jobs.RECURRING
    assert jobs.clean_state({}) == {"removed": 1}
    assert list(StateEntry.objects.values_list("key", flat=True)) == ["new"]
    assert jobs.clean_state({}) == {"removed": 0}


def test_writing_again_keeps_it_longer(holder):
    asks = holder()
    state.remember(asks, "global", "a", 1)
    StateEntry.objects.update(expires_at=Now() - timedelta(seconds=1))
    assert state.recall(asks, "global", "a") == (False, None)
    assert not state.forget(asks, "global", "b")
    state.remember(asks, "global", "a", 2)
    assert state.recall(asks, "global", "a") == (True, 2)
    kept = StateEntry.objects.get()
    assert kept.expires_at - kept.written_at == state.LIMITS[StateScope.GLOBAL].kept


def test_a_value_that_is_too_large_is_refused_and_the_old_one_stays(run):
    plan = run(
        remember("a", "small", name="one"), remember("a", "x" * state.LARGEST_VALUE, name="two", depends_on=["one"])
    )
    assert statuses(plan) == {"one": "completed", "two": "failed"}
    assert (
        error(plan, "two")
        == f"The value has {state.LARGEST_VALUE + 2} bytes; at most {state.LARGEST_VALUE} are remembered."
    )
    assert StateEntry.objects.get().value == "small"
    plan = run(remember("a", "x" * (state.LARGEST_VALUE - 2)))
    assert stage(plan) == "completed"


def test_a_full_scope_takes_no_more_but_what_is_there_may_change(holder, monkeypatch):
    monkeypatch.setitem(state.LIMITS, StateScope.EXECUTION, Limits(2, 20, timedelta(hours=1)))
    asks = holder()
    for key in ("a", "b", "a"):
        state.remember(asks, "execution", key, "12345")
    with pytest.raises(Refused, match="has 2 entries already"):
        state.remember(asks, "execution", "c", 1)
    with pytest.raises(Refused, match="has 15 bytes; the execution state has room for 13 more"):
        state.remember(asks, "execution", "a", "1234567890123")
    StateEntry.objects.filter(key="b").update(expires_at=Now() - timedelta(seconds=1))
    state.remember(asks, "execution", "c", 1)  # what has expired takes no room
    state.remember(asks, "step", "c", "elsewhere there is room")
    state.remember(holder(), "execution", "c", "12345678901234")  # and so is there in another plan


@pytest.mark.parametrize("scope", [*StateScope, "session"])
def test_every_scope_keeps_and_forgets(holder, scope):
    asks = holder()
    state.remember(asks, scope, "a", [None, {"b": 1.5}])
    assert state.recall(asks, scope, "a") == (True, [None, {"b": 1.5}])
    assert state.forget(asks, scope, "a")
    assert state.recall(asks, scope, "a") == (False, None)


@pytest.mark.parametrize(("scope", "key", "value"), [
    ("world", "a", 1), ("", "a", 1), (None, "a", 1), ("global", "", 1), ("global", "A", 1), ("global", "a\n", 1), ("global", 5, 1),
    ("global", "a", object()), ("global", "a", {1: {2, 3j}}), ("global", "a" * 65, 1), ("global", "__init__", 1), ({}, "a", 1),
])  # fmt: skip
def test_what_can_not_be_kept_is_refused_with_a_reason(holder, scope, key, value):
    asks = holder()
    with pytest.raises(Refused) as refused:
        state.remember(asks, scope, key, value)
    assert refused.value.sentence.endswith(".")
    assert not StateEntry.objects.exists()


def test_what_no_database_stores_is_replaced(holder):
    asks = holder()
    state.remember(asks, "global", "a", ["\x00\ud800", float("nan"), 10**400])
    assert state.recall(asks, "global", "a")[1] == ["\ufffd\ufffd", "nan", 10**400]


def test_secrets_are_hidden_as_in_output(run):
    plan = run(remember("conf", {"url": "postgres://joe:hunter22@db/x", "password": "password=hunter22"}))
    kept = str(StateEntry.objects.get().value)
    assert "hunter22" not in kept and "[hidden" in kept
    assert stage(plan) == "completed"


def test_a_try_that_lost_its_step_can_not_write_and_is_told(approved, engine):
    plan = approved(step("a", "diagnostic.sleep", input={"seconds": 1}))
    ((pk, token, _),) = engine.dispatch()
    zombie = claim(pk, token)
    context = StepContext(pk, zombie.token, plan.pk, "a")
    context.remember("execution", "a", "in time")
    engine.forget_beats()
    engine.sweep()
    for ask in (
        lambda: context.remember("execution", "a", "too late"),
        lambda: context.forget("execution", "a"),
        lambda: context.recall("execution", "a"),
    ):
        context.lost = False
        with pytest.raises(StateRefused):
            ask()
        assert context.lost
    with pytest.raises(StateRefused, match="lost its lease"):
        context.remember("execution", "a", "too late")
    assert StateEntry.objects.get().value == "in time"


def test_a_finished_try_and_a_wrong_token_write_nothing(holder):
    asks = holder()
    with pytest.raises(state.NotHeld):
        state.remember(Holder(asks.attempt_id, asks.token + 1), "global", "a", 1)
    finish.finish(asks.attempt_id, token=asks.token, result=WorkResult(Outcome.COMPLETED), lines=(0, ""))
    with pytest.raises(state.NotHeld):
        state.remember(asks, "global", "a", 1)
    assert not StateEntry.objects.exists()


def test_a_tool_that_does_not_mind_its_refusal_fails_with_the_sentence(approved, engine, monkeypatch):
    monkeypatch.setitem(state.LIMITS, StateScope.EXECUTION, Limits(0, 0, timedelta(hours=1)))
    plan = approved(remember("a", 1))
    engine.run()
    assert error(plan, "keep") == "The execution state has 0 entries already; forget one first."
    assert Attempt.objects.get(plan=plan).failure_mode == "user"


def test_what_was_remembered_is_never_evaluated(run, holder):
    state.remember(holder(), "global", "a", "{{ state.global.b }} {{ 7 * 7 }}")
    plan = run(say("b", "{{ state.global.a }}"))
    assert output(plan, "b") == {"value": "{{ state.global.b }} {{ 7 * 7 }}"}
