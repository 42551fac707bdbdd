"""A connection that is cut during a run loses no line and repeats none."""

import pytest
from playwright.sync_api import expect

from tests.browser.cable import Cable
from tests.browser.conftest import lines_on

pytestmark = [pytest.mark.browser, pytest.mark.integration, pytest.mark.slow]
LINES = 600


@pytest.fixture
def cable():
    """A cable that can be pulled out."""
    one = Cable()
    yield one
    one.close()


def test_a_reader_who_was_cut_off_sees_each_line_once(desk, demo, cable):
    plan = demo.written({"key": "talk", "tool": "diagnostic.lines", "input": {"count": LINES, "per_second": 50}})
    demo.approved(plan)
    desk.expect_complaint("net::ERR_", "WebSocket connection to", "[object Event]")
    page = desk.open("requester", f"/plans/{plan['number']}/run/", proxy={"server": cable.address})
    page.wait_for_selector("#L50")
    cable.pull()
    banner = page.locator("#connection .banner")
    expect(banner).to_contain_text("Reconnecting.")
    page.wait_for_timeout(3000)
    last = lines_on(page)[-1]
    assert last < LINES
    cable.insert()
    expect(banner).to_contain_text("Connected again.")
    page.wait_for_selector(f"#L{LINES}", timeout=30_000)
    assert lines_on(page) == list(range(1, LINES + 1))
    expect(page.locator("#log-foot")).to_contain_text(f"{LINES} lines, none missing")
    expect(banner).to_have_count(0)
