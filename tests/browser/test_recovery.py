"""Where a plan stopped, in a browser: the wait is counted, ended by hand, and the page follows."""

import re

import pytest
from playwright.sync_api import expect

pytestmark = [pytest.mark.browser, pytest.mark.integration]
SLOWLY = {"attempts": 3, "first_wait_seconds": 600, "longest_wait_seconds": 600}


def seconds(text):
    """What a countdown shows, in seconds."""
    found = re.fullmatch(r"in (?:(\d+) min ?)?(?:(\d+) s)?", text)
    assert found, text
    minutes, rest = found.groups()
    return 60 * int(minutes or 0) + int(rest or 0)


def test_a_wait_counts_down_and_trying_now_ends_it_before_every_reader(desk, demo):
    plan = demo.written(
        {"key": "flaky", "tool": "diagnostic.fail", "retry": SLOWLY},
        {"key": "after", "tool": "diagnostic.noop", "depends_on": ["flaky"]},
    )
    demo.approved(plan)
    watching = desk.open("approver", f"/plans/{plan['number']}/run/")
    acting = desk.open("requester", f"/plans/{plan['number']}/run/")
    left = watching.locator("#callout time[data-until]")
    expect(watching.locator("#callout")).to_contain_text("flaky: try 2 of 3")
    first = seconds(left.inner_text())
    watching.wait_for_timeout(2_200)
    assert 0 < first - seconds(left.inner_text()) < 60
    acting.get_by_role("link", name="Try flaky now").click()
    acting.get_by_role("button", name="Try flaky now").click()
    for page in (acting, watching):
        expect(page.locator("#head")).to_contain_text("Completed")
        expect(page.locator("#callout")).to_be_empty()


def test_giving_up_says_what_is_kept_and_offers_the_ways_on(desk, demo):
    plan = demo.written(
        {"key": "before", "tool": "diagnostic.noop"},
        {"key": "flaky", "tool": "diagnostic.fail", "retry": SLOWLY, "depends_on": ["before"]},
    )
    demo.approved(plan)
    page = desk.open("requester", f"/plans/{plan['number']}/run/")
    page.get_by_role("link", name="Give up on flaky").click()
    expect(page.get_by_label("Why")).to_be_focused()
    page.keyboard.type("The host is gone")
    page.get_by_role("button", name="Give up on flaky").click()
    expect(page.locator("#head")).to_contain_text("before stays done. flaky failed.")
    expect(page.locator("#callout")).to_contain_text("Given up by Mara Lindqvist: The host is gone")
    expect(page.get_by_role("link", name="Try flaky again")).to_be_visible()
    expect(page.get_by_role("button", name="Skip flaky")).to_be_disabled()
