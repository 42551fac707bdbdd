"""The crash-point loop: two plans, during which a program dies at one crash point, for every crash point there is.

The plans cross everything that commits, publishes or moves a branch: a list, a condition, a fallback, a rollback, a breaker that
opens, a lock that one plan waits for, the hot path, a person's retry, the audit's git commit. The keeper starts the program
again, and both plans must come to the same end as when nobody disturbs them. A step that may not be repeated and whose outcome
is unknown waits for a person, as it should: then the loop gives it another try, as a person would. What is committed only
because a program died is a crash point too: there a second death follows the first.
"""

from __future__ import annotations

import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

from agents.conf import BEAT_SECONDS
from tests.chaos.invariants import broken, not_in_git, overlaps
from tests.chaos.plans import miscounted
from tests.chaos.rigged import RiggedHouse

PROGRAMS = {"agent": ("forge-01", "forge-02"), "dispatcher": ("dispatcher",), "worker": ("worker",), "web": ("daphne",)}
PATIENCE = 150.0  # seconds in which both plans have to come to rest
# Also of steps that may not be repeated: then it is for failures that did nothing, not for an end that nobody knows.
RETRY = {"attempts": 10, "first_wait_seconds": 0.1, "longest_wait_seconds": 0.3}
# Of what comes again and again while a round takes its time, and is the same each time: how many crossings are points of their
# own. A dispatcher that looks for work mostly finds none; where it finds some, each message that follows is a point.
ALIKE = {
    "services.beat": 1, "services.mark_silent": 1, "jobs.reclaim": 1, "breaker.catch_up": 1, "locks.free_stale": 1,
    "tokens.find_token": 1, "WITH attempts": 2, "output.event": 3,
}  # fmt: skip
# The points without which the loop would no longer try what it is for.
REACHES = (
    "attempt.begin", "hot_path.claim", "hot_path.finish", "hot_path.next_due", "finish.finish", "output.event", "output.flush",
    "the note of breaker.note", "the commit of breaker.note", "the commit of dispatcher.", "WITH attempts of dispatcher.",
    "locks.grant", "a message to agent", "a message to jobs", "jobs.run", "task_file.commit_finished_tasks",
    "the pack", "the move of the branch", "idempotency.answered_once",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Order:
    """Where a program is to die: at the n-th time that it crosses a point."""

    program: str
    times: int
    place: str

    def __str__(self) -> str:
        return f"{self.program} {self.times} {self.place}"


@dataclass(frozen=True, slots=True)
class Round:
    """What one run of the two plans did: where programs were to die, whether they did, and what was wrong afterwards."""

    orders: tuple[Order, ...]
    reached: bool
    seconds: float
    by_a_person: int  # tries that a person asked for, besides the one that belongs to the story
    crossed: Counter[tuple[str, str]]
    problems: tuple[str, ...]

    def __str__(self) -> str:
        what = ", then ".join(map(str, self.orders)) or "nobody dies"
        asked = f", {self.by_a_person} by a person" if self.by_a_person else ""
        lost = "" if self.reached else ", which nobody came to"
        return f"{self.seconds:5.1f} s  {what}{lost}{asked}" + "".join(f"\n    {problem}" for problem in self.problems)


class CrashLoop:
    """Runs rounds in one installation."""

    def __init__(self, house: RiggedHouse) -> None:
        self.house = house
        self.usual: Any = None  # the ends of the two plans if nobody disturbs them
        self._numbers = count(1)
        self._not_seen_in_git: list[str] = []

    def rest(self, orders: Iterable[Order]) -> float:
        """Seconds until the keeper bears these deaths; which of the agents will die is not known."""
        wanted = Counter(name for order in orders for name in PROGRAMS[order.program])
        return max((self.house.rest(name, more) for name, more in wanted.items()), default=0.0)

    def round(self, *orders: Order, all_of_it: bool = False) -> Round:
        """Both plans from their first word to their end, with these deaths.

        Git is waited for, which takes seconds, where a worker dies, or whoever rings for it, or all of it is asked for; then it must have
        the earlier plans, too.
        A breaker opens only where it is to be told of, or where all of it is asked for: it takes a while and changes no end.
        """
        time.sleep(self.rest(orders))
        began, number = time.monotonic(), next(self._numbers)
        story = Story(self.house, number)
        if all_of_it or any("breaker" in order.place for order in orders):
            story.prepare()
        self.house.crossings.unlink(missing_ok=True)
        self._order(orders)
        in_git = all_of_it or any(order.program == "worker" or "jobs" in order.place for order in orders)
        story.tell(in_git=in_git)
        until = time.monotonic() + (BEAT_SECONDS + 2 if any("services.beat" in order.place for order in orders) else 0)
        while (left := self.house.orders.read_text().splitlines()[:-1]) and time.monotonic() < until:
            time.sleep(0.2)
        self.house.orders.unlink()
        for name in (name for order in orders for name in PROGRAMS[order.program]):
            self.house.died(name)
        ends = story.ends()
        self.usual = self.usual or ends
        problems = [] if ends == self.usual else [f"they ended otherwise: {_differences(self.usual, ends)}"]
        crossed = Counter[tuple[str, str]]()
        for line in self.house.crossings.read_text().splitlines():
            program, _, place = line.partition(" ")
            crossed[program, place] += 1
        problems += story.wrong()
        self._not_seen_in_git += [plan["id"] for plan in story.plans]
        if in_git:
            problems += [wrong for pk in self._not_seen_in_git for wrong in not_in_git(self.house, pk)]
            self._not_seen_in_git.clear()
        return Round(orders, not left, time.monotonic() - began, story.asked, crossed, tuple(problems))

    def _order(self, orders: Iterable[Order]) -> None:
        """Let programs die; the last line is nobody's, and says that crossings are to be noted."""
        fresh = self.house.orders.with_name("fresh-orders")
        fresh.write_text("".join(f"{order}\n" for order in orders) + "nobody\n")
        fresh.rename(self.house.orders)


class Story:
    """The two plans of a round, and the person who looks after them.

    The first works on a list, falls back, fails and is rolled back. The second needs the same host, so it waits; then it
    fails until a person mends something and asks for another try.
    """

    def __init__(self, house: RiggedHouse, number: int) -> None:
        self.house = house
        self.asked = 0
        self._mended = house.effects.with_name(f"mended-{number}")
        self._fragile = f"fragile-{number}"  # a host that no other round breaks
        self.plans: list[Any] = []

    def prepare(self) -> None:
        """Let the breaker of the first plan's last step be one failure from opening."""
        failing = {
            "tool": "effects.again",
            "input": self._input(needs=True, target=self._fragile),
            "retry": {"attempts": 1},
        }
        plan = self.house.written(*({"key": f"f{place}", **failing, "on_failure": "continue"} for place in range(4)))
        self.house.ended(self.house.approved(plan))

    def tell(self, *, in_git: bool) -> None:
        """Both plans, until they have come to rest and, if that matters, all tasks are in git."""
        for steps in (self._first(), self._second()):
            plan = self.house.written(*steps)
            self.plans.append(plan)
            self.house.approved(plan)
        deadline = time.monotonic() + PATIENCE
        while not self._looked_after() or (in_git and self._unwritten()):
            assert time.monotonic() < deadline, f"they do not come to rest: {self.ends()}"
            time.sleep(0.2)

    def ends(self) -> Any:
        """How both plans and their steps ended."""
        return [
            self.house.rows("SELECT stage, stage_reason, rollback_reason FROM plans_plan WHERE id = %s", plan["id"])
            + self.house.rows(
                "SELECT key, status, output, summary, error, unmet, items_open, released, waiting_for FROM plans_step "
                "WHERE plan_id = %s ORDER BY index, item_index",
                plan["id"],
            )
            for plan in self.plans
        ]

    def wrong(self) -> Iterator[str]:
        """What no death excuses: an effect too often or never, a broken invariant."""
        first, second = ({trace.key for trace in self.house.traces(plan["id"])} for plan in self.plans)
        if missing := {"spread.0", "spread.1", "fall", "spread.rollback"} - first | {"a", "b", "c"} - second:
            yield f"{', '.join(sorted(missing))} was not done"
        if "check" in first:
            yield "check was done although what it needs was not there"
        for plan in self.plans:
            yield from broken(self.house, plan["id"])
            yield from miscounted(self.house, plan["id"])
        yield from overlaps(self.house)

    def _input(self, *, needs: bool = False, **more: Any) -> dict[str, Any]:
        never = self.house.effects.with_name("never")
        return {"file": str(self.house.effects), **({"needs": str(never)} if needs else {}), **more}

    def _first(self) -> Sequence[dict[str, Any]]:
        undo = {"tool": "effects.again", "input": self._input()}
        by_hand = {"tool": "effects.once", "input": self._input()}
        return (
            {"key": "spread", "tool": "effects.again", "input": self._input(target="shared"), "for_each": ["x", "y"],
             "rollback": undo, "retry": RETRY},
            {"key": "fall", "tool": "effects.once", "input": self._input(needs=True), "depends_on": ["spread"],
             "when": "steps.spread.status == 'completed'", "on_failure": "fallback", "fallback": by_hand, "retry": RETRY},
            {"key": "check", "tool": "effects.again", "input": self._input(needs=True, target=self._fragile),
             "depends_on": ["fall"], "on_failure": "rollback", "retry": {"attempts": 1}},
        )  # fmt: skip

    def _second(self) -> Sequence[dict[str, Any]]:
        mended = {"file": str(self.house.effects), "needs": str(self._mended)}
        return (
            {"key": "a", "tool": "effects.again", "input": self._input(target="shared"), "retry": RETRY},
            {"key": "b", "tool": "effects.once", "input": self._input(), "depends_on": ["a"], "retry": RETRY},
            {"key": "c", "tool": "effects.once", "input": mended, "depends_on": ["b"], "retry": RETRY},
            {"key": "d", "tool": "diagnostic.lines", "input": {"count": 3}, "depends_on": ["c"], "retry": RETRY},
        )  # fmt: skip

    def _looked_after(self) -> bool:
        """Mend what is broken and ask for another try, as a person does who sees that a plan stopped. Whether both have ended."""
        rows = self.house.rows(
            "SELECT stage, (SELECT key FROM plans_step step WHERE step.plan_id = plan.id AND step.kind <> 'item' "
            "AND status IN ('unknown', 'failed') ORDER BY status DESC, index LIMIT 1) AS stuck, "
            "EXISTS (SELECT FROM plans_step WHERE plan_id = plan.id AND status = 'unknown') AS unknown "
            "FROM plans_plan plan WHERE id = ANY(%s) ORDER BY number",
            [plan["id"] for plan in self.plans],
        )
        first, second = rows
        for plan, row in zip(self.plans, rows, strict=True):
            if row["stage"] == "failed" and (row["unknown"] or row is second):
                self.asked += row["unknown"]
                if not row["unknown"]:
                    self._mended.touch()
                self.house.requester.post(f"/plans/{plan['id']}/steps/{row['stuck']}/retry", reason="I looked.")
        return (first["stage"], first["unknown"], second["stage"]) == ("failed", False, "completed")

    def _unwritten(self) -> bool:
        """Whether a task is not in git yet, or a job that writes tasks is not over."""
        (row,) = self.house.rows(
            "SELECT EXISTS (SELECT FROM plans_unwrittentask) OR EXISTS (SELECT FROM agents_job "
            "WHERE kind = 'audit.commit_tasks' AND status IN ('due', 'sent', 'running')) AS unwritten"
        )
        return bool(row["unwritten"])


def orders_of(crossed: Counter[tuple[str, str]]) -> list[Order]:
    """Every crash point of a run, in turn by program."""
    by_program: dict[str, deque[Order]] = {program: deque() for program in PROGRAMS}
    for (program, place), times in crossed.items():
        most = min([times, *(most for word, most in ALIKE.items() if word in place)])
        by_program[program].extend(Order(program, number, place) for number in range(1, most + 1))
    found = []
    while any(by_program.values()):
        found += [orders.popleft() for orders in by_program.values() if orders]
    return found


class Whole:
    """Every crash point, shared out among installations: most of a round is waiting."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self.rounds: list[Round] = []
        self._say = say
        self._trouble: list[BaseException] = []
        self._waiting: deque[tuple[Order, ...]] = deque()
        self._known: set[tuple[str, str]] = set()
        self._lock, self._counted, self._stop = threading.Lock(), threading.Event(), threading.Event()

    def run(self, places: Iterable[Path]) -> list[Round]:
        """All of it, with an installation in each of these folders; every round, as it was told.

        Raises what kept an installation from going on.
        """
        workers = [threading.Thread(target=self._work, args=(place, not number)) for number, place in enumerate(places)]
        for worker in workers:
            worker.start()
        try:
            for worker in workers:
                worker.join()
        finally:
            self._stop.set()
            for worker in workers:
                worker.join()
        if self._trouble:
            raise self._trouble[0]
        return self.rounds

    def _work(self, place: Path, first: bool) -> None:
        house = RiggedHouse(place)
        try:
            try:
                house.start()
                self._rounds(CrashLoop(house), first)
            finally:
                house.stop()
        except BaseException as error:
            self._trouble.append(error)
            self._stop.set()

    def _rounds(self, loop: CrashLoop, first: bool) -> None:
        done = loop.round(all_of_it=True)
        self._note(done)
        self._learn(done)
        if first:
            known = set(self._waiting)
            self._waiting.extend((order,) for order in orders_of(done.crossed) if (order,) not in known)
            self._counted.set()
        while not self._counted.wait(1):
            if self._stop.is_set():
                return
        while not self._stop.is_set() and (orders := self._next(loop)):
            try:
                done = loop.round(*orders)
            except Exception as error:
                error.add_note(f"Somebody was to die here: {', then '.join(map(str, orders))}")
                raise
            self._note(done)
            self._learn(done)
        self._note(loop.round(all_of_it=True))  # git has everything by now

    def _next(self, loop: CrashLoop) -> tuple[Order, ...]:
        """The first that this installation may do at once, else the first; nothing if none is left."""
        with self._lock:
            ready = next((orders for orders in self._waiting if loop.rest(orders) <= 0), None)
            orders = ready or (self._waiting[0] if self._waiting else ())
            if orders:
                self._waiting.remove(orders)
            return orders

    def _note(self, done: Round) -> None:
        with self._lock:
            self.rounds.append(done)
            self._say(f"{len(self.rounds)}/{len(self.rounds) + len(self._waiting)} {done}")

    def _learn(self, done: Round) -> None:
        """What nobody crossed before is a crash point; what was crossed only because somebody died, one of a second death."""
        with self._lock:
            for program, place in done.crossed:
                if (program, place) not in self._known and len(done.orders) <= 1:
                    self._waiting.append((*done.orders, Order(program, 1, place)))
                self._known.add((program, place))


def missed(rounds: Iterable[Round]) -> list[str]:
    """What the loop is for and did not come to."""
    reached = {order.place for done in rounds if done.reached for order in done.orders}
    return [what for what in REACHES if not any(what in place for place in reached)]


def _differences(usual: Any, ends: Any) -> list[Any]:
    return [
        (was, now)
        for one, other in zip(usual, ends, strict=True)
        for was, now in zip(one, other, strict=False)
        if was != now
    ]
