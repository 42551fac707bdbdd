"""Live pages get the partials that changed and each output line once, rendered for the person who looks."""

import asyncio
import json
import re

import pytest

from audit.authority import Role
from plans.enums import EventType, Stage
from plans.live import announce, announce_inbox, cursor_now
from plans.live.hub import in_thread
from plans.models import Plan
from tests.live.conftest import Reader, cookie_of
from tests.live.stories import attempt_of, finish, person, say, start, tell

pytestmark = pytest.mark.django_db(transaction=True)

PLACE = re.compile(r"^<!--(\{.*?\})-->")
LINE = re.compile(r'<li id="L(\d+)"')


class Page(Reader):
    """A browser's page: it remembers its place, acknowledges, and keeps the lines it shows."""

    def __init__(self, plan, cookie, *, view="run", after="", attempt=None, line=0, more="", **kwargs):
        shown = f"&attempt={attempt.pk}&line={line}" if attempt else ""
        super().__init__(f"/ws/pages/plans/{plan.pk}/?view={view}&after={after}{shown}{more}", cookie=cookie, **kwargs)
        self.lines, self.after, self.wants_output = [], after, False

    async def message(self, timeout=10, *, ack=True):
        html = await self.text(timeout)
        found = PLACE.match(html)
        assert found
        place = json.loads(found[1])
        self.after = place.get("after")
        self.wants_output = place.get("output", False)
        self.lines += [int(seq) for seq in LINE.findall(html)]
        if ack:
            await self.say({"ack": place["n"]})
        return html


async def test_a_run_page_gets_what_changed_and_nothing_before_that(plan, step, cookie):
    after = await in_thread(cursor_now, plan)
    attempt = await in_thread(attempt_of, step)
    async with Page(plan, cookie, after=after, attempt=attempt) as page:
        assert await page.is_quiet(0.5)
        await in_thread(start, plan, attempt)
        announce(plan.pk)
        html = await page.message()
        assert {'id="head"', 'id="callout"', 'id="steps"', 'id="events"'} <= set(re.findall(r'id="[a-z]+"', html))
        assert 'id="log-state"' in html  # the state of the attempt whose output is shown
        await in_thread(say, attempt, ["hello <img src=x onerror=alert(1)>", "\x1b[31mred\x1b[0m"])
        announce(plan.pk)
        html = await page.message()
        assert html.count('<ol id="log" hx-swap-oob="beforeend">') == 1
        assert "<img" not in html
        assert "&lt;img" in html
        assert page.lines == [1, 2]


async def test_lines_go_on_where_the_page_was_after_each_of_ten_reconnects(plan, step, cookie):
    attempt = await in_thread(attempt_of, step)
    after = await in_thread(cursor_now, plan)
    await in_thread(start, plan, attempt)
    shown: list[int] = []
    for n in range(10):
        await in_thread(say, attempt, [f"line {n}.{m}" for m in range(120)])
        async with Page(plan, cookie, after=after, attempt=attempt, line=shown[-1] if shown else 0) as page:
            while len(page.lines) < 50 or (n == 9 and (not page.lines or page.lines[-1] < 1_200)):
                await page.message()
            shown, after = shown + page.lines, page.after
    assert shown == list(range(1, 1_201))


async def test_a_page_that_stops_reading_gets_eight_messages_and_no_more(plan, step, cookie):
    attempt = await in_thread(attempt_of, step)
    await in_thread(start, plan, attempt)
    await in_thread(say, attempt, [str(n) for n in range(1_900)])
    after = await in_thread(cursor_now, plan)
    async with Page(plan, cookie, after=after, attempt=attempt) as page:
        for _ in range(8):
            await page.message(ack=False)
        assert await page.is_quiet(1)
        await page.say({"ack": 8})
        while page.lines[-1] < 1_900:
            await page.message()
        assert page.lines == list(range(1, 1_901))


async def test_a_page_far_behind_is_told_to_load_the_newest_lines(plan, step, cookie):
    attempt = await in_thread(attempt_of, step)
    await in_thread(say, attempt, [str(n) for n in range(3_000)])
    after = await in_thread(cursor_now, plan)
    async with Page(plan, cookie, after=after, attempt=attempt) as page:
        await page.message()
        assert page.wants_output
        assert page.lines == []
        await page.say({"attempt": str(attempt.pk), "line": 2_990})
        announce(plan.pk)
        while len(page.lines) < 10:
            await page.message()
        assert page.lines == list(range(2_991, 3_001))


async def test_a_page_without_output_is_told_when_there_is_some_and_again_for_the_next_try(plan, step, cookie):
    after = await in_thread(cursor_now, plan)
    async with Page(plan, cookie, after=after) as page:
        for _ in range(2):
            attempt = await in_thread(attempt_of, step)
            await in_thread(start, plan, attempt)
            announce(plan.pk)
            while (
                not page.wants_output
            ):  # what is told in two messages is told, too; nothing more is an error after a while
                await page.message()
            await page.say({"attempt": str(attempt.pk), "line": 0})
            await in_thread(say, attempt, ["a", "b"])
            announce(plan.pk)
            page.lines = []
            while page.lines != [1, 2]:
                await page.message()
            await in_thread(finish, plan, attempt, ["a", "b"])
            announce(plan.pk)
            while page.wants_output:
                await page.message()


async def test_a_page_that_turned_to_another_output_shows_the_rest_of_that_step_at_once(plan, step, cookie):
    attempt = await in_thread(attempt_of, step)
    later = await in_thread(attempt_of, await in_thread(lambda: plan.steps.exclude(pk=step.pk).first()))
    await in_thread(start, plan, attempt)
    after = await in_thread(cursor_now, plan)
    async with Page(plan, cookie, after=after, attempt=attempt) as page:
        assert await page.is_quiet(0.5)
        await page.say({"attempt": str(later.pk), "line": 0})
        html = await page.message()  # although nothing happened to the plan
        assert f"Result of {later.step.key}" in html or f'id="step-{later.step.key}"' in html
        await page.say({"attempt": str(later.pk), "line": 0})
        assert await page.is_quiet(0.5)  # it knows that already


async def test_an_attempt_of_another_plan_shows_nothing(plan, step, stranger, cookie):
    from tests.live.stories import plan_of

    other, steps = await in_thread(plan_of, stranger, "secret")
    attempt = await in_thread(attempt_of, steps[0])
    await in_thread(say, attempt, ["secret"])
    after = await in_thread(cursor_now, plan)
    async with Page(plan, cookie, after=after, attempt=attempt) as page:
        await in_thread(tell, plan, EventType.STAGE_CHANGED, now="approved")
        announce(plan.pk)
        html = await page.message()
        assert "secret" not in html
        assert page.lines == []


async def test_a_plan_page_says_that_it_changed_and_keeps_what_is_read(plan, cookie):
    after = await in_thread(cursor_now, plan)
    async with Page(plan, cookie, view="plan", after=after) as page:
        assert await page.is_quiet(0.5)
        await in_thread(Plan.objects.filter(pk=plan.pk).update, stage=Stage.PENDING_APPROVAL)
        await in_thread(tell, plan, EventType.STAGE_CHANGED, was="draft", now="pending_approval")
        announce(plan.pk)
        html = await page.message()
        assert set(re.findall(r'id="([a-z]+)"', html)) == {"head", "newer"}
        assert "This plan changed while you read" in html


@pytest.mark.parametrize("after", ["", "garbage"])
async def test_a_page_without_a_usable_place_gets_everything(plan, cookie, after):
    async with Page(plan, cookie, after=after) as page:
        assert 'id="steps"' in await page.message()


@pytest.mark.parametrize("step", ["%00", "nothing", "a%00"])
async def test_a_page_of_a_step_that_cannot_be_shows_the_run_all_the_same(plan, cookie, step):
    async with Page(plan, cookie, more=f"&step={step}") as page:
        assert 'id="steps"' in await page.message()
        assert await page.is_quiet(0.5)


async def test_pages_are_closed_to_strangers_and_to_who_is_not_signed_in(plan, stranger):
    async with Page(plan, None) as page:
        assert await page.ended() == 4401
    async with Page(plan, await in_thread(cookie_of, stranger)) as page:
        assert await page.ended() == 4403
    async with Reader("/ws/pages/inbox/?tab=me") as page:
        assert await page.ended() == 4401


@pytest.mark.parametrize(
    "said", [{"ack": 99}, {"ack": -1}, {"ack": "1"}, {"attempt": 7}, {"attempt": "x", "line": -5}, {"x": []}]
)
async def test_what_a_page_may_say_wrongly_changes_nothing(plan, cookie, said):
    after = await in_thread(cursor_now, plan)
    async with Page(plan, cookie, after=after) as page:
        await page.say(said)
        await in_thread(tell, plan, EventType.STAGE_CHANGED, now="approved")
        announce(plan.pk)
        assert 'id="head"' in await page.message()


class TestInbox:
    async def test_a_program_gets_the_counts_and_every_change(self, plan, cookie):
        approver = await in_thread(person, "approver", Role.APPROVER)
        async with Reader("/ws/inbox/", cookie=await in_thread(cookie_of, approver)) as reader:
            first = await reader.item()
            assert first["type"] == "counts"
            assert first["data"] == {"waiting_for_me": 0, "awaiting_approval": 0, "stuck_runs": 0}
            await in_thread(Plan.objects.filter(pk=plan.pk).update, stage=Stage.PENDING_APPROVAL)
            announce_inbox()
            while (await reader.item())["data"] != {"waiting_for_me": 1, "awaiting_approval": 1, "stuck_runs": 0}:
                pass  # counts that were just being taken when the plan arrived may know of it only in part
            announce_inbox()
            assert await reader.is_quiet(0.5)

    async def test_the_page_gets_its_queue_and_the_rail_its_count(self, plan, cookie):
        approver = await in_thread(person, "approver", Role.APPROVER)
        async with Reader("/ws/pages/inbox/?tab=me", cookie=await in_thread(cookie_of, approver)) as reader:
            first = await reader.text()
            assert 'id="queue"' in first
            await reader.say({"ack": 1})
            await asyncio.sleep(0.3)
            await in_thread(Plan.objects.filter(pk=plan.pk).update, stage=Stage.PENDING_APPROVAL)
            announce_inbox()
            later = await reader.text()
            # A page that was just being drawn when the plan arrived tells its list and its count one after the other.
            while not (plan.goal in later and re.search(r'id="inbox-count"[^>]*>1<', later)):
                later += await reader.text()

    async def test_another_page_gets_only_the_count(self, cookie):
        async with Reader("/ws/pages/inbox/", cookie=cookie) as reader:
            html = await reader.text()
            assert 'id="inbox-count"' in html
            assert 'id="queue"' not in html
