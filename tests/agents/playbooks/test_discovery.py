"""What discovery reads from a repository, and that nothing in a file can stop it or run."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from agents.playbooks.catalogue import PlaybookFile
from agents.playbooks.discovery import ScanResult, scan
from agents.playbooks.facts import Facts, read_facts

HOMELAB = Path(__file__).resolve().parents[3] / "examples" / "homelab"


@pytest.fixture
def found(tmp_path):
    def write_and_scan(**files: str) -> dict[str, PlaybookFile]:
        for name, content in files.items():
            path = tmp_path / name.replace("__", "/")
            path = path.with_name(path.name + ".yml")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content, encoding="utf-8")
        return {playbook.path: playbook for playbook in scan(tmp_path).playbooks}

    return write_and_scan


def names(playbook: PlaybookFile, *, required: bool) -> list[str]:
    return [variable.name for variable in playbook.variables if variable.required is required]


@pytest.fixture(scope="module")
def homelab() -> dict[str, PlaybookFile]:
    return {playbook.path: playbook for playbook in scan(HOMELAB).playbooks}


def test_homelab_is_read_without_problems(homelab):
    assert sorted(homelab) == [
        "backup-job.yml", "cert-check.yml", "kuma-config-update.yml", "kuma-deploy.yml", "kuma-remove.yml", "postgres-setup.yml",
    ]  # fmt: skip
    assert [p.problems for p in homelab.values() if p.problems] == []
    assert [p.preview_obstacles for p in homelab.values() if p.preview_obstacles] == []


def test_homelab_metadata_and_variables_are_known(homelab):
    update, deploy, remove = (homelab[f"kuma-{name}.yml"] for name in ("config-update", "deploy", "remove"))
    assert (update.service, update.risk, update.roles, update.hosts) == ("kuma", "low", ("kuma",), "monitoring")
    assert [(v.name, v.type, v.required) for v in update.variables] == [("portals", "list", True)]
    assert deploy.reversible_by == "kuma-remove.yml"
    assert deploy.verbs == ("deploy",)
    assert remove.risk == "high"
    assert names(homelab["postgres-setup.yml"], required=True) == ["postgres_database"]
    assert names(remove, required=True) == []


def test_homelab_facts_have_origins():
    facts = read_facts(HOMELAB)
    value, origin = facts.variables["portals"]
    assert (facts.inventory_name, facts.hosts) == ("homelab", ("atlas", "dns-01", "proxy-01"))
    assert (len(value), origin) == (7, "group_vars/all.yml: portals")
    assert "ansible_connection" not in facts.variables
    assert Facts.from_json(facts.to_json()) == facts


def test_absent_metadata_is_inferred(found):
    playbook = found(
        **{"wiki-deploy": "- name: Deploy Team Wiki\n  hosts: web\n  tags: [web, docs]\n  tasks: [{ping: {}}]\n"}
    )["wiki-deploy.yml"]
    assert (playbook.service, playbook.description, playbook.verbs, playbook.risk) == (
        "wiki",
        "Deploy Team Wiki",
        ("deploy",),
        "medium",
    )
    assert (playbook.tags, playbook.hosts, playbook.task_count, playbook.aliases) == (
        ("web", "docs"),
        "web",
        1,
        ("Team Wiki",),
    )


@pytest.mark.parametrize(
    ("name", "service", "verbs", "risk"),
    [
        ("kuma-remove", "kuma", ("remove",), "high"),
        ("cert_check", "cert", ("check",), "low"),
        ("backup-job", "backup", ("backup",), "medium"),
        ("playbooks__gitea__upgrade", "gitea", ("upgrade",), "medium"),
        ("uptime-kuma-install", "uptime-kuma", ("deploy",), "medium"),
        ("site", "site", ("run",), "medium"),
    ],
)
def test_file_name_says_service_verb_and_risk(found, name, service, verbs, risk):
    (playbook,) = found(**{name: "- hosts: all\n"}).values()
    assert (playbook.service, playbook.verbs, playbook.risk) == (service, verbs, risk)


def test_required_variables_come_from_prompts_asserts_and_use(found):
    playbook = found(
        app="""
- hosts: all
  vars: {app_dir: /srv, app_path: "{{ app_dir }}/x", app_empty: ""}
  vars_prompt:
    - {name: app_user, prompt: Who runs it}
    - {name: app_password, prompt: Secret, private: true}
  tasks:
    - ansible.builtin.assert: {that: [app_name is defined, app_empty | length > 0]}
    - ansible.builtin.command: "echo {{ app_version }} {{ app_dir }} {{ app_mode | default('fast') }} {{ ansible_host }}"
      register: app_run
    - ansible.builtin.debug: {msg: "{{ app_run.stdout }} {{ item.x }}"}
      loop: "{{ app_items }}"
      when: app_flag | default(false)
"""
    )["app.yml"]
    assert sorted(names(playbook, required=True)) == [
        "app_empty", "app_items", "app_name", "app_password", "app_user", "app_version",
    ]  # fmt: skip
    kinds = {variable.name: (variable.type, variable.default) for variable in playbook.variables}
    assert kinds["app_password"] == ("secret", None)
    assert kinds["app_items"] == ("list", None)
    assert kinds["app_mode"] == ("string", "fast")
    assert kinds["app_flag"] == ("boolean", False)
    assert kinds["app_dir"] == ("string", "/srv")
    assert "app_path" not in kinds
    assert "item" not in kinds


def test_declared_variables_override_the_inferred_ones(found):
    text = "# chiffon: required_vars=b\n# chiffon: type.b=integer\n- hosts: all\n  tasks: [{debug: {msg: '{{ a }} {{ b }}'}}]\n"
    playbook = found(x=text)["x.yml"]
    assert [(v.name, v.type) for v in playbook.variables if v.required] == [("b", "integer")]


def test_role_defaults_and_inventory_settle_variables(found):
    playbook = found(
        app="- hosts: all\n  roles: [web]\n",
        roles__web__tasks__main="- debug: {msg: '{{ web_port }} {{ lab_domain }} {{ web_owner }}'}\n",
        roles__web__defaults__main="web_port: 80\n",
        group_vars__all="lab_domain: lab\n",
    )["app.yml"]
    assert (names(playbook, required=True), names(playbook, required=False)) == (["web_owner"], ["web_port"])
    assert (playbook.roles, playbook.task_count) == (("web",), 1)


@pytest.mark.parametrize(
    ("task", "reason"),
    [
        ("{raw: uptime, name: look}", "raw"),
        ("{ansible.builtin.script: x.sh}", "script"),
        ("{command: id, check_mode: false}", "check_mode: false"),
        ("{debug: {msg: \"{{ lookup('pipe', 'id') }}\"}}", "lookup('pipe')"),
        ("{block: [{raw: uptime}]}", "raw"),
    ],
)
def test_what_check_mode_cannot_foresee_is_said(found, task, reason):
    (playbook,) = found(x=f"- hosts: all\n  tasks: [{task}]\n").values()
    assert len(playbook.preview_obstacles) == 1
    assert reason in playbook.preview_obstacles[0]


def test_reading_the_environment_is_no_obstacle(found):
    (playbook,) = found(x="- hosts: all\n  vars: {a: \"{{ lookup('env', 'HOME') }}\"}\n").values()
    assert playbook.preview_obstacles == ()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("- hosts: all\n  tasks: [\n", "no valid YAML (line"),
        ("- hosts: all\n\ttasks: x\n", "no valid YAML (line 2)"),
        ("a: &a [x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a]\n" + "".join(
            f"k{i}: &k{i} [{','.join(['*' + ('b' if i == 0 else f'k{i - 1}')] * 9)}]\n" for i in range(8)), "aliases"),
        ("- &x [*x]\n", ""),
        ("[" * 3000, "nested deeper"),
        ("- " * 3000 + "x", "nested deeper"),
        ("- hosts: " + "9" * 20_000 + "\n", "too long"),
        ("- hosts: all\n  vars: {? [a] : b}\n", "mapping key"),
        ("- hosts: all\n  vars:\n" + "".join(f"    k{i}: 1\n" for i in range(30_000)), "50000"),
    ],
)  # fmt: skip
def test_unreadable_yaml_is_kept_with_a_reason_and_offers_nothing(tmp_path, content, words):
    (tmp_path / "bad.yml").write_text(content, encoding="utf-8")
    (tmp_path / "good.yml").write_text("- hosts: all\n", encoding="utf-8")
    began = time.process_time()
    result = scan(tmp_path)
    assert time.process_time() - began < 2
    by_path = {playbook.path: playbook for playbook in result.playbooks}
    assert by_path["bad.yml"].broken
    assert words in by_path["bad.yml"].problems[0]
    assert {offering.playbook for offering in result.offerings} == {"good.yml"}


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        (b"- hosts: \xff\xfe\xfa\n", "not UTF-8 text (line 1)"),
        (b"- hosts: a\0ll\n", "NUL"),
        (b"# " + b"x" * 1_000_001, "larger than"),
    ],
)
def test_bytes_that_are_no_text_are_a_reason(tmp_path, raw, words):
    (tmp_path / "bad.yml").write_bytes(raw)
    assert words in scan(tmp_path).playbooks[0].problems[0]


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_byte_order_marks_are_read(tmp_path, encoding):
    (tmp_path / "x.yml").write_bytes("- hosts: all\r\n  name: Grüße\r\n".encode(encoding))
    (playbook,) = scan(tmp_path).playbooks
    assert (playbook.description, playbook.problems) == ("Grüße", ())


def test_vault_and_unknown_tags_become_markers(found):
    text = "- hosts: all\n  vars:\n    pw: !vault |\n      $ANSIBLE_VAULT;1.1;AES256\n      6162\n    u: !unsafe '{{ x }}'\n    n: !!python/object:os.system {}\n"
    (playbook,) = found(x=text).values()
    assert (playbook.broken, [v.default for v in playbook.variables]) == (False, [])


def test_encrypted_file_is_left_aside(found):
    assert found(x="$ANSIBLE_VAULT;1.1;AES256\n616263\n") == {}


def test_duplicate_key_is_a_remark_and_the_playbook_stays_usable(found):
    (playbook,) = found(x="- hosts: all\n  name: A\n  name: B\n").values()
    assert "“name” appears twice (line 3)" in playbook.problems[0]
    assert (playbook.broken, playbook.description) == (False, "B")


@pytest.mark.parametrize("hosts", ["\"{{ lookup('pipe', 'id') }}\"", '["a", "{{ b }}"]', "", "[]", "{a: b}"])
def test_hosts_that_are_not_known_before_the_run_offer_nothing(found, hosts):
    (playbook,) = found(x=f"- hosts: {hosts}\n  name: Play\n").values()
    assert playbook.broken
    assert "hosts" in playbook.problems[0]


def test_imported_playbooks_are_followed_and_templates_refused(found):
    playbooks = found(
        site="- import_playbook: web.yml\n",
        web="- hosts: web\n  name: Web\n  tasks: [{ping: {}}]\n",
        loop="- import_playbook: loop.yml\n",
        out="- import_playbook: ../../etc/x.yml\n",
        tmpl="- import_playbook: '{{ x }}.yml'\n",
    )
    assert (playbooks["site.yml"].hosts, playbooks["site.yml"].broken) == ("web", False)
    assert [playbooks[name].broken for name in ("loop.yml", "out.yml", "tmpl.yml")] == [True, True, True]


def test_other_yaml_and_other_folders_are_no_playbooks(found):
    ping = "- hosts: all\n"
    assert found(
        compose="services: {}\n", tasks="- debug: {}\n", empty="", number="5\n", roles__x__molecule__play=ping,
        collections__a__play=ping, molecule__default__converge=ping, **{".git__x": ping, ".hidden": ping},
    ) == {}  # fmt: skip


def test_links_are_followed_inside_only(tmp_path):
    outside, repo = tmp_path / "outside", tmp_path / "repo"
    outside.mkdir()
    repo.mkdir()
    (outside / "evil.yml").write_text("- hosts: all\n")
    (repo / "real.yml").write_text("- hosts: all\n")
    (repo / "inside.yml").symlink_to("real.yml")
    (repo / "escape.yml").symlink_to(outside / "evil.yml")
    (repo / "dangling.yml").symlink_to("nowhere.yml")
    (repo / "folder").symlink_to(outside)
    (repo / "self").symlink_to(repo)
    result = scan(repo)
    assert [playbook.path for playbook in result.playbooks] == ["inside.yml", "real.yml"]
    assert sorted(problem.path for problem in result.problems) == ["dangling.yml", "escape.yml"]


def test_wrong_metadata_is_a_remark(found):
    text = "# chiffon: risk=extreme\n# chiffon: colour=blue\n# chiffon: type.a=blob\n# chiffon: reversible_by=gone.yml\n- hosts: all\n"
    (playbook,) = found(x=text).values()
    assert len(playbook.problems) == 4
    assert (playbook.risk, playbook.reversible_by, playbook.broken) == ("medium", "", False)


def test_metadata_counts_only_at_the_head(found):
    (playbook,) = found(wiki="- hosts: all\n# chiffon: service=evil\n").values()
    assert playbook.service == "wiki"


def test_playbook_survives_json(homelab):
    for playbook in homelab.values():
        assert PlaybookFile.from_json(playbook.to_json()) == playbook


@pytest.mark.skipif(os.geteuid() == 0, reason="the superuser may read every file")
def test_file_that_may_not_be_read_is_a_problem(tmp_path):
    (tmp_path / "x.yml").write_text("- hosts: all\n")
    (tmp_path / "x.yml").chmod(0)
    assert "cannot be read" in scan(tmp_path).problems[0].sentence


def test_missing_folder_is_said(tmp_path):
    with pytest.raises(NotADirectoryError, match="no folder"):
        scan(tmp_path / "gone")


def test_each_of_five_hundred_playbooks_costs_no_more_than_each_of_fifty(tmp_path):
    def cost(count):
        folder = tmp_path / str(count)
        folder.mkdir()
        for number in range(count):
            tasks = "".join(
                f"    - name: Step {step}\n      ansible.builtin.copy: {{content: '{{{{ app{number}_x }}}}', dest: /srv/{step}, mode: '0644'}}\n"
                f"      when: app{number}_on | default(true)\n"
                for step in range(12)
            )
            text = (
                f"- name: Deploy app{number}\n  hosts: web\n  vars: {{app{number}_port: {number}}}\n  tasks:\n{tasks}"
            )
            (folder / f"app{number}-deploy.yml").write_text(text)
        began = time.process_time()
        result: ScanResult = scan(folder)
        assert len(result.offerings) == count
        return time.process_time() - began

    assert cost(500) < 30 * cost(50)  # ten times, and three for the noise of the machine


def test_inventory_that_cannot_be_read_is_a_problem_not_an_error(tmp_path):
    (tmp_path / "inventory.yml").write_text("all: [\n")
    (tmp_path / "group_vars").mkdir()
    (tmp_path / "group_vars" / "all.yml").write_text("a: 1\n")
    (tmp_path / "group_vars" / "web.yml").write_text("a: 2\nb: 3\n")
    facts = read_facts(tmp_path)
    assert facts.hosts == ()
    assert "no valid YAML" in facts.problems[0]
    assert facts.variables == {"a": (1, "group_vars/all.yml: a"), "b": (3, "group_vars/web.yml: b")}
    assert facts.rivals == {"a": ((2, "group_vars/web.yml: a"),)}


def test_inventory_outside_the_repository_is_not_read(tmp_path):
    (tmp_path / "repo").mkdir()
    (tmp_path / "secret.yml").write_text("all: {hosts: {a: }}\n")
    facts = read_facts(tmp_path / "repo", "../secret.yml")
    assert facts.hosts == ()
    assert "not in the repository" in facts.problems[0]
