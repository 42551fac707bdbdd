"""An inventory is read without being run, and is read as Ansible reads it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from agents.playbooks.inventory import InventoryError, Vaulted, read_inventory

INI = """
solo ansible_port=2222
# a comment
[web]
web[01:03].example.org   http_port=80 motd="hello = world"  # behind
app:5309
[db]
db-[a:c] weight=1.5 flags="['x', 'y']"
[site:children]
web
db
[site:vars]
domain=example.org
level=site
debug=True
[db:vars]
level=db
"""

YAML = """
all:
  vars: {level: all, who: everyone}
  hosts:
    lonely: {}
  children:
    homelab:
      hosts:
        nas: {disk: 8}
        "pi[1:2]":
      children:
        cameras:
          hosts: {cam1: {level: host}}
          vars: {level: cameras, note: "{{ who }}"}
      vars:
        level: homelab
        secret: !vault |
          $ANSIBLE_VAULT;1.1;AES256
          6162
"""


def lay(root, files):
    for name, text in files.items():
        target = root / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)
    return root


def ansible_reads(root, path):
    """What the real ansible-inventory makes of it."""
    program = str(Path(sys.executable).with_name("ansible-inventory"))
    env = {"PATH": os.environ["PATH"], "HOME": str(root), "ANSIBLE_INVENTORY_ENABLED": "yaml,ini", "LC_ALL": "C.UTF-8"}
    done = subprocess.run([program, "-i", path, "--list"], cwd=root, env=env, capture_output=True, check=True)
    return json.loads(done.stdout)


@pytest.mark.parametrize(
    "files",
    [
        {
            "inv/hosts": INI,
            "inv/group_vars/all.yml": "level: all\nzone: a\n",
            "inv/group_vars/db/x.yml": "level: dbfile\n",
        },
        {"inv/hosts.yml": YAML, "inv/host_vars/nas.yml": "disk: 16\n", "inv/group_vars/homelab.yaml": "room: cellar\n"},
        {"inv/a.ini": INI, "inv/b.yml": YAML},
    ],
)
def test_hosts_groups_and_variables_are_those_that_ansible_sees(tmp_path, files):
    inventory = read_inventory(lay(tmp_path, files), "inv")
    truth = ansible_reads(tmp_path, "inv")
    known = truth.pop("_meta")["hostvars"]
    assert set(inventory.hosts) == {host for group in truth.values() for host in group.get("hosts", ())}

    def members(group):
        found = set(truth.get(group, {}).get("hosts", ()))
        return found.union(*(members(child) for child in truth.get(group, {}).get("children", ())))

    for group in truth:
        assert set(inventory.groups[group]) == members(group), group
    for host in inventory.hosts:
        mine = {key: value for key, value in inventory.variables(host).items() if not isinstance(value, Vaulted)}
        theirs = {key: value for key, value in known.get(host, {}).items() if key != "secret"}
        assert mine == theirs, host


def test_encrypted_values_are_marked_and_expressions_stay_text(tmp_path):
    files = {"inv/hosts.yml": YAML, "inv/group_vars/homelab/vault.yml": "$ANSIBLE_VAULT;1.1;AES256\n6162\n"}
    inventory = read_inventory(lay(tmp_path, files), "inv")
    variables = inventory.variables("cam1")
    assert variables["secret"] == Vaulted()
    assert str(variables["secret"]) == "(encrypted with Ansible Vault)"
    assert variables["note"] == "{{ who }}"
    assert inventory.vaulted_files == ["inv/group_vars/homelab/vault.yml"]


def test_variables_beside_the_playbook_count_when_the_playbook_is_named(tmp_path):
    files = {
        "inv/hosts": "h\n",
        "play/site.yml": "[]",
        "play/group_vars/all.yml": "a: 1\n",
        "inv/group_vars/all.yml": "a: 0\n",
    }
    root = lay(tmp_path, files)
    assert read_inventory(root, "inv/hosts").variables("h") == {"a": 0}
    assert read_inventory(root, "inv/hosts", playbook="play/site.yml").variables("h") == {"a": 1}


@pytest.mark.parametrize(
    ("pattern", "hosts"),
    [
        ("all", ["solo", "web01.example.org", "web02.example.org", "web03.example.org", "app", "db-a", "db-b", "db-c"]),
        ("db", ["db-a", "db-b", "db-c"]),
        ("web:&site:!web02*", ["web01.example.org", "web03.example.org", "app"]),
        ("db,solo", ["solo", "db-a", "db-b", "db-c"]),
        ("!db", ["solo", "web01.example.org", "web02.example.org", "web03.example.org", "app"]),
        ("db[0]", ["db-a"]),
        ("db[-1]", ["db-c"]),
        ("db[1:]", ["db-b", "db-c"]),
        ("db[0:1]", ["db-a", "db-b"]),
        ("db[9]", []),
        ("~db-(a|c)", ["db-a", "db-c"]),
        ("*.example.org", ["web01.example.org", "web02.example.org", "web03.example.org"]),
        ("ungrouped", ["solo"]),
        ("localhost", ["localhost"]),
        ("nobody", []),
        ("", []),
    ],
)
def test_patterns_select_the_hosts_ansible_would(tmp_path, pattern, hosts):
    assert read_inventory(lay(tmp_path, {"hosts": INI}), "hosts").match_hosts(pattern) == hosts


@pytest.mark.parametrize("pattern", ["{{ lookup('pipe', 'id') }}", "~(", "web:{% x %}"])
def test_a_pattern_that_can_not_be_known_beforehand_is_refused(tmp_path, pattern):
    with pytest.raises(InventoryError):
        read_inventory(lay(tmp_path, {"hosts": INI}), "hosts").match_hosts(pattern)


@pytest.mark.parametrize(
    ("files", "sentence"),
    [
        ({"inv": "#!/bin/sh\ntouch marker\n"}, "has to be run is refused"),
        ({"inv.py": "print(1)\n"}, "has to be run is refused"),
        ({"inv.yml": "plugin: amazon.aws.aws_ec2\n"}, "asks for an inventory plugin"),
        ({"inv": "plugin: x\n"}, "asks for an inventory plugin"),
        ({"inv.yml": "- a\n- b\n"}, "its top must name groups"),
        ({"inv.yml": "all: [a]\n"}, "must be a mapping"),
        ({"inv.yml": "all: {hosts: !!python/object/apply:os.system [id]}\n"}, "is not YAML that can be read"),
        ({"inv.yml": "a: &a [*a]\n"}, "(must be a mapping|grows to more)"),
        ({"inv": "[web\nh\n"}, "section in line 1"),
        ({"inv": "h 'open\n"}, "quotes in line 1"),
        ({"inv": "h port\n"}, "not of the form name=value"),
        ({"inv": "h[1:999999]\n"}, "range"),
        ({"inv": "h[1:20000][1:20000]\n"}, "more than 20000 hosts"),
        ({"inv": "h[9:1]\n"}, "range"),
        ({"inv": "[a:children]\nb\n[b:children]\na\n"}, "circle"),
        ({"inv": "[a:children]\na\n"}, "holds itself"),
        ({"inv": "{{x}}\n"}, "can not be the name"),
    ],
)
def test_an_inventory_that_can_not_be_read_safely_is_refused_in_a_sentence(tmp_path, files, sentence):
    lay(tmp_path, files)
    with pytest.raises(InventoryError, match=sentence):
        read_inventory(tmp_path, next(iter(files)))
    assert not (tmp_path / "marker").exists()


def test_an_executable_inventory_is_refused_even_if_it_looks_static(tmp_path):
    lay(tmp_path, {"hosts": INI})
    (tmp_path / "hosts").chmod(0o755)
    with pytest.raises(InventoryError, match="hosts is executable"):
        read_inventory(tmp_path, "hosts")


@pytest.mark.parametrize("path", ["../x", "/etc/hosts", "", "nope", "a\0b", "link"])
def test_a_path_outside_the_repository_is_refused(tmp_path, path):
    root = tmp_path / "root"
    root.mkdir()
    (tmp_path / "x").write_text("h\n")
    (root / "link").symlink_to("../x")
    with pytest.raises(InventoryError):
        read_inventory(root, path)


def test_a_small_file_that_unfolds_into_millions_of_values_is_refused_at_once(tmp_path):
    lines = ["a0: &a0 [x,x,x,x,x,x,x,x,x]"] + [f"a{n}: &a{n} [{','.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 10)]
    lay(tmp_path, {"hosts": "h\n", "group_vars/all.yml": "\n".join(lines)})
    began = time.process_time()
    with pytest.raises(InventoryError, match="grows to more than"):
        read_inventory(tmp_path, "hosts").variables("h")
    assert time.process_time() - began < 1


def test_an_empty_inventory_has_no_hosts(tmp_path):
    inventory = read_inventory(lay(tmp_path, {"hosts": "", "e.yml": ""}), "hosts")
    assert (inventory.hosts, inventory.groups) == ([], {"all": [], "ungrouped": []})
    assert read_inventory(tmp_path, "e.yml").match_hosts("all") == []
    with pytest.raises(InventoryError, match="has no host 'x'"):
        inventory.variables("x")
