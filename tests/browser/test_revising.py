"""A plan that failed is changed in a browser, on a phone and without JavaScript, and approved anew by somebody who sees what changed."""

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import decide

pytestmark = [pytest.mark.browser, pytest.mark.integration]
PHONE = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True}


def test_what_failed_is_mended_on_a_phone_and_approved_by_who_sees_what_changed(desk, demo):
    fail = {"tool": "diagnostic.fail", "input": {"times": 9, "transient": False}}
    plan = demo.ended(
        demo.approved(
            demo.written(
                {"key": "find", "tool": "diagnostic.echo", "input": {"value": ["atlas", "forge"]}},
                {"key": "deploy", **fail, "depends_on": ["find"]},
                {
                    "key": "tell",
                    "tool": "diagnostic.echo",
                    "input": {"value": "{{ steps.find.output.value }}"},
                    "depends_on": ["deploy", "find"],
                },
            )
        )
    )
    assert plan["stage"] == "failed"
    reading = desk.open("approver", f"/plans/{plan['number']}/")  # somebody who has the page open meanwhile
    desk.expect_complaint("status of 400")
    page = desk.open("requester", f"/plans/{plan['number']}/run/", java_script_enabled=False, **PHONE)
    page.get_by_role("link", name="Revise the plan").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("What should be different in revision 2?")
    expect(page.locator("#step-find")).to_contain_text("Done in revision 1")
    expect(page.locator("#step-find").get_by_label("value")).to_be_hidden()
    page.locator("#step-deploy").get_by_label("times").fill("no more")
    page.get_by_label("Why is it changed?").fill("It failed on purpose")
    page.get_by_role("button", name="Make revision 2").click()
    expect(page.get_by_role("alert").first).to_contain_text("Marked below: deploy, times.")
    expect(page.locator("#step-deploy").get_by_label("times")).to_have_value("no more")
    page.locator("#step-deploy").get_by_label("times").fill("0")
    page.get_by_role("button", name="Make revision 2").click()
    expect(page.locator("#changes")).to_contain_text("find is done and not repeated")
    expect(page.locator("#head")).to_contain_text("Awaiting approval")

    expect(reading.locator("#newer")).to_contain_text("awaiting approval, revision 2")
    reading.get_by_role("link", name="Load it again").click()
    changes = reading.locator("#changes")
    expect(changes).to_contain_text("It failed on purpose")
    expect(changes.locator("tbody tr")).to_have_count(1)
    expect(changes.locator("tbody tr")).to_contain_text("deploy, input times")
    decide(reading)
    expect(reading.locator("#head")).to_contain_text("Completed")
    reading.goto(f"/plans/{plan['number']}/run/?step=find")
    expect(reading.locator("#output")).to_contain_text("done in revision 1")
    expect(reading.locator("#log")).to_contain_text("atlas")
    told = demo.plan(plan["id"])["steps"]
    assert [step["carried_from"] for step in told] == [1, None, None] and told[2]["output"] == {
        "value": ["atlas", "forge"]
    }


def test_the_page_is_worked_with_the_keyboard_alone(desk, demo):
    plan = demo.written({"key": "say", "tool": "diagnostic.echo", "input": {"value": "one"}})
    page = desk.open("requester", f"/plans/{plan['number']}/")
    page.keyboard.press("c")
    page.wait_for_url("**/revise/")
    value = page.locator("#step-say").get_by_label("value")
    for _ in range(60):
        if value.evaluate("field => field === document.activeElement"):
            break
        page.keyboard.press("Tab")
    page.keyboard.press("ControlOrMeta+a")
    page.keyboard.type("two")
    page.get_by_label("Why is it changed?").focus()
    page.keyboard.type("Two is better")
    page.keyboard.press("Control+Enter")
    expect(page.locator("#changes")).to_contain_text("Two is better")
    assert demo.plan(plan["id"])["steps"][0]["input"] == {"value": "two"}
