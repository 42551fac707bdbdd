"""A run in a real browser: it moves by itself, survives the server, and shows each line once."""

import os
import shutil
import time

import pytest
from django.db import connections

from audit.authority import Role
from plans.enums import EventType, Stage
from plans.live import announce, announce_inbox
from plans.models import Plan
from tests.live.conftest import cookie_of
from tests.live.stories import attempt_of, finish, person, say, start, tell

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.browser, pytest.mark.integration]
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"]
ARGUMENTS += ["--disable-component-update", "--disable-sync", "--disable-dev-shm-usage"]


@pytest.fixture
def chromium(server):
    """A browser beside a running server. It keeps a loop in this thread, which Django would object to."""
    from playwright.sync_api import sync_playwright

    os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"] = "true"
    server.wait()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=ARGUMENTS)
        yield browser
        browser.close()
        connections.close_all()  # those of this loop; outside it there are others
    del os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"]


@pytest.fixture
def open_page(chromium, server):
    """Open a page for a person; errors of the page fail the test."""
    errors = []

    def opened(user, path):
        context = chromium.new_context()
        name, value = cookie_of(user).split("=", 1)
        context.add_cookies([{"name": name, "value": value, "url": f"http://{server.address}"}])
        page = context.new_page()
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on("console", lambda said: errors.append(said.text) if "Content Security Policy" in said.text else None)
        page.goto(f"http://{server.address}{path}")
        return page

    yield opened
    assert errors == []


def lines_on(page):
    return page.evaluate("[...document.querySelectorAll('#log > li[id]')].map(li => Number(li.id.slice(1)))")


def keep_banners(page):
    """Let the page keep what its banner says: one stays for seconds only, and this test may be busy meanwhile."""
    page.evaluate("""() => {
        window.said = [];
        new MutationObserver(() => {
            const words = document.querySelector("#connection .banner strong")?.textContent;
            if (words && window.said.at(-1) !== words) window.said.push(words);
        }).observe(document.body, { childList: true, subtree: true });
    }""")


def until(condition, seconds=15):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.1)


def test_a_run_moves_by_itself_and_survives_the_server(plan, step, requester, open_page, server):
    page = open_page(requester, f"/plans/{plan.number}/run/")
    assert page.locator("#log").count() == 0
    attempt = attempt_of(step)
    start(plan, attempt)
    say(attempt, [f"line {n}" for n in range(1, 11)])
    announce(plan.pk)
    page.wait_for_selector("#L10")
    for n in range(10):
        say(attempt, [f"more {n}.{m}" for m in range(30)])
        announce(plan.pk)
        page.wait_for_timeout(60)
    page.wait_for_selector("#L310")
    assert lines_on(page) == list(range(1, 311))
    assert "forge-01" in page.locator("#events").inner_text()

    keep_banners(page)
    server.kill()
    page.wait_for_selector("#connection .banner")
    say(attempt, ["said while nobody listened"])
    server.start()
    server.wait()
    page.wait_for_selector("#L311", timeout=30_000)
    say(attempt, ["and after"])
    finish(plan, attempt, ["the test does not look at the hash"])
    announce(plan.pk)
    page.wait_for_selector("#L312")
    assert lines_on(page) == list(range(1, 313))
    page.wait_for_selector("#connection .banner", state="detached", timeout=15_000)
    assert page.evaluate("window.said") == ["Reconnecting.", "Connected again."]


def test_signing_out_elsewhere_is_said_on_the_page(plan, requester, open_page):
    from django.contrib.sessions.models import Session

    page = open_page(requester, f"/plans/{plan.number}/run/")
    page.wait_for_timeout(500)
    Session.objects.all().delete()
    time.sleep(10.5)
    tell(plan, EventType.STAGE_CHANGED, was="draft", now="pending_approval")
    announce(plan.pk)
    page.wait_for_selector("#connection .banner")
    assert "You are signed out" in page.locator("#connection").inner_text()


def test_the_inbox_and_a_plan_page_move_by_themselves(plan, open_page):
    approver = person("approver", Role.APPROVER)
    inbox = open_page(approver, "/")
    reading = open_page(approver, f"/plans/{plan.number}/")
    assert "Nothing waits for you" in inbox.locator("#head").inner_text()
    inbox.wait_for_timeout(500)
    Plan.objects.filter(pk=plan.pk).update(stage=Stage.PENDING_APPROVAL)
    tell(plan, EventType.STAGE_CHANGED, was="draft", now="pending_approval")
    announce(plan.pk)
    announce_inbox()
    until(lambda: "1 thing waits for you" in inbox.locator("#head").inner_text())
    assert plan.goal in inbox.locator("#queue").inner_text()
    assert inbox.locator("#inbox-count").inner_text().startswith("1")
    until(lambda: "changed while you read" in reading.locator("#newer").inner_text())
    assert "Awaiting approval" in reading.locator("#head").inner_text()
