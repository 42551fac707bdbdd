"""The demo, running; every journey uses the same one."""

import pytest

from tests.homelab import playbook
from tests.processes import Installation

SLEEP = "301.27"  # seconds that no other program sleeps, so that its process is found
PLAYBOOKS = {
    "odd-fail.yml": playbook(
        "oddfail", "- debug: msg=before", "- fail: msg='The disk is full.'", "- debug: msg=after", hosts="atlas"
    ),
    "odd-hang.yml": playbook("oddhang", f"- command: sleep {SLEEP}", hosts="atlas"),
    "odd-nul.yml": playbook(
        "oddnul",
        "- command: printf 'a\\0b\\033[31mred\\033[0m\\033]0;title\\007 password=hunter22 <img src=x onerror=alert(1)>'",
        hosts="atlas",
    ),
    "odd-stats.yml": playbook("oddstats", "- set_stats: {data: {answer: 42}}", hosts="atlas"),
}


@pytest.fixture(scope="session")
def demo(tmp_path_factory):
    """`chiffon up --demo`, with some playbooks that go wrong beside the sample ones."""
    installation = Installation(tmp_path_factory.mktemp("demo") / "data")
    try:
        installation.start()
        installation.playbooks(PLAYBOOKS)
        yield installation
    finally:
        installation.stop()


def playbook_step(key, path, **more):
    """A step that runs a playbook."""
    return {"key": key, "tool": "ansible.playbook", "input": {"playbook": path, "variables": {}}, **more}


def only_try(plan, key):
    """The one attempt at a step."""
    (step,) = [step for step in plan["steps"] if step["key"] == key]
    (attempt,) = step["attempts"]
    return attempt
