"""The pages of tools: every word of a tool on a page, what was measured, and what is left out."""

import json
import re
from html import unescape

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from agents.models import ToolRecord
from agents.tools.registry import all_tools, describe
from tests import factories

TOOLS = [tool.name for tool in all_tools()]


@pytest.fixture
def page(browse, requester):
    client = browse(requester)

    def read(name=""):
        answer = client.get(reverse("agents:tool", args=[name]) if name else reverse("agents:tools"))
        return answer.status_code, " ".join(unescape(answer.text).split())

    return read


def test_the_list_names_every_tool_and_who_offers_it(page):
    factories.make_agent("forge-01")
    factories.make_agent("gone", type_="research", status="terminated")
    status, text = page()
    assert status == 200
    for tool in all_tools():
        assert tool.name in text and tool.description in text
    assert f"{len(TOOLS)} tools, all of them on an agent that takes work now" in text
    assert "forge-01" in text and "gone" not in text
    assert "can not be offered" not in text


@pytest.mark.parametrize("name", TOOLS)
def test_a_page_documents_each_tool_from_one_source(page, name):
    told = next(describe(tool) for tool in all_tools() if tool.name == name)
    status, text = page(name)
    assert status == 200
    assert told["description"] in text
    for kind in ("parameters", "result"):
        assert " ".join(json.dumps(told[kind], indent=2, ensure_ascii=False).split()) in text
        for field, part in told[kind].get("properties", {}).items():
            assert f"<code>{field}</code>" in text
            assert part.get("description", "") in text
    assert ("Safe to try again" in text) is told["idempotent"]
    assert ("Every step calls it." in text) is not told["cacheable"]
    assert "How reliable it is, is not known yet" in text
    assert 'style="' not in text


def test_what_was_measured_is_told_as_numbers(page):
    now = timezone.now()
    figures = {"calls": 21, "succeeded": 19, "median_seconds": 1.5, "last_called_at": now, "measured_at": now}
    ToolRecord.objects.create(name="diagnostic.echo", version="1", **figures)
    ToolRecord.objects.create(name="diagnostic.echo", version="0.9", calls=4, succeeded=1)
    assert "19 of 21" in page()[1]
    text = page("diagnostic.echo")[1]
    assert "19 of 21 calls succeeded" in text and "90 %" in text
    assert "Version 0.9: 1 of 4 succeeded." in text


def test_without_an_agent_it_is_said_that_steps_wait(page):
    assert "0 of them on an agent that takes work now" in page()[1]
    assert "A step that needs it waits." in page("ansible.playbook")[1]
    factories.make_agent(status="maintenance")
    assert "A step that needs it waits." in page("ansible.playbook")[1]
    factories.make_agent("ready")
    assert "1 agent can use it now" in page("ansible.playbook")[1]


def test_a_third_party_tool_has_its_page_and_names_its_package(page, packages):
    packages.install_documented()
    factories.make_agent()
    assert "acme-tools 1.2" in page()[1]
    status, text = page("acme.word_count")
    assert status == 200
    assert "from acme-tools 1.2" in text
    assert "Shorter words do not count." in text
    assert "answered from the cache for 5 min" in text


def test_what_is_left_out_is_told_with_its_reason(page, packages):
    packages.install("acme-tools", "raise RuntimeError('<script>alert(1)</script>')", "word = acme_tools:x")
    text = page()[1]
    assert "1 third-party tool can not be offered" in text
    assert "RuntimeError: <script>alert(1)</script>" in text  # it is unescaped here


def test_no_word_of_a_package_becomes_markup(browse, requester, packages):
    packages.install("acme-tools", "raise RuntimeError('<script>alert(1)</script>')", "word = acme_tools:x")
    assert "<script>alert" not in browse(requester).get(reverse("agents:tools")).text


@pytest.mark.parametrize(
    "name", ["diagnostic.nope", "x", "diagnostic.noop%00", "diagnostic.noop ", "%F0%9F%99%82", "a" * 500]
)
def test_a_tool_that_is_not_there_is_a_page_that_says_so(browse, requester, name):
    answer = browse(requester).get(f"/tools/{name}/")
    assert answer.status_code == 404
    assert "Nothing here has this address" in answer.text


def test_a_tool_that_is_turned_off_has_no_page(page, settings):
    settings.CHIFFON_DIAGNOSTICS = False
    assert page("diagnostic.noop")[0] == 404
    assert "diagnostic.noop" not in page()[1]


def test_nobody_reads_them_without_signing_in(db):
    for address in (reverse("agents:tools"), reverse("agents:tool", args=["diagnostic.noop"])):
        assert Client().get(address).status_code == 302


def test_the_queries_do_not_grow_with_agents(browse, requester, count_queries):
    client = browse(requester)
    factories.make_agent("a")
    one = [
        count_queries(client, address)
        for address in (reverse("agents:tools"), reverse("agents:tool", args=["diagnostic.echo"]))
    ]
    for number in range(5):
        factories.make_agent(f"b{number}")
    many = [
        count_queries(client, address)
        for address in (reverse("agents:tools"), reverse("agents:tool", args=["diagnostic.echo"]))
    ]
    assert many == one


def test_an_agents_page_leads_to_its_tools(browse, requester):
    factories.make_agent("forge-01")
    text = browse(requester).get(reverse("agents:agent", args=["forge-01"])).text
    links = re.findall(r'href="(/tools/[^"]+)"', text)
    assert links and all(browse(requester).get(link).status_code == 200 for link in links)
