"""Deciding in a browser: who may, what is said when somebody was faster, and what is kept."""

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import decide

pytestmark = [pytest.mark.browser, pytest.mark.integration]
STEP = {"key": "say", "tool": "diagnostic.echo", "input": {"value": "said"}}


@pytest.fixture
def plan(demo):
    """A plan of the requester that awaits approval."""
    return demo.written(STEP, goal="Try a decision")


def test_a_rejection_needs_its_reason_and_the_requester_reads_it(desk, plan):
    reading = desk.open("requester", f"/plans/{plan['number']}/")
    deciding = desk.open("approver", f"/plans/{plan['number']}/")
    deciding.keyboard.press("r")
    sheet = deciding.locator("#reject")
    reason = sheet.get_by_label("Why do you reject this plan?")
    expect(reason).to_be_focused()
    sheet.get_by_role("button", name="Reject plan").click()
    assert reason.evaluate("field => field.validity.valueMissing")
    deciding.keyboard.type("Not on a Friday")
    deciding.keyboard.press("Control+Enter")
    expect(deciding.locator("#head")).to_contain_text("Rejected")
    expect(reading.locator("#head")).to_contain_text("Rejected")
    reading.reload()
    expect(reading.locator("#main")).to_contain_text("Not on a Friday")


def test_approving_what_was_rejected_meanwhile_is_a_conflict_that_keeps_the_comment(desk, demo, plan):
    desk.expect_complaint("status of 409")
    deciding = desk.open("approver", f"/plans/{plan['number']}/")
    deciding.keyboard.press("a")
    deciding.get_by_label("Comment").fill("Fine with me")
    demo.approver.post(f"/plans/{plan['id']}/reject", reason="Faster than you")
    expect(deciding.get_by_label("Comment")).to_have_value("Fine with me")  # news does not take it away
    deciding.get_by_role("button", name="Approve revision 1").click()
    refusal = deciding.get_by_role("alert")
    expect(refusal).to_contain_text("This changed while you read")
    expect(refusal).to_contain_text("Fine with me")
    expect(deciding.locator("#head")).to_contain_text("Rejected")
    assert deciding.get_by_role("button", name="Approve").count() == 0


@pytest.mark.parametrize("person", ["requester", "auditor", "admin"])
def test_who_may_not_decide_sees_no_way_to(desk, plan, person):
    page = desk.open(person, f"/plans/{plan['number']}/")
    expect(page.locator("#decide")).to_contain_text("You do not decide this one.")
    assert page.get_by_role("button", name="Approve").count() == page.get_by_role("button", name="Reject").count() == 0
    page.keyboard.press("a")
    assert page.locator(".sheet:popover-open").count() == 0


def test_one_who_asked_is_told_why_they_may_not_approve(desk, plan):
    page = desk.open("requester", f"/plans/{plan['number']}/")
    expect(page.locator("[aria-labelledby=verdict-title]")).to_contain_text("four eyes")


def test_a_comment_stays_with_the_decision(desk, plan):
    page = desk.open("approver", f"/plans/{plan['number']}/")
    decide(page, "Looked at it twice")
    expect(page.locator("#head")).to_contain_text("Completed")
    page.goto(f"/plans/{plan['number']}/")
    expect(page.locator("[aria-labelledby=verdict-title]")).to_contain_text("Looked at it twice")


def test_an_unknown_plan_is_a_page_that_leads_on(desk):
    desk.expect_complaint("status of 404")
    page = desk.open("requester", "/plans/987654321/")
    expect(page.get_by_role("heading", level=1)).to_be_visible()
    page.get_by_role("link", name="Go to plans").click()
    page.wait_for_url("**/plans/")


def test_a_session_that_ended_leads_back_to_where_one_was(desk, plan):
    page = desk.open("auditor", f"/plans/{plan['number']}/")
    page.context.clear_cookies()
    page.goto(f"/plans/{plan['number']}/run/")
    expect(page).to_have_url(f"{desk.demo.address}/accounts/login/?next=/plans/{plan['number']}/run/")
    desk.sign_in(page, "auditor", path="")
    page.wait_for_url(f"**/plans/{plan['number']}/run/")


def test_a_wrong_password_is_told_and_the_name_is_kept(desk):
    page = desk.open(None, "/accounts/login/")
    page.get_by_label("Name").fill("requester")
    page.get_by_label("Password").fill("not this one")
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("alert")).to_be_visible()
    expect(page.get_by_label("Name")).to_have_value("requester")
