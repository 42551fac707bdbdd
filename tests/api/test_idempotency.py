"""`Idempotency-Key`: the same call again gets the same answer and does nothing a second time."""

import threading

import pytest
from django.db import connection, connections

from audit.authority import Role
from audit.models import DecisionRecord
from chiffon_site.accounts.models import IdempotencyKey
from plans.models import Plan
from tests import factories
from tests.api.conftest import Program, is_problem

BODY = {"goal": "Try an agent", "steps": [factories.step()]}


@pytest.fixture(autouse=True)
def _policy(db):
    factories.make_policy()


def test_the_same_call_gets_the_same_answer_once(as_requester):
    first = as_requester.post("/plans", BODY, idempotency_key="k1")
    again = as_requester.post("/plans", BODY, idempotency_key="k1")
    assert first.status_code == again.status_code == 201
    assert first.content == again.content
    assert again["Idempotency-Replayed"] == "true" and "Idempotency-Replayed" not in first
    assert Plan.objects.count() == 1


def test_another_key_is_another_call(as_requester):
    as_requester.post("/plans", BODY, idempotency_key="k1")
    as_requester.post("/plans", BODY, idempotency_key="k2")
    assert Plan.objects.count() == 2


@pytest.mark.parametrize(("path", "body"), [("/plans", {**BODY, "goal": "Another"}), ("/requests", {"text": "Deploy"})])
def test_another_body_or_address_under_the_same_key_is_a_conflict(as_requester, path, body):
    as_requester.post("/plans", BODY, idempotency_key="k1")
    is_problem(as_requester.post(path, body, idempotency_key="k1"), 409, "idempotency_key_reused")
    assert Plan.objects.count() == 1


def test_the_key_of_another_person_is_another_key(as_requester, as_admin):
    as_requester.post("/plans", BODY, idempotency_key="k1")
    assert as_admin.post("/plans", BODY, idempotency_key="k1").status_code == 201
    assert Plan.objects.count() == 2


def test_a_refusal_is_given_again_too(as_approver, plan):
    for _ in range(2):
        answer = as_approver.post(f"/plans/{plan.pk}/approve", {"digest": "0" * 64}, idempotency_key="k1")
        is_problem(answer, 409, "digest_mismatch")
    assert DecisionRecord.objects.filter(type="plan.decision_refused").count() == 1


def test_an_answer_is_given_again_only_to_a_token_that_may_make_the_call(requester, as_requester):
    as_requester.post("/plans", BODY, idempotency_key="k1")
    reader = Program(factories.make_token(requester, "plans:read"))
    is_problem(reader.post("/plans", BODY, idempotency_key="k1"), 403, "scope_missing")


def test_a_refusal_for_want_of_the_scope_does_not_stand_for_the_token_that_has_it(requester, as_requester):
    reader = Program(factories.make_token(requester, "plans:read"))
    is_problem(reader.post("/plans", BODY, idempotency_key="k1"), 403, "scope_missing")
    assert as_requester.post("/plans", BODY, idempotency_key="k1").status_code == 201


def test_a_refusal_for_want_of_a_role_is_not_kept_but_its_record_is(requester, as_requester):
    plan = factories.make_plan(requester)
    approve = lambda: as_requester.post(  # noqa: E731
        f"/plans/{plan.pk}/approve", {"digest": factories.digest_of(plan)}, idempotency_key="k1"
    )
    is_problem(approve(), 403, "not_an_approver")
    assert not IdempotencyKey.objects.exists()
    requester.groups.add(*factories.make_user("approver", Role.APPROVER).groups.all())
    is_problem(approve(), 403, "self_approval")
    assert DecisionRecord.objects.filter(type="plan.decision_refused").count() >= 1


@pytest.mark.parametrize("key", ["", "x" * 256, "ü", "a\x07b"])
def test_a_key_that_is_none_is_refused(as_requester, key):
    is_problem(as_requester.post("/plans", BODY, idempotency_key=key), 422)
    assert not Plan.objects.exists()


def test_a_key_is_forgotten_after_a_day(as_requester):
    as_requester.post("/plans", BODY, idempotency_key="k1")
    IdempotencyKey.objects.update(created_at="2020-01-01T00:00:00Z")
    as_requester.post("/plans", BODY, idempotency_key="k1")
    assert Plan.objects.count() == 2


def test_a_key_does_nothing_where_nothing_changes(as_requester):
    assert as_requester.get("/plans", idempotency_key="k1").status_code == 200
    assert not IdempotencyKey.objects.exists()


def together(*calls):
    """The answers of calls that start at the same moment, each on a connection of its own."""
    gate, answers = threading.Barrier(len(calls)), [None] * len(calls)

    def run(number, call):
        gate.wait()
        try:
            answers[number] = call()
        finally:
            connections.close_all()

    threads = [threading.Thread(target=run, args=pair) for pair in enumerate(calls)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    return answers


@pytest.mark.django_db(transaction=True)
class TestRaces:
    def test_of_calls_at_the_same_moment_one_does_the_work(self, transactional_db):
        token = factories.make_token(factories.make_user("requester", Role.REQUESTER))
        call = lambda: Program(token).post("/plans", BODY, idempotency_key="k1")  # noqa: E731
        answers = together(*[call] * 5)
        assert Plan.objects.count() == 1
        done = [answer for answer in answers if answer.status_code == 201]
        assert done and len({answer.content for answer in done}) == 1
        for answer in answers:
            if answer.status_code != 201:
                is_problem(answer, 409, "idempotency_key_in_use")

    def test_two_approvers_at_the_same_moment_get_one_outcome(self, transactional_db):
        from plans.models import Approval

        plan = factories.make_plan(factories.make_user("requester", Role.REQUESTER))
        digest = factories.digest_of(plan)
        tokens = [factories.make_token(factories.make_user(f"approver{n}", Role.APPROVER)) for n in range(4)]
        answers = together(
            *[
                lambda token=token: Program(token).post(f"/plans/{plan.pk}/approve", {"digest": digest})
                for token in tokens[:2]
            ],
            *[
                lambda token=token: Program(token).post(f"/plans/{plan.pk}/reject", {"reason": "no"})
                for token in tokens[2:]
            ],
        )
        assert sorted(answer.status_code for answer in answers) == [200, 409, 409, 409]
        assert {answer.json()["code"] for answer in answers if answer.status_code == 409} == {"already_decided"}
        assert Approval.objects.count() == 1
        connection.close()

    def test_a_crash_before_the_end_leaves_neither_work_nor_key(self, transactional_db):
        from django.db import OperationalError

        token = factories.make_token(factories.make_user("requester", Role.REQUESTER))

        def cut(execute, sql, params, many, context):
            if sql.startswith("UPDATE") and "accounts_idempotencykey" in sql:
                raise OperationalError("server closed the connection unexpectedly")
            return execute(sql, params, many, context)

        with connection.execute_wrapper(cut):
            is_problem(Program(token).post("/plans", BODY, idempotency_key="k1"), 503)
        assert not Plan.objects.exists()
        assert not IdempotencyKey.objects.exists()
        assert Program(token).post("/plans", BODY, idempotency_key="k1").status_code == 201
