"""A program at the API, as one of the cast."""

import json

import pytest
from django.core.cache import cache
from django.test import Client

from tests import factories


class Program:
    """A client that speaks JSON with a token, or with nothing."""

    def __init__(self, token=None, prefix="/api/v1"):
        self.token = token
        self.prefix = prefix
        self.http = Client(raise_request_exception=False)

    def call(self, method, path, body=None, content_type="application/json", **headers):
        more = {"HTTP_" + name.upper(): value for name, value in headers.items()}
        if self.token:
            more.setdefault("HTTP_AUTHORIZATION", f"Bearer {self.token}")
        data = body if isinstance(body, (str, bytes)) else "" if body is None else json.dumps(body)
        return self.http.generic(method, self.prefix + path, data, content_type=content_type, **more)

    def get(self, path, **headers):
        return self.call("GET", path, **headers)

    def post(self, path, body=None, **headers):
        return self.call("POST", path, body, **headers)


@pytest.fixture(autouse=True)
def _fresh_buckets(embedded_servers):
    """No test pays for the calls of another."""
    cache.clear()


@pytest.fixture
def as_requester(requester):
    return Program(factories.make_token(requester))


@pytest.fixture
def as_approver(approver):
    return Program(factories.make_token(approver))


@pytest.fixture
def as_auditor(auditor):
    return Program(factories.make_token(auditor))


@pytest.fixture
def as_admin(admin):
    return Program(factories.make_token(admin))


@pytest.fixture
def nobody(db):
    return Program()


@pytest.fixture
def plan(requester):
    return factories.make_plan(requester)


def is_problem(response, status, code=None):
    """Whether an answer is a problem with every field, and without a traceback."""
    assert response.status_code == status, response.content[:400]
    assert response["Content-Type"] == "application/problem+json"
    body = response.json()
    assert {"type", "title", "status", "detail", "code", "trace_id"} <= set(body)
    assert body["status"] == status
    assert b"Traceback" not in response.content
    if code:
        assert body["code"] == code
    return body
