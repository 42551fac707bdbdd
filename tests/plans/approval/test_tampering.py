"""What was approved is what runs: rows changed behind the triggers' back are found before anything starts (F10)."""

from contextlib import contextmanager

import pytest
from django.db import connection

from audit.authority import Role
from audit.models import DecisionRecord
from plans.enums import Stage
from plans.errors import DigestMismatch
from plans.models import Approval, Attempt, Dependency, Plan, Revision, Step
from tests import factories
from tests.engine import Engine, stage, statuses
from tests.factories import make_user, step
from tests.plans.approval.conftest import approve

pytestmark = pytest.mark.django_db


@contextmanager
def as_owner_without_triggers():
    """What only the owner of the tables can do."""
    tables = ("plans_step", "plans_revision", "plans_approval", "plans_plan")
    with connection.cursor() as cursor:
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
        for table in tables:
            cursor.execute(f"ALTER TABLE {table} DISABLE TRIGGER USER")
        yield cursor
        for table in tables:
            cursor.execute(f"ALTER TABLE {table} ENABLE TRIGGER USER")


def change(plan, statement):
    with as_owner_without_triggers() as cursor:
        cursor.execute(statement, {"plan": plan.pk})
        assert cursor.rowcount


CHANGES = {
    "an input": "UPDATE plans_step SET input = '{\"value\": \"rm\"}' WHERE plan_id = %(plan)s AND key = 'a'",
    "a tool": "UPDATE plans_step SET tool = 'diagnostic.noop' WHERE plan_id = %(plan)s AND key = 'b'",
    "a time limit": "UPDATE plans_step SET timeout_seconds = 3 WHERE plan_id = %(plan)s AND key = 'a'",
    "the order": "UPDATE plans_step SET index = index + 10 WHERE plan_id = %(plan)s AND key = 'a'",
    "the budget": "UPDATE plans_revision SET budget = '{\"call_ceiling\": 9}' WHERE plan_id = %(plan)s",
    "the commit": "UPDATE plans_revision SET commit = 'f00' WHERE plan_id = %(plan)s",
    "a dependency": "DELETE FROM plans_dependency WHERE revision_id IN (SELECT id FROM plans_revision WHERE plan_id = %(plan)s)",
}


@pytest.mark.parametrize("what", CHANGES)
def test_a_plan_that_was_changed_after_its_digest_is_not_approved(plan, digest, approver, what):
    change(plan, CHANGES[what])
    with pytest.raises(DigestMismatch, match="not what was approved"):
        approve(approver, plan, digest)
    assert not Approval.objects.exists()
    assert stage(plan) == Stage.PENDING_APPROVAL
    record = DecisionRecord.objects.get(trace_id=plan.trace_id, type="plan.decision_refused")
    assert record.metadata["code"] == "digest_mismatch"


@pytest.mark.parametrize("what", CHANGES)
def test_a_plan_that_was_changed_after_its_approval_does_not_start(plan, digest, approver, what):
    approve(approver, plan, digest)
    change(plan, CHANGES[what])
    Engine().run()
    assert stage(plan) == Stage.PENDING_APPROVAL
    assert set(statuses(plan).values()) == {"pending"}
    assert list(Attempt.objects.filter(plan=plan).values_list("status", flat=True)) == ["cancelled"]
    record = DecisionRecord.objects.get(trace_id=plan.trace_id, type="plan.start_refused")
    assert "not what was approved" in record.reason
    assert not DecisionRecord.objects.filter(trace_id=plan.trace_id, type="attempt.started").exists()


def test_a_step_that_is_changed_during_the_run_does_not_start(plan, digest, approver):
    approve(approver, plan, digest)
    engine = Engine()
    assert engine.step() == 1
    change(plan, CHANGES["a tool"])
    engine.run()
    assert statuses(plan) == {"a": "completed", "b": "failed"}
    assert Step.objects.get(plan=plan, key="b").error == "Step b is not what was approved: it was changed afterwards."
    assert stage(plan) == Stage.FAILED
    assert DecisionRecord.objects.filter(trace_id=plan.trace_id, type="plan.start_refused").count() == 1


def test_an_edge_that_is_removed_during_the_run_is_found(requester, approver, plan, digest):
    approve(approver, plan, digest)
    engine = Engine()
    assert engine.step() == 1
    Dependency.objects.filter(revision__plan=plan).delete()
    engine.run()
    assert statuses(plan)["b"] == "failed"


def test_without_a_recorded_answer_nothing_starts(plan, digest, approver):
    approve(approver, plan, digest)
    change(plan, "DELETE FROM plans_approval WHERE plan_id = %(plan)s")
    Engine().run()
    assert stage(plan) == Stage.PENDING_APPROVAL
    record = DecisionRecord.objects.get(trace_id=plan.trace_id, type="plan.start_refused")
    assert record.reason == "Nobody, or not enough people, approved this digest."


def test_a_plan_that_is_pushed_to_approved_by_hand_does_not_start(plan):
    change(plan, "UPDATE plans_plan SET stage = 'approved' WHERE id = %(plan)s")
    first = Step.objects.get(plan=plan, key="a")
    Attempt.objects.create(step=first, plan=plan, number=1)
    change(plan, "UPDATE plans_step SET status = 'ready' WHERE plan_id = %(plan)s AND key = 'a'")
    Engine().run()
    assert stage(plan) == Stage.PENDING_APPROVAL
    assert not DecisionRecord.objects.filter(type="attempt.started").exists()


def test_a_whole_new_digest_does_not_help_the_one_who_changed_the_steps(plan, digest, approver):
    """The approval names the digest that was seen; a plan with another one has none."""
    approve(approver, plan, digest)
    other = factories.make_plan(plan.requester, [step("a", input={"value": "rm"}), step("b", depends_on=["a"])])
    with as_owner_without_triggers() as cursor:
        cursor.execute(
            "UPDATE plans_revision SET digest = %s WHERE plan_id = %s", [factories.digest_of(other), plan.pk]
        )
        cursor.execute(
            "UPDATE plans_step AS mine SET input = theirs.input, leaf = theirs.leaf, proof = theirs.proof "
            "FROM plans_step AS theirs WHERE mine.plan_id = %s AND theirs.plan_id = %s AND theirs.key = mine.key",
            [plan.pk, other.pk],
        )
    Engine().run()
    assert stage(plan) == Stage.PENDING_APPROVAL
    assert not DecisionRecord.objects.filter(trace_id=plan.trace_id, type="attempt.started").exists()


def test_after_a_refused_start_the_mended_plan_is_approved_again_and_runs(plan, digest, approver):
    approve(approver, plan, digest)
    revision = Revision.objects.get(plan=plan)
    change(plan, CHANGES["the budget"])
    Engine().run()
    assert stage(plan) == Stage.PENDING_APPROVAL
    with as_owner_without_triggers() as cursor:
        cursor.execute("UPDATE plans_revision SET budget = '{}' WHERE id = %s", [revision.pk])
    approve(approver, plan, digest)
    Engine().run()
    assert stage(plan) == Stage.COMPLETED
    assert Plan.objects.get(pk=plan.pk).finished_at is not None


def test_after_a_refused_start_another_approver_may_decide(plan, digest, approver):
    approve(approver, plan, digest)
    change(plan, CHANGES["the budget"])
    Engine().run()
    change(plan, "UPDATE plans_revision SET budget = '{}' WHERE plan_id = %(plan)s")
    approve(make_user("second", Role.APPROVER), plan, digest)
    Engine().run()
    assert stage(plan) == Stage.COMPLETED
