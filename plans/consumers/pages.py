"""Live pages: the same partials that the first paint rendered, sent when what they show has changed.

A message is HTML for out-of-band swaps behind a comment with its number and the cursor it leads to. The page acknowledges the number
and comes back with the cursor, so that a page that stopped reading costs nothing and one that lost its connection misses nothing.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

from django.db.models import F
from django.db.models.functions import Coalesce
from django.http import HttpRequest
from django.template.loader import render_to_string
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import mark_safe

from audit.authority import Action, may
from audit.context import Actor
from plans.consumers.base import LiveSocket
from plans.consumers.plan import find_plan
from plans.live.bell import INBOX, readers_of
from plans.live.cursor import BadCursor
from plans.live.hub import LOOK_SECONDS, Hub, following, heard, in_thread
from plans.live.reading import cursor_now, events_after
from plans.models import Attempt, OutputLine, Plan, Step
from plans.selectors import inbox_page, plan_page, run_page, waiting_count
from plans.selectors.inbox import TABS
from plans.selectors.output import lines_of

MOST_UNREAD: Final = 8  # messages
LINES_AT_ONCE: Final = 200
FURTHEST_BEHIND: Final = 2_000  # lines; a page that is further behind is told to load the newest instead
RENDER_SECONDS: Final = 0.25  # at most four renderings a second
PROGRESS_SECONDS: Final = 1.0  # how often lines alone are a reason to render how far a step is
LINES_SECONDS: Final = 0.1
RUN_PARTIALS: Final = ("head", "callout", "graph", "steps", "budget", "state", "time", "events", "result", "why")
INBOX_PARTIALS: Final = ("head", "tabs", "queue")


class PageSocket(LiveSocket):
    """What live pages share: numbered messages, acknowledged by number, and only partials that differ from the last sent."""

    def __init__(self, **timing: float) -> None:
        super().__init__(**timing)
        self._sent = 0
        self._read = 0
        self._room = asyncio.Event()
        self._shown: dict[str, str] = {}

    async def hear(self, said: dict[str, Any]) -> bool:
        number = said.get("ack")
        if type(number) is not int or not self._read < number <= self._sent:
            return False
        self._read = number
        self._room.set()
        return True

    async def tell(self, parts: list[str], **position: Any) -> None:
        """Send parts of the page, once the page has read most of what it was sent."""
        while self._sent - self._read >= MOST_UNREAD:
            self._room.clear()
            await heard(self._room, LOOK_SECONDS)
            await self.ask_again(busy=False)
        self._sent += 1
        place = json.dumps({"n": self._sent, **position}, separators=(",", ":"))
        await self.send(text_data=f"<!--{place}-->" + "".join(parts))

    def only_new(self, parts: Mapping[str, str]) -> list[str]:
        """Those of the named parts that the page does not show already."""
        new = [html for name, html in parts.items() if self._shown.get(name) != html]
        self._shown |= parts
        return new


class InboxPageConsumer(PageSocket):
    """`/ws/pages/inbox/?tab=`: the queue and the counts, whenever they change."""

    def permitted(self, actor: Actor) -> bool:
        return bool(may(actor, Action.SEE_PLANS))

    async def follow(self) -> None:
        tab = self.parameter("tab")
        async with following(INBOX) as (_hub, bell):
            while True:
                await heard(bell, LOOK_SECONDS * 2)
                await self.ask_again()
                assert self.actor is not None
                parts = self.only_new(await in_thread(render_inbox, self.actor, tab if tab in TABS else ""))
                if parts:
                    await self.tell(parts)
                await asyncio.sleep(RENDER_SECONDS)


class PlanPageConsumer(PageSocket):
    """`/ws/pages/plans/{id}/?view=plan|run&after=&step=&attempt=&line=`: the head of a plan's page, or a run as it happens."""

    def __init__(self, **timing: float) -> None:
        super().__init__(**timing)
        self._attempt: UUID | None = None
        self._line = 0
        self._rendered_at = 0.0
        self._awaits_output = False  # the page was told to load the output anew and has not said that it did
        self._turned = False  # the page shows another output than its other parts are about
        self._bell: asyncio.Event | None = None

    def permitted(self, actor: Actor) -> bool:
        plan = find_plan(self.scope["url_route"]["kwargs"]["plan_id"])
        return plan is not None and bool(may(actor, Action.SEE_PLAN, plan))

    async def hear(self, said: dict[str, Any]) -> bool:
        if "attempt" in said:  # the page shows another output now
            before = self._attempt
            self._attempt, self._line = read_uuid(said["attempt"]), read_whole(said.get("line"))
            self._awaits_output = False
            if self._attempt != before and self._bell is not None:
                self._turned = True
                self._bell.set()
            return False
        return await super().hear(said)

    async def follow(self) -> None:
        plan_id = UUID(self.scope["url_route"]["kwargs"]["plan_id"])
        is_run = self.parameter("view") != "plan"
        self._attempt, self._line = read_uuid(self.parameter("attempt")), read_whole(self.parameter("line"))
        async with following(readers_of(plan_id)) as (hub, bell):
            self._bell = bell
            cursor = self.parameter("after")
            while True:
                cursor, kinds, more = await self._news(hub, plan_id, cursor)
                lines = await self._lines(hub, plan_id) if is_run else Lines([], 0)
                if lines.html and not kinds and time.monotonic() - self._rendered_at > PROGRESS_SECONDS:
                    kinds = {"output"}  # how far a running step is changes without an event
                if self._turned and is_run:
                    kinds = kinds | {"output"}
                self._turned = False
                parts, asks = await self._parts(plan_id, kinds, is_run=is_run), False
                if lines.html:
                    parts.append(f'<ol id="log" hx-swap-oob="beforeend">{"".join(lines.html)}</ol>')
                if is_run and not self._awaits_output:
                    asks = lines.left > FURTHEST_BEHIND or await self._has_other_output(plan_id, kinds)
                if parts or asks:
                    await self.ask_again()
                    self._line = max(self._line, lines.last)
                    self._awaits_output = self._awaits_output or asks
                    await self.tell(parts, after=cursor, **({"output": True} if asks else {}))
                if not more and len(lines.html) < LINES_AT_ONCE:
                    await heard(bell, LOOK_SECONDS * 2)
                    await self.ask_again(busy=False)
                await asyncio.sleep(RENDER_SECONDS if kinds else LINES_SECONDS)

    async def _news(self, hub: Hub, plan_id: UUID, cursor: str) -> tuple[str, set[str], bool]:
        """The cursor reached, and which kinds of things happened on the way."""
        try:
            if cursor:
                news = await hub.read(("news", cursor), read_news, plan_id, cursor)
                return news.cursor, news.kinds, news.more
        except BadCursor:
            pass
        return await in_thread(cursor_now, plan_id), {"stage_changed"}, False  # whatever was missed: all is rendered

    async def _parts(self, plan_id: UUID, kinds: set[str], *, is_run: bool) -> list[str]:
        assert self.actor is not None
        if kinds and not is_run:
            return self.only_new(await in_thread(render_plan, plan_id, self.actor, "stage_changed" in kinds))
        if kinds:
            self._rendered_at = time.monotonic()
            return self.only_new(
                await in_thread(render_run, plan_id, self.actor, self._attempt, self.parameter("step"))
            )
        return []

    async def _lines(self, hub: Hub, plan_id: UUID) -> Lines:
        """The next lines of the output that the page shows."""
        attempt, line = self._attempt, self._line
        if attempt is None or self._awaits_output:
            return Lines([], 0)
        lines = await hub.read(("lines", attempt, line), read_lines, plan_id, attempt, line)
        return lines if attempt == self._attempt else Lines([], 0)  # the page may have turned to another output

    async def _has_other_output(self, plan_id: UUID, kinds: set[str]) -> bool:
        """Whether the page should load the output anew: there is none yet, or its step is tried again."""
        if not kinds or self.parameter("pinned"):
            return False
        newest: UUID | None = await in_thread(newest_attempt, plan_id, self._attempt, self.parameter("step"))
        return newest is not None and newest != self._attempt


@dataclass(frozen=True, slots=True)
class News:
    """What kinds of things happened to a plan after a cursor."""

    cursor: str
    kinds: set[str]
    more: bool

    @property
    def settled(self) -> bool:
        """Whether the next readers at the same place would read the same."""
        return bool(self.kinds)


@dataclass(frozen=True, slots=True)
class Lines:
    """Some lines as HTML, the number of the last, and how many more there are."""

    html: list[str]
    last: int
    left: int = 0

    @property
    def settled(self) -> bool:
        """Whether the next readers at the same place would read the same."""
        return len(self.html) == LINES_AT_ONCE


def read_news(plan_id: UUID, cursor: str) -> News:
    """What happened after a cursor, without its details. Raises BadCursor."""
    batch = events_after(plan_id, cursor, output=False)
    return News(batch.cursor, {item["type"] for item in batch.events}, batch.more)


def read_lines(plan_id: UUID, attempt_id: UUID, seq: int) -> Lines:
    """The next lines of an attempt of this plan."""
    attempt = Attempt.objects.filter(pk=attempt_id, plan=plan_id).only("line_count").first()
    if attempt is None or attempt.line_count <= seq:
        return Lines([], seq)
    if attempt.line_count - seq > FURTHEST_BEHIND:
        return Lines([], seq, attempt.line_count - seq)
    found = lines_of(OutputLine.objects.filter(attempt_id=attempt_id, seq__gt=seq).order_by("seq")[:LINES_AT_ONCE])
    html: list[str] = [render_to_string("components/log_line.html", {"line": line}) for line in found]
    return Lines(html, found[-1].seq if found else seq)


def newest_attempt(plan_id: UUID, shown: UUID | None, step: str) -> UUID | None:
    """The attempt whose output a page should show.

    That is the newest of the step that was asked for, else of the step that is shown while it runs; once that has
    ended, the page follows to one that runs now.
    """
    attempts = Attempt.objects.filter(step__plan=plan_id).order_by("-created_at", "-number")
    attempts = attempts.exclude(
        number__gt=1, status__in=["due", "sent"]
    )  # the try before it is worth reading until then
    current = Step.objects.filter(plan=plan_id, revision__number=F("plan__revision_number"))
    if step:
        current = current.filter(key=step)
    elif shown:
        current = current.filter(key__in=Step.objects.filter(attempts=shown).values("key"))
    # What an earlier revision has done was tried there.
    newest = attempts.filter(step__in=current.values(did=Coalesce("carried_from_id", "pk")))
    if shown and not step:
        running = attempts.filter(status="running").values_list("pk", flat=True)
        if running and shown not in running:
            return running[0]
    return newest.values_list("pk", flat=True).first()


def render_run(plan_id: UUID, actor: Actor, attempt_id: UUID | None, step: str) -> dict[str, str]:
    """The parts of a run's page, for one reader."""
    plan = _plan(plan_id)
    shown = Attempt.objects.filter(pk=attempt_id, plan=plan).select_related("step").first() if attempt_id else None
    run = run_page(plan, actor, step=shown.step.key if shown else step, with_output=False)
    request = _request(actor, reverse("plans:run", args=[plan.number]))
    names = list(RUN_PARTIALS)
    if shown is not None and run.attempt is not None and run.attempt.pk == shown.pk:
        names += ["log_state", "log_foot"]
    return {name: render_to_string(f"plans/run.html#{name}", {"run": run}, request) for name in names}


def render_plan(plan_id: UUID, actor: Actor, moved: bool) -> dict[str, str]:
    """The head of a plan's page; and, if its stage changed, a banner that says so. What is being read stays as it is."""
    plan = _plan(plan_id)
    address = reverse("plans:plan", args=[plan.number])
    request = _request(actor, address)
    parts: dict[str, str] = {
        "head": render_to_string("plans/plan.html#head", {"page": plan_page(plan, actor)}, request)
    }
    if moved:
        now = plan.get_stage_display().lower() + (
            f", revision {plan.revision_number}" if plan.revision_number > 1 else ""
        )
        banner = render_to_string(
            "components/banner.html",
            {
                "tone": "you",
                "icon": "diff",
                "strong": f"This plan changed while you read: {now}.",
                "text": "What you see below is how it was.",
                "href": address,
                "label": "Load it again",
            },
        )
        parts["newer"] = format_html('<div id="newer">{}</div>', mark_safe(banner))  # noqa: S308 - a template's output
    return parts


def render_inbox(actor: Actor, tab: str) -> dict[str, str]:
    """The parts of the inbox under a tab, and the count in the rail of every page; without a tab only that."""
    parts: dict[str, str] = {}
    count = waiting_count(actor)
    if tab:
        inbox = inbox_page(actor, tab)
        request = _request(actor, reverse("plans:inbox"))
        parts = {
            name: render_to_string(f"plans/inbox.html#{name}", {"inbox": inbox}, request) for name in INBOX_PARTIALS
        }
    parts["count"] = render_to_string("components/inbox_count.html", {"waiting_count": count})
    return parts


def read_uuid(text: object) -> UUID | None:
    """The id that a page sent; None for anything else."""
    try:
        return UUID(text) if isinstance(text, str) and text else None
    except ValueError:
        return None


def read_whole(value: object) -> int:
    """The line number that a page sent; 0 for anything else."""
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 10:
        return int(value)
    return value if type(value) is int and 0 <= value < 2**31 else 0


def _plan(plan_id: UUID) -> Plan:
    return Plan.objects.select_related("requester", "request").get(pk=plan_id)


def _request(actor: Actor, address: str) -> HttpRequest:
    """What templates read of a request: who asks, and for which page."""
    request = HttpRequest()
    request.method = "GET"
    request.path = request.path_info = address
    request.user = actor.user
    return request
