"""Every route of the API with every role, with nobody, and with tokens that may not."""

import uuid
from functools import cache

import pytest
from django.db import transaction

from audit.authority import SCOPES, Role
from chiffon_site.api.application import api
from chiffon_site.api.openapi import SCOPE_OF
from tests import factories
from tests.api.conftest import Program, is_problem

R = Role
EVERYONE = frozenset(Role)
ASKS = frozenset({R.REQUESTER, R.ADMINISTRATOR})
DECIDES = frozenset({R.APPROVER})
STEERS = frozenset({R.APPROVER, R.ADMINISTRATOR})  # of somebody else's plan; the requester steers their own
SEES_ALL = frozenset({R.APPROVER, R.AUDITOR, R.ADMINISTRATOR})
MANAGES = frozenset({R.AGENT_ADMIN, R.ADMINISTRATOR})
READS_TRAIL = frozenset({R.AUDITOR, R.ADMINISTRATOR})

# Who gets through at each operation, on a plan and a request of somebody else, and the scope a token needs.
MATRIX = {
    "submit_request": (ASKS, "requests:write"),
    "list_requests": (EVERYONE, "plans:read"),
    "get_request": (READS_TRAIL, "plans:read"),
    "answer_request": (frozenset(), "requests:write"),
    "create_plan": (ASKS, "requests:write"),
    "list_plans": (EVERYONE, "plans:read"),
    "get_plan": (SEES_ALL, "plans:read"),
    "approve_plan": (DECIDES, "plans:approve"),
    "reject_plan": (DECIDES, "plans:approve"),
    "retry_step": (STEERS, "requests:write"),
    "cancel_plan": (STEERS, "requests:write"),
    "pause_plan": (STEERS, "requests:write"),
    "resume_plan": (STEERS, "requests:write"),
    "retry_plan": (STEERS, "requests:write"),
    "undo_plan": (frozenset({R.ADMINISTRATOR}), "requests:write"),  # of somebody else's plan; it takes the right to ask
    "revise_plan": (frozenset({R.ADMINISTRATOR}), "requests:write"),  # as above
    "list_revisions": (SEES_ALL, "plans:read"),
    "get_program": (SEES_ALL, "plans:read"),
    "skip_step": (DECIDES, "plans:approve"),
    "give_up_step": (STEERS, "requests:write"),
    "get_partial_result": (SEES_ALL, "plans:read"),
    "list_events": (SEES_ALL, "plans:read"),
    "list_state": (SEES_ALL, "plans:read"),
    "read_output": (SEES_ALL, "plans:read"),
    "list_agents": (EVERYONE, "plans:read"),
    "get_agent": (EVERYONE, "plans:read"),
    "get_available_capacity": (EVERYONE, "plans:read"),
    "drain_agent": (MANAGES, "agents:manage"),
    "set_maintenance": (MANAGES, "agents:manage"),
    "activate_agent": (MANAGES, "agents:manage"),
    "list_breakers": (EVERYONE, "plans:read"),
    "reset_breaker": (MANAGES, "agents:manage"),
    "list_tools": (EVERYONE, "plans:read"),
    "list_playbooks": (EVERYONE, "plans:read"),
    "get_playbook": (EVERYONE, "plans:read"),
    "refresh_playbooks": (MANAGES, "playbooks:write"),
    "list_records": (READS_TRAIL, "audit:read"),
    "get_task": (SEES_ALL, "audit:read"),
    "chat": (ASKS, "requests:write"),
    "chat_approve": (DECIDES, "plans:approve"),
    "chat_task": (SEES_ALL, "audit:read"),
}


@cache
def operations():
    document = api.get_openapi_schema(path_prefix="/api")
    return {
        operation["operationId"]: (method.upper(), path)
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    }


@pytest.fixture
def world(requester):
    """One of everything, and how each operation is called on it."""
    from agents.models import Breaker, Playbook, PlaybookRepository
    from plans.models import Attempt, Request, Session

    plan = factories.make_plan(requester)
    step = plan.steps.get()
    session = Session.objects.create(owner=requester)
    request = Request.objects.create(session=session, requester=requester, text="Deploy Kuma")
    attempt = Attempt.objects.create(step=step, plan=plan, number=1, status="completed")
    agent = factories.make_agent()
    repository = PlaybookRepository.objects.create(name="homelab", location="/nonexistent")
    playbook = Playbook.objects.create(repository=repository, path="a.yml")
    digest = factories.digest_of(plan)
    ids = {
        "plans": plan.pk,
        "requests": request.pk,
        "attempts": attempt.pk,
        "playbooks": playbook.pk,
        "breakers": Breaker.objects.create(tool="diagnostic.fail", target="host:atlas").pk,
        "task": step.pk,
        "agent": agent.name,
        "key": step.key,
    }
    bodies = {
        "submit_request": {"text": "Deploy Kuma"},
        "answer_request": {"text": "3001"},
        "create_plan": {"goal": "Try", "steps": [factories.step()]},
        "approve_plan": {"digest": digest},
        "reject_plan": {"reason": "Not today"},
        "revise_plan": {"reason": "Better so", "steps": [factories.step("other")]},
        "cancel_plan": {"reason": "Not today"},
        "skip_step": {"reason": "Not today"},
        "give_up_step": {"reason": "Not today"},
        "reset_breaker": {"reason": "Mended"},
        "chat": {"message": "Deploy Kuma"},
        "chat_approve": {"plan_id": str(plan.pk), "digest": digest},
    }
    return ids, bodies


def address(path, ids):
    kind = path.split("/")[3]
    return (
        path.replace("{id}", str(ids.get(kind)))
        .replace("{task_id}", str(ids["task"]))
        .replace("{name}", ids["agent"])
        .replace("{key}", ids["key"])
    )


def test_the_matrix_names_every_operation_and_the_document_its_scope():
    assert set(operations()) == set(MATRIX)
    assert {name: scope for name, (_, scope) in MATRIX.items()} == SCOPE_OF


@pytest.mark.parametrize("name", sorted(MATRIX))
def test_nobody_gets_nothing(world, name):
    method, path = operations()[name]
    is_problem(Program(prefix="").call(method, address(path, world[0]), world[1].get(name)), 401, "not_signed_in")


@pytest.mark.parametrize("name", sorted(MATRIX))
def test_each_role_gets_through_where_it_may_and_nowhere_else(world, name):
    for role in Role:
        response = call_and_forget(world, name, factories.make_token(factories.make_user("somebody", role)))
        if role in MATRIX[name][0]:
            assert response.status_code not in {401, 403, 404, 405}, (role, response.content)
        else:
            assert response.status_code in {403, 404}, (role, response.content)
            is_problem(response, response.status_code)


@pytest.mark.parametrize("name", sorted(MATRIX))
def test_neither_a_token_without_the_scope_nor_a_person_without_a_role_gets_through(world, name):
    everything = factories.make_user("everything", *Role)
    for token in (
        factories.make_token(everything, *(SCOPES - {MATRIX[name][1]})),
        factories.make_token(factories.make_user("guest")),
    ):
        response = call_and_forget(world, name, token)
        assert response.status_code in {403, 404}, response.content
        is_problem(response, response.status_code)


def call_and_forget(world, name, token):
    """The answer of one operation, whose effect is undone."""
    ids, bodies = world
    method, path = operations()[name]
    with transaction.atomic():
        response = Program(token, prefix="").call(method, address(path, ids), bodies.get(name))
        transaction.set_rollback(True)
    return response


def test_another_requester_cannot_tell_a_plan_from_none(plan):
    other = Program(factories.make_token(factories.make_user("other", R.REQUESTER)))
    theirs = is_problem(other.get(f"/plans/{plan.pk}"), 404, "not_found")
    none = is_problem(other.get(f"/plans/{uuid.uuid4()}"), 404, "not_found")
    assert theirs["detail"] == none["detail"]
    assert other.get("/plans").json()["items"] == []


class TestTokens:
    def test_work_until_they_are_revoked(self, requester):
        from audit.context import Actor
        from chiffon_site.accounts.models import ApiToken
        from chiffon_site.accounts.tokens import revoke_token

        text = factories.make_token(requester)
        assert Program(text).get("/plans").status_code == 200
        revoke_token(actor=Actor.person(requester), token_id=ApiToken.objects.get().pk)
        is_problem(Program(text).get("/plans"), 401, "bad_token")

    def test_are_refused_when_expired(self, requester):
        from chiffon_site.accounts.models import ApiToken

        text = factories.make_token(requester, days=1)
        ApiToken.objects.update(expires_at="2020-01-01T00:00:00Z")
        is_problem(Program(text).get("/plans"), 401, "bad_token")

    def test_are_refused_when_their_person_is_disabled(self, requester):
        text = factories.make_token(requester)
        requester.is_active = False
        requester.save()
        is_problem(Program(text).get("/plans"), 401, "bad_token")

    def test_are_taken_exactly(self, requester):
        text = factories.make_token(requester)
        for wrong in (text[:-1], text + "x", text.swapcase(), text.upper(), "", "chf_", "chf_ü", text[4:]):
            is_problem(Program().get("/plans", authorization=f"Bearer {wrong}"), 401, "bad_token")
        for scheme in ("Basic", "Token", ""):
            is_problem(Program().get("/plans", authorization=f"{scheme} {text}"), 401, "bad_token")

    def test_are_not_read_from_the_address(self, requester):
        text = factories.make_token(requester)
        is_problem(Program().get(f"/plans?token={text}&access_token={text}"), 401)

    def test_say_401_in_the_way_of_the_field(self, nobody):
        assert nobody.get("/plans")["WWW-Authenticate"].startswith("Bearer")

    def test_are_kept_as_hashes_and_never_recorded(self, requester):
        from audit.models import DecisionRecord
        from chiffon_site.accounts.models import ApiToken

        text = factories.make_token(requester)
        token = ApiToken.objects.get()
        assert text not in str(token.__dict__)
        assert len(token.sha256) == 64
        record = DecisionRecord.objects.get(type="token.created")
        assert text not in record.canonical


class TestSessions:
    def test_read_without_and_write_with_the_csrf_token(self, requester):
        from django.test import Client

        http = Client(enforce_csrf_checks=True, raise_request_exception=False)
        http.force_login(requester)
        assert http.get("/api/v1/plans").status_code == 200
        body = {"goal": "Try", "steps": [factories.step()]}
        is_problem(http.post("/api/v1/plans", body, content_type="application/json"), 403, "csrf_failed")
        token = http.get("/api/v1/docs").cookies["chiffon_csrf"].value
        made = http.post("/api/v1/plans", body, content_type="application/json", headers={"X-CSRFToken": token})
        assert made.status_code == 201, made.content

    def test_refuse_a_foreign_origin(self, requester):
        from django.test import Client

        http = Client(enforce_csrf_checks=True, raise_request_exception=False)
        http.force_login(requester)
        token = http.get("/api/v1/docs").cookies["chiffon_csrf"].value
        headers = {"X-CSRFToken": token, "Origin": "https://elsewhere.example"}
        body = {"goal": "Try", "steps": [factories.step()]}
        answer = http.post("/api/v1/plans", body, content_type="application/json", headers=headers)
        is_problem(answer, 403, "csrf_failed")

    def test_do_not_help_a_bad_token(self, requester):
        from django.test import Client

        http = Client()
        http.force_login(requester)
        is_problem(http.get("/api/v1/plans", headers={"Authorization": "Bearer chf_wrong"}), 401, "bad_token")
