"""The hosts of a step that a program writes: a playbook's from the inventory, another tool's as its input says."""

import pytest

from agents.models import Playbook, PlaybookRepository
from tests.api.conftest import is_problem


def test_a_playbooks_hosts_are_those_its_plays_name_in_the_inventory(as_requester):
    facts = {"hosts": ["atlas", "boreas", "ceres"], "members": {"web": ["boreas", "atlas"], "db": ["ceres"]}}
    repository = PlaybookRepository.objects.create(
        name="homelab", location="/nonexistent", commit="c" * 40, tree="t" * 40, facts=facts
    )
    for patterns, hosts in (
        ("web", ["atlas", "boreas"]),
        ("db, atlas", ["atlas", "ceres"]),
        ("all", facts["hosts"]),
        ("moon", []),
        ("", []),
    ):
        Playbook.objects.update_or_create(
            repository=repository, path="a.yml", defaults={"details": {"hosts": patterns}, "service": "kuma"}
        )
        step = {"key": "a", "tool": "ansible.playbook", "input": {"playbook": "a.yml"}}
        made = as_requester.post("/plans", {"goal": "Try", "steps": [step]})
        assert made.status_code == 201, made.content
        assert made.json()["steps"][0]["hosts"] == hosts


def test_a_diagnostic_tool_pretends_to_work_on_its_target(as_requester):
    for tool, more in (("noop", {}), ("sleep", {"seconds": 0}), ("fail", {"times": 0})):
        step = {"key": "a", "tool": f"diagnostic.{tool}", "input": {"target": "atlas", **more}}
        made = as_requester.post("/plans", {"goal": "Try", "steps": [step]})
        assert made.json()["steps"][0]["hosts"] == ["atlas"]


@pytest.mark.parametrize("target", ["Atlas", "a b", "-a", "a/b", "x" * 64, "a\n", "ä", 3, None, ["a"]])
def test_a_target_that_is_no_name_of_a_host_is_refused_with_its_place(as_requester, target):
    step = {"key": "a", "tool": "diagnostic.noop", "input": {"target": target}}
    problem = is_problem(as_requester.post("/plans", {"goal": "Try", "steps": [step]}), 422)
    assert problem["errors"][0]["loc"] == ["body", "steps", 0, "input", "target"]


def test_a_tool_without_a_target_has_no_host_however_its_input_is_called(as_requester):
    step = {"key": "a", "tool": "diagnostic.echo", "input": {"value": {"target": "atlas"}}}
    made = as_requester.post("/plans", {"goal": "Try", "steps": [step]})
    assert made.json()["steps"][0]["hosts"] == []
