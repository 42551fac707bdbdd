"""An agent goes on by itself: what the short way writes is what the long way would have written."""

import functools
import hashlib
import json
import threading

import pytest
import rfc8785
from django.db import DatabaseError, OperationalError, connection, transaction

from agents.models import Agent
from audit.context import Actor
from audit.models import DecisionRecord
from audit.proof import check_record
from plans import services
from plans.execution import attempt, dispatcher, finish, fleet, hot_path, stopping
from plans.execution.claims import Claimed
from plans.execution.task_file import unwritten
from plans.live import events_after
from plans.models import Attempt, Event, Plan, RoutingChoice, Step, events_of
from tests import factories
from tests.engine import Engine, claim, stage, statuses, together, tries
from tests.factories import step
from tests.plans.approval.test_tampering import as_owner_without_triggers

pytestmark = [pytest.mark.django_db, pytest.mark.e2e_03]
LONG = 60.0


def chain(count, **more):
    return [step(f"s{n}", depends_on=[f"s{n - 1}"] if n else [], **more) for n in range(count)]


@pytest.fixture
def persistent():
    """An engine whose agents go on by themselves."""
    return Engine(go_on_for=LONG)


def test_a_chain_is_one_message(approved, persistent):
    plan = approved(*chain(6))
    assert persistent.step() == 1
    assert len(persistent.sent) == 1
    assert stage(plan) == "completed"
    assert Plan.objects.get(pk=plan.pk).stage_reason == "All 6 steps are done."
    assert [tries(plan, f"s{n}") for n in range(6)] == [[(1, "completed")]] * 6
    assert set(Step.objects.filter(plan=plan).values_list("token", flat=True)) == {1}


def test_a_plan_of_one_step_says_so_when_it_is_done(approved, persistent):
    plan = approved(step("only"))
    persistent.run()
    assert Plan.objects.get(pk=plan.pk).stage_reason == "Its step is done."


def test_steps_side_by_side_are_taken_one_after_the_other_by_who_has_a_slot(requester, approver, persistent):
    factories.make_agent("infra-1", slots=1)
    plan = factories.approve(factories.make_plan(requester, [step(f"s{n}") for n in range(40)]), approver)
    assert persistent.step() == 1
    assert stage(plan) == "completed"
    assert Attempt.objects.filter(plan=plan, status="completed").count() == 40


def test_when_one_plan_is_done_the_agent_begins_the_next(requester, approver, persistent):
    factories.make_agent("infra-1", slots=1)
    plans = [factories.approve(factories.make_plan(requester, chain(3)), approver) for _ in range(3)]
    assert persistent.step() == 1
    assert [stage(plan) for plan in plans] == ["completed"] * 3


def test_an_agent_keeps_the_plan_that_it_is_about_to_begin(requester, approver, engine):
    agent, other = factories.make_agent("infra-1", slots=1), factories.make_agent("infra-2", slots=1)
    plans = [factories.approve(factories.make_plan(requester, chain(1)), approver) for _ in range(3)]
    held = [claim(pk, token) for pk, token, _ in engine.dispatch()]
    first = next(each for each in held if each.agent_id == agent.pk)
    choices = fleet.continuing(first.agent, {first.need})
    ended = hot_path.finish(first, hot_path.Ending("done", {}, {}, {}, [], 0, "", []), choices)
    assert ended is not None
    assert isinstance(ended.next, hot_path.ToBegin)
    kept = Attempt.objects.get(pk=ended.next.attempt_id)
    assert (kept.plan, kept.agent, kept.status) == (plans[2], agent, "sent")
    # Nobody else is given it, asks for it or can begin it …
    assert engine.dispatch() == []
    assert hot_path.next_due(other.pk, choices) is None
    assert attempt.begin(kept.pk, expects=0, agent_id=other.pk) is None
    assert stage(plans[2]) == "executing"
    # … and if it dies before it begins, the message that it never got is sent again.
    engine.age_messages()
    engine.sweep()
    engine.run()
    assert stage(plans[2]) == "completed"


def test_the_more_important_plan_goes_before_the_next_step(requester, approver, persistent):
    factories.make_agent("infra-1", slots=1)
    plain, urgent = (factories.make_plan(requester, chain(3)) for _ in range(2))
    Plan.objects.filter(pk=urgent.pk).update(priority=5)
    factories.approve(plain, approver)
    (pk, token, _) = persistent.dispatch()[0]
    factories.approve(urgent, approver)
    attempt.run(pk, token=token, go_on_for=LONG)
    began = Attempt.objects.filter(plan__in=[plain, urgent]).order_by("started_at").values_list("plan", flat=True)
    assert list(began) == [plain.pk, urgent.pk, urgent.pk, urgent.pk, plain.pk, plain.pk]


def test_what_becomes_due_while_an_agent_ends_its_last_step_is_taken_by_it(approved, persistent, monkeypatch):
    plans, finish = [approved(step("a"))], hot_path.finish

    def and_meanwhile(*args):
        finished = finish(*args)
        if len(plans) == 1:
            plans.append(approved(step("b")))  # its dispatcher still saw the slot taken
        return finished

    monkeypatch.setattr(hot_path, "finish", and_meanwhile)
    assert persistent.step() == 1
    assert [stage(plan) for plan in plans] == ["completed", "completed"]


def test_a_sweep_looks_no_further_than_there_is_room(requester, approver, engine):
    """What it looks at it locks, and an agent that goes on passes over what is locked."""
    factories.make_agent("infra-1", slots=1)
    plan = factories.approve(factories.make_plan(requester, [step(f"s{n}") for n in range(60)]), approver)
    assert len(engine.dispatch()) == 1
    dispatcher._sweep()
    told = Step.objects.filter(plan=plan, waiting_for__startswith="Waits for a free slot").count()
    assert 0 < told <= dispatcher._LOOK_AHEAD


def test_after_its_time_others_have_a_turn(approved, engine):
    plan = approved(*chain(3))
    assert engine.step() == 1
    assert statuses(plan) == {"s0": "completed", "s1": "waiting", "s2": "waiting"}
    assert tries(plan, "s1") == [(1, "due")]
    assert engine.step() == 1


def test_an_agent_that_drains_takes_nothing_more(approved, persistent, agent):
    plan = approved(*chain(3))
    (pk, token, _) = persistent.dispatch()[0]
    Agent.objects.filter(pk=agent.pk).update(status="draining")
    attempt.run(pk, token=token, go_on_for=LONG)
    assert statuses(plan) == {"s0": "completed", "s1": "waiting", "s2": "waiting"}


def test_a_step_that_another_type_of_agent_has_to_do_is_left_to_it(requester, approver, persistent):
    factories.make_agent("infra-1", labels=[])
    steps = [step("a"), step("b", depends_on=["a"], resources={"labels": ["gpu"]})]
    plan = factories.approve(factories.make_plan(requester, steps), approver)
    assert persistent.step() == 1
    assert statuses(plan) == {"a": "completed", "b": "waiting"}
    factories.make_agent("infra-2", labels=["gpu"])
    persistent.run()
    assert [str(one.agent) for one in Attempt.objects.filter(plan=plan).order_by("started_at")] == [
        "infra-1",
        "infra-2",
    ]


def test_each_choice_is_the_routers_and_is_kept_with_every_candidate(requester, approver, persistent):
    for name in ("infra-1", "infra-2", "infra-3"):
        factories.make_agent(name)
    plan = factories.approve(factories.make_plan(requester, chain(3)), approver)
    persistent.run()
    last = Attempt.objects.get(plan=plan, step__key="s2")
    assert last.routing["policy"] == "continuation"
    assert last.routing["chosen"] == str(last.agent)
    assert (last.routing["candidate_count"], len(last.routing["candidates"])) == (3, 3)
    assert all(
        set(one["factors"]) == {"success", "context", "specialisation", "load"} for one in last.routing["candidates"]
    )
    record = DecisionRecord.objects.get(type="attempt.started", canonical__contains=str(last.pk))
    assert {one["agent"] for one in record.alternatives} == {"infra-1", "infra-2", "infra-3"} - {str(last.agent)}
    assert record.metadata["score"] == last.routing["score"]


def test_equal_choices_are_kept_once_and_never_changed(approved, persistent):
    plan = approved(*chain(12))
    persistent.run()
    assert Attempt.objects.filter(plan=plan, choice__isnull=False).count() == 12
    assert RoutingChoice.objects.count() < 6  # one holds for a second, and differs only if the fleet does
    with pytest.raises(DatabaseError, match="Cannot update or delete"), transaction.atomic():
        RoutingChoice.objects.update(body={})


def test_records_that_the_database_writes_are_canonical_and_prove_themselves(approved, persistent):
    plan = approved(*chain(4))
    persistent.run()
    records = DecisionRecord.objects.filter(trace_id=plan.trace_id)
    assert records.filter(type="attempt.started").count() == records.filter(type="attempt.completed").count() == 4
    for record in records:
        assert rfc8785.dumps(json.loads(record.canonical)).decode() == record.canonical
        assert check_record(record)


@pytest.mark.parametrize("condition", ["", "steps.says.output.count == 2"])  # what has to be decided takes the long way
def test_the_record_of_an_end_says_what_there_was_and_what_was_measured(approved, persistent, condition):
    approved(
        step("says", "diagnostic.lines", input={"count": 2}),
        step("silent", "diagnostic.noop", depends_on=["says"], when=condition),
        step("last", "diagnostic.noop", depends_on=["says", "silent"], when=condition),
    )
    persistent.run()
    ends = {one.metadata["step"]: one.metadata for one in DecisionRecord.objects.filter(type="attempt.completed")}
    assert ends["says"]["output_lines"] == 2
    assert ends["says"]["output_sha256"] == hashlib.sha256(b"line 1 of 2\nline 2 of 2\n").hexdigest()
    assert set(ends["silent"]) == set(ends["last"]) == {"step", "number", "resources_used"}
    assert set(ends["last"]["resources_used"]) == {"wall_seconds"}


@pytest.mark.parametrize(
    "service", ['a "quoted" one', "back\\slash", "tab\tand\nline", "ünïcode 🧶", "\x07bell\x1f", "\x7f"]
)
def test_what_json_escapes_is_escaped_in_the_canonical_way(approved, persistent, service):
    plan = approved(*chain(2))
    Step.objects.filter(plan=plan).update(service=service)
    persistent.run()
    for record in DecisionRecord.objects.filter(trace_id=plan.trace_id, type__startswith="attempt."):
        assert rfc8785.dumps(json.loads(record.canonical)).decode() == record.canonical
        assert record.content["service"] == service
        assert check_record(record)


def test_the_short_and_the_long_way_tell_the_same(approved, persistent, monkeypatch):
    short = approved(*chain(3))
    persistent.run()

    def undecided(*_, **__):
        raise hot_path.NeedsDecision

    monkeypatch.setattr(hot_path, "finish", undecided)
    long = approved(*chain(3))
    persistent.run()
    for key in ("s0", "s1", "s2"):
        told = [
            [(event.type, event.data) for event in events_of(plan.pk) if event.step_key == key]
            for plan in (short, long)
        ]
        assert [kind for kind, _ in told[0] if kind != "step_changed"] == [
            kind for kind, _ in told[1] if kind != "step_changed"
        ]
        last = [[data["now"] for kind, data in of_plan if kind == "step_changed"][-2:] for of_plan in told]
        assert last == [["running", "completed"]] * 2
        facts = ("status", "output", "summary", "error", "unmet", "token", "attempts_made")
        assert len({json.dumps(Step.objects.values(*facts).get(plan=plan, key=key)) for plan in (short, long)}) == 1
    assert {unwritten().filter(plan=plan).count() for plan in (short, long)} == {3}


def test_a_reader_that_stops_anywhere_gets_each_event_once_and_in_order(
    transactional_db, requester, approver, agent, persistent
):
    plan = factories.approve(factories.make_plan(requester, chain(4)), approver)
    persistent.run()
    whole = events_after(plan.pk, None, limit=500).events
    assert [item["type"] for item in whole if item["type"] != "output"] == [event.type for event in events_of(plan.pk)]
    assert any(event.earlier for event in Event.objects.filter(plan_id=plan.pk))
    for each in (1, 2, 3, 7):
        seen, cursor = [], None
        while batch := events_after(plan.pk, cursor, limit=each):
            seen += batch.events
            cursor = batch.cursor
            if not batch.events:
                break
        assert seen == whole
    for place, event in enumerate(whole):
        assert events_after(plan.pk, event["cursor"], limit=500).events == whole[place + 1 :]


def test_a_condition_on_the_next_step_takes_the_long_way(approved, persistent):
    plan = approved(
        step("a", input={"value": 3}),
        step("b", depends_on=["a"], when="steps.a.output.value > 5"),
        step("c", depends_on=["b"]),
    )
    persistent.run()
    assert statuses(plan) == {"a": "completed", "b": "skipped", "c": "completed"}


def test_a_step_that_was_changed_behind_its_approval_is_refused_after_the_claim(approved, persistent):
    plan = approved(*chain(3))
    # As if it had begun before, so that nothing is compared when it begins.
    Plan.objects.filter(pk=plan.pk).update(stage="executing")
    with as_owner_without_triggers() as cursor:
        cursor.execute("UPDATE plans_step SET input = '{\"value\": 666}' WHERE plan_id = %s AND key = 's2'", [plan.pk])
    persistent.run()
    assert statuses(plan) == {"s0": "completed", "s1": "completed", "s2": "failed"}
    assert stage(plan) == "failed"
    assert Step.objects.get(plan=plan, key="s2").error == "Step s2 is not what was approved: it was changed afterwards."
    assert "tool_executing" not in {event.type for event in events_of(plan.pk) if event.step_key == "s2"}
    assert DecisionRecord.objects.filter(trace_id=plan.trace_id, type="plan.start_refused").count() == 1


def test_a_cancel_and_an_agent_that_goes_on_leave_one_end(transactional_db, requester, approver, agent):
    who = Actor.person(approver)
    for _ in range(12):
        plan = factories.approve(factories.make_plan(requester, chain(6)), approver)
        (pk, token, _) = Engine().dispatch()[0]
        run = functools.partial(attempt.run, pk, token=token, go_on_for=LONG)
        answers = together(run, functools.partial(services.cancel_plan, actor=who, plan_id=plan.pk, reason="stop"))
        assert not isinstance(answers[0], Exception), answers
        ended = stage(plan)
        assert ended in ("cancelled", "completed")
        assert not Attempt.objects.filter(plan=plan, status__in=["due", "sent", "running"]).exists()
        begun = Attempt.objects.filter(plan=plan, started_at__isnull=False).count()
        assert begun == 6 if ended == "completed" else begun <= 6
        if ended == "cancelled":
            assert set(statuses(plan).values()) <= {"completed", "cancelled"}


def test_an_agent_does_not_wait_for_a_plan_that_somebody_is_just_stopping(transactional_db, requester, approver, agent):
    """It has the attempt's row by then, for which the one who stops waits: each would wait for the other."""
    plan = factories.approve(factories.make_plan(requester, chain(2)), approver)
    Plan.objects.filter(pk=plan.pk).update(stage="executing")
    with connection.cursor() as cursor:
        cursor.execute("SELECT chiffon_need(step) FROM plans_step step WHERE plan_id = %s LIMIT 1", [plan.pk])
        choices = fleet.continuing(agent.name, {cursor.fetchone()[0]})

    def next_due():
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute("SET LOCAL lock_timeout = '5s'")
            return hot_path.next_due(agent.pk, choices)

    with transaction.atomic():
        stopping.hold(plan.pk)
        (answer,) = together(next_due)
    assert answer is None
    assert isinstance(next_due(), Claimed)


def test_who_leaves_a_plan_whose_last_step_somebody_is_just_taking_looks_whether_it_is_over(
    transactional_db, requester, approver, agent
):
    """By the time it looks the other may have ended that step, and have seen this one's end as little as this one saw its start."""
    plan = factories.approve(factories.make_plan(requester, [step("a"), step("b")]), approver)
    (mine, token, _), (other, other_token, _) = Engine().dispatch()
    held = claim(mine, token)
    Attempt.objects.filter(pk=other).update(status="due")
    ending = hot_path.Ending("done", {}, {}, {}, [], 0, "", [])
    with transaction.atomic():
        taken = claim(other, other_token)
        (finished,) = together(lambda: hot_path.finish(held, ending, fleet.continuing(agent.name, {held.need})))
    assert finished == hot_path.Finished(None, completed=False, left=True)
    last = hot_path.finish(taken, ending, {})
    assert last and last.completed
    assert stage(plan) == "completed"


def test_a_plan_of_which_two_last_steps_end_at_once_is_over_at_once_on_the_long_way_too(
    transactional_db, requester, approver, agent, monkeypatch
):
    """Neither sees the other's end before its own is committed: whoever is last looks again."""
    plan = factories.approve(factories.make_plan(requester, [step("a"), step("b")]), approver)
    messages, both, end = Engine().dispatch(), threading.Barrier(2), finish.finish

    def at_once(*args, **more):
        with transaction.atomic():
            done = end(*args, **more)
            both.wait(20)
        return done

    monkeypatch.setattr(hot_path, "finish", _needs_a_decision)
    monkeypatch.setattr(attempt, "finish", at_once)
    together(*(functools.partial(attempt.run, pk, token=token, go_on_for=0) for pk, token, _ in messages))
    assert stage(plan) == "completed"


def _needs_a_decision(*_args):
    raise hot_path.NeedsDecision


def test_many_agents_on_one_plan_do_each_step_once(transactional_db, requester, approver):
    for name in ("infra-1", "infra-2", "infra-3", "infra-4"):
        factories.make_agent(name, slots=2)
    ends = [step(f"s{n}") for n in range(60)]
    plan = factories.approve(
        factories.make_plan(requester, [*ends, step("last", depends_on=[f"s{n}" for n in range(60)])]), approver
    )
    messages = Engine().dispatch()
    together(*(functools.partial(attempt.run, pk, token=token, go_on_for=LONG) for pk, token, _ in messages))
    Engine(go_on_for=LONG).run()
    assert stage(plan) == "completed"
    assert (
        Attempt.objects.filter(plan=plan).count() == Attempt.objects.filter(plan=plan, status="completed").count() == 61
    )
    assert Step.objects.get(plan=plan, key="last").unmet == 0


def test_an_answer_that_was_lost_with_its_connection_loses_no_step(approved, engine, agent):
    plan = approved(*chain(3))
    (pk, token, _) = engine.dispatch()[0]
    held = claim(pk, token)
    choices = fleet.continuing(held.agent, {held.need})
    ending = hot_path.Ending("done", {}, {}, {}, [], 0, "", [])
    ended = hot_path.finish(held, ending, choices)  # and nobody hears of it
    assert ended is not None
    assert isinstance(ended.next, Claimed)
    assert hot_path.finish(held, ending, choices) is None
    assert finish.never_began(held.attempt_id)
    assert tries(plan, "s1") == [(1, "interrupted"), (2, "due")]
    assert not finish.never_began(held.attempt_id)
    engine.run()
    assert stage(plan) == "completed"


def test_the_end_of_a_step_is_recorded_once_also_if_the_database_was_away(approved, persistent, monkeypatch):
    plan = approved(*chain(3))
    real, calls = hot_path.finish, []

    def cut_off_once(*args):
        calls.append(real(*args))
        if len(calls) == 1:
            raise OperationalError("the server closed the connection")
        return calls[-1]

    monkeypatch.setattr(hot_path, "finish", cut_off_once)
    monkeypatch.setattr(connection, "close", lambda: None)
    monkeypatch.setattr("plans.execution.attempt._PAUSE_BEFORE_NEXT_TRY", 0)
    persistent.run()
    assert stage(plan) == "completed"
    assert tries(plan, "s0") == [(1, "completed")]
    assert tries(plan, "s1") == [(1, "interrupted"), (2, "completed")]


def test_a_late_end_of_a_lost_lease_changes_nothing(approved, engine):
    plan = approved(*chain(2))
    (pk, token, _) = engine.dispatch()[0]
    zombie = claim(pk, token)
    engine.forget_beats()
    engine.sweep()
    ending = hot_path.Ending("late", {}, {}, {}, [], 0, "", [])
    assert hot_path.finish(zombie, ending, {}) is None
    assert tries(plan, "s0") == [(1, "interrupted"), (2, "due")]
    assert DecisionRecord.objects.filter(type="attempt.completed").count() == 0
