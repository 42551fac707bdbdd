"""Everything that matters works in a browser without JavaScript; one loads the page again."""

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import ask, plan_of

pytestmark = [pytest.mark.browser, pytest.mark.integration, pytest.mark.slow]


def test_asked_approved_and_read_without_a_script(desk, demo):
    asking = ask(desk.open("requester", java_script_enabled=False), "Check the certificates")
    number = plan_of(asking)
    asking.get_by_role("link", name=f"Read plan {number}").click()
    expect(asking.locator("#head")).to_contain_text("Awaiting approval")

    deciding = desk.open("approver", java_script_enabled=False)
    deciding.locator(f"#row-{number}").click()
    deciding.get_by_role("button", name="Approve…").click()
    deciding.get_by_label("Comment").fill("Read without a script")
    deciding.get_by_role("button", name="Approve revision 1").click()
    deciding.wait_for_url(f"**/plans/{number}/run/")

    def completed():
        asking.goto(f"/plans/{number}/run/")
        return "Completed" in asking.locator("#head").inner_text()

    demo.until(completed, 60, every=1)
    expect(asking.locator("#log-foot")).to_contain_text("none missing")
    numbers = [int(line.get_attribute("id")[1:]) for line in asking.locator("#log > li").all()]
    assert numbers == list(range(1, len(numbers) + 1)) and len(numbers) > 3
    asking.goto(f"/plans/{number}/")
    expect(asking.locator("[aria-labelledby=verdict-title]")).to_contain_text("Read without a script")


def test_a_question_is_answered_without_a_script(desk):
    asking = ask(desk.open("requester", java_script_enabled=False), "Set up a backup job")
    for _ in range(4):
        if not asking.get_by_role("heading", level=1).inner_text().endswith("before there is a plan"):
            break
        asking.locator("form.callout button").first.click()
    expect(asking.get_by_role("heading", level=1)).to_contain_text("came of this")


def test_a_request_that_no_playbook_answers_is_refused_in_words(desk):
    asking = ask(desk.open("requester", java_script_enabled=False), "Paint the garden fence green")
    expect(asking.get_by_role("heading", level=1)).to_have_text("No playbook does this")
