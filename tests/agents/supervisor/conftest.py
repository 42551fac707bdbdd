"""Helpers that start real supervisors and look at real processes."""

from __future__ import annotations

import time
import uuid

import pytest

from agents.supervisor.client import Supervised
from agents.supervisor.spec import Spec
from agents.supervisor.sweep import sweep, tagged

PATH = {"PATH": "/usr/local/bin:/usr/bin:/bin"}


@pytest.fixture
def tag():
    """A tag of this test's own; whatever still carries it afterwards is ended."""
    mine = f"test-{uuid.uuid4()}:1"
    yield mine
    sweep(tags=[mine])


@pytest.fixture
def start(tag, tmp_path):
    """Start a supervised command: start("sh", "-c", "...", timeout_seconds=1)."""
    running = []

    def _start(*argv, **bounds):
        supervised = Supervised.start(Spec(argv=list(argv), cwd=str(tmp_path), env=dict(PATH), tag=tag, **bounds))
        running.append(supervised)
        return supervised

    yield _start
    for supervised in running:
        supervised.close()


def read_all(supervised, *, within=20.0, beat=True):
    """Every message up to and including the exit."""
    messages: list[dict[str, object]] = []
    deadline = time.monotonic() + within
    while not supervised.ended:
        assert time.monotonic() < deadline, f"no exit within {within} s; last: {messages[-3:]}"
        message = supervised.next(0.05)
        if beat:
            supervised.beat()
        if message is not None:
            messages.append(message)
    return messages


def wait_for_line(supervised, text, *, within=10.0):
    """Read until a line holds the text."""
    deadline = time.monotonic() + within
    while time.monotonic() < deadline:
        message = supervised.next(0.1)
        if message and message["t"] == "line" and text in message["text"]:
            return message
    raise AssertionError(f"the line {text!r} never came")


def survivors(tag, *, within=3.0):
    """The processes that still carry the tag after a while; empty as soon as there are none."""
    deadline = time.monotonic() + within
    while (left := tagged(tags=[tag])) and time.monotonic() < deadline:
        time.sleep(0.02)
    return left
