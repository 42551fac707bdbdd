"""Agents enrol, beat, drain and fall silent; nobody undoes what a person decided."""

import functools
from datetime import timedelta
from typing import Any

import pytest
from django.db.models.functions import Now

from agents import services
from agents.conf import SILENT_SECONDS
from agents.errors import AgentNameTaken, IllegalAgentMove, NoSuchAgent
from agents.models import Agent
from audit.authority import Role
from audit.context import Actor
from audit.errors import NotAllowed
from audit.models import DecisionRecord
from tests.engine import together
from tests.factories import make_agent, make_user

pytestmark = pytest.mark.django_db
LOAD = {"cores": 2, "load": [0.5, 0.4, 0.3]}


def enrol(name="forge", host="here", pid=100, alive=lambda _pid: False, **more):
    known: dict[str, Any] = {"type_": "infra", "tools": ["diagnostic.noop"], "labels": [], "slots": 2, "version": "1"}
    return services.register_agent(name=name, host=host, pid=pid, alive=alive, **known | more)


def now(name="forge"):
    return Agent.objects.get(name=name)


def unheard(name, seconds):
    Agent.objects.filter(name=name).update(heard_at=Now() - timedelta(seconds=seconds))


@pytest.fixture
def keeper(db):
    return Actor.person(make_user("keeper", Role.AGENT_ADMIN))


def test_an_agent_enrols_and_is_ready_with_its_first_beat():
    assert enrol().status == "starting"
    services.beat(name="forge", load=LOAD, running=0)
    assert (now().status, now().load) == ("ready", LOAD)
    services.beat(name="forge", load=LOAD, running=1)
    assert now().status == "busy"
    record = DecisionRecord.objects.get(type="agent.registered")
    assert (record.actor_kind, record.actor, record.metadata["slots"]) == ("agent", "forge", 2)


def test_an_agent_that_comes_back_is_the_same_one_with_its_new_identity():
    first = enrol(labels=["old"])
    again = enrol(pid=200, labels=["gpu"], slots=4)
    assert again.pk == first.pk
    assert (again.labels, again.slots, again.pid) == (["gpu"], 4, 200)


@pytest.mark.parametrize(("host", "pid"), [("elsewhere", 200), ("here", 200)])
def test_a_second_process_of_the_same_name_is_refused_while_the_first_lives(host, pid):
    enrol()
    services.beat(name="forge", load={}, running=0)
    with pytest.raises(AgentNameTaken, match="An agent called forge is alive on here"):
        enrol(host=host, pid=pid, alive=lambda _pid: True)
    assert now().pid == 100


def test_the_name_is_free_again_when_its_holder_is_dead_or_silent():
    enrol()
    services.beat(name="forge", load={}, running=0)
    assert enrol(pid=200, alive=lambda _pid: False).pid == 200
    unheard("forge", SILENT_SECONDS + 1)
    assert enrol(host="elsewhere", pid=300, alive=lambda _pid: True).pid == 300


@pytest.mark.parametrize("status", ["draining", "maintenance"])
def test_neither_a_beat_nor_a_restart_undoes_what_a_person_decided(status):
    make_agent("forge", status=status, host="here", pid=100)
    services.beat(name="forge", load=LOAD, running=0)
    assert now().status == status
    enrol()
    services.beat(name="forge", load=LOAD, running=1)
    assert (now().status, now().load) == (status, LOAD)


def test_a_beat_of_nobody_makes_nobody():
    assert services.beat(name="nobody", load={}, running=0) is None
    assert not Agent.objects.exists()


def test_who_was_not_heard_is_offline_and_back_with_the_next_beat():
    for name in ("silent", "heard"):
        make_agent(name)
    unheard("silent", SILENT_SECONDS + 1)
    unheard("heard", SILENT_SECONDS - 5)
    assert [agent.name for agent in services.mark_silent()] == ["silent"]
    assert services.mark_silent() == []
    assert (now("silent").status, now("heard").status) == ("offline", "ready")
    record = DecisionRecord.objects.get(type="agent.status_changed")
    assert (record.metadata["was"], record.metadata["now"]) == ("ready", "offline")
    services.beat(name="silent", load={}, running=0)
    assert now("silent").status == "ready"


def test_an_agent_in_maintenance_stays_there_however_silent():
    make_agent("forge", status="maintenance")
    unheard("forge", 10 * SILENT_SECONDS)
    assert services.mark_silent() == []
    services.retire_agent(name="forge", because="Its process ended.")
    assert now().status == "maintenance"


def test_an_end_in_good_order_is_offline_at_once():
    make_agent("forge")
    services.retire_agent(name="forge", because="Its process ended.")
    assert now().status == "offline"


class TestSteering:
    def test_drain_maintain_activate_each_with_its_reason(self, keeper):
        make_agent("forge")
        for verb, status in (
            (services.drain_agent, "draining"),
            (services.set_maintenance, "maintenance"),
            (services.activate_agent, "ready"),
        ):
            assert verb(actor=keeper, name="forge", reason=f"because of {status}").status == status
        reasons = DecisionRecord.objects.filter(type="agent.status_changed").order_by("sequence")
        assert [(record.actor, record.reason) for record in reasons] == [
            ("keeper", f"because of {status}") for status in ("draining", "maintenance", "ready")
        ]

    def test_twice_is_fine_and_recorded_once(self, keeper):
        make_agent("forge")
        for _ in range(2):
            services.drain_agent(actor=keeper, name="forge")
        assert DecisionRecord.objects.filter(type="agent.status_changed").count() == 1

    def test_what_its_status_does_not_allow_is_refused(self, keeper):
        make_agent("forge", status="maintenance")
        with pytest.raises(IllegalAgentMove, match="forge is maintenance; it can not become draining"):
            services.drain_agent(actor=keeper, name="forge")

    @pytest.mark.parametrize("name", ["nobody", "", "x" * 300])
    def test_an_agent_that_is_not_there_is_not_found(self, keeper, name):
        with pytest.raises(NoSuchAgent):
            services.drain_agent(actor=keeper, name=name)

    @pytest.mark.parametrize("role", [Role.REQUESTER, Role.APPROVER, Role.AUDITOR])
    def test_only_agent_admins_steer(self, role):
        make_agent("forge")
        for verb in (services.drain_agent, services.set_maintenance, services.activate_agent):
            with pytest.raises(NotAllowed):
                verb(actor=Actor.person(make_user("somebody", role)), name="forge")
        assert now().status == "ready"


@pytest.mark.django_db(transaction=True)
def test_of_beats_and_a_drain_at_once_the_drain_wins(transactional_db):
    person = Actor.person(make_user("keeper", Role.AGENT_ADMIN))
    for number in range(10):
        name = f"forge-{number}"
        make_agent(name)
        beat = functools.partial(services.beat, name=name, load={}, running=number % 2)
        answers = together(beat, functools.partial(services.drain_agent, actor=person, name=name), beat)
        assert not [answer for answer in answers if isinstance(answer, Exception)], answers
        assert now(name).status == "draining"
