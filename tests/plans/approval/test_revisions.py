"""A revision is approved anew: by whom, of what was seen, and only with what earlier revisions have really done."""

import pytest

from audit.authority import Role
from audit.context import Actor
from plans import services
from plans.errors import DigestMismatch, IllegalTransition, SelfApproval
from plans.models import Plan, Step
from tests import factories
from tests.engine import stage, together
from tests.factories import step
from tests.plans.revised import broken, rows, started

pytestmark = [pytest.mark.django_db, pytest.mark.e2e_03]


def test_two_who_change_a_plan_at_once_lose_nothing_silently(requester, revise):
    plan = factories.make_plan(requester, [step("a")])
    seen = factories.digest_of(plan)
    revise(plan, step("b"), digest=seen)
    with pytest.raises(DigestMismatch, match="Nothing was changed"):
        revise(plan, step("c"), digest=seen)
    assert Plan.objects.get(pk=plan.pk).revision_number == 2


def test_an_approval_of_what_was_seen_before_does_not_count(requester, approver, revise, engine):
    factories.make_policy(approvals_needed=2)
    plan = factories.make_plan(requester, [step("a")])
    seen = factories.digest_of(plan)
    services.approve_plan(actor=Actor.person(approver), plan_id=plan.pk, digest=seen)
    revise(plan, step("b"))
    second = Actor.person(factories.make_user("second", Role.APPROVER))
    with pytest.raises(DigestMismatch):
        services.approve_plan(actor=second, plan_id=plan.pk, digest=seen)
    services.approve_plan(actor=second, plan_id=plan.pk, digest=factories.digest_of(plan))
    assert stage(plan) == "pending_approval"  # the first answer was to revision 1
    services.approve_plan(actor=Actor.person(approver), plan_id=plan.pk, digest=factories.digest_of(plan))
    assert stage(plan) == "approved"


@pytest.mark.parametrize("more", [{}, {"four_eyes": False}])
def test_who_wrote_a_revision_does_not_approve_it(requester, engine, more):
    factories.make_policy(**more)
    plan = factories.make_plan(requester, [step("a")])
    both = Actor.person(factories.make_user("both", Role.APPROVER, Role.ADMINISTRATOR))
    services.revise_plan(actor=both, plan_id=plan.pk, steps=[step("b")], reason="Better so")
    if more:
        services.approve_plan(actor=both, plan_id=plan.pk, digest=factories.digest_of(plan))
        assert stage(plan) == "approved"
        return
    with pytest.raises(SelfApproval, match="You wrote this revision"):
        services.approve_plan(actor=both, plan_id=plan.pk, digest=factories.digest_of(plan))


@pytest.mark.parametrize("what", ["released", "output", "source", "more"])
def test_what_is_said_to_be_done_can_not_be_forged(failed, revise, approver, engine, what):
    plan = failed(step("a"), step("b"), broken())
    revise(plan, step("a"), step("b", input={"value": "changed"}), step("fail"))
    row = rows(plan, 2)
    if what == "output":
        Step.objects.filter(pk=row["a"].pk).update(output={"value": "forged"})
    elif what == "source":
        Step.objects.filter(pk=row["a"].carried_from_id).update(output={"value": "forged"})
    elif what == "more":
        forged = Step(
            revision=row["a"].revision, plan=plan, index=9, key="c", name="c", tool="diagnostic.noop",
            status="completed", carried_from=rows(plan, 1)["b"],
        )  # fmt: skip
        forged.save(force_insert=True)
    else:
        with pytest.raises(Exception, match="pgtrigger"):
            Step.objects.filter(pk=row["b"].pk).update(carried_from=rows(plan, 1)["b"])
        return
    with pytest.raises(DigestMismatch, match=r"not what was approved"):
        factories.approve(plan, approver)
    assert stage(plan) == "pending_approval"


def test_what_is_changed_between_approval_and_start_stops_the_plan(failed, revise, approver, engine):
    plan = failed(step("a"), broken(depends_on=["a"]))
    revise(plan, step("a"), step("fail", depends_on=["a"]))
    factories.approve(plan, approver)
    Step.objects.filter(pk=rows(plan, 2)["a"].pk).update(output={"value": "forged"})
    engine.run()
    now = Plan.objects.get(pk=plan.pk)
    assert now.stage == "pending_approval" and "or what they left, is not what was approved" in now.stage_reason
    assert started(plan) == ["a", "fail"]


@pytest.mark.django_db(transaction=True)
def test_an_approval_at_the_same_moment_is_of_what_was_seen_or_none(transactional_db):
    requester = factories.make_user("requester", Role.REQUESTER)
    decider = Actor.person(factories.make_user("approver", Role.APPROVER))
    plan = factories.make_plan(requester, [step("a")])
    seen = factories.digest_of(plan)
    answers = together(
        lambda: services.approve_plan(actor=decider, plan_id=plan.pk, digest=seen),
        lambda: services.revise_plan(actor=Actor.person(requester), plan_id=plan.pk, steps=[step("b")], reason="x"),
    )
    now = Plan.objects.get(pk=plan.pk)
    if now.revision_number == 1:
        assert now.stage == "approved" and isinstance(answers[1], IllegalTransition)
    else:
        assert now.stage == "pending_approval" and isinstance(answers[0], DigestMismatch)
