"""The cast, and a small finished story whose records the tests read."""

from types import SimpleNamespace

import pytest
from django.contrib.auth.models import User
from django.db import transaction
from django.test import Client
from django.utils import timezone

from agents.models import Agent, Breaker, Job, Offering, Playbook, PlaybookRepository, ToolRecord
from audit import trail
from audit.authority import Role
from audit.context import Actor, acting
from audit.ids import uuid7
from plans.models import (
    Approval,
    ApprovalPolicy,
    Attempt,
    BudgetLedger,
    BudgetReservation,
    Message,
    Plan,
    Request,
    Revision,
    Session,
    StateEntry,
    Step,
    TargetLock,
)
from tests.factories import make_user

DIGEST = "7f3ac91e" + "0" * 48 + "12abe6d0"


@pytest.fixture
def requester(db):
    return make_user("mara", Role.REQUESTER)


@pytest.fixture
def approver(db):
    return make_user("priya", Role.APPROVER)


@pytest.fixture
def auditor(db):
    return make_user("tomas", Role.AUDITOR)


@pytest.fixture
def admin(db):
    return make_user("ines", Role.ADMINISTRATOR)


@pytest.fixture
def nobody(db):
    """Someone who can sign in and has no role."""
    return make_user("newcomer")


def signed_in(user: User) -> Client:
    client = Client()
    client.force_login(user)
    return client


@pytest.fixture
def reader(auditor) -> Client:
    """A browser in which the auditor is signed in."""
    return signed_in(auditor)


def record(type_: str, *, actor: Actor, trace_id=None, **rest):
    """One record in a transaction of its own, as a service would write it."""
    with transaction.atomic(), acting(actor, trace_id):
        return trail.record(type_, **rest)


def make_story(requester: User, approver: User, text: str = "Deploy Kuma Uptime to homelab") -> SimpleNamespace:
    """A request, its plan with one finished step, and the records that led there."""
    session = Session.objects.create(owner=requester)
    request = Request.objects.create(session=session, requester=requester, text=text, status="planned")
    Message.objects.create(session=session, request=request, author=requester, kind="said", text=text)
    plan = Plan.objects.create(
        request=request,
        requester=requester,
        trace_id=request.trace_id,
        goal=text,
        service="kuma",
        stage="completed",
    )
    plan.refresh_from_db()
    request.refresh_from_db()
    repository, _ = PlaybookRepository.objects.get_or_create(name="homelab", defaults={"location": "/srv/homelab"})
    playbook, _ = Playbook.objects.get_or_create(repository=repository, path="kuma-deploy.yml", service="kuma")
    Offering.objects.get_or_create(playbook=playbook, key="deploy", verb="deploy", title="Deploy Kuma")
    agent, _ = Agent.objects.get_or_create(name="forge-01", defaults={"type": "infra", "status": "ready"})
    ToolRecord.objects.get_or_create(name="ansible.playbook", version="1")
    Job.objects.create(kind="audit.commit_tasks", trace_id=plan.trace_id)
    Breaker.objects.get_or_create(tool="ansible.playbook", target="host:atlas")
    TargetLock.objects.get_or_create(target="host:atlas", defaults={"plan": plan})
    revision = Revision.objects.create(plan=plan, number=1, digest=DIGEST, repository=repository, commit="a" * 40)
    policy, _ = ApprovalPolicy.objects.get_or_create(name="usual", version=1, defaults={"active": False})
    approval = Approval.objects.create(
        plan=plan,
        revision=revision,
        digest=DIGEST,
        decision="approved",
        approver=approver,
        requester=requester,
        policy=policy,
        four_eyes=True,
    )
    step = Step.objects.create(
        revision=revision,
        plan=plan,
        index=1,
        key="deploy",
        name="Deploy Kuma",
        tool="ansible.playbook",
        status="completed",
    )
    attempt = Attempt.objects.create(step=step, plan=plan, number=1, status="completed", agent=agent, token=1)
    ledger = BudgetLedger.objects.create(plan=plan, calls_spent=1)
    BudgetReservation.objects.create(attempt=attempt, ledger=ledger, calls=1, cost_used=0, tokens_used=0)
    author = {"plan": plan, "step": step, "attempt": attempt}
    StateEntry.objects.create(
        scope="execution",
        owner=str(plan.pk),
        key="url",
        value="http://here",
        size=13,
        expires_at=timezone.now(),
        **author,
    )
    about = {"trace_id": plan.trace_id, "service": "kuma"}
    mara, priya, forge = Actor.person(requester), Actor.person(approver), Actor.agent(agent.name)
    records = [
        record("request.received", actor=mara, subject=("request", request.pk), trace_id=plan.trace_id, text=text),
        record("plan.approved", actor=priya, subject=("plan", plan.pk), digest=DIGEST, revision=1, **about),
        record(
            "attempt.started", actor=forge, subject=("attempt", attempt.pk), step="deploy", number=1, agent="forge-01",
            token=1, **about,
        ),
        record(
            "attempt.completed", actor=forge, subject=("attempt", attempt.pk), reason="9 tasks ok on 1 host", step="deploy",
            number=1, **about,
        ),
    ]  # fmt: skip
    return SimpleNamespace(
        session=session, request=request, plan=plan, revision=revision, approval=approval, step=step, attempt=attempt,
        agent=agent, playbook=playbook, policy=policy, records=records, about=about,
    )  # fmt: skip


@pytest.fixture
def story(requester, approver) -> SimpleNamespace:
    return make_story(requester, approver)


@pytest.fixture
def unknown_id():
    return uuid7()
