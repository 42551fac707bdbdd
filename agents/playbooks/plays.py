"""Reads the plays of a playbook with the roles and task files they lead to; nothing is run, nothing is evaluated."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from agents.playbooks.catalogue import Variable
from agents.playbooks.variables import BLOCKS, TASK_LISTS, Usage, note, walk_task
from agents.playbooks.yaml_safe import LARGEST_FILE_BYTES, UnreadableYaml, decode, load, plain

_DEEPEST_INCLUDE: Final = 8
_MOST_TASKS: Final = 5_000
_INCLUDES: Final = ("import_tasks", "include_tasks")
_ROLES: Final = ("import_role", "include_role")
_PLAYBOOKS: Final = ("import_playbook", "ansible.builtin.import_playbook")
_ENVIRONMENT_LOOKUP: Final = re.compile(r"(?:lookup|query|q)\('(?:ansible\.builtin\.)?env'\)")


@dataclass
class Reading:
    """What the plays of one file say."""

    first_name: str = ""
    hosts: dict[str, None] = field(default_factory=dict)
    tags: dict[str, None] = field(default_factory=dict)
    roles: dict[str, None] = field(default_factory=dict)
    prompts: list[Variable] = field(default_factory=list)
    defaults: dict[str, Any] = field(default_factory=dict)
    known: set[str] = field(default_factory=set)
    usage: Usage = field(default_factory=Usage)
    task_count: int = 0
    obstacles: dict[str, None] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    refused: bool = False


class PlayReader:
    """Reads playbooks of one repository; files that several of them share are read once."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._files: dict[Path, Any] = {}
        self._texts: dict[Path, str] = {}
        self._known: dict[Path, frozenset[str]] = {}

    def read(self, path: Path, plays: list[Any]) -> Reading:
        """Read the plays of one file, and of the playbooks it imports."""
        reading = Reading()
        self._read_plays(path, plays, reading, depth=0)
        if reading.usage.unreadable:
            reading.problems.append(f"{reading.usage.unreadable} of its templates could not be parsed.")
        for call in reading.usage.lookups:
            if not _ENVIRONMENT_LOOKUP.fullmatch(call):
                reading.obstacles[f"It uses {call}, which would run on this machine."] = None
        for base in dict.fromkeys((self.root, path.parent)):
            reading.known |= self._inventory_names(base)
        return reading

    def _read_plays(self, path: Path, plays: list[Any], reading: Reading, *, depth: int) -> None:
        for number, play in enumerate(plays, start=1):
            if not isinstance(play, dict):
                reading.problems.append(f"Entry {number} is no play.")
                continue
            imported = next((play[key] for key in _PLAYBOOKS if key in play), None)
            if imported is not None:
                self._read_imported(path, imported, reading, depth=depth)
            elif "hosts" not in play:
                reading.problems.append(f"Entry {number} names no hosts.")
            else:
                self._read_play(path, play, number, reading)

    def _read_imported(self, path: Path, imported: Any, reading: Reading, *, depth: int) -> None:
        if not isinstance(imported, str) or "{{" in imported:
            self._refuse(reading, "It imports a playbook whose name is a template, so what would run is not known.")
            return
        target = self._find([path.parent / imported])
        content = self._load(target) if target else None
        if target is None or not isinstance(content, list) or depth >= _DEEPEST_INCLUDE:
            self._refuse(reading, f"It imports {imported}, which is not a readable playbook of this repository.")
            return
        self._read_plays(target, content, reading, depth=depth + 1)

    def _read_play(self, path: Path, play: Mapping[Any, Any], number: int, reading: Reading) -> None:
        name = play.get("name")
        shown = f"“{name}”" if isinstance(name, str) else f"number {number}"
        if isinstance(name, str) and not reading.first_name and "{{" not in name:
            reading.first_name = name.strip()[:500]
        hosts = play["hosts"] if isinstance(play["hosts"], list) else [play["hosts"]]
        if any("{{" in str(host) or "{%" in str(host) for host in hosts):
            self._refuse(reading, f"The hosts of play {shown} are a template, so where it would run is not known.")
        elif not hosts or any(not isinstance(host, str) or not host.strip() for host in hosts):
            self._refuse(reading, f"The hosts of play {shown} are empty or no text.")
        else:
            reading.hosts.update(dict.fromkeys(str(host).strip() for host in hosts))
        self._tags(play.get("tags"), reading)
        self._prompts(play.get("vars_prompt"), reading)
        if isinstance(play.get("vars"), dict):
            reading.defaults.update({str(key): value for key, value in play["vars"].items()})
            note(play["vars"], reading.usage)
        for file in _as_list(play.get("vars_files")):
            target = self._find([path.parent / file]) if isinstance(file, str) and "{{" not in file else None
            content = self._load(target) if target else None
            if isinstance(content, dict):
                reading.known.update(str(key) for key in content)
        if play.get("check_mode") is False:
            reading.obstacles[f"Play {shown} sets check_mode: false."] = None
        for role in _as_list(play.get("roles")):
            given = role
            if isinstance(role, dict):
                given = role.get("role") or role.get("name")
                inner = role.get("vars")
                names = [*(inner if isinstance(inner, dict) else {}), *role]
                reading.usage.made.update(str(key) for key in names if key not in ("role", "name"))
            self._read_role(path, given, {}, reading, depth=0)
        for section in TASK_LISTS:
            if not isinstance(play.get(section), list | None):
                self._refuse(reading, f"The {section.replace('_', ' ')} of play {shown} are no list.")
            self._read_tasks(path, play.get(section), reading, depth=0)

    def _read_tasks(self, path: Path, tasks: Any, reading: Reading, *, depth: int, role: Path | None = None) -> None:
        for task in _as_list(tasks):
            if not isinstance(task, dict) or reading.task_count >= _MOST_TASKS or depth > _DEEPEST_INCLUDE * 2:
                continue
            walk_task(task, reading.usage)
            self._tags(task.get("tags"), reading)
            self._obstacles(task, reading)
            if any(block in task for block in BLOCKS):
                for block in BLOCKS:
                    self._read_tasks(path, task.get(block), reading, depth=depth + 1, role=role)
                continue
            reading.task_count += 1
            for key, value in task.items():
                module = str(key).rpartition(".")[2]
                if module in _INCLUDES:
                    file = value if isinstance(value, str) else value.get("file") if isinstance(value, dict) else None
                    self._read_included(path, file, reading, depth=depth, role=role)
                elif module in _ROLES and isinstance(value, dict):
                    self._read_role(path, value.get("name"), value, reading, depth=depth + 1)

    def _read_included(self, path: Path, file: Any, reading: Reading, *, depth: int, role: Path | None) -> None:
        if not isinstance(file, str) or "{{" in file or depth >= _DEEPEST_INCLUDE:
            return
        folders = [path.parent, *([role / "tasks"] if role else []), self.root]
        if target := self._find(folder / file for folder in folders):
            self._read_tasks(target, self._load(target), reading, depth=depth + 1, role=role)

    def _read_role(self, path: Path, name: Any, how: Mapping[Any, Any], reading: Reading, *, depth: int) -> None:
        if not isinstance(name, str) or "{{" in name or not name.strip() or depth >= _DEEPEST_INCLUDE:
            return
        reading.roles[name] = None
        home = next((b / "roles" / name for b in (path.parent, self.root) if (b / "roles" / name).is_dir()), None)
        if home is None or not home.resolve().is_relative_to(self.root):
            return  # a role from elsewhere: named, not read
        before = set(reading.usage.used)
        tasks_from = str(how.get("tasks_from") or "main").removesuffix(".yml").removesuffix(".yaml")
        if "{{" not in tasks_from and (tasks := self._role_file(home, "tasks", tasks_from)):
            self._read_tasks(tasks, self._load(tasks), reading, depth=depth + 1, role=home)
        if handlers := self._role_file(home, "handlers", "main"):
            # A handler may speak of what another task file registered, so its uses say nothing of what is required.
            aside = Usage(made=reading.usage.made, lookups=reading.usage.lookups)
            for task in _as_list(self._load(handlers)):
                if isinstance(task, dict):
                    walk_task(task, aside)
                    self._obstacles(task, reading)
        if fixed := self._role_file(home, "vars", "main"):
            content = self._load(fixed)
            reading.known.update(str(key) for key in content if key) if isinstance(content, dict) else None
        if defaults := self._role_file(home, "defaults", "main"):
            content = self._load(defaults)
            if isinstance(content, dict):
                used = set(reading.usage.used) - before
                self._role_defaults(home, content, used, reading, templates=tasks_from == "main")

    def _role_defaults(
        self, home: Path, content: Mapping[Any, Any], used: set[str], reading: Reading, *, templates: bool
    ) -> None:
        text = self._template_text(home) if templates else ""
        for key, value in content.items():
            name = str(key)
            reading.known.add(name)
            if name in used or name in text:
                reading.defaults.setdefault(name, value)
                note(value, reading.usage)

    def _obstacles(self, task: Mapping[Any, Any], reading: Reading) -> None:
        shown = f"“{task['name']}”" if isinstance(task.get("name"), str) else "without a name"
        if task.get("check_mode") is False:
            reading.obstacles[f"Task {shown} sets check_mode: false."] = None
        modules = {str(key).removeprefix("ansible.builtin.").removeprefix("ansible.legacy.") for key in task}
        for module in ("raw", "script"):
            if module in modules:
                reading.obstacles[f"Task {shown} uses the {module} module, which check mode cannot foresee."] = None

    def _prompts(self, prompts: Any, reading: Reading) -> None:
        for prompt in _as_list(prompts):
            if isinstance(prompt, dict) and isinstance(prompt.get("name"), str):
                default = prompt.get("default")
                reading.prompts.append(
                    Variable(
                        name=prompt["name"],
                        # Ansible hides a prompted value unless told otherwise, but only one that is kept from the
                        # log on purpose is a secret.
                        type="secret" if prompt.get("private") is True or prompt.get("encrypt") else "string",
                        required=default is None,
                        default=plain(default),
                        description=str(prompt.get("prompt", ""))[:200],
                    )
                )

    def _tags(self, tags: Any, reading: Reading) -> None:
        listed = tags.split(",") if isinstance(tags, str) else _as_list(tags)
        reading.tags.update(
            dict.fromkeys(str(tag).strip() for tag in listed if str(tag).strip() and "{{" not in str(tag))
        )

    def _refuse(self, reading: Reading, sentence: str) -> None:
        reading.problems.append(sentence)
        reading.refused = True

    def _find(self, paths: Iterable[Path]) -> Path | None:
        for path in paths:
            try:
                resolved = path.resolve()
                if resolved.is_relative_to(self.root) and resolved.is_file():
                    return path
            except (OSError, ValueError, RuntimeError):
                continue
        return None

    def _role_file(self, home: Path, folder: str, name: str) -> Path | None:
        return self._find(home / folder / f"{name}{suffix}" for suffix in (".yml", ".yaml"))

    def _load(self, path: Path) -> Any:
        if path not in self._files:
            try:
                self._files[path] = load(decode(path.read_bytes())).value
            except (UnreadableYaml, OSError, RecursionError):
                self._files[path] = None  # a file that is shared by many must not fail each of them
        return self._files[path]

    def _template_text(self, home: Path) -> str:
        if home not in self._texts:
            folder = home / "templates"
            parts = [
                file.read_text(encoding="utf-8", errors="replace")
                for file in sorted(folder.rglob("*"))[:200]
                if file.is_file() and not file.is_symlink() and file.stat().st_size < LARGEST_FILE_BYTES
            ]
            self._texts[home] = "\n".join(parts)
        return self._texts[home]

    def _inventory_names(self, base: Path) -> frozenset[str]:
        if base not in self._known:
            self._known[base] = frozenset(self._read_inventory_names(base))
        return self._known[base]

    def _read_inventory_names(self, base: Path) -> Iterator[str]:
        folders = [base / "group_vars", base / "host_vars"]
        for name in ("inventory", "inventories"):
            if (base / name).is_dir():
                folders += [base / name / "group_vars", base / name / "host_vars", base / name]
        for folder in folders:
            for file in sorted(folder.rglob("*.y*ml"))[:500] if folder.is_dir() else []:
                content = self._load(file) if self._find([file]) else None
                if isinstance(content, dict):
                    yield from (str(key) for key in content)
                    inner = content.get("all")
                    if isinstance(inner, dict) and isinstance(inner.get("vars"), dict):
                        yield from (str(key) for key in inner["vars"])


def _as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [] if value is None else [value]
