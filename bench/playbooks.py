"""A playbook repository whose one playbook does as many tasks as a small deployment, and changes nothing."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path
from typing import Final

PLAYBOOK: Final = "noop.yml"
INVENTORY: Final = "inventory/here.yml"
_FILES: Final = {
    PLAYBOOK: """\
# chiffon: service=bench
# chiffon: description=Look at everything and change nothing
# chiffon: risk=low
---
- name: Look at everything and change nothing
  hosts: here
  gather_facts: false
  roles:
    - look
""",
    "roles/look/defaults/main.yml": "look_port: 3001\n",
    "roles/look/tasks/main.yml": """\
- name: Check the port
  ansible.builtin.assert:
    that: look_port is integer and look_port > 0
    quiet: true

- name: Look at the folder
  ansible.builtin.stat:
    path: "{{ playbook_dir }}"
  register: look_folder

- name: Ask a program
  ansible.builtin.command:
    argv: ["true"]
  changed_when: false

- name: Look for files
  ansible.builtin.find:
    paths: "{{ playbook_dir }}"
    patterns: "*.yml"
  register: look_files

- name: Keep what was seen
  ansible.builtin.set_fact:
    look_count: "{{ look_files.matched }}"

- name: Say what was seen
  ansible.builtin.debug:
    msg: "{{ look_count }} files beside port {{ look_port }}"

- name: Hand back what was seen
  ansible.builtin.set_stats:
    data:
      files: "{{ look_count }}"
""",
    INVENTORY: """\
all:
  vars:
    ansible_connection: local
    ansible_python_interpreter: "{{ ansible_playbook_python }}"
  hosts:
    here:
""",
    "ansible.cfg": "[defaults]\nroles_path = roles\nretry_files_enabled = False\n",
}


def make_repository(folder: Path) -> None:
    """Write the repository and commit it."""
    for name, text in _FILES.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    who = ("-c", "user.name=Bench", "-c", "user.email=bench@example.org")
    for words in (("init", "-q"), ("add", "-A"), (*who, "commit", "-q", "-m", "A playbook to measure")):
        subprocess.run(["git", "-C", str(folder), *words], check=True, capture_output=True)


def run_bare(folder: Path, program: Path) -> float:
    """Run the playbook with bare `ansible-playbook`; its seconds. Raises subprocess.CalledProcessError."""
    began = time.monotonic()
    subprocess.run(
        [str(program), "-i", INVENTORY, PLAYBOOK],
        cwd=folder,
        check=True,
        capture_output=True,
        env={
            "PATH": f"{program.parent}:{os.environ.get('PATH', os.defpath)}",
            "HOME": str(Path.home()),
            "LC_ALL": "C.UTF-8",
        },
    )
    return time.monotonic() - began
