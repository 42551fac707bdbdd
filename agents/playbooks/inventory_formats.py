"""The two static inventory formats, INI and YAML, as plain data. Nothing is run, nothing is evaluated.

Both parsers answer a `Raw`: groups with their hosts, children and variables, in the order of the file.
"""

from __future__ import annotations

import ast
import re
import shlex
from dataclasses import dataclass, field
from typing import Any, Final

import yaml

NODES: Final = 200_000  # after aliases are followed
FILE_BYTES: Final = 4 << 20
RANGE_HOSTS: Final = 20_000
RANGE: Final = re.compile(r"\[(\w+):(\w+)(?::(\d+))?\]", re.ASCII)
SECTION: Final = re.compile(r"\[([^:\]\s]+)(?::(hosts|vars|children))?\]\s*(?:[#;].*)?")
VAULT_HEAD: Final = "$ANSIBLE_VAULT;"
NAME: Final = re.compile(r"[^\s\0{}]{1,253}")

Variables = dict[str, Any]


class InventoryError(Exception):
    """The inventory can not be read safely or rightly. The message is one sentence for a person."""


@dataclass(frozen=True, slots=True)
class Vaulted:
    """Stands where a value is encrypted: that it exists is known, what it is must not be."""

    def __str__(self) -> str:
        return "(encrypted with Ansible Vault)"


@dataclass(slots=True)
class RawGroup:
    """A group as a file names it; hosts carry the variables written beside them."""

    hosts: dict[str, Variables] = field(default_factory=dict)
    children: list[str] = field(default_factory=list)
    variables: Variables = field(default_factory=dict)


Raw = dict[str, RawGroup]


class _Loader(yaml.SafeLoader):
    """YAML 1.1 as Ansible reads it, with vault values hidden and other tags refused."""


def _vault(_loader: yaml.SafeLoader, _node: yaml.Node) -> Vaulted:
    return Vaulted()


def _unsafe(loader: yaml.SafeLoader, node: yaml.Node) -> str:
    return str(loader.construct_scalar(node)) if isinstance(node, yaml.ScalarNode) else ""


_Loader.add_constructor("!vault", _vault)
_Loader.add_constructor("!vault-encrypted", _vault)
_Loader.add_constructor("!unsafe", _unsafe)


def load_yaml(text: str, name: str) -> Any:
    """One YAML document as plain data. Raises InventoryError, naming the file, for anything else or too large."""
    try:
        data = yaml.load(text, Loader=_Loader)  # noqa: S506 - a SafeLoader with two harmless tags more
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        where = getattr(error, "problem_mark", None)
        line = f" (line {where.line + 1})" if where is not None else ""
        raise InventoryError(f"{name} is not YAML that can be read{line}.") from error
    if _size(data, {}, set()) > NODES:
        raise InventoryError(f"{name} grows to more than {NODES} values, so it is not read.")
    return data


def _size(data: Any, known: dict[int, int], path: set[int]) -> int:
    """How many values there are once aliases are followed, counted without following any twice."""
    if not isinstance(data, (dict, list)):
        return 1
    mark = id(data)
    if mark in path:
        return NODES + 1  # a structure that holds itself never ends
    if mark not in known:
        path.add(mark)
        known[mark] = 1 + sum(_size(item, known, path) for item in (data.values() if isinstance(data, dict) else data))
        path.discard(mark)
    return known[mark]


def parse_yaml(text: str, name: str) -> Raw:
    """A YAML inventory. Raises InventoryError where its shape is not that of one."""
    data = load_yaml(text, name)
    if data is None:
        return {}
    if not isinstance(data, dict):
        raise InventoryError(f"{name} is not an inventory: its top must name groups.")
    if "plugin" in data:
        raise InventoryError(
            f"{name} asks for an inventory plugin, which would have to be run; only static ones are read."
        )
    raw: Raw = {}
    for group, body in data.items():
        _yaml_group(raw, str(group), body, name, depth=0)
    return raw


def _yaml_group(raw: Raw, group: str, body: Any, name: str, depth: int) -> None:
    if depth > 50:
        raise InventoryError(f"{name} nests groups deeper than 50 levels.")
    here = raw.setdefault(_checked(group, name), RawGroup())
    for key, value in _mapping(body, f"The group {group!r} in {name}").items():
        what = f"{key!r} of the group {group!r} in {name}"
        if key == "hosts":
            entries = {value: None} if isinstance(value, str) else _mapping(value, what)
            for pattern, variables in entries.items():
                for host, port in expand(str(pattern), name):
                    here.hosts.setdefault(host, {}).update(port | _strings(_mapping(variables, what)))
        elif key == "vars":
            here.variables.update(_strings(_mapping(value, what)))
        elif key == "children":
            for child, inner in _mapping(value, what).items():
                here.children.append(str(child))
                _yaml_group(raw, str(child), inner, name, depth + 1)


def parse_ini(text: str, name: str) -> Raw:
    """An INI inventory. Raises InventoryError with the line that can not be read."""
    raw: Raw = {"ungrouped": RawGroup()}
    group, kind = "ungrouped", "hosts"
    for number, line in enumerate(text.splitlines(), 1):
        words = line.strip()
        if not words or words[0] in "#;":
            continue
        where = f"line {number} of {name}"
        if words.startswith("["):
            section = SECTION.fullmatch(words)
            if section is None and RANGE.match(words) is None:
                raise InventoryError(f"The section in {where} can not be read.")
            if section is not None:
                group, kind = _checked(section[1], name), section[2] or "hosts"
                raw.setdefault(group, RawGroup())
                continue
        if kind == "hosts":
            pattern, *pairs = _words(words, where)
            variables = dict(_pair(pair, where) for pair in pairs)
            for host, port in expand(pattern, name):
                raw[group].hosts.setdefault(host, {}).update(port | variables)
        elif kind == "children":
            raw[group].children.append(_checked(words.split("#")[0].strip(), name))
            raw.setdefault(raw[group].children[-1], RawGroup())
        else:
            key, value = _pair(words, where)
            raw[group].variables[key] = value
    return raw


def expand(pattern: str, name: str) -> list[tuple[str, Variables]]:
    """The hosts that a name with ranges stands for, each with a port if one was written behind it."""
    names = [pattern]
    while (found := RANGE.search(names[0])) is not None:
        steps = _steps(found, name)
        if len(names) * len(steps) > RANGE_HOSTS:
            raise InventoryError(f"{pattern!r} in {name} stands for more than {RANGE_HOSTS} hosts.")
        names = [RANGE.sub(step, one, count=1) for one in names for step in steps]
    return [_port(_checked(one, name)) for one in names]


def _steps(found: re.Match[str], name: str) -> list[str]:
    first, last, stride = found[1], found[2], int(found[3] or 1)
    if stride > 0 and first.isdigit() and last.isdigit() and len(last) < 10:
        width = len(first) if first.startswith("0") else 0
        count = (int(last) - int(first)) // stride + 1
        if 0 < count <= RANGE_HOSTS:
            return [f"{number:0{width}d}" for number in range(int(first), int(last) + 1, stride)]
    elif stride > 0 and len(first) == len(last) == 1 and first.isalpha() and last.isalpha() and first <= last:
        return [chr(code) for code in range(ord(first), ord(last) + 1, stride)]
    raise InventoryError(f"The range {found[0]!r} in {name} can not be read, or is too long.")


def _port(host: str) -> tuple[str, Variables]:
    bare, colon, port = host.rpartition(":")
    if colon and port.isdigit() and ":" not in bare:
        return bare, {"ansible_port": int(port)}
    return host, {}


def _checked(name: str, where: str) -> str:
    if not NAME.fullmatch(name):
        raise InventoryError(f"{name[:80]!r} in {where} can not be the name of a host or group.")
    return name


def _mapping(value: Any, what: str) -> dict[Any, Any]:
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise InventoryError(f"{what} must be a mapping.")
    return value


def _strings(values: dict[Any, Any]) -> Variables:
    return {str(key): value for key, value in values.items()}


def _words(line: str, where: str) -> list[str]:
    try:
        return shlex.split(line, comments=True)
    except ValueError as error:
        raise InventoryError(f"The quotes in {where} do not match.") from error


def _pair(text: str, where: str) -> tuple[str, Any]:
    key, equals, value = text.partition("=")
    if not equals or not key.strip():
        raise InventoryError(f"{text[:80]!r} in {where} is not of the form name=value.")
    value = value.strip()
    try:
        return key.strip(), ast.literal_eval(value)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return key.strip(), value
