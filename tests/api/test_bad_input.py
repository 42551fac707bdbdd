"""What no caller should send, and what it gets: a clear problem, never a 500."""

import json
import time

import pytest

from tests import factories
from tests.api.conftest import is_problem

NUL = "a\x00b"
HALF = "a\ud800b"


@pytest.mark.parametrize(
    "body",
    [
        b"{", b"", b"nonsense", b"\xff\xfe", b'{"text": NaN}', b'{"text": Infinity}', b'{"text": "a", "text": "b"}',
        b"[" * 100_000, b'{"text": "\xff"}', b'{"text": ' + b"9" * 20_000 + b"}",
    ],
)  # fmt: skip
def test_what_is_no_json_is_a_bad_request(as_requester, body):
    answer = as_requester.post("/requests", body)
    is_problem(answer, 422 if body == b"" else 400)


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b'{"text": NaN}', "NaN is no number in it"),
        (b'{"text": -Infinity}', "-Infinity is no number in it"),
        (b'{"a": [{"text": 1, "text": 2}]}', "the name 'text' appears twice"),
        (b'{"text": ' + b"9" * 5_000 + b"}", "more than 4300 digits"),
        (b'{"text": "\xff"}', "byte 10 is not UTF-8"),
        (b'{"text": 1,\n }', "line 1, column 11"),
        (b"[" * 100_000, "nested too deeply"),
        (b'{"' + b"x" * 90_000 + b'": 1, "' + b"x" * 90_000 + b'": 2}', "appears twice"),
    ],
)
def test_what_is_no_json_says_why(as_requester, body, said):
    answer = as_requester.post("/requests", body)
    assert said in is_problem(answer, 400, "bad_json")["detail"]
    assert len(answer.content) < 1_000


MANY = {f"u{n}": 1 for n in range(80_000)}


@pytest.mark.parametrize(
    "body",
    [
        {"steps": [factories.step(input={"value": ["{{1}}"] * 100_000})]},
        {"steps": [factories.step(input={"value": [[]] * 250_000})]},
        {"steps": [0] * 340_000},
        {"steps": [0] * 1_000},
        {"steps": [{**factories.step(), **MANY}]},
        {"steps": [factories.step(input=MANY)]},
        {"steps": [factories.step(retry=MANY)]},
        {"steps": [factories.step(depends_on=list(MANY))]},
        {"steps": [factories.step()], "budget": MANY},
        {"steps": [factories.step()], **MANY},
        {"steps": [factories.step("x" * 900_000, input={"value": 1})]},
        {"steps": [factories.step()], "x" * 900_000: 1},
        {"steps": [{"x" * 900_000: "a\x00b"}]},
    ],
)
def test_a_plan_that_is_wrong_in_many_places_is_refused_soon_and_briefly(as_requester, body):
    sent = json.dumps({"goal": "Try", **body}, separators=(",", ":"))
    began = time.process_time()
    answer = as_requester.post("/plans", sent)
    assert time.process_time() - began < 2  # a quarter of it where nothing else runs
    is_problem(answer, 422)
    assert len(answer.content) < 20_000


def test_what_is_nested_too_deeply_is_refused(as_requester):
    is_problem(as_requester.post("/requests", b'{"a":' * 5000 + b"1" + b"}" * 5000), 422)


@pytest.mark.parametrize(
    "body", ["[]", "5", '"text"', "null", "{}", '{"text": 5}', '{"text": null}', '{"text": ["a"]}']
)
def test_what_is_no_request_says_which_field_is_wrong(as_requester, body):
    problem = is_problem(as_requester.post("/requests", body), 422)
    assert problem["errors"][0]["loc"][0] == "body"


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/requests", {"text": NUL}),
        ("/requests", {"text": HALF}),
        ("/plans", {"goal": NUL, "steps": [factories.step()]}),
        ("/plans", {"goal": "x", "steps": [factories.step(input={"value": NUL})]}),
        ("/plans", {"goal": "x", "steps": [factories.step(input={"value": {NUL: 1}})]}),
        ("/plans", {"goal": "x", "steps": [factories.step(input={"value": [[HALF]]})]}),
        ("/plans", {"goal": "x", "steps": [factories.step(key=NUL)]}),
        ("/agents/infra-1/drain", {"reason": NUL}),
    ],
)
def test_what_no_column_can_hold_is_refused(as_admin, path, body):
    problem = is_problem(as_admin.post(path, body), 422)
    assert problem["errors"]


def test_an_odd_but_storable_character_is_taken(as_requester):
    factories.make_policy()
    body = {"goal": "\uffff\u202e مرحبا 🧵 <img onerror=x>", "steps": [factories.step(input={"value": "\uffff"})]}
    made = as_requester.post("/plans", body)
    assert made.status_code == 201, made.content
    assert made.json()["goal"] == body["goal"]


@pytest.mark.parametrize("text", ["", " ", "\n\t", "x" * 100_000, "\x01\x02\x03\x04"])
def test_a_text_that_no_request_can_be_read_from_is_refused_and_recorded(as_requester, text):
    from audit.models import DecisionRecord
    from plans.models import Request

    is_problem(as_requester.post("/requests", {"text": text}), 422)
    assert not Request.objects.exists()
    assert DecisionRecord.objects.filter(type="request.refused").count() == 1


@pytest.mark.parametrize("text", ["🧵" * 20, "انشر كوما على المختبر", "Make me a sandwich"])
def test_a_text_that_matches_nothing_makes_a_request_and_no_plan(as_requester, text):
    answer = as_requester.post("/requests", {"text": text})
    assert answer.status_code in {201, 422}
    if answer.status_code == 201:
        assert answer.json()["plan_id"] is None


def test_a_body_of_more_than_a_mebibyte_is_too_large(as_requester):
    body = json.dumps({"text": "x" * (1024 * 1024)})
    is_problem(as_requester.post("/requests", body), 413, "too_large")


def test_unknown_fields_are_named(as_requester):
    problem = is_problem(as_requester.post("/requests", {"text": "Deploy", "sesion_id": "x"}), 422)
    assert problem["errors"][0]["loc"] == ["body", "sesion_id"]


@pytest.mark.parametrize(
    "path", ["/nowhere", "", "/", "/plans/", "/plans/1/nothing", "/../x", "/%2e%2e/x", "/openapi.yaml"]
)
def test_an_unknown_address_is_a_problem(as_requester, path):
    is_problem(as_requester.get(path), 404)


def test_an_unknown_address_tells_nobody_whether_it_exists(nobody):
    is_problem(nobody.get("/nowhere"), 401)


@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE", "TRACE", "NONSENSE"])
def test_a_method_that_an_address_does_not_take_is_a_problem(as_requester, method):
    is_problem(as_requester.call(method, "/plans"), 405)


def test_head_answers_like_get_without_the_body(as_requester, nobody, requester):
    path = f"/plans/{factories.make_plan(requester).number}"
    told, head = as_requester.get(path), as_requester.call("HEAD", path)
    assert (head.status_code, head.content) == (200, b"")
    assert (head["Content-Type"], head["Content-Length"]) == (told["Content-Type"], told["Content-Length"])
    assert as_requester.call("HEAD", "/plans/999999").status_code == 404
    assert nobody.call("HEAD", path).status_code == 401


@pytest.mark.parametrize("session", ["x", "", 5, "00000000-0000-0000-0000-000000000000"])
def test_a_conversation_of_nobody_is_refused(as_requester, session):
    answer = as_requester.post("/requests", {"text": "Deploy Kuma", "session_id": session})
    assert answer.status_code in {404, 422}
    is_problem(answer, answer.status_code)


def test_a_conversation_of_somebody_else_looks_as_if_it_were_none(as_requester, approver):
    from plans.models import Session

    session = Session.objects.create(owner=approver)
    is_problem(as_requester.post("/requests", {"text": "Deploy Kuma", "session_id": str(session.pk)}), 404)


@pytest.mark.parametrize(
    ("form", "encoding"),
    [
        ("multipart/form-data; boundary=x", ""), ("multipart/form-data", ""),
        ("text/plain", ""), ("application/xml", ""), ("nonsense", ""), ("application/json; charset=utf-16", ""),
        ("application/json", "gzip"),
    ],
)  # fmt: skip
def test_a_body_that_is_not_said_to_be_plain_json_is_refused(as_requester, form, encoding):
    body = json.dumps({"text": "Deploy Kuma"})
    answer = as_requester.post(
        "/requests", body, content_type=form, **({"content_encoding": encoding} if encoding else {})
    )
    is_problem(answer, 415, "unsupported_media_type")


@pytest.mark.parametrize(
    "form",
    [
        "",
        "application/json; charset=UTF-8",
        "application/vnd.chiffon+json",
        "APPLICATION/JSON",
        "application/x-www-form-urlencoded",
    ],
)
def test_json_by_whatever_name_is_read(as_requester, form):
    is_problem(as_requester.post("/requests", "{}", content_type=form), 422)


@pytest.mark.parametrize(
    ("path", "known"),
    [
        ("/plans", "after, awaiting, limit, requester, stage"), ("/requests", "after, limit, status"),
        ("/audit/records", "actor, after, limit, q, service, since, subject, trace_id, type, until"),
    ],
)  # fmt: skip
def test_a_parameter_that_a_list_does_not_take_is_named(as_admin, path, known):
    body = is_problem(as_admin.get(f"{path}?limit=5&stages=failed&nothing=1"), 422, "invalid")
    assert body["errors"] == [
        {"loc": ["query", name], "msg": f"There is no such parameter, only {known}"} for name in ("stages", "nothing")
    ]
    assert body["detail"].startswith("stages: ")


def test_an_address_without_parameters_of_its_own_takes_any(as_requester, requester):
    assert as_requester.get(f"/plans/{factories.make_plan(requester).pk}?fresh=1").status_code == 200


@pytest.mark.parametrize("length", ["-1", "x", "1e3", "9" * 30])
def test_a_length_that_is_none_is_refused(as_requester, length):
    answer = as_requester.http.generic(
        "POST",
        "/api/v1/requests",
        "{}",
        content_type="application/json",
        CONTENT_LENGTH=length,
        HTTP_AUTHORIZATION=f"Bearer {as_requester.token}",
    )
    assert answer.status_code in {400, 413}
    is_problem(answer, answer.status_code)


def test_a_database_that_does_not_answer_is_said_to_be_away(as_requester, settings):
    from django.db import connection

    class Away:
        """A database whose statements all fail, as one that restarts."""

        def __call__(self, execute, sql, params, many, context):
            from django.db import OperationalError

            raise OperationalError("server closed the connection unexpectedly")

    with connection.execute_wrapper(Away()):
        answer = as_requester.get("/plans")
    assert "does not answer" in is_problem(answer, 503, "unavailable")["detail"]
    assert int(answer["Retry-After"]) >= 1


def test_a_call_for_which_no_connection_came_free_is_told_that_many_are_asking(as_requester, monkeypatch):
    from django.db import connection

    def pooled():
        """A connection of the smallest pool there is."""
        one = connection.copy()
        one.settings_dict["OPTIONS"]["pool"] = {"min_size": 1, "max_size": 1, "timeout": 0.2}
        return one

    holder, late = pooled(), pooled()
    holder.ensure_connection()
    monkeypatch.setattr("chiffon_site.api.guard.find_token", lambda _text: late.ensure_connection())
    try:
        answer = as_requester.get("/plans")
    finally:
        holder.close()
        holder.close_pool()
    assert "too many" in is_problem(answer, 503, "unavailable")["detail"].lower()
    assert int(answer["Retry-After"]) >= 1
