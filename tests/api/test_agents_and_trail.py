"""Agents, tools, playbooks and the trail through the API."""

import pytest

from agents.models import ToolRecord
from tests import factories
from tests.api.conftest import is_problem


def test_agents_are_listed_and_steered(as_admin, as_requester):
    factories.make_agent("infra-1", slots=3)
    factories.make_agent("infra-2", status="offline")
    agents = as_requester.get("/agents").json()["items"]
    assert [agent["name"] for agent in agents] == ["infra-1", "infra-2"]
    assert as_requester.get("/agents?limit=1").json()["next"] == "infra-1"
    assert [agent["name"] for agent in as_requester.get("/agents?after=infra-1").json()["items"]] == ["infra-2"]
    capacity = as_requester.get("/agents/available-capacity").json()
    assert (capacity["slots"], capacity["busy"], capacity["free"]) == (3, 0, 3)
    assert capacity["types"] == [{"type": "infra", "agents": 1, "slots": 3, "busy": 0, "free": 3}]
    drained = as_admin.post("/agents/infra-1/drain", {"reason": "New kernel"})
    assert drained.status_code == 200, drained.content
    assert drained.json()["status"] == "draining"
    assert as_requester.get("/agents/available-capacity").json()["free"] == 0
    assert as_admin.post("/agents/infra-1/maintenance").json()["status"] == "maintenance"
    assert as_admin.post("/agents/infra-1/activate").json()["status"] in {"ready", "starting", "offline"}


@pytest.mark.parametrize("name", ["nobody", "%00", "..%2f", "a" * 500, "infra 1"])
def test_an_unknown_agent_is_not_found(as_admin, name):
    is_problem(as_admin.get(f"/agents/{name}"), 404)
    is_problem(as_admin.post(f"/agents/{name}/drain"), 404)


def test_tools_are_told_with_their_parameters(as_requester):
    tools = {tool["name"]: tool for tool in as_requester.get("/tools").json()["items"]}
    assert {"diagnostic.noop", "diagnostic.echo", "diagnostic.sleep", "diagnostic.fail", "diagnostic.lines"} <= set(
        tools
    )
    assert tools["diagnostic.sleep"]["parameters"]["properties"]["seconds"]["type"] == "number"


def test_of_each_tool_everything_is_told_that_its_page_tells(as_requester):
    ToolRecord.objects.create(name="playbook.inspect", version="1", calls=4, succeeded=3, from_cache=2)
    factories.make_agent("infra-1")
    tools = {tool["name"]: tool for tool in as_requester.get("/tools").json()["items"]}
    told = tools["playbook.inspect"]
    assert (told["source"], told["cost"], told["quick"], told["parallel_limit"]) == ("Chiffon", "0", False, None)
    assert (told["cacheable"], told["cache_seconds"], told["cache_scope"]) == (True, 86_400, "shared")
    assert told["agents"] == ["infra-1"]
    assert told["result"]["properties"]["task_count"]["minimum"] == 0
    assert (told["reliability"]["success_rate"], told["reliability"]["from_cache"]) == (0.75, 2)
    echo = tools["diagnostic.echo"]
    assert (echo["cacheable"], echo["cache_seconds"], echo["cache_scope"], echo["quick"]) == (False, 0, "", True)
    assert (echo["reliability"]["calls"], echo["reliability"]["success_rate"]) == (0, None)


def test_a_tool_that_a_package_brings_is_told_like_ours(as_requester, packages):
    packages.install_documented()
    tools = {tool["name"]: tool for tool in as_requester.get("/tools").json()["items"]}
    assert tools["acme.word_count"]["source"] == "acme-tools 1.2"
    packages.install("acme-broken", "raise RuntimeError", "a = acme_broken:x")
    assert {tool["name"] for tool in as_requester.get("/tools").json()["items"]} == set(tools)


def test_a_repository_that_is_not_set_is_said_to_be_missing(as_admin):
    is_problem(as_admin.post("/playbooks/refresh"), 409, "repository_unreadable")


def test_playbooks_are_paged_by_path(as_requester):
    from agents.models import Playbook, PlaybookRepository

    repository = PlaybookRepository.objects.create(name="homelab", location="/nonexistent")
    for path in ("b.yml", "a.yml", "c.yml"):
        Playbook.objects.create(repository=repository, path=path, service=path[0])
    seen, after = [], None
    while True:
        page = as_requester.get("/playbooks?limit=2" + (f"&after={after}" if after else "")).json()
        seen += [row["path"] for row in page["items"]]
        after = page["next"]
        if after is None:
            break
    assert seen == ["a.yml", "b.yml", "c.yml"]
    assert [row["path"] for row in as_requester.get("/playbooks?service=b").json()["items"]] == ["b.yml"]
    is_problem(as_requester.get("/playbooks?after=00000000-0000-0000-0000-000000000000"), 404)


class TestTrail:
    def test_records_are_found_by_what_is_known_of_them(self, as_auditor, as_approver, plan):
        as_approver.post(f"/plans/{plan.pk}/reject", {"reason": "Not in the evening"})
        records = as_auditor.get(f"/audit/records?trace_id={plan.trace_id}").json()["items"]
        assert {"plan.created", "plan.rejected"} <= {record["type"] for record in records}
        rejected = as_auditor.get("/audit/records?type=plan.rejected&actor=approver&q=evening").json()["items"]
        assert len(rejected) == 1
        assert rejected[0]["reason"] == "Not in the evening"
        assert rejected[0]["actor"] == {"kind": "person", "name": "approver"}
        assert as_auditor.get("/audit/records?actor=nobody").json()["items"] == []

    def test_records_are_paged_newest_first(self, as_auditor, plan):
        seen, after = [], None
        while True:
            page = as_auditor.get("/audit/records?limit=2" + (f"&after={after}" if after else "")).json()
            seen += [record["sequence"] for record in page["items"]]
            after = page["next"]
            if after is None:
                break
        assert seen == sorted(set(seen), reverse=True) and len(seen) >= 3

    @pytest.mark.parametrize(
        "query", ["trace_id=x", "type=no.such", "since=yesterday", "until=2026-13-01", "since=2026-02-01&until=2026-01-01",
                  "after=x", "q=%00", "actor=" + "x" * 5000],
    )  # fmt: skip
    def test_a_question_that_cannot_be_read_names_its_field(self, as_auditor, query):
        problem = is_problem(as_auditor.get(f"/audit/records?{query}"), 422)
        assert problem["errors"][0]["loc"][0] == "query"

    def test_a_task_is_for_whoever_may_read_its_trace(self, as_requester, as_auditor, plan):
        from audit.authority import Role
        from tests.api.conftest import Program

        task = plan.steps.get().pk
        assert as_requester.get(f"/audit/tasks/{task}").status_code == 200
        assert as_auditor.get(f"/audit/tasks/{task}").json()["commit"] is None
        other = Program(factories.make_token(factories.make_user("other", Role.REQUESTER)))
        is_problem(other.get(f"/audit/tasks/{task}"), 404)
