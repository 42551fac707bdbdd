"""People in real browsers, on a whole installation of real processes."""

import json
import shutil
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

from tests.processes import Installation

ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"]
ARGUMENTS += ["--disable-component-update", "--disable-sync", "--disable-dev-shm-usage"]
WORDS = "Deploy Kuma Uptime to homelab and add our existing portals to the config"
expect.set_options(timeout=20_000)


@pytest.fixture(scope="session")
def demo(tmp_path_factory):
    """`chiffon up --demo`; every test here uses the same one."""
    installation = Installation(tmp_path_factory.mktemp("browsed") / "data")
    try:
        installation.start()
        yield installation
    finally:
        installation.stop()


@pytest.fixture(scope="module")
def chromium():
    """Chromium. Its driver keeps a loop in this thread, so it goes with the module that asked for it."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=ARGUMENTS)
        yield browser
        browser.close()


class Desk:
    """Opens browsers for people, and keeps what their consoles complained about."""

    cookies: dict[str, list[Any]] = {}  # of this run; signing in is limited to a few times a minute

    def __init__(self, chromium: Browser, demo: Installation) -> None:
        self.chromium, self.demo = chromium, demo
        self.complaints: list[str] = []
        self.expected: tuple[str, ...] = ()
        self.contexts: list[BrowserContext] = []

    def open(self, person: str | None, path: str = "/", **options) -> Page:
        """A page for this person in a browser of its own; for nobody without a name."""
        context = self.chromium.new_context(base_url=self.demo.address, **options)
        context.set_default_timeout(20_000)
        self.contexts.append(context)
        key = f"{self.demo.address} {person}"
        if person and key not in self.cookies:
            page = context.new_page()
            self.sign_in(page, person)
            page.wait_for_url(lambda address: "login" not in address)
            page.close()
            self.cookies[key] = [cookie for cookie in context.cookies() if "session" in cookie["name"]]
        elif person:
            context.add_cookies(self.cookies[key])
        page = context.new_page()
        page.on("pageerror", lambda error: self.complaints.append(f"{page.url}: {error}"))
        page.on("console", lambda said: self._heard(page, said))
        page.goto(path)
        return page

    def sign_in(self, page: Page, person: str, path: str = "/accounts/login/") -> None:
        """Sign in with the password that the demo made."""
        if path:
            page.goto(path)
        page.get_by_label("Name").fill(person)
        page.get_by_label("Password").fill(json.loads((self.demo.folder / "demo-accounts.json").read_text())[person])
        page.get_by_role("button", name="Sign in").click()

    def expect_complaint(self, *words: str) -> None:
        """Complaints with these words belong to the test: a page that is not found is an error to the console."""
        self.expected += words

    def _heard(self, page: Page, said) -> None:
        if said.type in {"error", "warning"}:
            self.complaints.append(f"{page.url}: {said.text}")

    def unexpected(self) -> list[str]:
        """What the consoles said and no test expected."""
        return [said for said in self.complaints if not any(words in said for words in self.expected)]


@pytest.fixture
def desk(chromium, demo):
    """Browsers for people; whatever a console complains about fails the test."""
    one = Desk(chromium, demo)
    yield one
    for context in one.contexts:
        context.close()
    assert one.unexpected() == []


def ask(page, words=WORDS):
    """Ask in words as a person does; the page of the request."""
    page.goto("/requests/new/")
    page.get_by_label("What should be done?").fill(words)
    page.get_by_role("button", name="Ask", exact=True).click()
    expect(page.get_by_role("heading", level=1)).not_to_have_text("What should be done?")
    return page


def decide(page, comment=""):
    """Approve the plan on the page with the keyboard alone, and land on its run."""
    page.keyboard.press("a")
    sheet = page.locator("#approve")
    expect(sheet.get_by_role("heading")).to_be_focused()
    if comment:
        sheet.get_by_label("Comment").fill(comment)
    sheet.get_by_role("button", name="Approve revision").focus()
    page.keyboard.press("Enter")
    page.wait_for_url("**/run/")


def plan_of(page):
    """The number of the plan that the page of a request leads to."""
    return int(page.get_by_role("link", name="Read plan").get_attribute("href").rstrip("/").rpartition("/")[2])


def lines_on(page):
    """The numbers of the output lines on the page, in its order."""
    return page.evaluate("[...document.querySelectorAll('#log > li[id]')].map(li => Number(li.id.slice(1)))")
