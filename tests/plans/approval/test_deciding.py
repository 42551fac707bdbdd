"""One plan, one decision: by the right person, about what was seen, recorded."""

import uuid

import pytest
from django.db import IntegrityError, connection, transaction
from django.db.utils import ProgrammingError

from audit.authority import Role
from audit.context import SYSTEM, Actor
from audit.errors import NotAllowed
from audit.models import DecisionRecord
from plans import services
from plans.enums import Stage
from plans.errors import AlreadyDecided, DigestMismatch, NotFound, PlansError, Refused, SelfApproval
from plans.models import Approval, ApprovalPolicy, Attempt, Plan, Revision, Step
from tests import factories
from tests.engine import stage, statuses
from tests.factories import make_user, step
from tests.plans.approval.conftest import approve, reject

pytestmark = pytest.mark.django_db


def refusals(plan):
    refused = DecisionRecord.objects.filter(trace_id=plan.trace_id, type="plan.decision_refused").order_by("sequence")
    return [(record.actor, record.metadata["code"]) for record in refused]


def test_an_approval_starts_the_plan_in_the_same_moment(plan, digest, approver):
    approve(approver, plan, digest, comment="  Go.  ")
    answer = Approval.objects.get(plan=plan)
    assert (answer.digest, answer.approver, answer.comment, answer.four_eyes) == (digest, approver, "Go.", True)
    assert stage(plan) == Stage.APPROVED
    assert statuses(plan) == {"a": "waiting", "b": "waiting"}
    assert Attempt.objects.filter(plan=plan).count() == 1
    record = DecisionRecord.objects.get(trace_id=plan.trace_id, type="plan.approved")
    assert (record.actor, record.metadata["digest"], record.metadata["policy"]) == (
        "approver",
        digest,
        str(ApprovalPolicy.objects.get(active=True)),
    )


def test_nothing_runs_before_approval_or_after_rejection(plan, approver):
    from tests.engine import Engine

    engine = Engine()
    assert engine.dispatch() == []
    reject(approver, plan, reason="Not in this week.")
    assert engine.dispatch() == []
    assert not Attempt.objects.exists()
    assert stage(plan) == Stage.REJECTED
    assert Plan.objects.get(pk=plan.pk).stage_reason == "Rejected by approver: Not in this week."


class TestWho:
    def test_nobody_approves_what_they_asked_for(self, db):
        both = make_user("both", Role.REQUESTER, Role.APPROVER)
        plan = factories.make_plan(both)
        with pytest.raises(SelfApproval):
            approve(both, plan, factories.digest_of(plan))
        assert stage(plan) == Stage.PENDING_APPROVAL
        assert refusals(plan) == [("both", "self_approval")]

    def test_the_database_knows_four_eyes_by_itself(self, plan, digest, requester):
        with pytest.raises(IntegrityError, match="four_eyes_forbids"), transaction.atomic():
            Approval.objects.create(
                plan=plan,
                revision=Revision.objects.get(plan=plan),
                digest=digest,
                decision="approved",
                approver=requester,
                requester=requester,
                policy=ApprovalPolicy.objects.get(active=True),
                four_eyes=True,
            )

    def test_the_database_knows_who_wrote_the_revision_too(self, plan, digest, requester, approver):
        answer = {"plan": plan, "revision": Revision.objects.get(plan=plan), "digest": digest, "approver": approver}
        answer |= {"requester": requester, "policy": ApprovalPolicy.objects.get(active=True), "four_eyes": True}
        with pytest.raises(IntegrityError, match="four_eyes_forbids_approving_ones_own_revision"), transaction.atomic():
            Approval.objects.create(**answer, decision="approved", author=approver)
        Approval.objects.create(**answer, decision="rejected", author=approver)
        Approval.objects.create(**answer, decision="approved", author=requester)

    def test_a_policy_without_four_eyes_allows_it(self, db):
        factories.make_policy(four_eyes=False)
        both = make_user("both", Role.REQUESTER, Role.APPROVER)
        plan = factories.make_plan(both)
        approve(both, plan, factories.digest_of(plan))
        assert stage(plan) == Stage.APPROVED

    def test_ones_own_plan_may_be_rejected(self, db):
        both = make_user("both", Role.REQUESTER, Role.APPROVER)
        plan = factories.make_plan(both)
        reject(both, plan, reason="I changed my mind.")
        assert stage(plan) == Stage.REJECTED

    @pytest.mark.parametrize("name", ["requester", "auditor", "admin"])
    def test_only_approvers_decide(self, plan, digest, request, name):
        person = request.getfixturevalue(name)
        for decide in (lambda: approve(person, plan, digest), lambda: reject(person, plan, reason="No.")):
            with pytest.raises(NotAllowed) as refused:
                decide()
            assert refused.value.code == "not_an_approver"
        assert refusals(plan) == [(person.username, "not_an_approver")] * 2
        assert stage(plan) == Stage.PENDING_APPROVAL

    def test_a_stranger_does_not_learn_that_the_plan_is_there(self, plan, digest):
        stranger = make_user("stranger", Role.REQUESTER)
        for pk in (plan.pk, uuid.uuid4()):
            with pytest.raises(NotFound, match="There is no such plan, or it is not for you"):
                services.approve_plan(actor=Actor.person(stranger), plan_id=pk, digest=digest)

    def test_a_strangers_token_that_may_not_read_plans_learns_no_more(self, plan, digest):
        stranger = Actor.person(make_user("stranger", Role.REQUESTER), frozenset({"requests:write"}))
        for pk in (plan.pk, uuid.uuid4()):
            with pytest.raises(NotFound, match="There is no such plan, or it is not for you"):
                services.approve_plan(actor=stranger, plan_id=pk, digest=digest)
        assert refusals(plan) == []

    def test_a_disabled_approver_decides_nothing(self, plan, digest, approver):
        approver.is_active = False
        approver.save()
        with pytest.raises((NotFound, NotAllowed)):
            approve(approver, plan, digest)
        assert stage(plan) == Stage.PENDING_APPROVAL

    def test_a_token_without_the_scope_decides_nothing(self, plan, digest, approver):
        actor = Actor.person(approver, frozenset({"plans:read", "requests:write"}))
        with pytest.raises(NotAllowed) as refused:
            services.approve_plan(actor=actor, plan_id=plan.pk, digest=digest)
        assert refused.value.code == "scope_missing"

    def test_an_agent_decides_nothing(self, plan, digest):
        with pytest.raises((NotAllowed, NotFound)):
            services.approve_plan(actor=Actor.agent("infra-1"), plan_id=plan.pk, digest=digest)
        assert stage(plan) == Stage.PENDING_APPROVAL


class TestWhat:
    @pytest.mark.parametrize("wrong", ["", "0" * 64, "x", "\x00", "é" * 64])
    def test_another_digest_than_the_one_seen_decides_nothing(self, plan, approver, wrong):
        with pytest.raises(DigestMismatch):
            approve(approver, plan, wrong)
        assert not Approval.objects.exists()
        assert refusals(plan) == [("approver", "digest_mismatch")]

    def test_the_digest_of_another_plan_decides_nothing(self, plan, approver, requester):
        other = factories.make_plan(requester, [step("x")])
        with pytest.raises(DigestMismatch):
            approve(approver, plan, factories.digest_of(other))
        assert stage(plan) == stage(other) == Stage.PENDING_APPROVAL

    def test_upper_case_is_another_digest(self, plan, digest, approver):
        with pytest.raises(DigestMismatch):
            approve(approver, plan, digest.upper())

    def test_a_rejection_may_name_the_digest_and_then_it_counts(self, plan, approver):
        with pytest.raises(DigestMismatch):
            reject(approver, plan, reason="No.", digest="0" * 64)
        assert stage(plan) == Stage.PENDING_APPROVAL

    @pytest.mark.parametrize("reason", ["", " ", "\n\t"])
    def test_a_rejection_has_a_reason(self, plan, approver, reason):
        with pytest.raises(Refused, match="Say why"):
            reject(approver, plan, reason=reason)
        assert stage(plan) == Stage.PENDING_APPROVAL

    @pytest.mark.parametrize("text", ["a\x00", "\ud800", "x" * 2001])
    def test_words_that_can_not_be_kept_decide_nothing(self, plan, digest, approver, text):
        for decide in (
            lambda: approve(approver, plan, digest, comment=text),
            lambda: reject(approver, plan, reason=text),
        ):
            with pytest.raises(Refused):
                decide()
        assert stage(plan) == Stage.PENDING_APPROVAL


class TestTwice:
    def test_the_same_answer_again_is_the_first_one(self, plan, digest, approver):
        approve(approver, plan, digest, comment="first")
        approve(approver, plan, digest, comment="second")
        assert Approval.objects.get().comment == "first"
        assert Attempt.objects.filter(plan=plan).count() == 1
        assert DecisionRecord.objects.filter(trace_id=plan.trace_id, type="plan.approved").count() == 1

    def test_the_same_rejection_again_is_the_first_one(self, plan, approver):
        reject(approver, plan, reason="first")
        reject(approver, plan, reason="second")
        assert Approval.objects.get().comment == "first"

    def test_another_answer_is_too_late(self, plan, digest, approver):
        approve(approver, plan, digest)
        with pytest.raises(AlreadyDecided, match=f"Plan {plan.number} is approved already. Approved by approver."):
            reject(approver, plan, reason="No.")
        with pytest.raises(AlreadyDecided):
            approve(make_user("second", Role.APPROVER), plan, digest)
        assert refusals(plan) == [("approver", "already_decided"), ("second", "already_decided")]
        assert Approval.objects.count() == 1

    def test_two_approvals_are_of_two_people(self, requester, approver):
        factories.make_policy(approvals_needed=2)
        plan = factories.make_plan(requester)
        digest = factories.digest_of(plan)
        for _ in range(2):
            approve(approver, plan, digest)
        assert stage(plan) == Stage.PENDING_APPROVAL
        assert not Attempt.objects.exists()
        approve(make_user("second", Role.APPROVER), plan, digest)
        assert stage(plan) == Stage.APPROVED
        assert Plan.objects.get(pk=plan.pk).stage_reason == "Approved by approver, second."

    @pytest.mark.parametrize("leaves", [lambda person: person.groups.clear(), lambda person: person.__class__.objects.filter(pk=person.pk).update(is_active=False)], ids=["role lost", "switched off"])  # fmt: skip
    def test_an_approval_counts_while_its_giver_may_approve(self, requester, approver, client, leaves):
        factories.make_policy(approvals_needed=2)
        plan = factories.make_plan(requester)
        digest = factories.digest_of(plan)
        approve(approver, plan, digest)
        leaves(approver)
        approve(make_user("second", Role.APPROVER), plan, digest)
        assert stage(plan) == Stage.PENDING_APPROVAL, "one of two is no approver any more"
        client.force_login(requester)
        page = client.get(f"/plans/{plan.number}/").content.decode()
        assert "Needs 2 approvals, has 1" in page
        assert page.count("Does not count") == 1
        client.force_login(make_user("third", Role.APPROVER))
        inbox = client.get("/").content.decode()
        assert "needs 2, has 1" in inbox
        assert inbox.count("does not count") == 1
        approve(make_user("third", Role.APPROVER), plan, digest)
        assert Plan.objects.get(pk=plan.pk).stage_reason == "Approved by second, third."

    def test_four_eyes_also_for_an_approval_given_before_the_policy_asked_for_them(self, requester):
        factories.make_policy(approvals_needed=2, four_eyes=False)
        both = make_user("both", Role.REQUESTER, Role.APPROVER)
        plan = factories.make_plan(both)
        digest = factories.digest_of(plan)
        approve(both, plan, digest)
        factories.make_policy(approvals_needed=2, four_eyes=True)
        approve(make_user("second", Role.APPROVER), plan, digest)
        assert stage(plan) == Stage.PENDING_APPROVAL
        approve(make_user("third", Role.APPROVER), plan, digest)
        assert Plan.objects.get(pk=plan.pk).stage_reason == "Approved by second, third."

    def test_one_of_two_may_still_reject(self, requester, approver):
        factories.make_policy(approvals_needed=2)
        plan = factories.make_plan(requester)
        approve(approver, plan, factories.digest_of(plan))
        reject(make_user("second", Role.APPROVER), plan, reason="No.")
        assert stage(plan) == Stage.REJECTED
        assert not Attempt.objects.exists()


class TestFixed:
    def test_an_answer_is_never_changed_or_removed(self, plan, digest, approver):
        approve(approver, plan, digest)
        for change in (
            lambda: Approval.objects.update(comment="x"),
            lambda: Approval.objects.all()._raw_delete("default"),
        ):
            with pytest.raises(ProgrammingError, match="Cannot"), transaction.atomic():
                change()

    def test_a_revision_with_a_digest_is_never_changed_or_removed(self, plan):
        for column, value in (("digest", "'x'"), ("commit", "'x'"), ("budget", "'{}'"), ("risk", "'low'")):
            with pytest.raises(ProgrammingError, match="Cannot update"), transaction.atomic():
                run_sql(f'UPDATE plans_revision SET "{column}" = {value} WHERE plan_id = %s', plan.pk)
        with pytest.raises(ProgrammingError, match="Cannot delete"), transaction.atomic():
            run_sql("DELETE FROM plans_revision WHERE plan_id = %s", plan.pk)

    @pytest.mark.parametrize(
        ("column", "value"),
        [
            ("key", "'x'"), ("tool", "'x'"), ("input", "'{}'"), ("playbook", "'{}'"), ("agent_type", "'x'"),
            ("work_type", "'x'"), ("resources", "'[]'"), ("risk", "'high'"), ("timeout_seconds", "9"),
            ("retry", "'{}'"), ("idempotent", "NOT idempotent"), ("when", "'x'"), ("on_failure", "'x'"),
            ("hosts", "'[1]'"), ("leaf", "'x'"), ("proof", "'[]'"), ("index", "9"),
        ],
    )  # fmt: skip
    def test_what_is_approved_about_a_step_is_never_changed(self, plan, column, value):
        with pytest.raises(ProgrammingError, match="Cannot update"), transaction.atomic():
            run_sql(f'UPDATE plans_step SET "{column}" = {value} WHERE plan_id = %s AND "index" = 1', plan.pk)

    def test_a_step_is_never_removed_and_its_course_may_go_on(self, plan):
        with pytest.raises(ProgrammingError, match="Cannot delete"), transaction.atomic():
            run_sql("DELETE FROM plans_step WHERE plan_id = %s", plan.pk)
        assert Step.objects.filter(plan=plan).update(waiting_for="x") == 2


def run_sql(statement, *arguments):
    with connection.cursor() as cursor:
        cursor.execute(statement, arguments)


class TestPolicy:
    def change(self, actor, **more):
        fields = {"approvals_needed": 2, "four_eyes": True, "because": "Two see more than one."}
        return services.change_policy(actor=actor, **{**fields, **more})

    def test_a_change_is_a_new_version_with_its_reason(self, admin):
        factories.make_policy()
        before = ApprovalPolicy.objects.get(active=True)
        after = self.change(Actor.person(admin))
        assert (after.version, after.approvals_needed, after.author) == (before.version + 1, 2, admin)
        assert list(ApprovalPolicy.objects.filter(active=True)) == [after]
        record = DecisionRecord.objects.get(type="policy.changed")
        assert record.reason == "Two see more than one."
        assert record.metadata["was"] == {"approvals_needed": 1, "four_eyes": True}
        assert record.metadata["now"] == {"approvals_needed": 2, "four_eyes": True}

    @pytest.mark.parametrize("name", ["requester", "approver", "auditor"])
    def test_only_administrators_change_it(self, request, name):
        factories.make_policy()
        with pytest.raises(NotAllowed):
            self.change(Actor.person(request.getfixturevalue(name)))
        assert ApprovalPolicy.objects.get(active=True).approvals_needed == 1

    @pytest.mark.parametrize(
        "bad",
        [{"approvals_needed": 0}, {"approvals_needed": 21}, {"approvals_needed": -1}, {"approvals_needed": True}]
        + [{"because": text} for text in ("", "  ", "a\x00", "x" * 2001)],
    )
    def test_a_policy_that_is_none_is_refused(self, admin, bad):
        factories.make_policy()
        with pytest.raises(Refused):
            self.change(Actor.person(admin), **bad)
        assert not DecisionRecord.objects.filter(type="policy.changed").exists()

    def test_an_approval_keeps_the_policy_it_was_given_under(self, plan, digest, approver, admin):
        policy = ApprovalPolicy.objects.get(active=True)
        approve(approver, plan, digest)
        self.change(Actor.person(admin), four_eyes=False)
        answer = Approval.objects.get(plan=plan)
        assert (answer.policy, answer.four_eyes) == (policy, True)


def test_no_record_no_decision(plan, digest, approver):
    """If the trail can not be written, nothing happens at all (F22)."""
    before = (Approval.objects.count(), DecisionRecord.objects.count(), Attempt.objects.count())
    with connection.cursor() as cursor:
        cursor.execute(f"REVOKE INSERT ON {DecisionRecord._meta.db_table} FROM CURRENT_USER")
    try:
        for decide in (lambda: approve(approver, plan, digest), lambda: reject(approver, plan, reason="No.")):
            with pytest.raises(ProgrammingError, match="permission denied"), transaction.atomic():
                decide()
    finally:
        with connection.cursor() as cursor:
            cursor.execute(f"GRANT INSERT ON {DecisionRecord._meta.db_table} TO CURRENT_USER")
    assert (Approval.objects.count(), DecisionRecord.objects.count(), Attempt.objects.count()) == before
    assert stage(plan) == Stage.PENDING_APPROVAL
    assert statuses(plan) == {"a": "pending", "b": "pending"}
    approve(approver, plan, digest)
    assert stage(plan) == Stage.APPROVED


def test_chiffon_itself_approves_nothing(plan, digest):
    with pytest.raises((PlansError, NotAllowed, IntegrityError)), transaction.atomic():
        services.approve_plan(actor=SYSTEM, plan_id=plan.pk, digest=digest)
    assert stage(plan) == Stage.PENDING_APPROVAL
