"""Real repositories and real runs for the tests of the playbook runner."""

from __future__ import annotations

import threading
import uuid
from dataclasses import dataclass, field

from agents import git
from agents.playbooks.runner import PlaybookRun, TaskProgress, run_playbook

AUTHOR = git.Person("Test", "test@example.org")
INVENTORY = "[web]\nweb1 ansible_connection=local\nweb2 ansible_connection=local\n"


@dataclass
class Watcher:
    """A context that remembers what it was told; `cancel_when` and `lose_when` act on a line."""

    cancel_when: str = ""
    lose_when: str = ""
    lines: list[tuple[str, str]] = field(default_factory=list)
    steps: list[TaskProgress] = field(default_factory=list)
    seen: threading.Event = field(default_factory=threading.Event)
    lost: bool = False
    stop: bool = False

    def line(self, stream, text):
        self.lines.append((stream, text))
        self.stop |= bool(self.cancel_when) and self.cancel_when in text
        self.lost |= bool(self.lose_when) and self.lose_when in text

    def progress(self, progress):
        self.steps.append(progress)

    def reached(self, so_far):
        self.checkpoint = so_far

    def beat(self):
        return not self.lost

    def cancelled(self):
        return self.stop

    @property
    def text(self):
        return "\n".join(text for _, text in self.lines)


class Lab:
    """A playbook repository made of the files given, ready to be run."""

    def __init__(self, folder, files):
        source = folder / "source"
        source.mkdir()
        for name, text in {"inventory.ini": INVENTORY, **files}.items():
            target = source / name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(text)
            if text.startswith("#!"):
                target.chmod(0o755)
        self.repository = folder / "repository"
        self.commit = git.init_from_folder(source, self.repository, AUTHOR)
        self.tree = git.tree_of(self.repository, self.commit)
        self.scratch = folder / "scratch"
        self.scratch.mkdir()

    def asked(self, playbook="site.yml", **more):
        given = {
            "repository": str(self.repository),
            "commit": self.commit,
            "tree": self.tree,
            "playbook": playbook,
            "inventory": "inventory.ini",
            "tag": f"test-{uuid.uuid4()}:1",
            "timeout_seconds": 60,
        }
        return PlaybookRun(**(given | more))

    def run(self, playbook="site.yml", watcher=None, **more):
        outcome = run_playbook(self.asked(playbook, **more), watcher or Watcher(), scratch=self.scratch)
        assert list(self.scratch.iterdir()) == [], "the workspace must be gone"
        return outcome


def play(*tasks, hosts="web1", **more):
    """A playbook of one play without facts, from tasks as YAML texts of one line each."""
    head = "".join(f"  {key}: {value}\n" for key, value in more.items())
    body = "".join(f"    - {task}\n" for task in tasks)
    return f"- hosts: {hosts}\n  gather_facts: false\n{head}  tasks:\n{body}"
