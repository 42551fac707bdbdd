"""A plan with everything a plan can say, watched as a graph, and each way on tried by hand: pressed, seen to work, on record."""

import re
import time

import pytest
from playwright.sync_api import expect

from tests.homelab import playbook

pytestmark = [pytest.mark.browser, pytest.mark.integration, pytest.mark.slow, pytest.mark.e2e_03]
SLEEP = "302.61"  # seconds that no other program sleeps, so that its process is found
PLAYBOOKS = {
    "walk-hang.yml": playbook("walkhang", f"- shell: 'setsid sleep {SLEEP} & sleep {SLEEP}'", hosts="atlas"),
    "walk-half.yml": playbook(
        "walkhalf", "- shell: test -e {{ mark }} || test {{ inventory_hostname }} = atlas", hosts="atlas,dns-01"
    ),
}


@pytest.fixture(scope="module")
def playbooks(demo):
    demo.playbooks(PLAYBOOKS)


def say(key, value="said", **more):
    return {"key": key, "tool": "diagnostic.echo", "input": {"value": value}, **more}


def undo(value):
    return {"tool": "diagnostic.echo", "input": {"value": value}}


def fail(key, times=9, **more):
    return {"key": key, "tool": "diagnostic.fail", "input": {"times": times, "transient": False}, **more}


def nap(key, seconds, **more):
    return {"key": key, "tool": "diagnostic.sleep", "input": {"seconds": seconds}, **more}


TWELVE = [
    say("find", {"hosts": ["atlas", "forge", "nas"], "risky": False}),
    nap("backup", 1, depends_on=["find"]),
    say("lock", depends_on=["find"], rollback=undo("unlock")),
    nap("prepare", 1, for_each="{{ steps.find.output.value.hosts }}", depends_on=["backup", "lock"]),
    say("drain", depends_on=["prepare"], when="steps.find.output.value.risky"),
    say("deploy", "on {{ item }}", for_each=["atlas", "forge", "nas"], depends_on=["drain"],
        rollback=undo("remove {{ steps.deploy.output.items }}")),
    fail("dns", on_failure="fallback", fallback=undo("by hand"), depends_on=["deploy"]),
    fail("warm", on_failure="continue", depends_on=["deploy"]),
    say("config", "{{ steps.dns.output.value }}", depends_on=["dns"], rollback=undo("old config")),
    fail("verify", depends_on=["config", "warm"], on_failure="rollback"),
    say("announce", depends_on=["verify"]),
    {"key": "close", "tool": "diagnostic.noop", "depends_on": ["announce"]},
]  # fmt: skip


def test_twelve_steps_are_watched_as_a_graph_to_the_end_of_their_rollback(desk, demo):
    plan = demo.written(*TWELVE, goal="Renew the monitors")
    page = desk.open("requester", f"/plans/{plan['number']}/")
    expect(page.locator("#graph-title + *")).to_contain_text("12 steps")
    demo.approved(plan)
    page.goto(f"/plans/{plan['number']}/run/")
    page.evaluate("window.sameDocument = true")

    def box(key):
        return page.locator(".graph a.node").filter(has=page.locator("text", has_text=re.compile(rf"^(\d+ )?{key}$")))

    expect(box("backup")).to_contain_text("Running")
    expect(box("prepare")).to_contain_text("× each item")
    expect(box("prepare")).to_contain_text("0 of 3 done")  # the list was found, and its items run side by side
    expect(box("drain")).to_contain_text("Skipped")
    expect(box("deploy")).to_contain_text("Completed, 3 of 3 done")
    expect(box("dns")).to_contain_text("by fallback diagnostic.echo")
    expect(box("warm")).to_contain_text("Failed")
    expect(box("verify")).to_contain_text("Failed")
    for key in ("config", "deploy", "lock"):
        expect(box(f"Undo {key}")).to_contain_text("Completed")
    expect(box("announce")).to_contain_text("Waiting")
    head = page.locator("#head")
    expect(head).to_contain_text("Failed")
    expect(head).to_contain_text("7 of 12 steps done")
    expect(page.locator("#main")).to_contain_text("config, deploy, lock were rolled back")
    expect(box("warm")).to_be_in_viewport()  # the graph is wider than the page, and went along with the work
    expect(box("find")).not_to_be_in_viewport()
    assert page.evaluate("window.sameDocument")
    assert page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")


def test_each_way_on_is_pressed_in_turn_works_and_is_on_record(desk, demo):
    plan = demo.written(
        say("first", rollback=undo("took it back")),
        fail("flaky", 1, depends_on=["first"]),
        fail("broken", depends_on=["flaky"]),
        nap("long", 600, depends_on=["broken"]),
        say("last", depends_on=["long"]),
        goal="Try each way on",
    )
    demo.approved(plan)
    address = f"/plans/{plan['number']}/run/"
    asking, deciding = desk.open("requester", address), desk.open("approver", address)
    head, callout = asking.locator("#head"), asking.locator("#callout")

    def press(page, link, button, *, says, reason=""):
        page.get_by_role("link", name=link, exact=True).click()
        form = page.locator("main form")
        expect(form).to_contain_text(says)
        if reason:
            form.get_by_role("textbox").fill(reason)
        form.get_by_role("button", name=button).click()

    expect(callout).to_contain_text("flaky failed after 1 try")
    press(asking, "Try flaky again…", "Try flaky again", says="The step runs again from its beginning, as try 2")
    expect(callout).to_contain_text("broken failed after 1 try")
    press(deciding, "Skip broken…", "Skip broken", says="It is left out for good", reason="It never worked")
    expect(head).to_contain_text("1 running")
    press(asking, "Pause…", f"Pause plan {plan['number']}", says="nothing new starts until somebody resumes it")
    expect(head).to_contain_text("Paused")
    press(asking, "Resume…", f"Resume plan {plan['number']}", says="from where it was paused")
    expect(head).to_contain_text("Executing")
    press(asking, "Cancel…", f"Cancel plan {plan['number']}", says="Running now: long.", reason="Enough")
    expect(head).to_contain_text("Cancelled")
    expect(head).to_contain_text("Nothing was undone.")
    expect(deciding.locator("#head")).to_contain_text("Cancelled")  # nobody loaded that page again
    press(asking, "Undo what was done…", f"Write the plan that undoes plan {plan['number']}", says="It undoes first.")
    expect(asking.locator("#head")).to_contain_text(f"Undo plan {plan['number']}: Try each way on")
    expect(asking.locator("#head")).to_contain_text("Awaiting approval")
    expect(asking.locator("article.step")).to_contain_text("took it back")

    deciding.goto(f"/plans/{plan['number']}/")
    deciding.get_by_role("link", name="Trail").click()
    thread = deciding.locator("#main")
    for record in (
        "Mara Lindqvist asked for another try of flaky",
        "skipped broken: It never worked",
        "Paused by Mara Lindqvist",
        "Resumed by Mara Lindqvist",
        "Enough",
        ", which undoes what was done",
    ):
        expect(thread).to_contain_text(record)


def test_a_playbook_goes_on_with_the_host_that_is_left(desk, demo, playbooks, tmp_path):
    mark = tmp_path / "mended"
    half = {"playbook": "walk-half.yml", "variables": {"mark": str(mark)}}
    plan = demo.written({"key": "half", "tool": "ansible.playbook", "input": half})
    demo.approved(plan)
    page = desk.open("requester", f"/plans/{plan['number']}/run/")
    expect(page.locator("#callout")).to_contain_text("dns-01 failed")
    expect(page.locator("#callout")).to_contain_text("atlas finished")
    mark.touch()
    page.get_by_role("link", name="Go on with half on dns-01…").click()
    expect(page.get_by_label("Only dns-01")).to_be_checked()
    page.get_by_role("button", name="Try half again").click()
    expect(page.locator("#head")).to_contain_text("Completed")
    expect(page.locator("#log-state")).to_contain_text("only dns-01")
    assert "atlas" not in page.locator("#log").inner_text()


def test_a_cancelled_playbook_is_gone_with_its_whole_tree_within_five_seconds(desk, demo, playbooks):
    hang = {"key": "hang", "tool": "ansible.playbook", "input": {"playbook": "walk-hang.yml", "variables": {}}}
    plan = demo.written(hang)
    demo.approved(plan)
    page = desk.open("requester", f"/plans/{plan['number']}/run/")
    expect(page.locator("#log")).to_contain_text("TASK", timeout=30_000)
    demo.until(lambda: len(demo.steps_processes()) > 2)
    page.get_by_role("link", name="Cancel…", exact=True).click()
    page.get_by_label("Why").fill("It takes too long")
    page.get_by_role("button", name=f"Cancel plan {plan['number']}").click()
    began = time.monotonic()
    demo.until(lambda: not demo.steps_processes(), 10, every=0.05)
    assert time.monotonic() - began < 5
    expect(page.locator("#head")).to_contain_text("Cancelled")
    expect(page.locator("#head")).to_contain_text("hang was stopped at its task")
