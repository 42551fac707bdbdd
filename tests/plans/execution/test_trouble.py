"""Messages that come twice, late or never, holders that fall silent, and results nobody can store."""

import hashlib
import math
from typing import Any

import pytest
from django.db import connection

from agents.conf import UNOWNED_SECONDS
from agents.models import Job, Playbook, PlaybookRepository
from agents.playbooks.runner import LOOK_SECONDS
from agents.protocol import Failure, FailureMode, Outcome, ResourcesUsed, WorkResult
from agents.tools.diagnostic import Noop
from audit.context import Actor
from audit.models import DecisionRecord
from plans import services
from plans.conf import BEAT_SECONDS, LEASE_SECONDS, LONGEST_OUTPUT
from plans.execution import attempt, dispatcher, finish, leases, reaper
from plans.execution.output import StepContext
from plans.models import Attempt, Event, OutputLine, Plan, Step, events_of
from tests import factories
from tests.engine import claim, stage, statuses, tries
from tests.factories import step

pytestmark = [pytest.mark.django_db, pytest.mark.e2e_03]
DONE = WorkResult(Outcome.COMPLETED, summary="Done.")


def held(engine):
    """The one attempt that is due, claimed."""
    ((pk, token, _),) = engine.dispatch()
    return claim(pk, token)


def end(claimed, result=DONE, lines=(0, "")):
    return finish.finish(claimed.attempt_id, token=claimed.token, result=result, lines=lines)


def a_playbook():
    """A playbook of the catalogue: a step that runs it is not repeated without a person."""
    repository = PlaybookRepository.objects.create(
        name="playbooks", location="/nowhere", commit="c" * 40, tree="t" * 40
    )
    Playbook.objects.create(repository=repository, path="kuma.yml", details={"path": "kuma.yml"})
    return step("a", "ansible.playbook", input={"playbook": "kuma.yml"})


class TestMessages:
    def test_the_same_message_five_times_is_one_try(self, approved, engine):
        plan = approved(step("a"))
        ((pk, token, queue),) = engine.dispatch()
        assert queue == "agent.infra-1"
        assert [attempt.run(pk, token=token) for _ in range(5)] == [True, False, False, False, False]
        assert tries(plan, "a") == [(1, "completed")]
        assert DecisionRecord.objects.filter(type="attempt.started").count() == 1

    def test_a_message_with_an_old_token_does_nothing(self, approved, engine):
        plan = approved(step("a"))
        ((pk, token, _),) = engine.dispatch()
        assert attempt.run(pk, token=token + 1) is False
        assert attempt.run(pk, token=token - 1) is False
        assert statuses(plan) == {"a": "ready"}

    def test_a_message_about_nothing_does_nothing(self, approved, engine):
        approved(step("a"))
        assert attempt.run(Step.objects.get().pk, token=0) is False

    def test_a_lost_message_is_sent_again_after_ten_seconds(self, approved, engine):
        plan = approved(step("a"))
        assert len(engine.dispatch()) == 1
        engine.sweep()
        assert engine.dispatch() == []
        engine.age_messages()
        assert engine.sweep() == 1
        engine.run()
        assert stage(plan) == "completed"
        assert tries(plan, "a") == [(1, "completed")]

    def test_a_message_that_was_only_late_is_no_second_try(self, approved, engine):
        plan = approved(step("a"))
        ((pk, token, _),) = engine.dispatch()
        engine.age_messages()
        engine.sweep()
        assert len(engine.dispatch()) == 1
        assert attempt.run(pk, token=token) is True
        assert attempt.run(pk, token=token) is False
        assert tries(plan, "a") == [(1, "completed")]

    def test_who_did_not_take_it_in_time_is_not_asked_again_if_there_is_another(self, approved, engine):
        factories.make_agent("infra-2")
        plan = approved(step("a"))
        engine.dispatch()
        first = Attempt.objects.values_list("agent__name", flat=True).get(plan=plan)
        engine.age_messages()
        engine.sweep()
        chosen = Attempt.objects.get(plan=plan)
        assert {first, str(chosen.agent)} == {"infra-1", "infra-2"}
        outs = {item["agent"]: item["out"] for item in chosen.routing["candidates"]}
        assert outs[first] == "did not take it in time"

    def test_while_the_broker_is_away_nothing_is_lost(self, approved, engine):
        plan = approved(step("a"))

        def nobody_listens(*_):
            raise OSError("connection refused")

        assert dispatcher.dispatch(nobody_listens) == 0
        assert tries(plan, "a") == [(1, "due")]
        engine.run()
        assert stage(plan) == "completed"


class TestHolders:
    def test_a_late_result_of_a_lost_lease_is_refused(self, approved, engine):
        plan = approved(step("a"))
        zombie = held(engine)
        engine.forget_beats()
        assert engine.sweep() >= 1
        assert tries(plan, "a") == [(1, "interrupted"), (2, "due")]
        assert leases.renew(zombie.attempt_id, zombie.token) is None
        assert end(zombie) is False
        engine.skip_waits()
        second = held(engine)
        assert second.token > zombie.token
        assert end(zombie) is False
        assert end(second) is True
        assert tries(plan, "a") == [(1, "interrupted"), (2, "completed")]
        assert stage(plan) == "completed"

    def test_a_result_is_taken_once(self, approved, engine):
        approved(step("a"))
        holder = held(engine)
        assert end(holder) is True
        assert end(holder) is False
        assert end(holder, WorkResult.failed(FailureMode.USER, "No.")) is False
        assert DecisionRecord.objects.filter(type="attempt.completed").count() == 1

    def test_an_unknown_outcome_waits_for_a_person(self, approved, engine, requester):
        plan = approved(a_playbook(), step("b", depends_on=["a"]))
        lost = held(engine)
        engine.forget_beats()
        engine.sweep()
        assert statuses(plan) == {"a": "unknown", "b": "waiting"}
        assert stage(plan) == "failed"
        assert Plan.objects.get(pk=plan.pk).stage_reason == "The outcome of a is unknown; b did not start."
        assert "a person decides" in Step.objects.get(plan=plan, key="a").error
        assert tries(plan, "a") == [(1, "interrupted")]
        engine.run(patiently=True)
        assert tries(plan, "a") == [(1, "interrupted")]
        services.retry_step(actor=Actor.person(requester), plan_id=plan.pk, key="a", reason="I looked.")
        assert statuses(plan)["a"] == "ready"
        second = held(engine)
        assert second.token > lost.token
        assert end(second)
        engine.run()
        assert stage(plan) == "completed"

    def test_a_lease_that_is_kept_is_left_alone(self, approved, engine):
        plan = approved(step("a"))
        holder = held(engine)
        assert leases.renew(holder.attempt_id, holder.token) is False
        assert engine.sweep() == 0
        assert statuses(plan) == {"a": "running"}

    def test_an_agent_that_starts_anew_gives_back_what_it_held(self, approved, engine, agent):
        plan = approved(step("a"))
        held(engine)
        assert reaper.take_over(agent.pk) == 1
        interrupted = Attempt.objects.get(plan=plan, number=1)
        assert (interrupted.status, interrupted.error) == ("interrupted", "Its agent was restarted.")
        engine.run(patiently=True)
        assert stage(plan) == "completed"

    def test_an_agent_that_starts_anew_is_sent_again_what_was_on_its_way(self, approved, engine, agent):
        plan = approved(step("a"))
        [(pk, token, name)] = engine.dispatch()
        assert name == agent.queue
        assert reaper.take_over(agent.pk) == 1
        assert engine.dispatch() == [(pk, token, name)]
        assert claim(pk, token)
        assert attempt.claim(pk, expects=token) is None  # the first message was not lost after all
        assert reaper.take_over(agent.pk) == 1  # that is what it runs now
        assert tries(plan, "a") == [(1, "interrupted"), (2, "due")]

    def test_tries_that_end_in_silence_end_too(self, approved, engine):
        plan = approved(step("a", retry={"attempts": 2, "first_wait_seconds": 0}))
        for _ in range(2):
            engine.skip_waits()
            held(engine)
            engine.forget_beats()
            engine.sweep()
        assert tries(plan, "a") == [(1, "interrupted"), (2, "interrupted")]
        assert stage(plan) == "failed"
        assert statuses(plan) == {"a": "unknown"}

    def test_an_interrupted_result_of_the_holder_itself_is_an_unknown_outcome(self, approved, engine):
        plan = approved(step("a", retry={"strategy": "none", "attempts": 1}))
        holder = held(engine)
        lost = WorkResult(Outcome.INTERRUPTED, failure=Failure(FailureMode.AGENT, "Its processes are gone."))
        assert end(holder, lost) is True
        assert statuses(plan) == {"a": "unknown"}
        assert stage(plan) == "failed"

    def test_a_plan_that_nobody_settled_is_settled_by_the_sweep(self, approved, engine):
        plan = approved(step("a"), step("b"))
        for pk, token, _ in engine.dispatch():
            claimed = claim(pk, token)
            Attempt.objects.filter(pk=pk).update(status="completed", lease_until=None)
            Step.objects.filter(pk=claimed.step.id).update(status="completed")
        assert stage(plan) == "executing"
        assert engine.sweep() == 1
        assert stage(plan) == "completed"

    def test_processes_without_an_owner_end_before_its_lease_can_have_ended(self):
        assert UNOWNED_SECONDS < LEASE_SECONDS - BEAT_SECONDS - LOOK_SECONDS


@pytest.mark.parametrize("number", [1e15, 2.0**52 + 0.5, 1e-9, 0.1, -0.0])
def test_a_number_that_was_approved_runs_however_the_database_writes_it(approved, engine, number):
    plan = approved(step("a", "diagnostic.echo", input={"value": number}))
    engine.run()
    assert stage(plan) == "completed"


class TestResults:
    @pytest.mark.parametrize(
        ("output", "kept"),
        [
            ({"a": math.nan, "b": -math.inf}, {"a": "nan", "b": "-inf"}),
            ({"a\x00b": "c\x00d"}, {"a\ufffdb": "c\ufffdd"}),
            ({"a": ["\ud800"]}, {"a": ["\ufffd"]}),
            ({"a": 2**70}, {"a": 2**70}),
            ({"a": (1, 2)}, {"a": [1, 2]}),
            ({"password": "x"}, {"password": "x"}),
            ({"note": "password=hunter22"}, {"note": "password=[hidden secret]"}),
        ],
    )
    def test_a_result_that_no_column_holds_is_kept_as_far_as_it_can_be(self, approved, engine, output, kept):
        plan = approved(step("a"))
        holder = held(engine)
        assert end(holder, WorkResult(Outcome.COMPLETED, output=output, progress=output, summary="\x00ok\ud800"))
        done = Attempt.objects.get(plan=plan)
        assert (done.output, done.progress, done.summary) == (kept, kept, "\ufffdok\ufffd")
        assert Step.objects.get(plan=plan).output == kept
        assert stage(plan) == "completed"

    @pytest.mark.parametrize("transient", [True, False])
    def test_a_failure_in_words_that_no_column_holds_is_still_a_failure(self, approved, engine, transient):
        plan = approved(step("a"))
        holder = held(engine)
        assert end(holder, WorkResult.failed(FailureMode.SYSTEM, "\x00 gone \udfff", transient=transient))
        assert Attempt.objects.get(plan=plan, number=1).error == "\ufffd gone \ufffd"
        assert stage(plan) == ("executing" if transient else "failed")

    def test_a_result_that_is_too_large_says_so_instead(self, approved, engine):
        plan = approved(step("a"))
        end(held(engine), WorkResult(Outcome.COMPLETED, output={"text": "x" * LONGEST_OUTPUT}))
        kept: Any = Step.objects.get(plan=plan).output
        assert kept["cut"] is True
        assert str(LONGEST_OUTPUT) in kept["reason"]
        assert stage(plan) == "completed"

    @pytest.mark.parametrize("more", [{}, {"for_each": [1, 2]}], ids=["a step", "a list"])
    def test_a_tool_that_stops_by_itself_has_failed(self, approved, engine, monkeypatch, more):
        monkeypatch.setattr(Noop, "run", lambda *_: WorkResult(Outcome.CANCELLED, summary="Enough."))
        plan = approved(step("a", "diagnostic.noop", **more), step("b", depends_on=["a"]))
        engine.run()
        assert (stage(plan), statuses(plan)["a"], statuses(plan)["b"]) == ("failed", "failed", "waiting")
        error = Step.objects.get(plan=plan, key="a").error
        assert "The tool stopped by itself, though nobody had asked it to. It said: Enough." in error

    @pytest.mark.parametrize(
        ("tool", "given"),
        [("diagnostic.sleep", {"seconds": 60}), ("diagnostic.lines", {"count": 1000, "per_second": 10})],
    )
    def test_a_step_ends_when_its_time_is_over(self, approved, engine, monkeypatch, tool, given):
        monkeypatch.setattr("plans.execution.output.OVERTIME_SECONDS", 0)
        plan = approved(step("a", tool, input=given, timeout_seconds=1))
        engine.run()
        assert (stage(plan), Step.objects.get(plan=plan).error) == ("failed", "Took longer than its 1 s.")
        assert Attempt.objects.get(plan=plan).failure_mode == "resource"

    def test_what_was_reported_until_its_time_was_over_is_kept(self, approved, engine, monkeypatch):
        used = ResourcesUsed(wall_seconds=1.5)
        told = WorkResult(Outcome.CANCELLED, output={"so": "far"}, progress={"p": 1}, resources=used)
        monkeypatch.setattr("plans.execution.output.OVERTIME_SECONDS", -1)
        monkeypatch.setattr(Noop, "run", lambda *_: told)
        plan = approved(step("a", "diagnostic.noop", timeout_seconds=1))
        engine.run()
        kept = Attempt.objects.get(plan=plan)
        assert (kept.error, kept.output, kept.progress) == ("Took longer than its 1 s.", {"so": "far"}, {"p": 1})
        assert kept.resources_used["wall_seconds"] == 1.5

    def test_an_event_of_a_tool_holds_what_a_column_can_hold(self, approved, engine):
        plan = approved(step("a"))
        claimed = held(engine)
        StepContext(claimed.attempt_id, claimed.token, plan.pk, "a").event(
            "agent_thinking", {"text": "a\x00b\ud800", "n": math.nan}
        )
        event = Event.objects.get(plan_id=plan.pk, type="agent_thinking")
        assert event.data == {"text": "a\ufffdb\ufffd", "n": "nan"}


class TestOutput:
    def test_a_hundred_thousand_lines_are_whole(self, approved, engine):
        plan = approved(step("a", "diagnostic.lines", input={"count": 100_000}))
        engine.run()
        done = Attempt.objects.get(plan=plan)
        rows = OutputLine.objects.filter(attempt_id=done.pk).order_by("seq").values_list("seq", "text")
        whole = hashlib.sha256()
        for place, (seq, text) in enumerate(rows.iterator(), 1):
            assert seq == place
            whole.update(text.encode() + b"\n")
        assert (done.line_count, done.lines_sha256) == (100_000, whole.hexdigest())
        (told,) = [event.data for event in events_of(plan.pk) if event.type == "output_end"]
        assert told == {"count": 100_000, "sha256": whole.hexdigest()}

    def test_bytes_that_are_no_text_do_not_stop_the_lines(self, approved, engine):
        plan = approved(step("a"))
        claimed = held(engine)
        context = StepContext(claimed.attempt_id, claimed.token, plan.pk, "a")
        for text in (
            "\x00nul",
            "half \ud800",
            "\x1b]0;title\x07clear\x1b[2J",
            "\x1b[31mred\x1b[0m",
            "password=hunter22",
        ):
            context.line("stdout", text)
        context.flush()
        lines = list(
            OutputLine.objects.filter(attempt_id=claimed.attempt_id).order_by("seq").values_list("text", flat=True)
        )
        assert len(lines) == 5
        assert not any("\x00" in line or "\x07" in line or "\x1b[2J" in line for line in lines)
        assert lines[3] == "\x1b[31mred\x1b[0m"
        assert lines[4] == "password=[hidden secret]"
        assert end(claimed, lines=context.ended())

    def test_who_lost_the_lease_writes_no_line(self, approved, engine):
        plan = approved(step("a"))
        claimed = held(engine)
        context = StepContext(claimed.attempt_id, claimed.token, plan.pk, "a")
        context.line("stdout", "before")
        context.flush()
        engine.forget_beats()
        engine.sweep()
        context.line("stdout", "after")
        context.flush()
        assert context.lost
        assert context.beat() is False
        assert list(OutputLine.objects.values_list("seq", "text")) == [(1, "before")]
        assert stage(plan) == "executing"

    def test_the_output_of_an_interrupted_try_ends_with_what_was_stored(self, approved, engine):
        plan = approved(step("a"))
        claimed = held(engine)
        context = StepContext(claimed.attempt_id, claimed.token, plan.pk, "a")
        context.line("stdout", "one")
        context.flush()
        engine.forget_beats()
        engine.sweep()
        (told,) = [event.data for event in events_of(plan.pk) if event.type == "output_end"]
        assert told == {"count": 1, "sha256": hashlib.sha256(b"one\n").hexdigest()}

    def test_output_larger_than_any_value_of_the_database_is_no_trouble(self, approved, engine, monkeypatch):
        plan = approved(step("a", "diagnostic.noop", retry={"attempts": 1}))
        claimed = held(engine)
        lines = [
            OutputLine(attempt_id=claimed.attempt_id, seq=seq, stream="stdout", text="x" * 16_384)
            for seq in range(1, 501)
        ]
        OutputLine.objects.bulk_create(lines)
        engine.forget_beats()
        with connection.execute_wrapper(refuse_aggregates):
            engine.sweep()
        assert tries(plan, "a") == [(1, "interrupted")]
        whole = hashlib.sha256(("x" * 16_384 + "\n").encode() * 500).hexdigest()
        assert Attempt.objects.get(pk=claimed.attempt_id).lines_sha256 == whole


def refuse_aggregates(execute, sql, params, many, context):
    """PostgreSQL has no value of more than a gigabyte: all lines together may be more."""
    assert "string_agg" not in sql or "plans_outputline" not in sql
    return execute(sql, params, many, context)


def test_jobs_go_out_with_the_attempts(approved, engine):
    sent = []
    Job.objects.all().delete()
    Job.objects.create(kind="test")
    dispatcher.dispatch(lambda *message: sent.append(message))
    ((task, arguments, queue),) = sent
    assert (task, queue, arguments["token"]) == (dispatcher.RUN_JOB, "jobs", 0)
