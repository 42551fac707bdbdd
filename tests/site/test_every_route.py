"""Every address of the site, with nobody and with every role: who gets in, and that nobody meets an error."""

import uuid

import pytest
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver

from agents.models import Breaker, Playbook, PlaybookRepository
from audit.authority import Role
from audit.models import DecisionRecord
from plans.models import Request, Session
from tests import factories

SIGN_IN = "/accounts/login/"
PROBES = {"healthz", "readyz", "metrics"}
# What one needs before one is signed in, or reads when one can not be. None of them makes an account.
DOORS = {"accounts/login/"}
ROLES = (Role.REQUESTER, Role.APPROVER, Role.AUDITOR, Role.AGENT_ADMIN, Role.ADMINISTRATOR)
# What a GET of each page answers to each role, in this order; the plan and the request are somebody else's.
PAGES = {
    "": (200, 200, 200, 200, 200),
    "requests/": (200, 200, 200, 200, 200),
    "requests/new/": (200, 403, 403, 403, 200),
    "requests/<uuid:request_id>/": (404, 404, 200, 404, 200),
    "plans/": (200, 200, 200, 200, 200),
    "plans/<number:number>/": (404, 200, 200, 404, 200),
    "plans/<number:number>/run/": (404, 200, 200, 404, 200),
    "plans/<number:number>/approve/": (302, 302, 302, 302, 302),
    "plans/<number:number>/reject/": (302, 302, 302, 302, 302),
    "plans/<number:number>/steps/<str:key>/retry/": (404, 200, 403, 404, 200),
    "plans/<number:number>/cancel/": (404, 200, 403, 404, 200),
    "plans/<number:number>/pause/": (404, 200, 403, 404, 200),
    "plans/<number:number>/resume/": (404, 200, 403, 404, 200),
    "plans/<number:number>/retry/": (404, 200, 403, 404, 200),
    "plans/<number:number>/undo/": (404, 403, 403, 404, 200),
    "plans/<number:number>/revise/": (404, 403, 403, 404, 200),
    "plans/<number:number>/revisions/": (404, 200, 200, 404, 200),
    "plans/<number:number>/steps/<str:key>/give-up/": (404, 200, 403, 404, 200),
    "plans/<number:number>/steps/<str:key>/skip/": (404, 200, 403, 404, 403),
    "policy/": (200, 200, 200, 200, 200),
    "theme/": (405, 405, 405, 405, 405),
    "agents/": (200, 200, 200, 200, 200),
    "agents/<slug:name>/": (200, 200, 200, 200, 200),
    "breakers/<uuid:breaker_id>/reset/": (405, 405, 405, 405, 405),
    "tools/": (200, 200, 200, 200, 200),
    "tools/<str:name>/": (200, 200, 200, 200, 200),
    "playbooks/": (200, 200, 200, 200, 200),
    "playbooks/refresh/": (405, 405, 405, 405, 405),
    "playbooks/<uuid:playbook_id>/": (200, 200, 200, 200, 200),
    "audit/": (403, 403, 200, 403, 200),
    "audit/traces/<uuid:trace_id>/": (404, 200, 200, 404, 200),
    "audit/records/<int:sequence>/": (404, 200, 200, 404, 200),
    "audit/tasks/<uuid:task_id>/": (404, 200, 200, 404, 200),
}
# Who gets anywhere with a POST to a page, past 403 and 404. Bodies are empty: most are told what is missing.
ACTS = {
    "requests/": (True, False, False, False, True),
    "requests/<uuid:request_id>/": (False, False, False, False, False),
    "plans/<number:number>/approve/": (False, True, True, False, True),  # the form is read first; then the gate
    "plans/<number:number>/reject/": (False, True, True, False, True),
    "plans/<number:number>/steps/<str:key>/retry/": (False, True, False, False, True),
    "plans/<number:number>/cancel/": (False, True, False, False, True),
    "plans/<number:number>/pause/": (False, True, False, False, True),
    "plans/<number:number>/resume/": (False, True, False, False, True),
    "plans/<number:number>/retry/": (False, True, False, False, True),
    "plans/<number:number>/undo/": (False, False, False, False, True),
    "plans/<number:number>/revise/": (False, False, False, False, True),
    "plans/<number:number>/steps/<str:key>/give-up/": (False, True, False, False, True),
    "plans/<number:number>/steps/<str:key>/skip/": (False, True, False, False, False),
    "policy/": (False, False, False, False, True),
    "agents/<slug:name>/": (False, False, False, True, True),
    "breakers/<uuid:breaker_id>/reset/": (False, False, False, True, True),
    "playbooks/refresh/": (False, False, False, True, True),
}


def routes(patterns=None, prefix=""):
    """Every route of the URLconf that ends in a view, as it is written there."""
    for entry in get_resolver().url_patterns if patterns is None else patterns:
        route = prefix + str(entry.pattern)
        if isinstance(entry, URLResolver):
            yield from routes(entry.url_patterns, route)
        elif isinstance(entry, URLPattern):
            yield route


EVERY = sorted(set(routes()))


@pytest.fixture
def address(requester, approver):
    """Makes the address of a route, with something that exists in each of its places."""
    plan = factories.approve(factories.make_plan(requester), approver)
    step = plan.steps.get()
    session = Session.objects.create(owner=requester)
    request = Request.objects.create(session=session, requester=requester, text="Deploy Kuma")
    repository = PlaybookRepository.objects.create(name="homelab", location="/nonexistent")
    record = DecisionRecord.objects.filter(trace_id=plan.trace_id).earliest("sequence")
    there = {
        "<uuid:request_id>": request.pk,
        "<number:number>": plan.number,
        "<str:key>": step.key,
        "<str:name>": "diagnostic.echo",
        "<slug:name>": factories.make_agent().name,
        "<uuid:breaker_id>": Breaker.objects.create(tool="diagnostic.fail", target="host:atlas").pk,
        "<uuid:playbook_id>": Playbook.objects.create(repository=repository, path="a.yml").pk,
        "<uuid:trace_id>": plan.trace_id,
        "<int:sequence>": record.sequence,
        "<uuid:task_id>": step.pk,
        "<uuid:token_id>": uuid.uuid4(),
        "<path:object_id>": approver.pk,
        "(?P<uidb36>[0-9A-Za-z]+)-(?P<key>.+)": "abc-def",
        r"(?P<key>[-:\w]+)": "abc",
        "<id>": plan.pk,
        "<task_id>": step.pk,
    }

    def made(route):
        path = route.replace("^", "").replace("$", "")
        for place, value in there.items():
            path = path.replace(place, str(value))
        return f"/{path}"

    return made


def signed_in(role):
    client = Client(raise_request_exception=False)
    client.force_login(factories.make_user(f"another-{role.value}", role))
    return client


def test_nobody_gets_past_the_doors(address):
    nobody = Client(raise_request_exception=False)
    through: dict[str, set[int]] = {}
    for route in EVERY:
        for ask in (nobody.get, nobody.post):
            answer = ask(address(route))
            assert answer.status_code < 500, route
            if answer.status_code == 302 and answer["Location"].split("?")[0] in {SIGN_IN, "/admin/login/"}:
                continue
            if answer.status_code == 401 and answer["Content-Type"] == "application/problem+json":
                continue
            through.setdefault(route, set()).add(answer.status_code)
    assert set(through) == PROBES | DOORS
    assert {route for route, codes in through.items() if codes - {200, 405, 404}} == set()


@pytest.mark.parametrize("role", ROLES)
def test_no_address_is_an_error_for_anybody(address, role):
    client = signed_in(role)
    staff = role in {Role.AUDITOR, Role.ADMINISTRATOR}
    for route in EVERY:
        if route.startswith(("accounts/logout", "accounts/login")):
            continue  # these end the session that the others need
        answer = client.get(address(route))
        assert answer.status_code < 500, route
        if route.startswith("admin/") and not staff:
            assert answer.status_code in {302, 403, 404}, route


def test_the_tables_name_every_page():
    pages = {route for route in EVERY if not route.startswith(("api/", "admin/", "accounts/")) and route not in PROBES}
    assert pages == set(PAGES)
    assert set(ACTS) <= pages


@pytest.mark.parametrize("role", ROLES)
def test_each_role_sees_what_is_for_it(address, role):
    client = signed_in(role)
    place = ROLES.index(role)
    assert {route: client.get(address(route)).status_code for route in PAGES} == {
        route: codes[place] for route, codes in PAGES.items()
    }


@pytest.mark.parametrize("role", ROLES)
def test_each_role_does_what_is_for_it(address, role):
    client = signed_in(role)
    place = ROLES.index(role)
    assert {route: client.post(address(route)).status_code not in {403, 404} for route in ACTS} == {
        route: may[place] for route, may in ACTS.items()
    }


def test_what_one_may_not_decide_is_refused_also_with_everything_filled_in(requester):
    plan = factories.make_plan(requester)
    path = f"/plans/{plan.number}"
    for role in (Role.AUDITOR, Role.ADMINISTRATOR):
        client = signed_in(role)
        approving = {"digest": factories.digest_of(plan)}
        assert client.post(f"{path}/approve/", approving).status_code == 403
        assert client.post(f"{path}/reject/", {**approving, "reason": "No"}).status_code == 403
    plan.refresh_from_db()
    assert plan.stage == "pending_approval"
