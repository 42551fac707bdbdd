"""Playbooks are found in a real git repository, and what is wrong with one does not hide the others."""

import shutil

import pytest

from agents import services
from agents.errors import RepositoryUnreadable
from agents.models import Offering, Playbook, PlaybookRepository
from audit.authority import Role
from audit.context import Actor
from audit.errors import NotAllowed
from audit.models import DecisionRecord
from chiffon_site import jobs
from plans.models import Plan, Step
from tests import factories
from tests.homelab import Homelab, playbook

pytestmark = [pytest.mark.django_db, pytest.mark.e2e_02]


def offered():
    return set(Offering.objects.filter(available=True).values_list("playbook__path", flat=True))


def test_the_homelab_is_read_with_its_services_variables_and_hosts(tmp_path):
    repository = Homelab(tmp_path).read()
    assert len(repository.commit) == len(repository.tree) == 40
    assert repository.inventory == "inventory/homelab.yml"
    assert {"kuma-deploy.yml", "kuma-remove.yml", "postgres-setup.yml"} <= offered()
    kuma = Playbook.objects.get(path="kuma-deploy.yml")
    assert kuma.service and kuma.reversible_by == "kuma-remove.yml"
    assert repository.facts["hosts"]
    assert DecisionRecord.objects.get(type="playbooks.refreshed").metadata["commit"] == repository.commit


@pytest.mark.parametrize(
    "broken",
    [
        "- hosts: [\n", "\x00\x01\x02", "- hosts: forge\n  tasks: 5\n", "a: &a [*a]\n", "!!python/object:os.system x",
        "{{ x }}: 1", "", "just words", "- hosts: forge\n\ttasks: []\n",
    ],
)  # fmt: skip
def test_a_broken_playbook_does_not_hide_the_others(tmp_path, broken):
    lab = Homelab(tmp_path, {"good.yml": playbook("kuma"), "bad.yml": broken})
    lab.read()
    assert offered() == {"good.yml"}


def test_an_alias_bomb_is_refused_quickly(tmp_path):
    import time

    bomb = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
        f"{chr(98 + n)}: &{chr(98 + n)} [{','.join([f'*{chr(97 + n)}'] * 9)}]\n" for n in range(9)
    )
    lab = Homelab(tmp_path, {"good.yml": playbook("kuma"), "bomb.yml": bomb})
    began = time.process_time()
    lab.read()
    assert time.process_time() - began < 5
    assert offered() == {"good.yml"}


def test_a_new_commit_adds_changes_and_removes(tmp_path):
    lab = Homelab(tmp_path, {"a.yml": playbook("kuma"), "b.yml": playbook("plex")})
    before = lab.read()
    commit = lab.commit({"a.yml": None, "b.yml": playbook("jellyfin"), "c.yml": playbook("nas")})
    after = lab.read()
    assert after.commit == commit != before.commit
    assert offered() == {"b.yml", "c.yml"}
    assert Playbook.objects.get(path="a.yml").missing
    assert Playbook.objects.get(path="b.yml").service == "jellyfin"
    lab.commit({"a.yml": playbook("kuma")})
    lab.read()
    assert offered() == {"a.yml", "b.yml", "c.yml"}


def test_what_is_not_committed_is_not_there(tmp_path):
    lab = Homelab(tmp_path, {"a.yml": playbook("kuma")})
    (lab.path / "b.yml").write_text(playbook("plex"))
    (lab.path / "a.yml").write_text("broken: [")
    lab.read()
    assert offered() == {"a.yml"}


def test_reading_the_same_commit_again_changes_nothing(tmp_path):
    lab = Homelab(tmp_path)
    lab.read()
    before = sorted(Offering.objects.values_list("pk", "key", "available"))
    lab.read()
    assert sorted(Offering.objects.values_list("pk", "key", "available")) == before


def test_a_repository_that_is_gone_keeps_what_was_known_and_says_so(tmp_path):
    lab = Homelab(tmp_path, {"a.yml": playbook("kuma")})
    known = lab.read().commit
    shutil.rmtree(lab.path)
    with pytest.raises(RepositoryUnreadable, match="can not be read"):
        lab.read()
    row = PlaybookRepository.objects.get()
    assert (row.commit, bool(row.problem)) == (known, True)
    assert offered() == {"a.yml"}
    assert "problem" in (jobs.refresh_playbooks({}) or {})


def test_no_repository_at_all_is_a_sentence():
    with pytest.raises(RepositoryUnreadable, match="CHIFFON_PLAYBOOK_REPO"):
        services.refresh_playbooks(actor=Actor.person(factories.make_user("a", Role.AGENT_ADMIN)))


@pytest.mark.parametrize("role", [Role.REQUESTER, Role.APPROVER, Role.AUDITOR])
def test_only_agent_admins_read_it_anew(tmp_path, role):
    Homelab(tmp_path, {"a.yml": playbook("kuma")})
    with pytest.raises(NotAllowed):
        services.refresh_playbooks(actor=Actor.person(factories.make_user("a", role)))


def test_a_plan_keeps_the_commit_it_was_made_of(tmp_path, requester):
    from plans import services as plans

    factories.make_policy()
    lab = Homelab(tmp_path, {"a.yml": playbook("kuma")})
    first = lab.read().commit
    request = plans.submit_request(actor=Actor.person(requester), text="Deploy kuma")
    lab.commit({"a.yml": playbook("kuma", "- debug: msg=another")})
    lab.read()
    plan = Plan.objects.get(request=request)
    assert plan.revisions.get().commit == first
    assert Step.objects.values_list("playbook__path", flat=True).get(plan=plan) == "a.yml"


def test_a_very_long_path_is_planned_like_any_other(tmp_path, requester):
    from plans import services as plans

    factories.make_policy()
    path = "playbooks/" + "monitoring-of-the-whole-house/" * 3 + "deploy-kuma.yml"
    Homelab(tmp_path, {path: playbook("kuma")}).read()
    plans.submit_request(actor=Actor.person(requester), text="Deploy kuma")
    assert Step.objects.values_list("playbook__path", flat=True).get() == path
