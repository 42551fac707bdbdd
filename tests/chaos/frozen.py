"""The broker stands still: pages answer, running steps end, what people decide is kept, and everything goes on afterwards."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any, Self

import httpx

from chiffon_site.embedded.folder import DataFolder
from tests.chaos.invariants import broken
from tests.chaos.rigged import RiggedHouse

PAGES = ("/", "/requests/", "/plans/", "/plans/{number}/", "/plans/{number}/run/", "/agents/", "/tools/", "/audit/")
STEP_SECONDS = 2


@dataclass
class Frozen:
    """What was seen while nothing could be heard from the broker."""

    seconds: float
    slowest: dict[str, float] = field(default_factory=dict)
    looks: int = 0
    problems: list[str] = field(default_factory=list)

    def told(self) -> str:
        """The figures and the findings, for a person."""
        times = ", ".join(f"{page} {seconds:.2f} s" for page, seconds in self.slowest.items())
        return f"{self.seconds:g} s without a broker, {self.looks} pages; slowest: {times}\n" + "\n".join(
            self.problems or ["Everything went on."]
        )


class Browser:
    """Somebody of the cast."""

    def __init__(self, house: RiggedHouse, name: str) -> None:
        self.http = httpx.Client(base_url=house.address, timeout=30)
        self._form = {"login": name, "password": DataFolder(house.folder).demo_accounts()[name]}
        self.http.get("/accounts/login/")

    def sign_in(self) -> None:
        """Come in by name and password."""
        answer = self.http.post(
            "/accounts/login/", data={**self._form, "csrfmiddlewaretoken": self.http.cookies["chiffon_csrf"]}
        )
        assert answer.is_redirect, f"signing in was answered by {answer.status_code}"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.http.close()

    def seconds(self, path: str) -> float:
        """How long a page took, which must be the one that was asked for."""
        began = time.monotonic()
        answer = self.http.get(path)
        assert (answer.status_code, answer.url.path) == (200, path), f"{path} was answered by {answer.status_code}"
        return time.monotonic() - began


def run(house: RiggedHouse, *, seconds: float, slowest: float = 1.0) -> Frozen:
    """Stop the broker for so long while a step runs and people look, decide and sign in; then let it go on.

    No page may take longer than `slowest` seconds.
    """
    with Browser(house, "admin") as reader, Browser(house, "requester") as newcomer:
        reader.sign_in()
        found = _freeze(house, reader, newcomer, seconds)
    found.problems += [f"{what} took {took:.2f} s" for what, took in found.slowest.items() if took > slowest]
    return found


def _freeze(house: RiggedHouse, reader: Browser, newcomer: Browser, seconds: float) -> Frozen:
    found = Frozen(seconds)
    at_work = house.approved(house.written(*_two_steps()))
    house.until(lambda: house.plan(at_work["id"])["steps"][0]["status"] == "running")
    decided = house.written(*_two_steps())
    broker = house.programs()["valkey-server"]
    broker.suspend()
    try:
        until = time.monotonic() + seconds
        _timed(found, "approve", lambda: house.approved(decided))
        _timed(found, "sign in", newcomer.sign_in)
        while time.monotonic() < until:
            for page in PAGES:
                _timed(found, page, lambda path=page.format(number=at_work["number"]): reader.seconds(path))
            time.sleep(0.3)
        house.until(lambda: house.plan(at_work["id"])["steps"][0]["status"] == "completed")  # without a broker
    finally:
        broker.resume()
    for plan in (at_work, decided):
        if (stage := house.ended(plan, 90)["stage"]) != "completed":
            found.problems.append(f"Plan {plan['number']} is {stage}.")
        found.problems += broken(house, plan["id"])
    return found


def _timed(found: Frozen, what: str, call: Any) -> None:
    began = time.monotonic()
    try:
        call()
    except (AssertionError, httpx.HTTPError) as error:
        found.problems.append(f"{what}: {error}")
    found.slowest[what] = max(found.slowest.get(what, 0.0), time.monotonic() - began)
    found.looks += 1


def _two_steps() -> tuple[dict[str, Any], ...]:
    long = {"tool": "diagnostic.sleep", "input": {"seconds": STEP_SECONDS}}
    return {"key": "a", **long}, {"key": "b", "tool": "diagnostic.noop", "depends_on": ["a"]}
