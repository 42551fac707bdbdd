"""The OpenAPI document: what ninja derives from the endpoints, and what the door adds to every one of them."""

from __future__ import annotations

from typing import Any, Final

from django.http import HttpRequest, HttpResponse
from ninja import NinjaAPI
from ninja.openapi.schema import OpenAPISchema

from chiffon_site.api.problems import CONTENT_TYPE, from_exception

PROBLEM: Final[dict[str, Any]] = {
    "title": "Problem",
    "description": "What is wrong, after RFC 9457. `code` is stable; `detail` is a sentence for a person.",
    "type": "object",
    "required": ["type", "title", "status", "detail", "code", "trace_id"],
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "code": {"type": "string"},
        "trace_id": {"type": ["string", "null"], "format": "uuid"},
        "errors": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["loc", "msg"],
                "properties": {
                    "loc": {"type": "array", "items": {"type": ["string", "integer"]}},
                    "msg": {"type": "string"},
                },
            },
        },
    },
}
ANYWHERE: Final = {
    400: "The request cannot be read",
    401: "Nobody is signed in, or the token is not valid",
    403: "Not allowed",
    404: "There is no such thing, or it is not for the caller",
    405: "The address does not take this method",
    413: "The body is larger than 1 MiB",
    415: "The body is not JSON in UTF-8 by its Content-Type, or it is encoded",
    422: "A field is wrong; `errors` names each",
    429: "Too fast; `Retry-After` says how long to wait",
    500: "A fault of Chiffon",
    503: "The database does not answer, or too many ask at once; `Retry-After` says when to try again",
}
WRITING: Final = {409: "It could be taken, but not in the state things are in"}
# What a token needs for each operation, for the document; the endpoints ask audit.authority, and a test compares the two.
SCOPES: Final = {
    "requests:write": (
        "submit_request",
        "answer_request",
        "create_plan",
        "cancel_plan",
        "pause_plan",
        "resume_plan",
        "retry_plan",
        "undo_plan",
        "revise_plan",
        "retry_step",
        "give_up_step",
        "chat",
    ),
    "plans:read": (
        "list_requests",
        "get_request",
        "list_plans",
        "get_plan",
        "get_partial_result",
        "list_revisions",
        "get_program",
        "list_events",
        "list_state",
        "read_output",
        "list_agents",
        "get_agent",
        "get_available_capacity",
        "list_breakers",
        "list_tools",
        "list_playbooks",
        "get_playbook",
    ),
    "plans:approve": ("approve_plan", "reject_plan", "skip_step", "chat_approve"),
    "agents:manage": ("drain_agent", "set_maintenance", "activate_agent", "reset_breaker"),
    "playbooks:write": ("refresh_playbooks",),
    "audit:read": ("list_records", "get_task", "chat_task"),
}
SCOPE_OF: Final = {name: scope for scope, names in SCOPES.items() for name in names}
KEY_PARAMETER: Final[dict[str, Any]] = {
    "in": "header",
    "name": "Idempotency-Key",
    "required": False,
    "schema": {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[ -~]+$"},
    "description": "The same call with the same key gets the same answer and does nothing a second time, for 24 hours.",
}


class DocumentedAPI(NinjaAPI):
    """A NinjaAPI whose every error is a problem, and whose document tells every answer, the problems included."""

    def on_exception(self, request: HttpRequest, exc: Any) -> HttpResponse:
        """The problem that fits the exception."""
        return from_exception(request, exc)

    def get_openapi_schema(self, *args: Any, **kwargs: Any) -> OpenAPISchema:
        """The document, completed."""
        document = super().get_openapi_schema(*args, **kwargs)
        schemas = document.setdefault("components", {}).setdefault("schemas", {})
        schemas["Problem"] = PROBLEM
        for path in document["paths"].values():
            for method, operation in path.items():
                _complete(method, operation)
        return document


def _complete(method: str, operation: dict[str, Any]) -> None:
    answers = operation["responses"]
    operation["description"] += f" A token needs the scope `{SCOPE_OF[operation['operationId']]}`."
    for status, sentence in (ANYWHERE | (WRITING if method == "post" else {})).items():
        answer: dict[str, Any] = {
            "description": sentence,
            "content": {CONTENT_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}},
        }
        if status in {429, 503}:
            answer["headers"] = {"Retry-After": {"schema": {"type": "integer"}, "description": "Seconds."}}
        answers[status] = answer
    if method == "post":
        operation.setdefault("parameters", []).append(KEY_PARAMETER)
