"""A whole installation of real processes, used as its people use it: over HTTP, by their own tokens.

`chiffon up --demo` in a folder of its own: PostgreSQL, Valkey, web, dispatcher, worker, two agents, the sample homelab.
"""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import psutil
import psycopg
from psycopg.rows import dict_row

from agents.supervisor.sweep import tagged as marked
from chiffon_site.embedded.folder import DataFolder
from chiffon_site.embedded.processes import before_exec, free_port, tagged

CHECKOUT = Path(__file__).resolve().parents[1]
OURS = ("CHIFFON_", "DATABASE_URL", "REDIS_URL", "CELERY_", "DJANGO_")
SCOPES = "requests:write,plans:read,plans:approve,agents:manage,playbooks:write,audit:read"
AT_REST = {"completed", "failed", "cancelled", "rejected", "expired"}


class Person:
    """Somebody of the cast, at the API."""

    def __init__(self, address: str, token: str) -> None:
        self.token = token
        self.http = httpx.Client(base_url=f"{address}/api/v1", headers={"Authorization": f"Bearer {token}"}, timeout=30)

    def get(self, path: str, **query: Any) -> Any:
        """What a GET answers; anything but success fails the test."""
        return self._told(lambda: self.http.get(path, params=query))

    def post(self, path: str, **body: Any) -> Any:
        """What a POST answers, also if its first answer was lost; anything but success fails the test."""
        once = {"Idempotency-Key": str(uuid4())}
        return self._told(lambda: self.http.post(path, json=body, headers=once))

    def _told(self, call: Callable[[], httpx.Response]) -> Any:
        for patience in (0.3, 1, 2, 4, 4, 4, 0):  # a server that is just coming back says so, and a program asks again
            try:
                answer = call()
            except httpx.TransportError:
                if not patience:
                    raise
            else:
                if answer.status_code < 500 or not patience:
                    assert answer.is_success, f"{answer.status_code}: {answer.text}"
                    return answer.json()
            time.sleep(patience)
        raise AssertionError("unreachable")


class Installation:
    """One `chiffon up --demo` on a folder of its own; `python` is that of another environment, with more tools for example."""

    def __init__(self, folder: Path, *, python: str = sys.executable, **variables: str) -> None:
        self.folder = folder
        self.python = python
        self.port = free_port()
        self.address = f"http://127.0.0.1:{self.port}"
        kept = {name: value for name, value in os.environ.items() if not name.startswith(OURS)}
        self.environment = {**kept, "CHIFFON_DATA_DIR": str(folder), "CHIFFON_PORT": str(self.port), **variables}
        self.process: subprocess.Popen[str] | None = None
        self.more: list[subprocess.Popen[bytes]] = []
        self.people: dict[str, Person] = {}

    def start(self) -> None:
        """Start everything and wait until it is ready."""
        self.process = subprocess.Popen(
            [self.python, "-m", "chiffon_site.cli", "up", "--demo"],
            cwd=CHECKOUT, env=self.environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            preexec_fn=before_exec(death_signal=signal.SIGINT, parent=os.getpid()),  # noqa: PLW1509 - it only makes system calls
        )  # fmt: skip
        assert self.process.stdout is not None
        said = []
        for line in self.process.stdout:
            said.append(line)
            if line.startswith("  admin"):
                return
        raise AssertionError("".join(said))

    def stop(self) -> None:
        """End everything; nothing of it may be left."""
        for agent in self.more:
            agent.terminate()
        for agent in self.more:
            agent.wait(20)
        if self.process and self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
            self.process.communicate(timeout=20)
        for person in self.people.values():
            person.http.close()
        assert tagged(DataFolder(self.folder).tag) == []
        assert self.steps_processes() == []

    def command(self, *words: str) -> str:
        """Run a `chiffon` command beside the folder and answer what it printed."""
        done = self.ran(*words)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def ran(self, *words: str, **variables: str) -> subprocess.CompletedProcess[str]:
        """How a `chiffon` command ended, and what it said."""
        return subprocess.run(
            [self.python, "-m", "chiffon_site.cli", *words], cwd=CHECKOUT, env={**self.environment, **variables},
            capture_output=True, text=True, timeout=120, check=False, stdin=subprocess.DEVNULL,
        )  # fmt: skip

    def person(self, name: str) -> Person:
        """The person of the demo, with a token for everything their role allows."""
        if name not in self.people:
            told = json.loads(self.command("token", "create", "--user", name, "--scopes", SCOPES, "--json"))
            self.people[name] = Person(self.address, told["token"])
        return self.people[name]

    @property
    def requester(self) -> Person:
        return self.person("requester")

    @property
    def approver(self) -> Person:
        return self.person("approver")

    @property
    def auditor(self) -> Person:
        return self.person("auditor")

    @property
    def admin(self) -> Person:
        return self.person("admin")

    def another_agent(self, name: str, slots: int = 2) -> None:
        """One more agent beside those of the demo."""
        with (self.folder / f"{name}.log").open("ab") as log:
            command = [self.python, "-m", "chiffon_site.cli", "agent", "--name", name, "--slots", str(slots)]
            self.more.append(
                subprocess.Popen(
                    command,
                    cwd=CHECKOUT,
                    env=self.environment,
                    stdout=log,
                    stderr=log,
                    stdin=subprocess.DEVNULL,
                    preexec_fn=before_exec(death_signal=signal.SIGTERM, parent=os.getpid()),  # noqa: PLW1509 - as there
                )  # fmt: skip
            )

    def playbooks(self, files: Mapping[str, str]) -> None:
        """Commit playbooks to the repository and let Chiffon read them."""
        folder = self.folder / "playbooks"
        for name, text in files.items():
            (folder / name).write_text(text)
        who = ("-c", "user.name=Test", "-c", "user.email=test@example.org")
        for words in (("add", "-A"), (*who, "commit", "-q", "-m", "For a test")):
            subprocess.run(["git", "-C", str(folder), *words], check=True, capture_output=True)
        self.admin.post("/playbooks/refresh")

    def asked(self, text: str) -> Any:
        """Ask in words and answer each question with its first option; the plan."""
        request = self.requester.post("/requests", text=text)
        while request["status"] == "needs_clarification":
            answer = request["decomposition"]["ambiguities"][0]["options"][0]["value"]
            request = self.requester.post(f"/requests/{request['id']}/messages", text=answer)
        assert request["status"] == "planned", request
        return self.plan(request["plan_id"])

    def written(self, *steps: dict[str, Any], goal: str = "Try it", **more: Any) -> Any:
        """A plan by a program."""
        return self.requester.post("/plans", goal=goal, steps=list(steps), **more)

    def approved(self, plan: Any) -> Any:
        """Approve exactly this plan."""
        return self.approver.post(f"/plans/{plan['id']}/approve", digest=plan["digest"])

    def plan(self, pk: str) -> Any:
        return self.requester.get(f"/plans/{pk}")

    def ended(self, plan: Any, seconds: float = 60) -> Any:
        """Wait until the plan is at rest; what it is then."""
        return self.until(lambda: found if (found := self.plan(plan["id"]))["stage"] in AT_REST else None, seconds)

    def until[T](self, look: Callable[[], T], seconds: float = 30, every: float = 0.15) -> T:
        """Wait for something to be true, and answer it."""
        deadline = time.monotonic() + seconds
        while not (found := look()):
            assert self.process is None or self.process.poll() is None, f"it has ended: {self.last_words()}"
            assert time.monotonic() < deadline, f"it did not happen within {seconds:g} s: {found!r}"
            time.sleep(every)
        return found

    def last_words(self) -> str:
        """What `chiffon up` has said since it was ready; only once it has ended."""
        assert self.process is not None
        return self.process.communicate()[0]

    def output(self, attempt: Any) -> str:
        """The whole output of an attempt, as stored."""
        return "\n".join(row["text"] for row in self.rows(
            "SELECT text FROM plans_outputline WHERE attempt_id = %s ORDER BY seq", attempt["id"]
        ))  # fmt: skip

    def rows(self, statement: str, *values: Any) -> list[dict[str, Any]]:
        """Read from the database, as the application's role."""
        with self.database() as link:
            return link.execute(statement, values).fetchall()

    @contextmanager
    def database(self) -> Iterator[psycopg.Connection[dict[str, Any]]]:
        """A connection as the application's role, also to a server that is just coming back."""
        connected = self.until(self._connected)
        assert connected is not None
        with connected as link:
            yield link

    def _connected(self) -> psycopg.Connection[dict[str, Any]] | None:
        url = json.loads((self.folder / "env.json").read_text())["DATABASE_URL"]
        try:
            return psycopg.connect(url, autocommit=True, row_factory=dict_row)
        except psycopg.OperationalError:
            return None

    def programs(self) -> dict[str, psutil.Process]:
        """The leaders of the programs that run now, by the names the keeper gives them."""
        found = {}
        for process in tagged(DataFolder(self.folder).tag):
            try:
                if os.getpgid(process.pid) == process.pid:
                    found[_name_of(process.cmdline())] = process
            except (psutil.Error, ProcessLookupError):
                continue
        return found

    def kill(self, name: str) -> int:
        """Kill a program without a word; its process id."""
        process = self.until(lambda: self.programs().get(name))
        assert process is not None
        process.kill()
        return int(process.pid)

    def back(self, name: str, *, after: int, seconds: float = 30) -> None:
        """Wait until the keeper has started a program again."""
        self.until(lambda: (found := self.programs().get(name)) and found.pid != after, seconds)

    def steps_processes(self) -> list[str]:
        """Every process that a step of this installation started and that lives."""
        where = json.loads((self.folder / "env.json").read_text())["DATABASE_URL"].rpartition("@")[2]
        mine = marked(prefix=f"{hashlib.sha256(where.encode()).hexdigest()[:8]}.")
        return [f"{pid} {tag}" for pid, tag in mine.items()]


def _name_of(words: list[str]) -> str:
    if "--name" in words:
        return words[words.index("--name") + 1]
    for name in ("dispatcher", "worker", "daphne", "chiffon_site.embedded.services"):
        if name in words:
            return name
    return Path(words[0]).name if words else ""  # it has just ended
