"""The admin is a reading room: everything can be found and followed, and nothing changed."""

import re

import pytest
from django.contrib import admin
from django.contrib.auth.models import Group, User
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from audit.admin_base import ReadingRoom
from audit.authority import Role
from audit.context import SYSTEM
from audit.ids import uuid7
from audit.models import DecisionRecord
from tests.factories import make_user

from .conftest import make_story, record, signed_in

MODELS = sorted(admin.site._registry, key=lambda model: model._meta.label)
OURS = [model for model in MODELS if model is not User]
ids = [model._meta.label for model in MODELS]
our_ids = [model._meta.label for model in OURS]


def url_of(model, what: str, *args) -> str:
    return reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_{what}", args=args)


def a_row(model):
    row = model._default_manager.first()
    assert row is not None, f"the story has no {model._meta.label}"
    return row


def test_every_model_of_the_story_is_there():
    assert {label.split(".")[1] for label in ids} >= {
        "Request", "Session", "Message", "Plan", "Revision", "Step", "Attempt", "Job", "Approval", "ApprovalPolicy", "Agent",
        "PlaybookRepository", "Playbook", "Offering", "ToolRecord", "DecisionRecord", "User", "Group",
    }  # fmt: skip
    assert "OutputLine" not in {label.split(".")[1] for label in ids}


@pytest.mark.e2e_04
@pytest.mark.parametrize("model", MODELS, ids=ids)
def test_an_auditor_reads_each_list_and_each_row_and_can_add_change_and_delete_nothing(reader, story, model):
    row = a_row(model)
    assert reader.get(url_of(model, "changelist")).status_code == 200
    page = reader.get(url_of(model, "change", row.pk))
    assert page.status_code == 200
    assert b'type="submit" value="Save"' not in page.content
    before = list(model._default_manager.order_by("pk").values_list("pk"))
    assert reader.get(url_of(model, "add")).status_code == 403
    assert reader.post(url_of(model, "add"), {}).status_code == 403
    assert reader.post(url_of(model, "change", row.pk), {"name": "x"}).status_code == 403
    assert reader.get(url_of(model, "delete", row.pk)).status_code == 403
    assert reader.post(url_of(model, "delete", row.pk), {"post": "yes"}).status_code == 403
    deletion = {"action": "delete_selected", "_selected_action": [str(row.pk)], "post": "yes"}
    assert reader.post(url_of(model, "changelist"), deletion).status_code in (200, 302, 403)
    assert list(model._default_manager.order_by("pk").values_list("pk")) == before


@pytest.mark.parametrize("model", OURS, ids=our_ids)
def test_an_administrator_cannot_change_them_either(admin, story, model):
    client = signed_in(admin)
    row = a_row(model)
    assert client.get(url_of(model, "change", row.pk)).status_code == 200
    assert client.post(url_of(model, "change", row.pk), {}).status_code == 403
    assert client.post(url_of(model, "add"), {}).status_code == 403
    assert client.post(url_of(model, "delete", row.pk), {"post": "yes"}).status_code == 403


def test_even_a_superuser_only_reads(story):
    root = User.objects.create_superuser("root", password="a long enough password")
    client = signed_in(root)
    assert client.get(url_of(DecisionRecord, "changelist"), follow=True).status_code == 403
    root.groups.add(Group.objects.get_or_create(name=Role.AUDITOR.value)[0])
    client = signed_in(User.objects.get(pk=root.pk))
    assert client.get(url_of(DecisionRecord, "changelist")).status_code == 200
    assert client.post(url_of(DecisionRecord, "delete", story.records[0].sequence), {"post": "yes"}).status_code == 403


@pytest.mark.parametrize("roles", [(), (Role.REQUESTER,), (Role.APPROVER,), (Role.AGENT_ADMIN,)])
def test_others_are_told_who_may(client, story, roles):
    client.force_login(make_user("someone", *roles))
    for url in (reverse("admin:index"), url_of(DecisionRecord, "changelist"), url_of(User, "changelist")):
        response = client.get(url, follow=True)
        assert response.status_code == 403
        assert b"administrator or auditor" in response.content


def test_who_is_not_signed_in_goes_to_the_one_sign_in_page(client, db):
    response = client.get(url_of(DecisionRecord, "changelist"), follow=True)
    assert response.redirect_chain[-1][0].startswith("/accounts/login/?next=")
    assert b'name="login"' in response.content
    assert client.post(reverse("admin:login"), {"username": "x", "password": "y"}).status_code == 302


def test_a_foreign_address_to_go_on_to_is_not_followed(reader):
    response = reader.get(reverse("admin:login"), {"next": "https://evil.example/"})
    assert response["Location"] == reverse("admin:index")


def test_signing_out_here_signs_out(reader):
    assert reader.get(reverse("admin:logout")).status_code == 405
    assert reader.post(reverse("admin:logout"))["Location"] == "/accounts/login/"
    assert reader.get(reverse("admin:index")).status_code == 302


def test_rows_lead_from_request_to_plan_to_step_to_try_to_approval_commit_and_trace(reader, story):
    def leads(obj) -> set[str]:
        body = reader.get(url_of(type(obj), "change", obj.pk)).content.decode()
        tools = body[body.index('class="object-tools"') :].split("</ul>")[0]
        return {address.replace("&amp;", "&") for address in re.findall(r'href="([^"]+)"', tools)}

    trace = reverse("audit:trace", args=[story.plan.trace_id])
    assert {url_of(type(story.plan), "change", story.plan.pk), trace} <= leads(story.request)
    plan = leads(story.plan)
    assert {url_of(type(story.request), "change", story.request.pk), trace} <= plan
    for model in ("revision", "step", "attempt", "approval"):
        assert f"{reverse(f'admin:plans_{model}_changelist')}?plan__id__exact={story.plan.pk}" in plan
    task = reverse("audit:task", args=[story.step.pk])
    assert {url_of(type(story.plan), "change", story.plan.pk), task, trace} <= leads(story.step)
    assert {url_of(type(story.step), "change", story.step.pk), task, trace} <= leads(story.attempt)
    assert {url_of(type(story.revision), "change", story.revision.pk), trace} <= leads(story.approval)
    assert {trace, reverse("audit:record", args=[story.records[1].sequence])} <= leads(story.records[1])
    for address in plan:
        assert reader.get(address).status_code == 200, address


@pytest.mark.parametrize("model", OURS, ids=our_ids)
def test_everything_can_be_searched_by_word_id_and_number(reader, story, model):
    for words in ("kuma", "7", str(a_row(model).pk), "kuma 7 0199c4e2", "9" * 30, "%_\\", "x" * 500):
        assert reader.get(url_of(model, "changelist"), {"q": words}).status_code == 200


def rows_of(response) -> int:
    return len(re.findall(r"<tr><t[hd] class=\"field-", response.content.decode()))


def test_a_search_finds_what_fits(reader, story, requester, approver):
    make_story(requester, approver, "Back up the database")
    plans = url_of(type(story.plan), "changelist")
    assert rows_of(reader.get(plans)) == 2
    assert rows_of(reader.get(plans, {"q": "database"})) == 1
    assert rows_of(reader.get(plans, {"q": str(story.plan.number)})) == 1
    assert rows_of(reader.get(plans, {"q": str(story.plan.trace_id)})) == 1
    assert rows_of(reader.get(plans, {"q": "database kuma uptime"})) == 0
    assert rows_of(reader.get(url_of(DecisionRecord, "changelist"), {"kind": "approvals"})) == 2
    assert rows_of(reader.get(url_of(DecisionRecord, "changelist"), {"by": "agent"})) == 4
    assert rows_of(reader.get(url_of(type(story.attempt), "changelist"), {"plan__id__exact": str(story.plan.pk)})) == 1


@pytest.mark.parametrize("before", ["x", "-1", "", "9" * 40, "0199c4e2-7b1a-7000-8000-000000000000"])
@pytest.mark.parametrize("model", OURS, ids=our_ids)
def test_a_place_in_the_list_that_is_none_never_breaks_the_page(reader, story, model, before):
    assert reader.get(url_of(model, "changelist"), {"before": before}, follow=True).status_code == 200


@pytest.mark.parametrize(
    "query",
    [{"p": "x"}, {"p": "99"}, {"all": ""}, {"o": "9.9"}, {"plan__id__exact": "x"}, {"at__gte": "x"}, {"e": "1"}],
)
def test_odd_parameters_never_break_the_page(reader, story, query):
    for model in (DecisionRecord, type(story.step)):
        assert reader.get(url_of(model, "changelist"), query, follow=True).status_code in (200, 400)


def test_lists_are_paged_by_key_and_count_nothing(reader):
    for number in range(60):
        record("person.signed_in", actor=SYSTEM, subject=("person", f"p{number}"))
    with CaptureQueriesContext(connection) as captured:
        first = reader.get(url_of(DecisionRecord, "changelist"))
    assert not [one for one in captured if "COUNT(" in one["sql"] or "OFFSET" in one["sql"]]
    assert rows_of(first) == 50
    following = re.search(r'href="(\?[^"]*before=\d+[^"]*)" rel="next"', first.content.decode())
    assert following
    second = reader.get(url_of(DecisionRecord, "changelist") + following[1].replace("&amp;", "&"))
    assert rows_of(second) == 11
    assert b"Newest" in second.content


@pytest.mark.parametrize("model", OURS, ids=our_ids)
def test_a_list_and_a_row_cost_the_same_for_three_stories_as_for_one(reader, story, requester, approver, model):
    def queries() -> list[int]:
        counts = []
        for url in (url_of(model, "changelist"), url_of(model, "change", a_row(model).pk)):
            with CaptureQueriesContext(connection) as captured:
                assert reader.get(url).status_code == 200
            counts.append(len(captured))
        return counts

    queries()
    before = queries()
    for _ in range(2):
        make_story(requester, approver)
    assert queries() == before


def test_the_admin_obeys_the_content_security_policy(reader, story):
    pages = [reverse("admin:index"), reverse("admin:app_list", args=["plans"])]
    pages += [url_of(model, "changelist") for model in MODELS]
    pages += [url_of(model, "change", a_row(model).pk) for model in MODELS]
    for url in pages:
        response = reader.get(url)
        assert response.status_code == 200, url
        assert not re.search(r"<style|\sstyle=|\son[a-z]+=\"|<script(?![^>]*src=)", response.content.decode()), url


def test_an_unknown_row_leads_back_to_the_start(reader, story):
    for pk in (uuid7(), "x", "../../etc"):
        response = reader.get(url_of(type(story.plan), "change", pk), follow=True)
        assert response.status_code in (200, 404)


# People


def person_form(user: User, **changes):
    return {
        "username": user.username, "first_name": "", "last_name": "", "email": "", "is_active": "on",
        "groups": [str(group.pk) for group in user.groups.all()], **changes,
    }  # fmt: skip


def test_an_administrator_gives_a_role_and_it_is_recorded(admin, requester):
    client = signed_in(admin)
    roles = [str(Group.objects.get_or_create(name=role.value)[0].pk) for role in (Role.REQUESTER, Role.APPROVER)]
    response = client.post(url_of(User, "change", requester.pk), person_form(requester, groups=roles))
    assert response.status_code == 302
    told = DecisionRecord.objects.get(type="person.changed")
    assert (told.actor, told.subject_id, told.metadata["roles"]) == ("ines", "mara", ["approver", "requester"])
    assert set(requester.groups.values_list("name", flat=True)) == {"approver", "requester"}


def test_an_administrator_adds_a_person_and_it_is_recorded_without_the_password(admin):
    secret = "correct horse battery staple"
    form = {"username": "newby", "usable_password": "true", "password1": secret, "password2": secret}
    assert signed_in(admin).post(url_of(User, "add"), form).status_code == 302
    told = DecisionRecord.objects.get(type="person.added")
    assert (told.actor, told.subject_id) == ("ines", "newby")
    assert secret not in told.canonical
    assert not User.objects.get(username="newby").is_superuser


def test_an_administrator_sets_a_password_and_it_is_recorded(admin, requester):
    secret = "correct horse battery staple"
    url = reverse("admin:auth_user_password_change", args=[requester.pk])
    form = {"usable_password": "true", "password1": secret, "password2": secret, "set-password": ""}
    assert signed_in(admin).post(url, form).status_code == 302
    assert DecisionRecord.objects.get(type="person.changed").subject_id == "mara"
    requester.refresh_from_db()
    assert requester.check_password(secret)


def test_nobody_becomes_a_superuser_through_a_form(admin, requester):
    client = signed_in(admin)
    client.post(url_of(User, "change", requester.pk), person_form(requester, is_superuser="on", is_staff="on"))
    requester.refresh_from_db()
    assert not requester.is_superuser
    assert not requester.is_staff


def test_a_person_is_never_deleted(admin, requester):
    client = signed_in(admin)
    assert client.post(url_of(User, "delete", requester.pk), {"post": "yes"}).status_code == 403
    assert User.objects.filter(pk=requester.pk).exists()


def test_every_admin_but_the_one_of_people_is_a_reading_room():
    others = [model for model, room in admin.site._registry.items() if not isinstance(room, ReadingRoom)]
    assert others == [User]
