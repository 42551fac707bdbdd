"""What is already known about an installation: its hosts, groups and variables, each with the place it was found.

Pure. Only static YAML inventories and variable files are read; nothing is executed and no template is evaluated.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from agents.playbooks.yaml_safe import UnreadableYaml, decode, load, plain

_LARGEST_COUNT: Final = 2_000  # files or hosts; beyond this it is no inventory that a person keeps by hand


@dataclass(frozen=True, slots=True)
class Facts:
    """Hosts, groups and variables of one inventory.

    `variables` maps a name to its value and origin, such as `("group_vars/all.yml: portals")`; `rivals` holds further
    values of the same name from other places. `members` names the hosts of each group.
    """

    inventory_name: str = ""
    hosts: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    variables: Mapping[str, tuple[Any, str]] = field(default_factory=dict)
    rivals: Mapping[str, tuple[tuple[Any, str], ...]] = field(default_factory=dict)
    members: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    problems: tuple[str, ...] = ()

    def hosts_of(self, patterns: str, limit: str = "") -> tuple[str, ...]:
        """The hosts that a playbook's patterns name, as far as the inventory tells without running it."""
        found = {host for pattern in re.split(r"[,:]", patterns) for host in self._named(pattern.strip())}
        return tuple(sorted(found & self._named(limit) if limit else found))

    def _named(self, name: str) -> set[str]:
        if name == "all":
            return set(self.hosts)
        return set(self.members.get(name, ())) | ({name} if name in self.hosts else set())

    def to_json(self) -> dict[str, Any]:
        """The facts as a JSON object."""
        return {
            "inventory_name": self.inventory_name,
            "hosts": list(self.hosts),
            "groups": list(self.groups),
            "variables": {name: [value, origin] for name, (value, origin) in self.variables.items()},
            "rivals": {name: [list(pair) for pair in pairs] for name, pairs in self.rivals.items()},
            "members": {name: list(hosts) for name, hosts in self.members.items()},
            "problems": list(self.problems),
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Facts:
        """Read what `to_json` wrote; an empty object gives empty facts."""
        return cls(
            inventory_name=str(data.get("inventory_name", "")),
            hosts=tuple(data.get("hosts", ())),
            groups=tuple(data.get("groups", ())),
            variables={name: (pair[0], pair[1]) for name, pair in data.get("variables", {}).items()},
            rivals={n: tuple((p[0], p[1]) for p in pairs) for n, pairs in data.get("rivals", {}).items()},
            members={name: tuple(hosts) for name, hosts in data.get("members", {}).items()},
            problems=tuple(data.get("problems", ())),
        )


def read_facts(root: Path, inventory: str = "") -> Facts:
    """Read the facts of a playbook repository.

    `inventory` is the path of a YAML inventory inside it; when empty, the only file of `inventory/` or
    `inventories/`, or `inventory.yml`, is taken. Never raises for what it finds: files that cannot be read are
    named in `problems`.
    """
    root = root.resolve()
    reader = _Reader(root)
    path = root / inventory if inventory else _only_inventory(root)
    if path is not None and reader.inside(path):
        reader.read_inventory(path)
    elif inventory:
        reader.problems.append(f"The inventory {inventory} is not in the repository.")
    bases = [root] if path is None else [root, *([path.parent] if path.parent != root else [])]
    for base in bases:
        reader.read_folder(base / "group_vars")
        reader.read_folder(base / "host_vars", hosts_only=True)
    return Facts(
        inventory_name=_name_of(path, root) if path is not None else "",
        hosts=tuple(reader.hosts),
        groups=tuple(name for name in reader.members if name not in ("all", "ungrouped")),
        variables=reader.variables,
        rivals={name: tuple(pairs) for name, pairs in reader.rivals.items()},
        members={name: tuple(hosts) for name, hosts in reader.members.items()},
        problems=tuple(reader.problems),
    )


class _Reader:
    def __init__(self, root: Path) -> None:
        self.root = root
        self.hosts: dict[str, None] = {}
        self.members: dict[str, dict[str, None]] = {}
        self.variables: dict[str, tuple[Any, str]] = {}
        self.rivals: dict[str, list[tuple[Any, str]]] = {}
        self.problems: list[str] = []

    def inside(self, path: Path) -> bool:
        resolved = path.resolve()
        return resolved.is_relative_to(self.root) and resolved.is_file()

    def read_inventory(self, path: Path) -> None:
        content = self._load(path)
        if isinstance(content, dict):
            for name, body in content.items():
                self._read_group(str(name), body, self._name(path), depth=0)
        elif content is not None:
            self.problems.append(f"{self._name(path)} is no YAML inventory; its hosts are not known.")

    def read_folder(self, folder: Path, *, hosts_only: bool = False) -> None:
        if not folder.is_dir() or folder.is_symlink():
            return
        # `all` first: what it says is what a name means, the rest are exceptions to it.
        files = sorted(folder.rglob("*.y*ml"), key=lambda file: (file.relative_to(folder).parts[0][:3] != "all", file))
        for file in files[:_LARGEST_COUNT]:
            if not self.inside(file):
                self.problems.append(f"{file.relative_to(self.root)} leads out of the repository and was not read.")
                continue
            content = self._load(file)
            if isinstance(content, dict):
                self._keep(content, self._name(file), rivals_only=hosts_only)

    def _read_group(self, name: str, body: Any, origin: str, *, depth: int) -> None:
        members = self.members.setdefault(name, {})
        if not isinstance(body, dict) or depth > 20:
            return
        hosts = body.get("hosts")
        if isinstance(hosts, (dict, list)):
            for host in list(hosts)[:_LARGEST_COUNT]:
                self.hosts[str(host)] = None
                members[str(host)] = None
        variables = body.get("vars")
        if isinstance(variables, dict):
            self._keep(variables, origin, rivals_only=False)
        children = body.get("children")
        if isinstance(children, dict):
            for child, inner in children.items():
                self._read_group(str(child), inner, origin, depth=depth + 1)
                members.update(self.members.get(str(child), {}))

    def _keep(self, content: Mapping[Any, Any], origin: str, *, rivals_only: bool) -> None:
        for key, value in content.items():
            name, found = str(key), (plain(value), f"{origin}: {key}")
            if name.startswith("ansible_"):
                continue  # how to connect is the inventory's business, never an input
            if name not in self.variables and not rivals_only:
                self.variables[name] = found
            elif name in self.variables and self.variables[name][0] == found[0]:
                continue
            else:
                self.rivals.setdefault(name, []).append(found)

    def _load(self, path: Path) -> Any:
        try:
            text = decode(path.read_bytes())
            return None if text.startswith("$ANSIBLE_VAULT;") else load(text).value
        except UnreadableYaml as error:
            self.problems.append(f"{self._name(path)}: {error.sentence}")
        except OSError as error:
            self.problems.append(f"{self._name(path)} cannot be read: {error.strerror}.")
        return None

    def _name(self, path: Path) -> str:
        return path.relative_to(self.root).as_posix() if path.is_relative_to(self.root) else path.name


def _name_of(path: Path, root: Path) -> str:
    # inventories/production/hosts.yml is called production.
    named = path.parent != root and path.parent.name not in ("inventory", "inventories")
    return path.parent.name if path.stem in ("hosts", "inventory", "main") and named else path.stem


def _only_inventory(root: Path) -> Path | None:
    for folder in ("inventory", "inventories"):
        found = sorted((root / folder).glob("*.y*ml")) if (root / folder).is_dir() else []
        if len(found) == 1:
            return found[0]
    return next((root / n for n in ("inventory.yml", "inventory.yaml", "hosts.yml") if (root / n).is_file()), None)
