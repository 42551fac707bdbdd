"""The story of the product, as its people see it: nobody loads a page again."""

import re

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import WORDS, ask, decide, lines_on, plan_of

pytestmark = [pytest.mark.browser, pytest.mark.integration, pytest.mark.slow, pytest.mark.e2e_01]


def test_words_become_a_run_that_both_people_watch(desk, demo):
    inbox = desk.open("approver")
    heading = inbox.get_by_role("heading", level=1)
    before = int(heading.inner_text().split()[0].replace("Nothing", "0"))

    asking = ask(desk.open("requester"))
    number = plan_of(asking)
    asking.get_by_role("link", name=f"Read plan {number}").click()
    expect(asking.locator("#head")).to_contain_text("Awaiting approval")
    assert asking.get_by_role("button", name="Approve").count() == 0
    expect(asking.locator("#decide")).to_contain_text("You do not decide this one.")

    expect(heading).to_contain_text(f"{before + 1} thing")
    row = inbox.locator(f"#row-{number}")
    for _ in range(before + 1):
        inbox.keyboard.press("j")
        if row.evaluate("row => row === document.activeElement"):
            break
    expect(row).to_be_focused()
    expect(inbox.locator("#glance")).to_contain_text(f"Plan {number}")
    inbox.keyboard.press("Enter")
    inbox.wait_for_url(f"**/plans/{number}/")
    steps = inbox.locator("article.step")
    expect(steps).to_have_count(2)
    expect(steps.nth(0)).to_contain_text("kuma-deploy.yml")
    expect(steps.nth(1)).to_contain_text("kuma-config-update.yml")
    deploy, update = (step.get_attribute("id").removeprefix("step-") for step in steps.all())
    digest = inbox.locator("#approve input[name=digest]").get_attribute("value")
    assert len(digest) == 64

    decide(inbox)

    run = inbox
    run.evaluate("window.sameDocument = true")
    run.wait_for_selector(f"#log-title:text('{deploy}')")
    run.wait_for_selector("#L3")
    run.wait_for_selector(f"#log-title:text('{update}')", timeout=60_000)  # it follows to the step that runs
    expect(run.locator("#head")).to_contain_text("Completed", timeout=60_000)
    expect(run.locator("#log-foot")).to_contain_text("none missing")
    seen = lines_on(run)
    assert seen == list(range(1, len(seen) + 1)) and len(seen) > 5
    assert "PLAY RECAP" in run.locator("#log").inner_text()
    assert run.evaluate("window.sameDocument")

    run.goto(f"/plans/{number}/run/?step={deploy}")
    seen = lines_on(run)
    assert seen == list(range(1, len(seen) + 1)) and "PLAY RECAP" in run.locator("#log").inner_text()
    address = re.search(r"http://127\.0\.0\.1:\d+/?", run.locator("#result").inner_text())
    assert address, run.locator("#result").inner_text()
    monitor = desk.open(None, address.group())
    expect(monitor.get_by_role("listitem")).to_have_count(7)
    expect(monitor.get_by_role("list")).to_contain_text("Home Assistant")


def deployed(demo):
    """A completed plan of the words; made if no test did before."""
    done = [plan for plan in demo.approver.get("/plans", stage="completed")["items"] if plan["goal"] == WORDS]
    return demo.plan(done[-1]["id"]) if done else demo.ended(demo.approved(demo.asked(WORDS)), 90)


def test_the_same_words_again_change_nothing_and_say_so(desk, demo):
    deployed(demo)
    asking = ask(desk.open("requester"))
    number = plan_of(asking)
    deciding = desk.open("approver", f"/plans/{number}/")
    decide(deciding)
    expect(deciding.locator("#head")).to_contain_text("Completed", timeout=90_000)
    rows = deciding.locator("#steps .step")
    expect(rows).to_have_count(2)
    for row in rows.all():
        expect(row).to_contain_text("Nothing had to change")


def test_the_trail_tells_the_story_down_to_its_commit(desk, demo):
    plan = deployed(demo)
    task = plan["steps"][0]["task_id"]
    commit = demo.until(lambda: demo.auditor.get(f"/audit/tasks/{task}").get("commit"))["commit"]
    reading = desk.open("auditor", f"/plans/{plan['number']}/")
    reading.get_by_role("link", name="Trail").click()
    expect(reading.get_by_role("heading", level=1)).to_contain_text("How it went")
    thread = reading.locator("ol.thread").first
    expect(thread.locator("li").first).to_contain_text("request.received")
    expect(thread).to_contain_text("approved revision 1")
    expect(thread).to_contain_text(commit[:12])
    thread.get_by_role("link", name=f"{plan['steps'][0]['key']} of plan {plan['number']}", exact=True).first.click()
    reading.wait_for_url(f"**/audit/tasks/{task}/")
    git = reading.locator("[aria-labelledby=git]")
    expect(git).to_contain_text(commit)
    expect(git).to_contain_text(f".audit/tasks/{task}.json")
    expect(git.get_by_role("region", name="The file's content")).to_contain_text(plan["digest"])
