"""Pictures of Chiffon, taken from a running demo as a person would see it.

    .venv/bin/python scripts/screenshots.py              the two pictures of README.md, into docs/images
    .venv/bin/python scripts/screenshots.py --all DIR    every page, desktop and phone, light and dark

The demo is the one of CHIFFON_DATA_DIR (default .chiffon). It is asked for the Kuma story, so it gains a plan.
"""

import argparse
import json
import os
import re
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from playwright.sync_api import Browser, Error, Page, sync_playwright

ROOT: Final = Path(__file__).resolve().parent.parent
STORY: Final = "Deploy Kuma Uptime to homelab and add our existing portals to the config"
UNCLEAR: Final = "Set up postgres"
WIDTHS: Final = {"desktop": (1440, 900), "phone": (390, 844)}
STEP_SECONDS: Final = 60
PLAN_SECONDS: Final = 120
_ARGUMENTS: Final = [
    "--no-sandbox",  # Chromium's own does not work as root, and these pages are ours
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--hide-scrollbars",
]


class Demo:
    """The running demo: where it is, who can sign in, and a browser."""

    def __init__(self, browser: Browser, address: str, accounts: dict[str, str]) -> None:
        self._browser = browser
        self._address = address
        self._accounts = accounts

    @contextmanager
    def page_of(self, person: str = "", width: str = "desktop", scheme: str = "light") -> Iterator[Page]:
        """A page of this person, who has signed in; of nobody if none is named."""
        size = dict(zip(("width", "height"), WIDTHS[width], strict=True))
        context = self._browser.new_context(
            base_url=self._address,
            viewport=size,  # type: ignore[arg-type]
            color_scheme="dark" if scheme == "dark" else "light",
            reduced_motion="reduce",
            locale="en-GB",
            timezone_id="UTC",
        )
        context.set_default_timeout(STEP_SECONDS * 1000)
        try:
            page = context.new_page()
            if person:
                page.goto("/accounts/login/")
                page.fill("[name=login]", person)
                page.fill("[name=password]", self._accounts[person])
                page.click("main button[type=submit], form.door button[type=submit]")
                page.wait_for_url(re.compile(r"^(?!.*/login/)"))
            yield page
        finally:
            context.close()


def ask(page: Page, words: str) -> str:
    """Ask in words; the path of the conversation."""
    page.goto("/requests/new/")
    page.fill("#text", words)
    page.click("form.composer button[type=submit]")
    page.wait_for_url(re.compile(r"/requests/[0-9a-f-]{36}/"))
    return path_of(page)


def plan_of(page: Page) -> str:
    """The path of the plan that the open conversation led to."""
    found = page.locator("main a[href^='/plans/']").first.get_attribute("href") or ""
    matched = re.match(r"/plans/\d+/", found)
    if matched is None:
        raise LookupError("The conversation led to no plan.")
    return matched[0]


def approve(page: Page, plan: str) -> None:
    """Approve what is on the screen."""
    page.goto(plan)
    page.click("[popovertarget=approve].primary")
    page.click("#approve button[type=submit]")
    page.wait_for_load_state()


def path_of(page: Page) -> str:
    """The path of the page that is open."""
    return re.sub(r"^https?://[^/]+", "", page.url)


def save(page: Page, file: Path, *, whole: bool = False) -> None:
    """Write the picture when the fonts are there and nothing is loading."""
    page.wait_for_load_state("load")
    page.evaluate("document.fonts.ready")
    file.parent.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=file, full_page=whole, animations="disabled")
    print(file)


def tell_the_story(demo: Demo, folder: Path, *, plan_name: str = "plan", run_name: str = "run") -> str:
    """Ask, read, approve and watch; the plan awaiting approval and the live run are saved. The plan's path."""
    with demo.page_of("requester") as page:
        ask(page, STORY)
        plan = plan_of(page)
    with demo.page_of("approver") as page:
        page.goto(plan)
        save(page, folder / f"{plan_name}.png")
        approve(page, plan)
        page.goto(f"{plan}run/")
        # The picture is of work in progress: the second step runs, and its lines arrive.
        page.locator(".steps li:nth-of-type(2) .step[data-tone=run]").wait_for()
        page.reload()
        page.locator("#log li >> nth=14").wait_for()
        save(page, folder / f"{run_name}.png")
        over = page.locator("#head .badge").filter(has_text=re.compile("Completed|Failed"))
        over.first.wait_for(timeout=PLAN_SECONDS * 1000)
    return plan


def every_page(demo: Demo, folder: Path) -> None:
    """Save every page, after the story has been told once, with a second plan that waits and a question that is open."""
    plan = tell_the_story(demo, folder / "story")
    with demo.page_of("requester") as page:
        answered = path_of_request(page, plan)
        unclear = ask(page, UNCLEAR)
        ask(page, STORY)
        waiting = plan_of(page)
    with demo.page_of("admin") as page:
        page.goto("/playbooks/")
        playbook = page.locator("main a[href^='/playbooks/']").first.get_attribute("href") or "/playbooks/"
    with demo.page_of("auditor") as page:
        page.goto("/audit/")
        record = page.locator("main a[href^='/audit/records/']").first.get_attribute("href") or "/audit/"
        page.goto(plan)
        trace = page.locator("a[href^='/audit/traces/']").first.get_attribute("href") or "/audit/"
        page.goto(trace)
        task = page.locator("a[href^='/audit/tasks/']").first.get_attribute("href") or trace
    pages: dict[str, list[tuple[str, str]]] = {
        "": [("sign-in", "/accounts/login/")],
        "requester": [
            ("inbox-requester", "/"),
            ("new-request", "/requests/new/"),
            ("requests", "/requests/"),
            ("request-planned", answered),
            ("request-question", unclear),
        ],
        "approver": [
            ("inbox", "/"),
            ("plans", "/plans/"),
            ("plan-waiting", waiting),
            ("plan-completed", plan),
            ("run-completed", f"{plan}run/"),
            ("policy", "/policy/"),
            ("error-404", "/plans/999999/"),
        ],
        "auditor": [("audit", "/audit/"), ("record", record), ("trace", trace), ("task", task)],
        "admin": [
            ("agents", "/agents/"),
            ("agent", "/agents/forge-01/"),
            ("tools", "/tools/"),
            ("tool", "/tools/ansible.playbook/"),
            ("playbooks", "/playbooks/"),
            ("playbook", playbook),
            ("tokens", "/accounts/tokens/"),
            ("api-docs", "/api/v1/docs"),
            ("admin", "/admin/"),
            ("admin-plans", "/admin/plans/plan/"),
        ],
    }
    for width in WIDTHS:
        for scheme in ("light", "dark"):
            for person, shots in pages.items():
                with demo.page_of(person, width, scheme) as page:
                    for name, path in shots:
                        page.goto(path)
                        if name == "api-docs":
                            page.locator(".opblock").first.wait_for()
                        save(page, folder / f"{name}-{width}-{scheme}.png", whole=True)


def path_of_request(page: Page, plan: str) -> str:
    """The path of the conversation that a plan came from."""
    page.goto(plan)
    return (
        page.locator("a[href^='/requests/']:not([href='/requests/']):not([href='/requests/new/'])").first.get_attribute(
            "href"
        )
        or "/requests/"
    )


def main() -> int:
    """Take the pictures; what prevents it is said in one sentence."""
    parser = argparse.ArgumentParser(description="Take pictures of a running demo.")
    parser.add_argument("--all", type=Path, metavar="DIR", help="every page, desktop and phone, light and dark")
    arguments = parser.parse_args()
    data = Path(os.environ.get("CHIFFON_DATA_DIR") or ROOT / ".chiffon")
    chromium = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if chromium is None:
        print("There is no Chromium: run make browser first.", file=sys.stderr)
        return 1
    try:
        address = json.loads((data / "env.json").read_text())["CHIFFON_PUBLIC_URL"]
        accounts = json.loads((data / "demo-accounts.json").read_text())
    except (OSError, ValueError, KeyError):
        print(f"{data} holds no demo: run make demo, and this beside it.", file=sys.stderr)
        return 1
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=_ARGUMENTS)
        try:
            demo = Demo(browser, address, accounts)
            if arguments.all:
                every_page(demo, arguments.all)
            else:
                tell_the_story(demo, ROOT / "docs" / "images")
        except (Error, LookupError) as error:
            print(f"The demo at {address} did not do what was expected: {error}", file=sys.stderr)
            return 1
        finally:
            browser.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
