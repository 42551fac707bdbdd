"""Which hosts an inventory names, and what is known about each, read from files without running anything.

Executable inventories and inventory plugins are refused; expressions stay the text they are; what is encrypted stays
a marker. Enters here: files of an exported commit. Never: Ansible itself, Django, Celery.
"""

from __future__ import annotations

import fnmatch
import os
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from agents.playbooks.inventory_formats import (
    FILE_BYTES,
    VAULT_HEAD,
    InventoryError,
    Raw,
    RawGroup,
    Variables,
    Vaulted,
    load_yaml,
    parse_ini,
    parse_yaml,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

__all__ = ["Inventory", "InventoryError", "Vaulted", "read_inventory"]

VARIABLE_ENDINGS: Final = ("", ".yml", ".yaml", ".json")
IGNORED_ENDINGS: Final = (".pyc", ".pyo", ".swp", ".bak", "~", ".rpm", ".md", ".txt", ".rst", ".orig", ".cfg", ".retry")
SUBSCRIPT: Final = re.compile(r"(.+)\[(-?\d+)(?:([:-])(-?\d+)?)?\]")


@dataclass(slots=True)
class Inventory:
    """Hosts and groups of one inventory, in the order they are written."""

    hosts: list[str]
    groups: dict[str, list[str]]  # every host below the group, children's hosts included
    vaulted_files: list[str] = field(default_factory=list)
    _raw: Raw = field(default_factory=dict, repr=False)
    _depths: dict[str, int] = field(default_factory=dict, repr=False)
    _folders: list[Path] = field(default_factory=list, repr=False)
    _root: Path = field(default=Path(), repr=False)

    def groups_of(self, host: str) -> list[str]:
        """The groups a host is in, from the widest (`all`) to the most special."""
        mine = [group for group, members in self.groups.items() if host in members]
        return sorted(mine, key=lambda group: (self._depths.get(group, 1), group))

    def match_hosts(self, pattern: str) -> list[str]:
        """The hosts an Ansible host pattern selects, in the inventory's order.

        Raises InventoryError for a pattern that holds an expression or can not be read.
        """
        if "{{" in pattern or "{%" in pattern:
            raise InventoryError(
                f"The host pattern {pattern!r} holds an expression, so its hosts are not known beforehand."
            )
        terms = [term for term in (part.strip() for part in _split(pattern)) if term]
        wide = [term for term in terms if term[0] not in "!&"]
        wide = wide or (["all"] if terms else [])
        chosen = list(dict.fromkeys(host for term in wide for host in self._term(term)))
        for term in terms:
            if term[0] in "!&":
                named = set(self._term(term[1:]))
                chosen = [host for host in chosen if (host in named) == (term[0] == "&")]
        order = {host: place for place, host in enumerate(self.hosts)}
        return sorted(chosen, key=lambda host: order.get(host, len(order)))

    def variables(self, host: str) -> Variables:
        """What the inventory and the group_vars and host_vars beside it say about a host, as plain data.

        Expressions are left as the text they are; encrypted values are `Vaulted`. Raises InventoryError for a host
        that is not there or a file that can not be read.
        """
        if host not in self.hosts:
            raise InventoryError(f"The inventory has no host {host!r}.")
        merged: Variables = {}
        groups = self.groups_of(host)
        for group in groups:
            merged.update(self._raw.get(group, RawGroup()).variables)
        special = [group for group in groups if group != "all"]
        for part in (["all"], special):
            for folder in self._folders:
                for group in part:
                    merged.update(self._file_variables(folder / "group_vars" / group))
        for raw in self._raw.values():
            merged.update(raw.hosts.get(host, {}))
        for folder in self._folders:
            merged.update(self._file_variables(folder / "host_vars" / host))
        return merged

    def _term(self, term: str) -> list[str]:
        if term in self.hosts:
            return [term]
        if term in {"all", "*"}:
            return self.hosts
        subscript = None if term.startswith("~") else SUBSCRIPT.fullmatch(term)
        if subscript is not None and not any(_matches(name, term) for name in (*self.groups, *self.hosts)):
            return _subscript(self._term(subscript[1]), subscript)
        chosen: dict[str, None] = {}
        for group, members in self.groups.items():
            if _matches(group, term):
                chosen.update(dict.fromkeys(members))
        found = list(chosen | dict.fromkeys(host for host in self.hosts if _matches(host, term)))
        if not found and term in {"localhost", "127.0.0.1", "::1"}:
            return [term]  # Ansible makes this one up where the inventory does not name it
        return found

    def _file_variables(self, base: Path) -> Variables:
        merged: Variables = {}
        for ending in VARIABLE_ENDINGS:
            candidate = base.with_name(base.name + ending)
            for file in _files_below(candidate, self._root):
                merged.update(self._one_file(file))
        return merged

    def _one_file(self, file: Path) -> Variables:
        name = str(file.relative_to(self._root))
        text = _text(file, name)
        if text.startswith(VAULT_HEAD):
            if name not in self.vaulted_files:
                self.vaulted_files.append(name)
            return {}
        data = load_yaml(text, name)
        if data is not None and not isinstance(data, dict):
            raise InventoryError(f"{name} must be a mapping of names to values.")
        return {str(key): value for key, value in (data or {}).items()}


def read_inventory(root: Path, path: str, *, playbook: str | None = None) -> Inventory:
    """Read the inventory at `path` below `root`: a static file, or a folder of static files.

    With `playbook`, the group_vars and host_vars beside that playbook count as well, as they do when it runs.
    Raises InventoryError for what is outside the root, executable, a plugin's, or not readable.
    """
    root = root.resolve()
    target = _contained(root, path)
    raw: Raw = {}
    for file in _inventory_files(target, root):
        _merge(raw, _parse(file, str(file.relative_to(root))))
    folders = [target if target.is_dir() else target.parent]
    if playbook is not None:
        beside = _contained(root, playbook).parent
        folders += [beside] if beside not in folders else []
    return _assemble(raw, folders, root)


def _parse(file: Path, name: str) -> Raw:
    if file.stat().st_mode & 0o111:
        raise InventoryError(f"{name} is executable, and an inventory that has to be run is refused.")
    text = _text(file, name)
    if text.startswith("#!"):
        raise InventoryError(f"{name} is a script, and an inventory that has to be run is refused.")
    if file.suffix in {".yml", ".yaml", ".json"}:
        return parse_yaml(text, name)
    if file.suffix in {".py", ".sh"}:
        raise InventoryError(f"{name} is a script, and an inventory that has to be run is refused.")
    try:
        return parse_yaml(text, name)  # as Ansible does: YAML if it is, else INI
    except InventoryError as error:
        if "inventory plugin" in str(error):
            raise
        return parse_ini(text, name)


def _assemble(raw: Raw, folders: list[Path], root: Path) -> Inventory:
    raw.setdefault("all", RawGroup())
    depths = _depths(raw)
    hosts = list(dict.fromkeys(host for group in raw.values() for host in group.hosts))
    groups = {name: _members(raw, name) for name in raw if name not in {"all", "ungrouped"}}
    grouped = {host for members in groups.values() for host in members}
    named = {"all": hosts, "ungrouped": [host for host in hosts if host not in grouped]}
    return Inventory(hosts, {**named, **groups}, [], raw, {**depths, "all": 0, "ungrouped": 1}, folders, root)


def _depths(raw: Raw) -> dict[str, int]:
    depths = dict.fromkeys(raw, 1)
    for _ in range(len(raw) + 1):
        moved = False
        for name, group in raw.items():
            for child in group.children:
                if child == name:
                    raise InventoryError(f"The group {name!r} holds itself.")
                wanted = depths[name] + 1 if name != "all" else 1
                if depths.get(child, 1) < wanted:
                    depths[child] = wanted
                    moved = True
        if not moved:
            return depths
    raise InventoryError("The inventory has groups that hold each other in a circle.")


def _members(raw: Raw, name: str) -> list[str]:
    found: dict[str, None] = {}
    waiting, seen = [name], {name}
    while waiting:
        group = raw.get(waiting.pop(0), RawGroup())
        found.update(dict.fromkeys(group.hosts))
        fresh = [child for child in group.children if child not in seen]
        seen.update(fresh)
        waiting += fresh
    return list(found)


def _merge(into: Raw, more: Raw) -> None:
    for name, group in more.items():
        here = into.setdefault(name, RawGroup())
        for host, variables in group.hosts.items():
            here.hosts.setdefault(host, {}).update(variables)
        here.children += [child for child in group.children if child not in here.children]
        here.variables.update(group.variables)


def _contained(root: Path, path: str) -> Path:
    if not path or "\0" in path or path.startswith("/"):
        raise InventoryError(f"{path[:200]!r} is not a path inside the repository.")
    target = Path(os.path.realpath(root / path))
    if not target.is_relative_to(root) or not target.exists():
        raise InventoryError(f"The repository has no inventory or playbook at {path[:200]!r}.")
    return target


def _inventory_files(target: Path, root: Path) -> Iterator[Path]:
    if target.is_file():
        yield target
        return
    for file in sorted(target.iterdir()):
        if file.name.startswith(".") or file.name in {"group_vars", "host_vars"} or file.name.endswith(IGNORED_ENDINGS):
            continue
        if not Path(os.path.realpath(file)).is_relative_to(root):
            raise InventoryError(f"{file.name!r} leads out of the repository.")
        yield from _inventory_files(file, root)


def _files_below(base: Path, root: Path) -> Iterator[Path]:
    """A variables file, or every variables file in a folder of that name, in Ansible's order."""
    if not Path(os.path.realpath(base)).is_relative_to(root):
        raise InventoryError(f"{base.name!r} leads out of the repository.")
    if base.is_file():
        yield base
    elif base.is_dir():
        for file in sorted(base.iterdir()):
            if not file.name.startswith(".") and (file.is_dir() or file.suffix in VARIABLE_ENDINGS):
                yield from _files_below(file, root)


def _text(file: Path, name: str) -> str:
    try:
        if file.stat().st_size > FILE_BYTES:
            raise InventoryError(f"{name} is larger than {FILE_BYTES >> 20} MiB, so it is not read.")
        return file.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InventoryError(f"{name} can not be read as text.") from error


def _split(pattern: str) -> list[str]:
    """Cut at commas, else at colons, but never inside brackets or an address of IPv6."""
    if "," in pattern:
        return [piece for part in pattern.split(",") for piece in _split(part)]
    if pattern.count(":") > 1 and re.fullmatch(r"[0-9a-fA-F:]+", pattern.strip()):
        return [pattern]
    return re.findall(r"(?:\[[^\]]*\]|[^:\[\]])+", pattern) if not pattern.strip().startswith("~") else [pattern]


def _matches(name: str, term: str) -> bool:
    if not term.startswith("~"):
        return fnmatch.fnmatchcase(name, term)
    try:
        return re.match(term[1:], name) is not None
    except re.error as error:
        raise InventoryError(f"{term[1:]!r} is not a regular expression.") from error


def _subscript(hosts: Sequence[str], found: re.Match[str]) -> list[str]:
    first = int(found[2])
    if not found[3]:
        return [hosts[first]] if -len(hosts) <= first < len(hosts) else []
    last: Any = int(found[4]) if found[4] else len(hosts)
    stop = None if last in {-1, len(hosts)} else last + 1
    return list(hosts[first:stop])
