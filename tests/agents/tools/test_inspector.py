"""playbook.inspect: what a playbook needs at a commit, read and not run."""

import pytest

from agents.playbooks.discovery import read_one
from agents.protocol import FailureMode, Outcome
from agents.tools.registry import input_errors
from agents.tools.results import checked
from tests import factories
from tests.agents.tools.listener import Listener, tool_named, work
from tests.engine import Engine
from tests.homelab import Homelab, playbook

pytestmark = pytest.mark.django_db
TOOL = tool_named("playbook.inspect")


@pytest.fixture
def homelab(tmp_path):
    files = {
        "kuma.yml": playbook("kuma", "- debug: msg={{ kuma_port }}", "- debug: msg=bye"),
        "broken.yml": "- hosts: all\n  tasks: [\n",
        "notes.yml": "just: notes\n",
    }
    made = Homelab(tmp_path, files)
    made.read()
    return made


def read(homelab, path, commit=None, context=None):
    given = {"playbook": path, "commit": commit or homelab.row.commit}
    assert input_errors(TOOL, given) == []
    return checked(TOOL, TOOL.run(work(TOOL.name, given), context or Listener()))


def test_it_tells_what_the_playbook_needs_at_that_commit(homelab):
    before = homelab.row.commit
    homelab.commit({"kuma.yml": playbook("kuma", "- debug: msg=hello")})
    now, then = read(homelab, "kuma.yml", homelab.read().commit), read(homelab, "kuma.yml", before)
    assert (now.outcome, now.output["task_count"], now.output["variables"]) == (Outcome.COMPLETED, 1, [])
    assert (then.output["task_count"], [one["name"] for one in then.output["variables"]]) == (2, ["kuma_port"])
    assert then.summary == "kuma.yml has 2 tasks on forge and needs kuma_port."
    assert (then.output["service"], then.output["hosts"], then.output["commit"]) == ("kuma", "forge", before)


def test_the_homelab_is_read_as_the_catalogue_reads_it(tmp_path):
    made = Homelab(tmp_path)
    for row in made.read().playbooks.filter(missing=False):
        found = read(made, row.path).output
        assert {name: found[name] for name in ("service", "description", "hosts", "roles", "tags", "task_count")} == {
            name: row.details[name] for name in ("service", "description", "hosts", "roles", "tags", "task_count")
        }
        assert found["variables"] == row.details["variables"]


def test_a_broken_playbook_is_told_as_one(homelab):
    told = read(homelab, "broken.yml")
    assert told.outcome is Outcome.COMPLETED
    assert told.output["problems"]
    assert "can not be used as it is" in told.summary


@pytest.mark.parametrize(
    "path", ["none.yml", "notes.yml", "inventory/hosts.yml/", "../playbooks/kuma.yml", "/etc/passwd", "inventory", "a" * 400, "\u202e"]
)  # fmt: skip
def test_what_is_no_playbook_of_the_commit_is_said_to_be_none(homelab, path):
    told = read(homelab, path)
    assert (told.outcome, told.failure.mode, told.failure.transient) == (Outcome.FAILED, FailureMode.USER, False)
    assert "has no playbook" in told.failure.message


@pytest.mark.parametrize("context", [Listener(stops=1), Listener(loses=2), Listener(stops=3), Listener(loses=4)])
def test_it_stops_when_it_is_asked_to_before_and_after_the_export(homelab, context):
    assert read(homelab, "kuma.yml", context=context).outcome is Outcome.CANCELLED


def test_one_playbook_is_read_and_nothing_outside_its_folder(tmp_path):
    inside = tmp_path / "inside"
    inside.mkdir()
    for folder in (tmp_path, inside):
        (folder / "a.yml").write_text(playbook("kuma"))
    (inside / "link.yml").symlink_to(tmp_path / "a.yml")
    (inside / "good.yml").symlink_to("a.yml")
    found = {
        name: read_one(inside, name) for name in ("a.yml", "good.yml", "../a.yml", "link.yml", str(tmp_path / "a.yml"))
    }
    assert [name for name, one in found.items() if one] == ["a.yml", "good.yml"]


def test_a_commit_that_is_not_there_is_a_failure(homelab):
    told = read(homelab, "kuma.yml", "4f" * 20)
    assert (told.outcome, told.failure.mode) == (Outcome.FAILED, FailureMode.USER)
    assert "4f4f4f4f4f4f" in told.failure.message


def test_without_a_repository_there_is_nothing_to_read(db):
    told = TOOL.run(work(TOOL.name, dict(TOOL.example)), Listener())
    assert told.failure is not None and "no playbook repository" in told.failure.message


@pytest.mark.parametrize("commit", ["", "HEAD", "main", "4f" * 19, "4F" * 20, "4f" * 20 + "\n", "--output=x", None, 5])
def test_only_the_full_id_of_a_commit_will_do(commit):
    assert [error["loc"] for error in input_errors(TOOL, {"playbook": "a.yml", "commit": commit})] == [["commit"]]


@pytest.mark.django_db(transaction=True)
def test_the_second_step_that_asks_is_answered_from_the_cache(homelab, requester, approver):
    factories.make_agent()
    asked = {"playbook": "kuma.yml", "commit": homelab.row.commit}
    step = {"key": "one", "tool": "playbook.inspect", "input": asked}
    plan = factories.make_plan(requester, [step, {**step, "key": "two", "depends_on": ["one"]}])
    factories.approve(plan, approver)
    Engine().run()
    one, two = plan.steps.order_by("index")
    assert one.output is not None
    assert one.output == two.output and one.output["service"] == "kuma"
    assert "From the cache" not in one.summary
    assert "From the cache: worked out at " in two.summary
