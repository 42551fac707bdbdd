"""Every page on a desk and in a hand, by day and by night: quiet consoles, nothing cut off, readable for everybody."""

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import expect

from tests.browser.conftest import Desk, ask

pytestmark = [pytest.mark.browser, pytest.mark.integration, pytest.mark.slow]
DESK = {"viewport": {"width": 1440, "height": 900}}
PHONE = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True, "device_scale_factor": 2}
ABROAD = {"exclude": [["#swagger-ui"]]}  # drawn by a library whose controls are not ours
RULES = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"], "resultTypes": ["violations"]}
COLOURS = {"runOnly": {"type": "rule", "values": ["color-contrast"]}, "resultTypes": ["violations"]}


@pytest.fixture(scope="module")
def pages(demo, chromium):
    """The address of each kind of page in each of its states, and who reads it."""
    desk = Desk(chromium, demo)
    person = desk.open("requester")

    def asked(words, answer):
        page = ask(person, words)
        expect(page.get_by_role("heading", level=1)).to_contain_text(answer)
        return page.url.removeprefix(demo.address)

    question = asked("Set up a database", "before there is a plan")
    refused = asked("Paint the garden fence green", "No playbook does this")
    planned = asked("Check the certificates", "came of this")
    echo = {"key": "say", "tool": "diagnostic.echo", "input": {"value": "said"}}
    waiting = demo.written(echo, {**echo, "key": "again", "depends_on": ["say"]}, goal=f"Say it twice, {'W' * 160}")
    fail = {"key": "fail", "tool": "diagnostic.fail", "input": {"times": 9, "transient": False}}
    failed = demo.ended(demo.approved(demo.written(fail, {**echo, "depends_on": ["fail"]}, goal="Fail")))
    sleep = {"key": "sleep", "tool": "diagnostic.sleep", "input": {"seconds": 240, "target": "helios"}}
    running = demo.approved(demo.written(sleep, goal="Take a while"))
    slowly = {"attempts": 3, "first_wait_seconds": 900, "longest_wait_seconds": 900}
    flaky = {"key": "flaky", "tool": "diagnostic.fail", "retry": slowly}
    again = demo.approved(demo.written(flaky, {**echo, "depends_on": ["flaky"]}, goal="Be flaky"))
    cancelled = demo.approved(
        demo.written(echo, {**sleep, "input": {"seconds": 240}, "depends_on": ["say"]}, goal="Stop half way")
    )
    demo.until(lambda: demo.plan(cancelled["id"])["steps"][1]["status"] == "running")
    demo.requester.post(f"/plans/{cancelled['id']}/cancel", reason="Enough of it")
    demo.ended(cancelled)
    demo.until(lambda: demo.plan(again["id"])["steps"][0]["status"] == "waiting")
    behind = demo.approved(demo.written({**sleep, "key": "nap"}, goal="Take a while afterwards"))
    no_luck = {"tool": "diagnostic.fail", "input": {"target": "boreas", "times": 9}, "retry": {"strategy": "none"}}
    demo.ended(demo.approved(demo.written(*({**no_luck, "key": f"f{n}"} for n in range(5)), goal="Open a breaker")))
    costly = {"tool": "diagnostic.spend", "input": {"cost": 3}}
    spends = ({**costly, "key": "a"}, {**costly, "key": "b", "depends_on": ["a"]})
    spent = demo.ended(
        demo.approved(demo.requester.post("/plans", goal="Spend it", steps=spends, budget={"cost_ceiling": 4}))
    )
    keep = {
        "key": "keep",
        "tool": "state.remember",
        "input": {"scope": "execution", "key": "k", "value": ["v" * 90] * 9},
    }
    undoable = {**echo, "rollback": {"tool": "diagnostic.noop"}}
    torn = {**fail, "depends_on": ["say"], "on_failure": "rollback"}
    undone = demo.ended(demo.approved(demo.written(keep, undoable, torn, goal="Take it back")))
    undoes = demo.ended(demo.approved(demo.written(undoable, goal="Say it, with a way back")))
    changed = demo.ended(demo.approved(demo.written(echo, torn | {"on_failure": "stop"}, goal="Say it otherwise")))
    program = demo.requester.get(f"/plans/{changed['id']}/program")
    program["steps"][1] |= {"timeout_seconds": 5, "input": {"times": 0}}
    demo.requester.post(f"/plans/{changed['id']}/revisions", reason="It fails no more", **program)
    completed = demo.ended(demo.approved(demo.written(echo, goal="Say it")))
    task = completed["steps"][0]["task_id"]
    demo.until(lambda: demo.auditor.get(f"/audit/tasks/{task}").get("commit"))
    record = demo.auditor.get("/audit/records", trace_id=completed["trace_id"])["items"][0]["sequence"]
    playbook = demo.requester.get("/playbooks")["items"][0]["id"]
    for context in desk.contexts:
        context.close()
    assert failed["stage"] == "failed" and completed["stage"] == "completed"
    yield {
        "sign-in": (None, "/accounts/login/"),
        "inbox": ("approver", "/"),
        "inbox, runs": ("approver", "/?tab=runs"),
        "inbox, empty": ("auditor", "/"),
        "requests": ("requester", "/requests/"),
        "new request": ("requester", "/requests/new/"),
        "request, planned": ("requester", planned),
        "request, question": ("requester", question),
        "request, refused": ("requester", refused),
        "plans": ("approver", "/plans/"),
        "plan, to decide": ("approver", f"/plans/{waiting['number']}/"),
        "plan, completed": ("requester", f"/plans/{completed['number']}/"),
        "run, failed": ("requester", f"/plans/{failed['number']}/run/"),
        "retry": ("requester", f"/plans/{failed['number']}/steps/fail/retry/"),
        "plan, failed": ("requester", f"/plans/{failed['number']}/"),
        "run, to be tried again": ("requester", f"/plans/{again['number']}/run/"),
        "try now": ("requester", f"/plans/{again['number']}/steps/flaky/retry/"),
        "give up": ("requester", f"/plans/{again['number']}/steps/flaky/give-up/"),
        "run, cancelled": ("requester", f"/plans/{cancelled['number']}/run/"),
        "skip": ("approver", f"/plans/{failed['number']}/steps/fail/skip/"),
        "pause": ("requester", f"/plans/{running['number']}/pause/"),
        "cancel": ("requester", f"/plans/{running['number']}/cancel/"),
        "run, running": ("requester", f"/plans/{running['number']}/run/"),
        "plan, behind another": ("approver", f"/plans/{behind['number']}/"),
        "run, behind another": ("approver", f"/plans/{behind['number']}/run/"),
        "run, completed": ("requester", f"/plans/{completed['number']}/run/"),
        "run, over budget": ("requester", f"/plans/{spent['number']}/run/"),
        "plan, over budget": ("requester", f"/plans/{spent['number']}/"),
        "run, rolled back, with state": ("requester", f"/plans/{undone['number']}/run/"),
        "revise": ("requester", f"/plans/{failed['number']}/revise/"),
        "revise, with what is done": ("requester", f"/plans/{changed['number']}/revise/"),
        "plan, revised": ("approver", f"/plans/{changed['number']}/"),
        "run, revised": ("approver", f"/plans/{changed['number']}/run/"),
        "revisions": ("approver", f"/plans/{changed['number']}/revisions/"),
        "task, done in another revision": (
            "auditor",
            f"/audit/tasks/{demo.plan(changed['id'])['steps'][0]['task_id']}/",
        ),
        "undo": ("requester", f"/plans/{undoes['number']}/undo/"),
        "agents": ("admin", "/agents/"),
        "agent": ("admin", "/agents/forge-01/"),
        "tools": ("admin", "/tools/"),
        "tool": ("admin", "/tools/diagnostic.fail/"),
        "tool, playbooks": ("admin", "/tools/ansible.playbook/"),
        "playbooks": ("admin", "/playbooks/"),
        "playbook": ("admin", f"/playbooks/{playbook}/"),
        "policy": ("admin", "/policy/"),
        "tokens": ("admin", "/accounts/tokens/"),
        "audit": ("auditor", "/audit/"),
        "trace": ("auditor", f"/audit/traces/{completed['trace_id']}/"),
        "record": ("auditor", f"/audit/records/{record}/"),
        "task": ("auditor", f"/audit/tasks/{task}/"),
        "not allowed": ("requester", "/audit/"),
        "not found": ("requester", "/plans/987654321/"),
        "documentation": ("requester", "/api/v1/docs"),
        "admin": ("admin", "/admin/"),
        "admin, list": ("admin", "/admin/plans/plan/"),
        "admin, plan": ("admin", f"/admin/plans/plan/{completed['id']}/"),
    }
    for plan in (running, behind):  # others want the slots
        demo.requester.post(f"/plans/{plan['id']}/cancel", reason="Every page was seen")


def complaints_of(page, rules=RULES):
    """What is cut off on a page, and what not everybody could read or use."""
    over = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    said = [f"{over} px wider than the window"] if over > 0 else []
    if not page.evaluate("'axe' in window"):  # half a megabyte, once for each document
        page.evaluate(Axe().axe_script)
    found = page.evaluate("([where, rules]) => axe.run(where, rules)", [ABROAD, rules])
    return said + [
        f"{one['id']}: {node['target']} {node['html'][:160]}"
        for one in found["violations"]
        if one["impact"] in {"serious", "critical"}
        for node in one["nodes"][:4]
    ]


@pytest.mark.parametrize("view", [DESK, PHONE], ids=["desk", "phone"])
def test_every_page_is_quiet_whole_and_readable(desk, pages, view):
    desk.expect_complaint("status of 404", "status of 403")
    people = {}
    found = {}
    for name, (person, path) in pages.items():
        if person not in people:
            people[person] = desk.open(person, "/healthz", color_scheme="light", reduced_motion="reduce", **view)
        page = people[person]
        page.emulate_media(color_scheme="light")
        page.goto(path)
        assert "/login/" not in page.url or person is None
        by_day = complaints_of(page)
        page.emulate_media(color_scheme="dark")  # the page follows without being loaded again; only colours differ
        page.evaluate("Promise.allSettled(document.getAnimations().map(one => one.finished))")  # some fade over
        at_night = complaints_of(page, COLOURS)
        if by_day or at_night:
            found[name] = {"by day": by_day, "at night": at_night}
    assert found == {}


@pytest.mark.parametrize(("view", "theme"), [(DESK, "dark"), (PHONE, "light")], ids=["desk", "phone"])
@pytest.mark.parametrize("key", ["a", "r", "?"])
def test_what_opens_over_a_page_is_readable_and_closes_again(desk, pages, view, theme, key):
    page = desk.open(*pages["plan, to decide"], color_scheme=theme, **view)
    page.keyboard.press(key)
    sheet = page.locator(".sheet:popover-open")
    expect(sheet).to_have_count(1)
    assert complaints_of(page) == []
    page.keyboard.press("Escape")
    expect(sheet).to_have_count(0)
