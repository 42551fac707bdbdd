"""What a request may send can never become code, another file, or another command."""

from __future__ import annotations

import os
import subprocess

import pytest

from agents import git
from agents.playbooks.asked import Refused, check_run, wrapped
from agents.playbooks.runner import RunStatus, run_playbook
from agents.protocol import FailureMode

from .runs import Lab, Watcher, play

SHOW = play("{ansible.builtin.debug: {msg: '{{ x }}'}}")


@pytest.fixture
def lab(tmp_path):
    return Lab(tmp_path, {"site.yml": SHOW, "folder.yml/inner.yml": "[]\n", "run.sh": "#!/bin/sh\ntouch marker\n"})


@pytest.mark.parametrize(
    "name",
    [
        "../x.yml",
        "a/../../x.yml",
        "/etc/x.yml",
        "--help",
        "-e@x.yml",
        "x.yml\n",
        "x\0.yml",
        "",
        "x",
        "x.yml/",
        ".hidden.yml",
        "a//b.yml",
        "x y.yml",
        "{{ x }}.yml",
        "x.yml;id",
        "a" * 5000 + ".yml",
    ],
)
def test_a_playbook_name_that_is_no_plain_path_is_refused_before_anything_starts(lab, name):
    with pytest.raises(Refused, match="is not the name of a playbook in the repository"):
        check_run(lab.asked(name))
    lab.scratch.rmdir()  # a workspace could not even be made, so nothing was begun
    lab.scratch.touch()
    outcome = run_playbook(lab.asked(name), Watcher(), scratch=lab.scratch)
    assert outcome.failure is not None
    assert (outcome.status, outcome.failure.mode) == (RunStatus.FAILED, FailureMode.USER)
    assert "is not the name of a playbook" in outcome.failure.message


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"inventory": "../inventory.ini"}, "not the name of a inventory"),
        ({"inventory": "web1,"}, "not the name of a inventory"),
        ({"inventory": "/etc/ansible/hosts"}, "not the name of a inventory"),
        ({"commit": "main"}, "not the full id of a commit"),
        ({"tree": "--"}, "not the full id of a tree"),
        ({"limit": "@/etc/passwd"}, "can not be used to limit"),
        ({"limit": "--help"}, "can not be used to limit"),
        ({"limit": "{{ x }}"}, "can not be used to limit"),
        ({"limit": "web1\nweb2"}, "can not be used to limit"),
        ({"tags": ("--check",)}, "can not be the name of a tag"),
        ({"tags": ("a,b",)}, "can not be the name of a tag"),
        ({"tag": ""}, "needs a mark"),
        ({"timeout_seconds": 0}, "timeout of more than 0"),
        ({"timeout_seconds": float("nan")}, "timeout of more than 0"),
        ({"environment": {"ANSIBLE_CONFIG": "/tmp/x"}}, "environment variable 'ANSIBLE_CONFIG'"),
        ({"environment": {"LD_PRELOAD": "/tmp/x"}}, "environment variable 'LD_PRELOAD'"),
        ({"environment": {"PATH": "/tmp"}}, "environment variable 'PATH'"),
        ({"extra_vars": {"a": 1}, "secrets": {"a": "b"}}, "both openly and as a secret"),
    ],
)
def test_everything_else_that_is_asked_is_checked_too(lab, change, sentence):
    check_run(lab.asked())
    with pytest.raises(Refused, match=sentence):
        check_run(lab.asked(**change))


@pytest.mark.parametrize(
    "name",
    [
        "ansible_connection",
        "ansible_ssh_common_args",
        "ansible_python_interpreter",
        "ansible_become",
        "__ansible_unsafe",
        "__ansible_vault",
        "_ansible_no_log",
        "hostvars",
        "vars",
        "groups",
        "inventory_hostname",
        "environment",
        "lookup",
        "a-b",
        "1a",
        "",
        "a b",
        "{{ x }}",
        "a\n",
    ],
)
def test_a_variable_that_belongs_to_ansible_or_is_no_name_is_refused(lab, name):
    for where in ({"extra_vars": {name: "x"}}, {"secrets": {name: "x"}}):
        with pytest.raises(Refused, match=r"(belongs to Ansible itself|can not be the name of a variable)"):
            check_run(lab.asked(**where))


@pytest.mark.parametrize(
    "value",
    [
        {"__ansible_unsafe": "x"},
        [{"__ansible_vault": "x"}],
        {"a": {"__ansible_type": "x"}},
        {"{{ x }}": 1},
        {1: 2},
        "a\0b",
        "\ud800",
        float("inf"),
        10**30,
        object(),
        b"bytes",
        ["x"] * 20_000,
        "x" * 600_000,
    ],
)
def test_values_that_are_not_plain_small_json_are_refused(lab, value):
    with pytest.raises(Refused):
        check_run(lab.asked(extra_vars={"x": value}))


def test_a_value_nested_without_end_is_refused(lab):
    deep: list[object] = []
    for _ in range(3000):
        deep = [deep]
    with pytest.raises(Refused, match="too large or too deep"):
        check_run(lab.asked(extra_vars={"x": deep}))


def test_every_text_is_marked_where_it_stands():
    assert wrapped({"a": ["b", 1, {"c": None}]}) == {
        "a": [{"__ansible_unsafe": "b"}, 1, {"c": None}],
    }


@pytest.mark.parametrize("shape", [lambda t: t, lambda t: [t], lambda t: {"k": [{"v": t}]}])
def test_an_expression_in_a_value_stays_text(lab, tmp_path, shape):
    marker = tmp_path / "marker"
    watcher = Watcher()
    outcome = lab.run(watcher=watcher, extra_vars={"x": shape(f"{{{{ lookup('pipe', 'touch {marker}') }}}}")})
    assert outcome.ok, watcher.text
    assert not marker.exists()
    assert "lookup('pipe'" in watcher.text.replace("\\", "")


def test_a_playbook_or_inventory_that_is_not_in_the_commit_is_refused(lab):
    assert lab.run("nope.yml").failure.message == "The approved commit has no playbook 'nope.yml'."
    assert lab.run("folder.yml").failure.message == "'folder.yml' is not a file."
    assert lab.run(inventory="nope.ini").failure.message == "The approved commit has no inventory 'nope.ini'."


def test_an_inventory_that_would_have_to_be_run_is_refused(lab):
    outcome = lab.run(inventory="run.sh")
    assert outcome.failure.mode is FailureMode.POLICY
    assert "executable" in outcome.failure.message


def test_settings_in_the_repository_do_not_take_effect(tmp_path):
    marker = tmp_path / "marker"
    plugin = f"open({str(marker)!r}, 'w').write('ran')\n"
    lab = Lab(
        tmp_path,
        {
            "site.yml": play("{ansible.builtin.debug: {msg: fine}}"),
            "ansible.cfg": "[defaults]\ncallback_plugins = cb\ncallbacks_enabled = evil\nstdout_callback = evil\n"
            "inventory = evil\nvars_plugins = vp\nstrategy_plugins = sp\n[inventory]\nenable_plugins = script\n",
            "cb/evil.py": plugin,
            "vp/evil.py": plugin,
            "sp/linear.py": plugin,
            ".ansible/plugins/callback/evil.py": plugin,
        },
    )
    assert lab.run().ok
    assert not marker.exists()


def test_a_link_out_of_the_repository_is_not_run(tmp_path):
    (tmp_path / "outside.yml").write_text(SHOW)
    lab = Lab(tmp_path, {"site.yml": SHOW})
    (lab.repository / "other.yml").symlink_to(tmp_path / "outside.yml")
    env = {**os.environ, "GIT_CONFIG_GLOBAL": "/dev/null"}
    for args in (["add", "-A"], ["-c", "user.name=a", "-c", "user.email=a@x", "commit", "-qm", "link"]):
        subprocess.run(["git", "-C", lab.repository, *args], check=True, env=env)
    commit = git.resolve(lab.repository, "main")
    outcome = lab.run("other.yml", commit=commit, tree=git.tree_of(lab.repository, commit))
    assert "leads out of the repository" in outcome.failure.message


def test_output_that_no_database_takes_does_not_stop_a_run(tmp_path):
    script = "#!/bin/sh\nprintf 'a\\000b\\033]8;;x\\033\\\\link\\n'\n"
    lab = Lab(tmp_path, {"site.yml": play("{ansible.builtin.script: odd}"), "odd": script})
    assert lab.run().status is RunStatus.COMPLETED
