"""The OpenAPI document: it agrees with the contract, and the application agrees with it."""

import warnings

import pytest
from django.core.wsgi import get_wsgi_application

from tests import factories

# The contract's paths, as far as this version goes. It may only grow.
CONTRACT = {
    ("POST", "/api/v1/requests"),
    ("GET", "/api/v1/requests"),
    ("GET", "/api/v1/requests/{id}"),
    ("POST", "/api/v1/requests/{id}/messages"),
    ("POST", "/api/v1/plans"),
    ("GET", "/api/v1/plans"),
    ("GET", "/api/v1/plans/{id}"),
    ("POST", "/api/v1/plans/{id}/approve"),
    ("POST", "/api/v1/plans/{id}/reject"),
    ("POST", "/api/v1/plans/{id}/revisions"),
    ("GET", "/api/v1/plans/{id}/revisions"),
    ("POST", "/api/v1/plans/{id}/steps/{key}/retry"),
    ("POST", "/api/v1/plans/{id}/steps/{key}/skip"),
    ("POST", "/api/v1/plans/{id}/steps/{key}/give-up"),
    ("GET", "/api/v1/plans/{id}/partial-result"),
    ("POST", "/api/v1/plans/{id}/cancel"),
    ("POST", "/api/v1/plans/{id}/pause"),
    ("POST", "/api/v1/plans/{id}/resume"),
    ("POST", "/api/v1/plans/{id}/retry"),
    ("GET", "/api/v1/plans/{id}/events"),
    ("GET", "/api/v1/plans/{id}/state"),
    ("GET", "/api/v1/attempts/{id}/output"),
    ("GET", "/api/v1/agents"),
    ("GET", "/api/v1/agents/{name}"),
    ("GET", "/api/v1/agents/available-capacity"),
    ("POST", "/api/v1/agents/{name}/drain"),
    ("POST", "/api/v1/agents/{name}/maintenance"),
    ("POST", "/api/v1/agents/{name}/activate"),
    ("GET", "/api/v1/breakers"),
    ("POST", "/api/v1/breakers/{id}/reset"),
    ("GET", "/api/v1/tools"),
    ("GET", "/api/v1/playbooks"),
    ("POST", "/api/v1/playbooks/refresh"),
    ("GET", "/api/v1/audit/records"),
    ("GET", "/api/v1/audit/tasks/{task_id}"),
    ("POST", "/api/dashboard/chat"),
    ("POST", "/api/dashboard/approve"),
    ("GET", "/api/dashboard/audit/task/{task_id}"),
}
FIELDS = {
    "RequestTold": {"id", "trace_id", "session_id", "text", "status", "decomposition", "plan_id"},
    "RecordTold": {
        "sequence", "trace_id", "type", "actor", "subject", "reason", "alternatives", "metadata", "at",
    },
    "EventTold": {"cursor", "type", "plan_id", "step", "attempt", "at", "data"},
    "AttemptTold": {"id", "number", "status", "agent", "failure_mode", "error", "started_at", "finished_at"},
    "PartialResultTold": {
        "plan_id", "stage", "sentence", "recoverable", "because", "completed", "skipped", "not_started", "begun", "recoveries",
    },
    "ChatTold": {"session_id", "request_id", "plan_id", "messages"},
    "ApproveTold": {"plan_id", "stage", "dispatch_started"},
    "Problem": {"type", "title", "status", "detail", "code", "trace_id", "errors"},
}  # fmt: skip
PARAMETERS = {
    "list_plans": {"stage", "requester", "awaiting"},
    "list_events": {"after"},
    "read_output": {"after", "format"},
    "list_records": {"trace_id", "type", "actor", "subject", "service", "since", "until", "q"},
}


@pytest.fixture
def document(as_requester):
    answer = as_requester.get("/openapi.json")
    assert answer.status_code == 200
    return answer.json()


def operations(document):
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield method.upper(), path, operation


def test_it_has_every_path_of_the_contract(document):
    assert {(method, path) for method, path, _ in operations(document)} >= CONTRACT


def test_it_has_every_field_of_the_contract(document):
    schemas = document["components"]["schemas"]
    for name, fields in FIELDS.items():
        assert set(schemas[name]["properties"]) >= fields, name


def test_it_has_every_parameter_of_the_contract(document):
    by_id = {operation["operationId"]: operation for _, _, operation in operations(document)}
    for name, parameters in PARAMETERS.items():
        assert {parameter["name"] for parameter in by_id[name]["parameters"]} >= parameters, name


def test_each_operation_is_described_and_tells_its_problems(document):
    for method, path, operation in operations(document):
        assert operation["summary"] and operation["description"], path
        for status in ("400", "401", "403", "404", "422", "429", "500", "503"):
            assert list(operation["responses"][status]["content"]) == ["application/problem+json"], (method, path)
        if method == "POST":
            assert "Idempotency-Key" in {parameter["name"] for parameter in operation["parameters"]}, path


def test_the_documentation_page_works_under_the_strict_policy(requester, client):
    client.force_login(requester)
    page = client.get("/api/v1/docs")
    assert page.status_code == 200
    policy = page["Content-Security-Policy"]
    assert "unsafe" not in policy and "script-src 'self'" in policy
    html = page.content.decode()
    assert "//" not in html.replace("<!doctype html>", "").replace("http://www.w3.org", "")
    for line in html.splitlines():
        assert "<script" not in line or "src=" in line or 'type="application/json"' in line


def test_the_documentation_page_is_for_people_who_signed_in(client, db):
    assert client.get("/api/v1/docs").status_code == 302


@pytest.mark.slow
@pytest.mark.django_db(transaction=True)
def test_made_up_calls_never_break_it(transactional_db):
    """Schemathesis makes calls from the document, good ones and bad ones, and compares the answers with it."""
    import schemathesis
    from hypothesis import HealthCheck, Phase, settings
    from schemathesis.checks import CHECKS

    from audit.authority import Role

    plan = factories.make_plan(factories.make_user("requester", Role.REQUESTER))
    factories.make_agent()
    token = factories.make_token(factories.make_user("everything", *Role))
    headers = {"Authorization": f"Bearer {token}"}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        schema = schemathesis.openapi.from_wsgi("/api/v1/openapi.json", get_wsgi_application(), headers=headers)
        checks = [
            CHECKS.get_one(name)
            for name in (
                "not_a_server_error",
                "status_code_conformance",
                "content_type_conformance",
                "response_schema_conformance",
            )
        ]
        seen = set()
        for result in schema.get_all_operations():
            operation = result.ok()  # type: ignore[union-attr]
            seen.add(operation.label)

            @settings(
                max_examples=12,
                deadline=None,
                database=None,
                derandomize=True,
                phases=[Phase.explicit, Phase.generate],
                suppress_health_check=list(HealthCheck),
            )
            def call(case):
                case.call_and_validate(headers=headers, checks=checks)

            from hypothesis import given

            given(case=operation.as_strategy())(call)()
        assert len(seen) >= len(CONTRACT)
    assert plan.pk
