"""Two people at the same moment: one outcome, one message for the other (F12)."""

import functools

import pytest

from audit.authority import Role
from audit.context import Actor
from audit.models import DecisionRecord
from plans import services
from plans.errors import AlreadyDecided, Conflict
from plans.models import Approval, ApprovalPolicy, Attempt
from tests import factories
from tests.engine import stage, together
from tests.factories import make_user
from tests.plans.approval.conftest import approve, reject

pytestmark = pytest.mark.django_db(transaction=True)
ROUNDS = 15


@pytest.fixture
def cast(transactional_db):
    factories.make_agent("infra-1", slots=64)
    return [make_user("requester", Role.REQUESTER), make_user("one", Role.APPROVER), make_user("two", Role.APPROVER)]


def test_two_approvals_at_once_are_one_decision(cast):
    requester, one, two = cast
    for _ in range(ROUNDS):
        plan = factories.make_plan(requester)
        digest = factories.digest_of(plan)
        answers = together(*(functools.partial(approve, person, plan, digest) for person in (one, two)))
        assert sorted(isinstance(answer, AlreadyDecided) for answer in answers) == [False, True], answers
        assert Approval.objects.filter(plan=plan).count() == 1
        assert Attempt.objects.filter(plan=plan).count() == 1
        assert DecisionRecord.objects.filter(trace_id=plan.trace_id, type="plan.approved").count() == 1
        assert DecisionRecord.objects.filter(trace_id=plan.trace_id, type="plan.decision_refused").count() == 1


def test_approval_against_rejection_is_one_decision(cast):
    requester, one, two = cast
    for _ in range(ROUNDS):
        plan = factories.make_plan(requester)
        approved, rejected = together(
            functools.partial(approve, one, plan, factories.digest_of(plan)),
            functools.partial(reject, two, plan, reason="No."),
        )
        assert isinstance(approved, AlreadyDecided) != isinstance(rejected, AlreadyDecided), (approved, rejected)
        assert stage(plan) == ("rejected" if isinstance(approved, AlreadyDecided) else "approved")
        assert Approval.objects.filter(plan=plan).count() == 1
        assert Attempt.objects.filter(plan=plan).exists() == (stage(plan) == "approved")


def test_one_person_who_clicks_five_times_decides_once(cast):
    requester, one, _ = cast
    plan = factories.make_plan(requester)
    answers = together(*[functools.partial(approve, one, plan, factories.digest_of(plan))] * 5)
    assert not [answer for answer in answers if isinstance(answer, Exception)], answers
    assert Approval.objects.filter(plan=plan).count() == 1
    assert Attempt.objects.filter(plan=plan).count() == 1


def test_two_policies_at_once_are_one_after_the_other_or_one_is_told(cast):
    factories.make_policy()
    admins = [make_user(name, Role.ADMINISTRATOR) for name in ("a", "b")]
    answers = together(
        *(
            functools.partial(
                services.change_policy,
                actor=Actor.person(person),
                approvals_needed=2,
                four_eyes=True,
                because=person.username,
            )
            for person in admins
        )
    )
    refused = [answer for answer in answers if isinstance(answer, Exception)]
    assert all(isinstance(answer, Conflict) for answer in refused), answers
    assert ApprovalPolicy.objects.filter(active=True).count() == 1
    assert DecisionRecord.objects.filter(type="policy.changed").count() == 2 - len(refused)
