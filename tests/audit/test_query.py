"""Questions to the trail: what fits, what cannot be read, and pages that cost the same however long the trail is."""

from datetime import UTC, datetime, timedelta

import pytest
from django.db import connection, transaction
from django.utils import timezone

from audit import links, query
from audit.context import SYSTEM, Actor
from audit.errors import BadFilter
from audit.ids import uuid7
from audit.models import DecisionRecord
from audit.query import RecordFilter, find_records, parse_filter, parse_sequence
from tests.engine import elsewhere

from .conftest import make_story, record


def found(**values: str) -> list[str]:
    return [one.type for one in find_records(parse_filter(values)).records]


@pytest.fixture
def trail_of_two(story, requester, approver):
    """The story, and another plan's record beside it."""
    other = make_story(requester, approver, "Back up the database")
    record("policy.changed", actor=SYSTEM, subject=("policy", uuid7()), name="usual", version=2, reason='say "why"')
    return story, other


def test_without_a_question_everything_is_found_newest_first(story):
    page = find_records(RecordFilter())
    assert [one.sequence for one in page.records] == [one.sequence for one in reversed(story.records)]
    assert (page.older, page.newer) == (None, None)


def test_each_field_narrows_what_is_found(trail_of_two):
    story, _ = trail_of_two
    assert len(found()) == 9
    assert len(found(trace_id=str(story.plan.trace_id))) == 4
    assert found(trace_id=str(story.plan.trace_id), type="plan.approved") == ["plan.approved"]
    assert found(actor="priya") == ["plan.approved"] * 2
    assert found(subject=f"plan:{story.plan.pk}") == ["plan.approved"]
    assert found(subject=str(story.attempt.pk)) == ["attempt.completed", "attempt.started"]
    assert found(subject="policy") == ["policy.changed"]
    assert found(subject="attempt") == found(type="attempt")
    assert {*found(subject="plan")} == {"plan.approved"}
    assert len(found(service="kuma")) == 6
    assert found(q="database") == ["request.received"]
    assert found(q="DEPLOY kuma homelab") == ["request.received"]
    assert found(q='"why"') == ["policy.changed"]
    assert found(q="100%") == []
    assert len(found(q=str(story.plan.pk))) == 4  # the whole story of its trace
    assert found(q="7f3ac91e") == ["plan.approved"] * 2


@pytest.mark.parametrize(
    ("type_", "count"),
    [
        ("plan.approved", 2),
        ("attempt", 4),
        ("approvals", 2),
        ("people", 5),
        ("failures", 0),
        ("configuration,requests", 3),
    ],
)
def test_a_type_may_be_a_family_or_a_group(trail_of_two, type_, count):
    assert len(found(type=type_)) == count


@pytest.mark.parametrize("kind", ["attempt", "plan", "step", "request", ""])
def test_the_records_about_a_subject_are_found_by_an_index(story, kind):
    subject = getattr(story, kind or "attempt").pk
    wanted = parse_filter({"subject": f"{kind}:{subject}" if kind else str(subject)})
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL enable_seqscan = off")
    told = wanted.apply(DecisionRecord.objects.all()).explain()
    assert ("subject_sequence" if kind == "request" else "trace_id_idx") in told


def test_days_and_times_bound_what_is_found(story):
    today = timezone.now().date()
    tomorrow, yesterday = today + timedelta(days=1), today - timedelta(days=1)
    assert len(found(since=str(today), until=str(today))) == 4
    assert found(since=str(tomorrow)) == []
    assert found(until=str(yesterday)) == []
    assert len(found(since=(timezone.now() - timedelta(minutes=1)).isoformat())) == 4
    assert found(until=(timezone.now() - timedelta(minutes=1)).isoformat().replace("+00:00", "Z")) == []


def test_a_day_as_the_end_is_included_and_a_time_without_zone_is_utc():
    wanted = parse_filter({"since": "2026-11-19T10:00:00", "until": "2026-11-19"})
    assert (wanted.since, wanted.until) == (datetime(2026, 11, 19, 10, tzinfo=UTC), datetime(2026, 11, 20, tzinfo=UTC))


@pytest.mark.parametrize(
    ("values", "named"),
    [
        ({"trace_id": "abc"}, ["trace_id"]),
        ({"type": "plan.eaten"}, ["type"]),
        ({"since": "yesterday"}, ["since"]),
        ({"since": "9999-12-31", "until": "9999-12-31"}, ["until"]),
        ({"since": "0001-01-01T00:00:00+23:00"}, ["since"]),
        ({"since": "2026-11-20", "until": "2026-11-19"}, ["until"]),
        ({"q": "\0"}, ["q"]),
        ({"actor": "a\nb"}, ["actor"]),
        ({"service": "x" * 201}, ["service"]),
        ({"trace_id": "x", "since": "y", "type": "z"}, ["trace_id", "since", "type"]),
    ],
)
def test_what_cannot_be_read_is_named_field_by_field(values, named):
    with pytest.raises(BadFilter) as raised:
        parse_filter(values)
    assert sorted(str(one["loc"][0]) for one in raised.value.errors) == sorted(named)
    assert all(str(one["msg"]).endswith(".") for one in raised.value.errors)


def test_blank_fields_ask_for_everything():
    assert parse_filter({"q": "  ", "type": "", "actor": " "}).is_empty


@pytest.mark.parametrize("text", ["-1", "x", "1e3", "９", "9" * 19])
def test_a_sequence_number_is_a_number(text):
    with pytest.raises(BadFilter):
        parse_sequence(text)


def test_pages_follow_one_another_without_loss_or_repetition(db):
    for number in range(11):
        record("person.signed_in", actor=SYSTEM, subject=("person", f"p{number}"))
    seen, before = [], None
    while True:
        page = find_records(RecordFilter(), before=before, limit=4)
        seen += [one.subject_id for one in page.records]
        if page.older is None:
            break
        before = page.older
    assert seen == [f"p{number}" for number in reversed(range(11))]
    assert page.newer is not None
    back = find_records(RecordFilter(), after=page.newer, limit=4)
    assert [one.subject_id for one in back.records] == ["p6", "p5", "p4", "p3"]
    assert (back.older, back.newer) == (page.newer + 1, page.newer + 4)


def test_nothing_is_counted_and_a_page_is_one_question(story, django_assert_num_queries):
    with django_assert_num_queries(1) as queries:
        find_records(RecordFilter())
    assert "count" not in queries.captured_queries[0]["sql"].lower()


def test_a_search_that_takes_too_long_is_told_and_not_an_error(db):
    with elsewhere() as other:
        other.execute("LOCK TABLE audit_decisionrecord IN ACCESS EXCLUSIVE MODE")  # as slow as it gets
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute("SET LOCAL statement_timeout = '50ms'")
            with pytest.raises(BadFilter, match="took too long"):
                find_records(parse_filter({"q": "needle"}))
            transaction.set_rollback(True)


def test_a_trace_is_told_from_its_first_record_to_its_last_in_pages(story):
    whole = query.timeline(story.plan.trace_id)
    assert [one.sequence for one in whole.records] == [one.sequence for one in story.records]
    first = query.timeline(story.plan.trace_id, limit=3)
    assert first.newer is not None
    assert first.newer == story.records[2].sequence
    rest = query.timeline(story.plan.trace_id, after=first.newer, limit=3)
    assert [one.sequence for one in rest.records] == [story.records[3].sequence]
    assert rest.newer is None


def test_one_record_is_found_by_its_number(story):
    assert query.find_record(story.records[0].sequence) == story.records[0]
    assert query.find_record(0) is None
    assert query.find_record(1 << 70) is None


def test_a_task_is_told_with_its_row_and_the_records_of_its_tries(story, settings, tmp_path):
    settings.CHIFFON_AUDIT_DIR = tmp_path / "audit"
    told = query.task_story(story.step.pk)
    assert told.row is not None
    assert told.row.data["key"] == "deploy"
    assert [one.type for one in told.records] == ["attempt.started", "attempt.completed"]
    assert (told.commit, told.commit_problem) == (None, "")
    assert not query.task_story(uuid7()).is_known


def test_subjects_lead_to_their_pages_at_one_query_per_kind(story, requester, approver, django_assert_num_queries):
    other = make_story(requester, approver)
    wanted = [
        *(("plan", str(one.plan.pk)) for one in (story, other)),
        *(("step", str(one.step.pk)) for one in (story, other)),
        ("agent", "forge-01"),
        ("agent", str(story.agent.pk)),
        ("person", "mara"),
        ("plan", "no uuid"),
        ("plan", str(uuid7())),
        ("dragon", "1"),
    ]
    with django_assert_num_queries(4):
        known = links.links_for(wanted)
    assert known["plan", str(story.plan.pk)] == links.Link(f"Plan {story.plan.number}", f"/plans/{story.plan.number}/")
    assert known["step", str(other.step.pk)].url == f"/audit/tasks/{other.step.pk}/"
    assert (
        known["agent", "forge-01"] == known["agent", str(story.agent.pk)] == links.Link("forge-01", "/agents/forge-01/")
    )
    assert set(wanted) - set(known) == {wanted[-1], wanted[-2], wanted[-3]}


@pytest.mark.parametrize(
    "kind", ["request", "plan", "revision", "step", "attempt", "approval", "policy", "session", "job"]
)
def test_every_kind_of_subject_is_named_for_people(story, kind):
    objects = {
        "request": story.request, "plan": story.plan, "revision": story.revision, "step": story.step, "session": story.session,
        "attempt": story.attempt, "approval": story.approval, "policy": story.policy, "job": story.agent,
    }  # fmt: skip
    if kind == "job":
        from agents.models import Job

        objects["job"] = Job.objects.first()
    link = links.link_for(kind, str(objects[kind].pk))
    assert link is not None
    assert str(objects[kind].pk) not in link.text


def test_an_actor_is_found_by_name_alone(story):
    record(
        "agent.status_changed", actor=Actor.agent("forge-01"), subject=("agent", "forge-01"), was="ready", now="busy"
    )
    assert len(found(actor="forge-01")) == 3
    assert found(actor="forge") == []
