"""The page of a plan, and the decision about it, as plain forms."""

import pytest
from django.urls import reverse

from audit.authority import Role
from audit.context import Actor
from plans import services
from plans.models import Approval, Plan, Revision, Step
from tests import factories


def decide(client, plan, how="approve", **fields):
    return client.post(reverse(f"plans:{how}", args=[plan.number]), fields)


def test_an_approver_reads_the_digest_and_approves_it(browse, approver, pending):
    client, digest = browse(approver), factories.digest_of(pending)
    page = client.get(reverse("plans:plan", args=[pending.number])).text
    assert digest in page
    assert f"{digest[:8]} … {digest[-8:]}" in page
    assert "Yours is the last approval needed." in page
    answer = decide(client, pending, digest=digest, comment="fine")
    assert (answer.status_code, answer["Location"]) == (302, reverse("plans:run", args=[pending.number]))
    assert [(a.approver, a.decision, a.comment) for a in Approval.objects.all()] == [(approver, "approved", "fine")]
    assert "is approved and starts" in client.get(answer["Location"]).text


def test_an_old_digest_approves_nothing_and_what_was_typed_is_kept(browse, approver, pending):
    answer = decide(browse(approver), pending, digest="0" * 64, comment="after lunch please")
    assert answer.status_code == 409
    assert "This changed while you read" in answer.text
    assert "after lunch please" in answer.text
    assert "digest_mismatch" in answer.text
    assert Plan.objects.get(pk=pending.pk).stage == "pending_approval"


@pytest.mark.parametrize("digest", ["", "7f3a", "Z" * 64, "0" * 65, "\x00" * 64])
def test_what_is_no_digest_is_refused(browse, approver, pending, digest):
    answer = decide(browse(approver), pending, digest=digest)
    assert answer.status_code == 400
    assert "Nothing was approved" in answer.text
    assert not Approval.objects.exists()


def test_nobody_approves_what_they_asked_for(browse, db):
    both = factories.make_user("both", Role.REQUESTER, Role.APPROVER)
    plan = factories.make_plan(both)
    page = browse(both).get(reverse("plans:plan", args=[plan.number])).text
    assert "four eyes" in page
    assert 'popovertarget="approve"' not in page
    answer = decide(browse(both), plan, digest=factories.digest_of(plan))
    assert answer.status_code == 403
    assert "self_approval" in answer.text


def test_a_requester_may_not_decide(browse, requester, pending):
    answer = decide(browse(requester), pending, digest=factories.digest_of(pending))
    assert answer.status_code == 403
    assert not Approval.objects.exists()


def test_rejecting_needs_a_reason_and_is_final(browse, approver, requester, pending):
    client = browse(approver)
    without = decide(client, pending, "reject", reason="  ")
    assert without.status_code == 400
    assert "the requester reads it" in without.text
    assert decide(client, pending, "reject", reason="Not on a Friday").status_code == 302
    page = browse(requester).get(reverse("plans:plan", args=[pending.number])).text
    assert "Rejected" in page
    assert "Not on a Friday" in page
    again = decide(client, pending, digest=factories.digest_of(pending))
    assert again.status_code == 409
    assert "already_decided" in again.text


def test_the_page_says_that_nothing_was_previewed(browse, approver, pending):
    page = browse(approver).get(reverse("plans:plan", args=[pending.number])).text
    assert "Not previewed" in page
    assert "<dt>Predicted change</dt><dd>unknown" in page


def test_words_of_a_goal_or_a_value_are_text_and_never_markup(browse, approver, requester):
    steps = [factories.step("say", input={"value": "<script>alert(1)</script>"})]
    plan = factories.make_plan(requester, steps, goal="<img src=x onerror=alert(1)>")
    for address in (reverse("plans:plan", args=[plan.number]), reverse("plans:list"), reverse("plans:inbox")):
        page = browse(approver).get(address).text
        assert "<img src=x" not in page
        assert "<script>alert" not in page


def test_a_plan_of_a_thousand_steps_shows_fifty_at_a_time(browse, approver, requester):
    plan = factories.make_plan(requester, [factories.step(f"s{n}") for n in range(1, 121)])
    client, address = browse(approver), reverse("plans:plan", args=[plan.number])
    first = client.get(address).text
    assert 'id="step-s50"' in first
    assert 'id="step-s51"' not in first
    assert 'id="step-s51"' in client.get(f"{address}?from=51").text
    assert 'id="step-s100"' in client.get(f"{address}?step=s100").text
    assert client.get(f"{address}?from=99999").status_code == 200
    assert client.get(f"{address}?from=-1&step=nothing").status_code == 200


def test_the_list_finds_by_number_words_stage_and_person(browse, approver, requester, stranger):
    mine = factories.make_plan(requester, goal="Water the plants")
    other = factories.make_plan(stranger, goal="Feed the cat")
    factories.approve(other, approver)
    client = browse(approver)

    def found(query):
        page = client.get(reverse("plans:list"), query).text
        return [plan.goal for plan in (mine, other) if plan.goal in page]

    assert found({"q": "plants"}) == [mine.goal]
    assert found({"q": str(other.number)}) == [other.goal]
    assert found({"stage": "pending_approval"}) == [mine.goal]
    assert found({"requester": "stranger"}) == [other.goal]
    assert found({"q": "nothing like it"}) == []
    assert found({}) == [mine.goal, other.goal]


def test_the_list_counts_what_has_not_ended_and_nothing_else(browse, approver, requester):
    waiting, rejected = factories.make_plan(requester), factories.make_plan(requester)
    services.reject_plan(
        actor=Actor.person(approver), plan_id=rejected.pk, reason="No", digest=factories.digest_of(rejected)
    )
    page = browse(approver).get(reverse("plans:list")).text
    assert waiting.stage == "pending_approval"
    assert "<h1>1 awaits approval</h1>" in page
    head = page.partition("<h1>")[2].partition("</nav>")[0]
    assert "rejected" not in head
    assert "completed" not in head  # they are not counted, so no number may stand there
    assert rejected.goal in browse(approver).get(reverse("plans:list"), {"stage": "rejected"}).text


@pytest.mark.parametrize("query", [{"stage": "no-such"}, {"before": "-1"}, {"before": "9" * 30}, {"q": "a\x00b"}])
def test_a_filter_that_can_not_be_used_says_so(browse, approver, query):
    answer = browse(approver).get(reverse("plans:list"), query)
    assert answer.status_code == 400
    assert "This filter can not be used" in answer.text


def test_the_list_is_paged_by_the_number_of_its_last_row(browse, requester, approver):
    factories.make_policy()
    plans = [factories.make_plan(requester, goal=f"Goal {n:02}") for n in range(27)]
    client = browse(approver)
    first = client.get(reverse("plans:list")).text
    assert f"?before={plans[2].number}" in first
    second = client.get(reverse("plans:list"), {"before": plans[2].number}).text
    assert "Goal 01" in second
    assert "Goal 02" not in second


def test_the_number_of_queries_does_not_grow_with_the_rows(browse, requester, approver, count_queries):
    client = browse(approver)
    addresses = [reverse("plans:list"), reverse("plans:inbox"), reverse("agents:list")]
    factories.make_plan(requester)
    factories.make_agent("a1")
    one = [count_queries(client, address) for address in addresses]
    for n in range(2, 4):
        factories.make_plan(requester, [factories.step(f"s{i}") for i in range(n)])
        factories.make_agent(f"a{n}")
    assert [count_queries(client, address) for address in addresses] == one


def test_the_page_of_a_plan_asks_as_much_for_three_steps_as_for_one(browse, requester, approver, count_queries):
    client = browse(approver)
    small = factories.make_plan(requester)
    large = factories.make_plan(requester, [factories.step(f"s{i}") for i in range(3)])
    for name in ("plans:plan", "plans:run"):
        one, three = (count_queries(client, reverse(name, args=[plan.number])) for plan in (small, large))
        assert one == three


def test_a_draft_without_a_digest_has_a_page(browse, requester, approver):
    factories.make_policy()
    plan = Plan.objects.create(requester=requester, goal="Half a thought")
    Revision.objects.create(plan=plan, number=1)
    plan.refresh_from_db()
    for name in ("plans:plan", "plans:run"):
        assert browse(approver).get(reverse(name, args=[plan.number])).status_code == 200
    assert not Step.objects.filter(plan=plan).exists()
