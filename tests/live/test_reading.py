"""A reader gets each event and each line exactly once, in order, whatever commits when."""

import threading
from collections import defaultdict
from datetime import timedelta
from uuid import uuid4

import pytest
from django.db import connection, transaction
from django.db.models import F

from audit.authority import Role
from plans.enums import EventType
from plans.live import BadCursor, Cursor, ForeignCursor, cursor_now, events_after, lines_after
from plans.models import Event, OutputLine
from tests.live.stories import attempt_of, finish, person, plan_of, say, sha256_of, start, tell

pytestmark = pytest.mark.django_db(transaction=True)


def read_all(plan, cursor=None, limit=500):
    items = []
    while True:
        batch = events_after(plan.pk, cursor, limit)
        items += batch.events
        assert len(batch.events) <= limit
        cursor = batch.cursor
        if not batch.more:
            return items, cursor


@pytest.fixture
def plan():
    return plan_of(person("requester", Role.REQUESTER), "deploy", "verify")


def told(items):
    return [(item["type"], item["data"].get("seq")) for item in items]


def test_a_run_reads_from_its_first_event_to_its_last(plan):
    plan, (deploy, _) = plan
    attempt = attempt_of(deploy)
    tell(plan, EventType.STAGE_CHANGED, was="approved", now="executing")
    start(plan, attempt)
    say(attempt, ["one", "two"])
    tell(plan, EventType.AGENT_THINKING, attempt, text="so far so good")
    say(attempt, ["three"])
    finish(plan, attempt, ["one", "two", "three"])
    items, _ = read_all(plan)
    assert told(items) == [
        ("stage_changed", None),
        ("step_changed", None),
        ("agent_started", None),
        ("tool_executing", None),
        ("output", 1),
        ("output", 2),
        ("agent_thinking", None),
        ("output", 3),
        ("tool_completed", None),
        ("output_end", None),
        ("agent_completed", None),
        ("step_changed", None),
    ]
    assert set(items[5]) == {"cursor", "type", "plan_id", "step", "attempt", "at", "data"}
    assert items[5]["data"] == {"seq": 2, "stream": "stdout", "text": "two"}
    assert items[5]["step"] == "deploy"
    assert items[5]["attempt"] == str(attempt.pk)
    assert items[5]["at"].endswith("Z")
    assert items[9]["data"] == {"count": 3, "sha256": sha256_of(["one", "two", "three"])}
    assert items[0]["step"] is None
    assert items[0]["attempt"] is None


@pytest.mark.parametrize("limit", [1, 2, 3, 7, 1_000])
def test_going_on_from_any_cursor_gives_exactly_the_rest(plan, limit):
    plan, steps = plan
    attempts = [attempt_of(step) for step in steps]
    for attempt in attempts:
        start(plan, attempt)
    for round_ in range(4):
        for attempt in attempts:
            say(attempt, [f"{attempt.step.key} {round_}.{n}" for n in range(3)])
    for attempt in attempts:
        finish(plan, attempt, [f"{attempt.step.key} {r}.{n}" for r in range(4) for n in range(3)])
    whole, _ = read_all(plan, limit=1_000)
    assert len([item for item in whole if item["type"] == "output"]) == 24
    for place, item in enumerate(whole):
        rest, _ = read_all(plan, item["cursor"], limit)
        seen = defaultdict(list)
        for found in whole[: place + 1] + rest:
            seen[found["attempt"]].append((found["type"], found["data"].get("seq"), found["at"]))
        once = defaultdict(list)
        for found in whole:
            once[found["attempt"]].append((found["type"], found["data"].get("seq"), found["at"]))
        assert seen == once


def test_a_late_commit_is_neither_missed_nor_repeated(plan):
    plan, _ = plan
    held, go = threading.Event(), threading.Event()

    def slow():
        try:
            with transaction.atomic():
                tell(plan, EventType.STAGE_CHANGED, now="slow")
                held.set()
                go.wait(10)
        finally:
            connection.close()

    writer = threading.Thread(target=slow)
    writer.start()
    assert held.wait(10)
    tell(plan, EventType.STAGE_CHANGED, now="fast")
    before, cursor = read_all(plan)
    go.set()
    writer.join(10)
    after, cursor = read_all(plan, cursor)
    again, _ = read_all(plan, cursor)
    assert [item["data"]["now"] for item in before + after] == ["slow", "fast"]
    assert before == []
    assert again == []


def test_lines_wait_for_the_event_they_were_said_after(plan):
    plan, (deploy, _) = plan
    attempt = attempt_of(deploy)
    start(plan, attempt)
    say(attempt, ["before"])
    held, go = threading.Event(), threading.Event()

    def slow():
        try:
            with transaction.atomic():
                tell(plan, EventType.STAGE_CHANGED, now="slow")
                held.set()
                go.wait(10)
        finally:
            connection.close()

    writer = threading.Thread(target=slow)
    writer.start()
    assert held.wait(10)
    tell(plan, EventType.TOOL_EXECUTING, attempt, tool="the second")
    say(attempt, ["after"])
    before, cursor = read_all(plan)
    go.set()
    writer.join(10)
    after, _ = read_all(plan, cursor)
    of_attempt = [(item["type"], item["data"].get("text")) for item in before + after if item["attempt"]]
    assert of_attempt[2:] == [
        ("tool_executing", None),
        ("output", "before"),
        ("tool_executing", None),
        ("output", "after"),
    ]


def test_five_thousand_lines_survive_forty_reconnects(plan):
    plan, (deploy, _) = plan
    attempt = attempt_of(deploy)
    start(plan, attempt)
    texts = [f"line {n}" for n in range(1, 5_001)]
    say(attempt, texts[:3_000])
    seen, cursor = [], None
    for _ in range(20):
        batch = events_after(plan.pk, cursor, 97)
        cut = batch.events[: len(batch.events) // 2 + 1]  # the connection broke here
        seen += cut
        cursor = cut[-1]["cursor"]
    say(attempt, texts[3_000:])
    finish(plan, attempt, texts)
    rest, _ = read_all(plan, cursor)
    lines = [item["data"] for item in seen + rest if item["type"] == "output"]
    assert [line["seq"] for line in lines] == list(range(1, 5_001))
    end = next(item["data"] for item in rest if item["type"] == "output_end")
    assert end == {"count": 5_000, "sha256": sha256_of(line["text"] for line in lines)}


def test_a_reader_who_comes_now_gets_what_comes_and_the_whole_output_of_what_runs(plan):
    plan, (deploy, verify) = plan
    over, running = attempt_of(deploy), attempt_of(verify)
    start(plan, over)
    say(over, ["gone"])
    finish(plan, over, ["gone"])
    start(plan, running)
    say(running, ["a"])
    cursor = cursor_now(plan)
    say(running, ["b"])
    finish(plan, running, ["a", "b"])
    items, _ = read_all(plan, cursor)
    assert [item["data"]["text"] for item in items if item["type"] == "output"] == ["a", "b"]
    assert [item["type"] for item in items if item["type"] != "output"] == [
        "tool_completed",
        "output_end",
        "agent_completed",
        "step_changed",
    ]


def test_an_attempt_that_was_interrupted_ends_without_losing_its_lines(plan):
    plan, (deploy, _) = plan
    first = attempt_of(deploy)
    start(plan, first)
    say(first, ["half of it"])
    tell(plan, EventType.STEP_CHANGED, first, was="running", now="unknown")
    items, cursor = read_all(plan)
    assert told(items)[-2:] == [("output", 1), ("step_changed", None)]
    assert Cursor.decode(cursor).streams == {}


def test_lines_come_before_the_end_even_if_their_clock_says_otherwise(plan):
    plan, (deploy, _) = plan
    attempt = attempt_of(deploy)
    start(plan, attempt)
    say(attempt, ["x", "y"])
    finish(plan, attempt, ["x", "y"])
    OutputLine.objects.filter(attempt_id=attempt.pk).update(at=F("at") + timedelta(hours=1))
    items, _ = read_all(plan)
    kinds = [item["type"] for item in items]
    assert kinds.index("output_end") > max(n for n, kind in enumerate(kinds) if kind == "output")
    assert kinds.count("output") == 2


def test_many_attempts_at_once_are_read_in_bounded_pieces(plan):
    requester = person("requester", Role.REQUESTER)
    plan, steps = plan_of(requester, *[f"s{n}" for n in range(150)])
    attempts = [attempt_of(step) for step in steps]
    Event.objects.bulk_create(
        Event(plan_id=plan.pk, type=EventType.AGENT_STARTED, step_key=a.step.key, attempt_id=a.pk) for a in attempts
    )
    OutputLine.objects.bulk_create(
        OutputLine(attempt_id=a.pk, seq=n, stream="stdout", text=str(n)) for a in attempts for n in range(1, 31)
    )
    items, cursor = read_all(plan, limit=1_000)
    seqs = defaultdict(list)
    for item in items:
        if item["type"] == "output":
            seqs[item["attempt"]].append(item["data"]["seq"])
    assert set(map(tuple, seqs.values())) == {tuple(range(1, 31))}
    assert len(seqs) == 150
    assert len([item for item in items if item["type"] == "agent_started"]) == 150
    assert read_all(plan, cursor)[0] == []


def test_only_events_are_read_for_readers_that_follow_lines_themselves(plan):
    plan, (deploy, _) = plan
    attempt = attempt_of(deploy)
    start(plan, attempt)
    say(attempt, ["x"])
    finish(plan, attempt, ["x"])
    batch = events_after(plan.pk, cursor_now(plan), output=False)
    assert batch.events == []
    batch = events_after(plan.pk, None, output=False)
    assert "output" not in [item["type"] for item in batch.events]
    assert [line.text for line in lines_after(plan.pk, attempt.pk, 0)] == ["x"]


def test_a_cursor_of_another_database_is_told_apart_from_garbage(plan):
    plan, _ = plan
    with pytest.raises(ForeignCursor):
        events_after(plan.pk, Cursor("another.1").encode())
    with pytest.raises(BadCursor):
        events_after(plan.pk, "garbage")


def test_a_made_up_cursor_reads_no_output_of_another_plan(plan):
    plan, (deploy, _) = plan
    attempt = attempt_of(deploy)
    start(plan, attempt)
    say(attempt, ["secret"])
    other, _ = plan_of(person("other", Role.REQUESTER), "mine")
    epoch = Cursor.decode(cursor_now(other)).epoch
    made_up = Cursor(epoch, 0, 0, {attempt.pk: 0, uuid4(): 3}).encode()
    assert events_after(other.pk, made_up).events == []
    assert lines_after(other.pk, attempt.pk, 0) == []


def test_a_reading_asks_the_database_three_times_however_much_there_is(plan, django_assert_num_queries):
    plan, (deploy, _) = plan
    attempt = attempt_of(deploy)
    start(plan, attempt)
    say(attempt, [str(n) for n in range(400)])
    with django_assert_num_queries(3):
        events_after(plan.pk, None)
