"""Items of a list, fallbacks and rollbacks are what was approved too, or they do not start."""

import pytest
from django.db import ProgrammingError, transaction
from django.db.models import F

from plans.digest import VERSION, header_content, seal
from plans.enums import Stage
from plans.errors import DigestMismatch
from plans.models import Attempt, Plan, Revision, Step
from tests import factories
from tests.engine import Engine, stage, statuses
from tests.plans.approval.conftest import approve
from tests.plans.approval.test_tampering import as_owner_without_triggers, change
from tests.plans.execution.steps import failing, say

pytestmark = pytest.mark.django_db
UNDO = {"tool": "diagnostic.echo", "input": {"value": "undone"}}


@pytest.fixture
def steps():
    return [
        say("find", ["x", "y"], rollback=UNDO),
        say("each", "{{ item }}", for_each="{{ steps.find.output.value }}", depends_on=["find"]),
        say("fixed", "{{ item }}", for_each=[1, 2], depends_on=["each"]),
        failing("last", depends_on=["fixed"], on_failure="rollback"),
    ]


@pytest.fixture
def plan(requester, steps):
    factories.make_agent("infra-1", slots=1)
    return factories.make_plan(requester, steps)


@pytest.fixture
def running(plan, approver):
    """The plan with its first list found and nothing of it begun."""
    approve(approver, plan, factories.digest_of(plan))
    assert Engine().step() == 1
    return plan


def at(key, what):
    return f"UPDATE plans_step SET {what} WHERE plan_id = %(plan)s AND key = '{key}'"  # noqa: S608


@pytest.mark.parametrize(("statement", "said"), [
    (at("each.0", "input = '{\"value\": \"rm\"}'"), "Step each.0 is not what was approved"),
    (at("each.0", "tool = 'diagnostic.noop'"), "Step each.0 is not what was approved"),
    (at("each.0", "timeout_seconds = 3"), "Step each.0 is not what was approved"),
    (at("each.0", "item = '\"z\"'"), "is not for an item of the list"),
    (at("each.0", "item_index = 7"), "is not for an item of the list"),
    (at("each.0", "key = 'each.9'"), "is not for an item of the list"),
    (at("each", "input = '{\"value\": \"rm\"}'"), "Step each is not what was approved"),
    (at("each", "for_each = '[\"z\"]'"), "Step each is not what was approved"),
    (at("each", "items = '[\"z\"]'"), "is not for an item of the list"),
    (at("each", "fallback = '{\"tool\": \"diagnostic.noop\", \"input\": {}}'"), "Step each is not what was approved"),
])  # fmt: skip
def test_an_item_that_is_not_what_was_approved_does_not_start(running, statement, said):
    change(running, statement)
    Engine().run()
    done = Attempt.objects.filter(plan=running, status="completed").values_list("step__key", flat=True)
    assert set(done) <= {"find", "each.1"}
    assert statuses(running)["each"] == "failed"
    assert said in Step.objects.get(plan=running, key="each").error
    assert stage(running) == Stage.FAILED


def test_an_approved_list_can_not_be_replaced_by_another(running):
    engine = Engine()
    while statuses(running).get("fixed.0") is None:
        assert engine.step()
    change(running, at("fixed", "items = '[3, 4]'"))
    change(running, at("fixed.0", "item = '3'"))
    change(running, at("fixed.1", "item = '4'"))
    engine.run()
    assert statuses(running)["fixed"] == "failed"
    assert "The list of fixed is not what was approved" in Step.objects.get(plan=running, key="fixed").error


def test_a_rollback_that_is_not_what_was_approved_does_not_run(running):
    change(running, at("find.rollback", 'input = \'{"value": "rm"}\''))
    Engine().run()
    assert statuses(running)["find.rollback"] == "failed"
    assert "undoing find failed" in Plan.objects.get(pk=running.pk).stage_reason


def test_a_rollback_that_undoes_another_step_is_another_plan(plan, approver):
    other = Step.objects.get(plan=plan, key="last")
    change(plan, at("find.rollback", f"parent_id = '{other.pk}'"))
    approve_fails(approver, plan)


def test_the_limit_is_part_of_what_is_approved(requester, approver, steps):
    one, two = (factories.make_plan(requester, steps, max_parallel=most) for most in (1, 2))
    assert factories.digest_of(one) != factories.digest_of(two)
    change(one, "UPDATE plans_plan SET max_parallel = 9 WHERE id = %(plan)s")
    approve_fails(approver, one)


def approve_fails(approver, plan):
    with pytest.raises(DigestMismatch, match="not what was approved"):
        approve(approver, plan, factories.digest_of(plan))


@pytest.mark.parametrize(("key", "changed"), [
    ("each", {"for_each": ["z"]}), ("each", {"fallback": {}}), ("each.0", {"item": "z"}), ("each.0", {"item_index": 5}),
    ("each", {"items": ["z"]}), ("find.rollback", {"kind": "step", "parent": None}), ("each.0", {"parent": F("pk")}),
])  # fmt: skip
def test_the_application_can_not_change_what_was_approved_or_found(running, key, changed):
    with pytest.raises(ProgrammingError, match="Cannot update"), transaction.atomic():
        Step.objects.filter(plan=running, key=key).update(**changed)


def test_the_application_can_not_raise_the_limit_of_an_approved_plan(running):
    with pytest.raises(ProgrammingError), transaction.atomic():
        Plan.objects.filter(pk=running.pk).update(max_parallel=9)


def test_after_a_refused_start_the_plan_is_approved_again_and_its_items_run_once(requester, approver):
    factories.make_agent("infra-1", slots=4)
    plan = factories.make_plan(requester, [say("each", "{{ item }}", for_each=[1, 2])])
    approve(approver, plan, factories.digest_of(plan))
    change(plan, "UPDATE plans_revision SET budget = '{\"call_ceiling\": 9}' WHERE plan_id = %(plan)s")
    Engine().run()
    assert stage(plan) == Stage.PENDING_APPROVAL
    assert set(statuses(plan).values()) == {"pending"}
    change(plan, "UPDATE plans_revision SET budget = '{}' WHERE plan_id = %(plan)s")
    approve(approver, plan, factories.digest_of(plan))
    Engine().run()
    assert stage(plan) == Stage.COMPLETED
    assert Step.objects.get(plan=plan, key="each").output == {"items": [{"value": 1}, {"value": 2}]}


def test_a_plan_digested_before_there_were_lists_keeps_its_digest(requester, approver):
    """As an upgrade finds it: approved content without the fields that came later, and version 1 in its header."""
    factories.make_agent("infra-1")
    plan = factories.make_plan(requester, [say("a"), say("b", depends_on=["a"])])
    revision = Revision.objects.get(plan=plan)
    old = header_content(repository="", commit="", tree="", budget={}, steps=2, version=VERSION - 1)
    a, b = Step.objects.filter(plan=plan).order_by("index")
    contents = [a.approved_content([]), b.approved_content(["a"])]
    assert not {"for_each", "fallback", "kind", "undoes"} & set(contents[0])
    sealed = seal(old, contents)
    with as_owner_without_triggers():
        Revision.objects.filter(pk=revision.pk).update(digest=sealed.digest, header=old)
        for row, proof in zip((a, b), sealed.proofs, strict=True):
            Step.objects.filter(pk=row.pk).update(proof=list(proof))
    approve(approver, plan, sealed.digest)
    Engine().run()
    assert stage(plan) == Stage.COMPLETED
