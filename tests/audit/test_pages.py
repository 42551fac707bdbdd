"""The trail's pages: who may read what, what they say, and that nothing typed into them breaks them."""

import json
import re

import pytest
from django.contrib.auth import get_user_model
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from audit import git_trail
from audit.authority import Role
from audit.context import SYSTEM, Actor
from audit.ids import uuid7
from tests.factories import make_user

from .conftest import make_story, record, signed_in
from .test_git_trail import payload


def text_of(response) -> str:
    """The page's words, without its tags."""
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", response.content.decode()))


@pytest.fixture(autouse=True)
def no_repository_yet(settings, tmp_path):
    settings.CHIFFON_AUDIT_DIR = tmp_path / "audit"


@pytest.mark.e2e_04
def test_the_trail_tells_each_record_as_a_sentence_with_its_proof(reader, story):
    response = reader.get("/audit/")
    page = text_of(response)
    assert response.status_code == 200
    assert "mara asked: “Deploy Kuma Uptime to homelab”" in page
    assert "priya approved revision 1" in page
    assert "deploy completed: 9 tasks ok on 1 host" in page
    assert page.count("Hash matches") == 5  # the story, and the auditor's own sign-in
    assert "not sealed yet" in page.lower()
    assert f'href="/audit/traces/{story.plan.trace_id}/"' in response.content.decode()
    assert f'href="/plans/{story.plan.number}/"' in response.content.decode()


def test_a_search_says_what_it_found_and_keeps_what_was_typed(reader, story):
    response = reader.get("/audit/", {"type": "approvals", "service": "kuma", "q": "7f3ac91e"})
    assert "1 record that fit" in text_of(response)
    assert 'value="7f3ac91e"' in response.content.decode()
    assert "No record fits" in text_of(reader.get("/audit/", {"q": "nothing like that"}))


@pytest.mark.parametrize(
    ("query", "sentence"),
    [
        ({"trace_id": "abc"}, "trace_id must be a UUID."),
        ({"since": "soon"}, "since must be a day"),
        ({"type": "plan.eaten"}, "No decision type is called"),
        ({"before": "x"}, "before must be the number of a record."),
        ({"after": "-1"}, "after must be the number of a record."),
        ({"q": "\0"}, "q must be printable text"),
        ({"subject": "x" * 300}, "subject must be printable text"),
    ],
)
def test_a_question_that_cannot_be_read_is_answered_with_a_sentence(reader, story, query, sentence):
    response = reader.get("/audit/", query)
    assert response.status_code == 400
    assert sentence in text_of(response)


def test_the_trail_is_paged_by_key(reader):
    for number in range(60):
        record("person.signed_in", actor=SYSTEM, subject=("person", f"p{number}"))
    first = reader.get("/audit/")
    assert "The newest 50 records" in text_of(first)
    older = re.search(
        r'href="(\?[^"]*before=\d+)" rel="next"|rel="next" href="(\?[^"]*before=\d+)"', first.content.decode()
    )
    assert older
    second = reader.get("/audit/" + (older[1] or older[2]).replace("&amp;", "&"))
    assert "11 earlier records" in text_of(second)
    assert "Newest" in text_of(second)


def test_a_search_that_nothing_fits_offers_the_whole_trail(reader):
    response = reader.get("/audit/", {"actor": "nobody"})
    assert "No record fits" in text_of(response)
    assert "Show everything" in text_of(response)


@pytest.mark.e2e_04
def test_a_trace_tells_the_story_from_the_first_word_with_who_decided_and_the_proof_of_each_record(reader, story):
    response = reader.get(f"/audit/traces/{story.plan.trace_id}/")
    page = text_of(response)
    assert response.status_code == 200
    order = [page.index(part) for part in ("mara asked", "priya approved", "forge-01 began try 1", "deploy completed")]
    assert order == sorted(order)
    assert page.count("matches, just now") == 4
    assert "4 of 4 checked just now" in page
    assert "2 people, 1 agent" in page
    for one in story.records:
        assert one.sha256 in page
    assert 'class="loose"' in response.content.decode()


@pytest.mark.e2e_04
def test_an_altered_record_is_shown_as_broken_on_every_page(reader, story):
    altered = story.records[1]
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE audit_decisionrecord DISABLE TRIGGER USER")
        cursor.execute("UPDATE audit_decisionrecord SET actor = 'mallory' WHERE sequence = %s", [altered.sequence])
        cursor.execute("ALTER TABLE audit_decisionrecord ENABLE TRIGGER USER")
    trace = text_of(reader.get(f"/audit/traces/{story.plan.trace_id}/"))
    assert "1 of 4 records does not match" in trace
    assert "these columns say something else: actor" in trace
    assert "Broken" in text_of(reader.get("/audit/"))
    page = text_of(reader.get(f"/audit/records/{altered.sequence}/"))
    assert "This record is not what was written" in page
    assert "mallory" in page
    assert "&quot;name&quot;:&quot;priya&quot;" in page


def test_a_long_wait_between_two_records_is_told(reader, story):
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE audit_decisionrecord DISABLE TRIGGER USER")
        cursor.execute(
            "UPDATE audit_decisionrecord SET at = at + interval '12 minutes' WHERE sequence >= %s",
            [story.records[2].sequence],
        )
        cursor.execute("ALTER TABLE audit_decisionrecord ENABLE TRIGGER USER")
    assert "12 min later" in text_of(reader.get(f"/audit/traces/{story.plan.trace_id}/"))


def test_a_record_shows_everything_it_holds_and_its_bytes(reader, story):
    one = story.records[3]
    page = text_of(reader.get(f"/audit/records/{one.sequence}/"))
    for part in (one.type, one.actor, one.reason, one.sha256, str(one.trace_id), f"attempt:{one.subject_id}"):
        assert part in page
    assert "The hash matches" in page


def test_a_task_shows_its_row_its_records_and_that_git_has_nothing_yet(reader, story):
    response = reader.get(f"/audit/tasks/{story.step.pk}/")
    page = text_of(response)
    assert response.status_code == 200
    assert "Deploy Kuma, plan" in page
    assert "forge-01 began try 1 of deploy" in page
    assert "Not in git yet" in page


def test_people_are_told_by_their_full_name_and_stages_by_their_word(reader, story, approver):
    get_user_model().objects.filter(pk=approver.pk).update(first_name="Priya", last_name="<Raman>")
    was, now = "draft", "pending_approval"
    record("plan.stage_changed", actor=Actor.person(approver), subject=("plan", story.plan.pk), was=was, now=now)
    record("person.signed_in", actor=Actor("person", "who-left"), subject=("person", "who-left"))
    response = reader.get("/audit/")
    assert "Priya &lt;Raman&gt; approved revision 1" in text_of(response)
    assert f'<strong title="{approver.username}">Priya &lt;Raman&gt;</strong>' in response.content.decode()
    assert "Plan went from draft to awaiting approval" in text_of(response)
    assert "who-left signed in" in text_of(response)
    assert "Priya &lt;Raman&gt;" in text_of(reader.get(f"/audit/traces/{story.plan.trace_id}/"))


@pytest.mark.e2e_04
def test_a_task_shows_its_commit_and_the_file_in_it(reader, story):
    one = payload(str(story.step.pk))
    commit = git_trail.commit_tasks([one])
    path = f".audit/tasks/{story.step.pk}.json"
    record("task.committed", actor=SYSTEM, subject=("task", story.step.pk), commit=commit, path=path, **story.about)
    response = reader.get(f"/audit/tasks/{story.step.pk}/")
    assert commit in text_of(response)
    assert path in text_of(response)
    assert "&quot;services_touched&quot;" in response.content.decode()
    trace = text_of(reader.get(f"/audit/traces/{story.plan.trace_id}/"))
    assert f"The task was committed to git as {commit[:12]}" in trace


def test_a_task_that_only_git_knows_is_shown_to_auditors(reader, story, requester):
    lost = str(uuid7())
    git_trail.commit_tasks([payload(lost)])
    assert "A task that the database does not hold" in text_of(reader.get(f"/audit/tasks/{lost}/"))
    assert signed_in(requester).get(f"/audit/tasks/{lost}/").status_code == 404


def test_a_broken_repository_is_told_and_the_records_are_still_there(reader, story, settings):
    git_trail.commit_tasks([payload(str(story.step.pk))])
    (settings.CHIFFON_AUDIT_DIR / ".git" / "objects").rename(settings.CHIFFON_AUDIT_DIR / "gone")
    response = reader.get(f"/audit/tasks/{story.step.pk}/")
    assert response.status_code == 200
    assert "Git cannot be asked now" in text_of(response)
    assert "forge-01 began try 1" in text_of(response)


@pytest.mark.parametrize("path", ["/audit/traces/{0}/", "/audit/tasks/{0}/", "/audit/records/999999999/"])
def test_what_does_not_exist_is_a_404(reader, story, path):
    assert reader.get(path.format(uuid7())).status_code == 404


@pytest.mark.parametrize(
    "path",
    [
        "/audit/traces/abc/",
        "/audit/tasks/../x/",
        "/audit/records/-1/",
        f"/audit/records/{10**30}/",
        "/audit/records/x/",
    ],
)
def test_an_address_that_is_none_is_a_404(reader, story, path):
    assert reader.get(path).status_code == 404


def addresses(story) -> dict[str, str]:
    return {
        "list": reverse("audit:list"),
        "trace": reverse("audit:trace", args=[story.plan.trace_id]),
        "record": reverse("audit:record", args=[story.records[0].sequence]),
        "task": reverse("audit:task", args=[story.step.pk]),
    }


@pytest.mark.parametrize(
    ("who", "codes"),
    [
        (None, {"list": 302, "trace": 302, "record": 302, "task": 302}),
        ((), {"list": 403, "trace": 403, "record": 403, "task": 403}),
        ((Role.REQUESTER,), {"list": 403, "trace": 404, "record": 404, "task": 404}),
        ((Role.AGENT_ADMIN,), {"list": 403, "trace": 404, "record": 404, "task": 404}),
        ((Role.APPROVER,), {"list": 403, "trace": 200, "record": 200, "task": 200}),
        ((Role.AUDITOR,), {"list": 200, "trace": 200, "record": 200, "task": 200}),
        ((Role.ADMINISTRATOR,), {"list": 200, "trace": 200, "record": 200, "task": 200}),
    ],
)
def test_each_role_reads_what_it_may(client, story, who, codes):
    if who is not None:
        client.force_login(make_user("someone", *who))
    assert {name: client.get(url).status_code for name, url in addresses(story).items()} == codes


def test_a_requester_reads_the_trace_of_their_own_plan_and_not_the_whole_trail(story, requester):
    client = signed_in(requester)
    pages = {name: client.get(url).status_code for name, url in addresses(story).items()}
    assert pages == {"list": 403, "trace": 200, "record": 200, "task": 200}
    lonely = record(
        "agent.registered", actor=Actor.agent("forge-01"), subject=("agent", "forge-01"), type="infra", slots=1
    )
    assert client.get(f"/audit/records/{lonely.sequence}/").status_code == 404


@pytest.mark.parametrize("path", ["list", "trace", "record", "task"])
def test_the_pages_only_read(reader, story, path):
    assert reader.post(addresses(story)[path]).status_code == 405


@pytest.mark.parametrize("path", ["list", "trace", "record", "task"])
def test_a_page_asks_the_database_no_more_often_for_three_stories_than_for_one(
    reader, story, requester, approver, path
):
    def queries() -> int:
        with CaptureQueriesContext(connection) as captured:
            assert reader.get(addresses(story)[path]).status_code == 200
        return len(captured)

    queries()
    before = queries()
    for _ in range(2):
        make_story(requester, approver)
    for _ in range(3):
        record(
            "attempt.completed", actor=SYSTEM, subject=("attempt", story.attempt.pk), step="x", number=1, **story.about
        )
    assert queries() == before


def test_what_a_person_wrote_is_shown_as_text(reader, requester, approver):
    story = make_story(requester, approver, "<script>alert(1)</script> & <b>bold</b>")
    for url in addresses(story).values():
        assert b"<script>alert" not in reader.get(url).content


def test_the_pages_obey_the_content_security_policy(reader, story):
    for url in addresses(story).values():
        response = reader.get(url)
        assert "unsafe" not in response["Content-Security-Policy"]
        body = response.content.decode()
        assert not re.search(r"<style|\sstyle=|\son[a-z]+=|<script(?![^>]*src=)", body)


def test_json_in_the_facts_is_written_out(reader):
    one = record(
        "step.routed", actor=SYSTEM, subject=("step", uuid7()), step="a", agent="b", alternatives=[{"agent": "c"}]
    )
    body = reader.get(f"/audit/records/{one.sequence}/").content.decode()
    assert json.dumps({"agent": "c"})[1:-1].replace('"', "&quot;") in body
