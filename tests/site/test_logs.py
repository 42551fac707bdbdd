"""What a log line carries, what it never carries, and the trace that every answer names."""

import io
import logging
import sys
import time
from typing import Any
from uuid import UUID

import pytest
from django.core.handlers.asgi import ASGIRequest
from django.http import HttpRequest, HttpResponse
from django.test import AsyncClient

from audit.context import Actor, acting, current_trace
from audit.ids import uuid7
from chiffon_site.observability.logs import line_formatter
from chiffon_site.observability.middleware import TraceMiddleware


@pytest.fixture
def log():
    """A logger of the standard library whose lines can be read."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(line_formatter())
    logger = logging.getLogger("tests.lines")
    logger.handlers, logger.propagate = [handler], False
    yield logger, stream
    logger.handlers, logger.propagate = [], True


def test_line_has_time_level_logger_trace_actor_and_words(log):
    logger, stream = log
    trace = uuid7()
    with acting(Actor.agent("forge-01"), trace):
        logger.warning("attempt %s lost its lease", 7)
    line = stream.getvalue()
    assert line.startswith("time=2")
    assert f"Z level=warning logger=tests.lines trace_id={trace} actor=forge-01" in line
    assert line.endswith('event="attempt 7 lost its lease"\n')


def test_line_outside_of_any_trace_is_of_chiffon_itself(log):
    logger, stream = log
    logger.warning("started")
    assert "trace_id" not in stream.getvalue()
    assert "actor=chiffon event=started" in stream.getvalue()


@pytest.mark.parametrize(
    "words",
    [
        "password=correct-horse-battery",
        "sent chf_abcdefghijklmnopqrstuvwxyz",
        "cannot reach postgres://chiffon_app:s3cr3t-w0rd@127.0.0.1/chiffon",
    ],
)
def test_secret_in_a_message_an_extra_or_a_traceback_is_not_logged(log, words):
    logger, stream = log
    logger.warning(words)
    logger.warning("see", extra={"detail": words})
    try:
        raise ValueError(words)
    except ValueError:
        logger.exception("broke")
    text = stream.getvalue()
    assert text.count("[hidden") == 3
    assert not any(secret in text for secret in ("correct-horse", "abcdefghij", "s3cr3t"))


def test_long_text_is_cut_and_a_secret_across_the_cut_is_not_halved(log):
    logger, stream = log
    logger.warning("Not Found: /%s", "a_" * 8_000)
    logger.warning("%s postgres://chiffon:s3cr3t-w0rd@127.0.0.1/chiffon", "x" * 1_970)
    path, address = stream.getvalue().splitlines()
    assert "Not Found: /a_a_a_" in path
    assert path.endswith('a_…"')
    assert len(path) < 2_200
    assert "s3cr" not in address


def test_long_traceback_is_cut_at_its_start_so_that_it_still_says_what_went_wrong(log):
    logger, stream = log
    try:
        raise ValueError("x" * 30_000 + " and the disk is full")
    except ValueError:
        logger.exception("broke")
    assert "exception=…x" in stream.getvalue().replace('"', "")
    assert stream.getvalue().endswith('and the disk is full"\n')
    assert len(stream.getvalue()) < 20_500


@pytest.mark.django_db
def test_path_that_a_stranger_asks_for_costs_next_to_nothing_to_log(client, log):
    logger, _ = log
    handler, django = logger.handlers[0], logging.getLogger("django.request")
    django.addHandler(handler)
    began = time.process_time()
    try:
        for path in ("a_" * 8_000, "eyJaaaaaaaa-" * 1_300, "password-" * 1_800):
            assert client.get(f"/api/{path}").status_code == 401
    finally:
        django.removeHandler(handler)
    assert time.process_time() - began < 1


def test_event_is_one_line_whatever_is_in_it(log):
    logger, stream = log
    logger.warning("a\nlevel=error event=forged\r\x1b[2Jb \u202e")
    try:
        raise ValueError("two\nlines")
    except ValueError:
        logger.exception("broke")
    first, second, rest = stream.getvalue().split("\n")
    assert rest == ""
    assert r"\n" in first
    assert "\x1b" not in first
    assert "\r" not in first
    assert "\u202e" not in first
    assert "Traceback" in second


def test_things_that_libraries_attach_are_left_out(log):
    logger, stream = log
    logger.warning("seen", extra={"request": HttpRequest(), "status_code": 404, "odd name": "x"})
    assert "status_code=404" in stream.getvalue()
    assert "odd_name=x" in stream.getvalue()
    assert "request=" not in stream.getvalue()


@pytest.mark.django_db
@pytest.mark.parametrize("path", ["/healthz", "/accounts/login/", "/nothing-here/", "/api/v1/plans"])
def test_every_answer_names_its_own_trace(client, path):
    first, second = (UUID(client.get(path)["X-Trace-Id"]) for _ in range(2))
    assert first != second
    assert first.version == 7


@pytest.mark.django_db
def test_problem_of_the_api_names_the_trace_of_its_header(client):
    answer = client.get("/api/v1/plans")
    assert answer.status_code == 401
    assert answer.json()["trace_id"] == answer["X-Trace-Id"]


@pytest.mark.django_db
def test_trace_that_a_stranger_sends_is_not_believed(client):
    sent = "01890a5d-ac96-774b-bcce-b302099a8057"
    assert client.get("/healthz", headers={"x-trace-id": sent})["X-Trace-Id"] != sent


async def test_trace_is_open_below_the_asynchronous_stack_and_closed_after():
    seen = []

    async def view(request):
        seen.append(current_trace())
        return HttpResponse()

    scope = {"type": "http", "method": "GET", "path": "/", "headers": []}
    answer: Any = TraceMiddleware(view)(ASGIRequest(scope, io.BytesIO()))
    answer = await answer
    assert answer["X-Trace-Id"] == str(seen[0])
    assert current_trace() is None


@pytest.mark.django_db(transaction=True)
async def test_answers_over_asgi_name_their_trace():
    answer = await AsyncClient().get("/healthz")
    assert UUID(answer["X-Trace-Id"]).version == 7


@pytest.mark.django_db
def test_line_of_a_page_names_who_asked_for_it(client, requester):
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(line_formatter())
    root = logging.getLogger("django.request")
    root.addHandler(handler)
    try:
        client.force_login(requester)
        missing = client.get("/plans/999999/")
    finally:
        root.removeHandler(handler)
    assert missing.status_code == 404
    assert f"trace_id={missing['X-Trace-Id']} actor=requester" in stream.getvalue(), stream.getvalue()


def test_formatter_reads_records_made_elsewhere():
    record = logging.makeLogRecord({"name": "x", "levelname": "INFO", "levelno": 20, "msg": "%s", "args": ("y",)})
    assert line_formatter().format(record).endswith("event=y")
    assert sys.exc_info() == (None, None, None)
