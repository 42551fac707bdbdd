"""Which variables a playbook takes, read from its tasks without running or evaluating anything.

Pure. Jinja is only parsed, never rendered.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Final

from jinja2 import Environment, TemplateError, nodes

from agents.playbooks.catalogue import Variable, VariableType
from agents.playbooks.yaml_safe import Marked, plain

BLOCKS: Final = ("block", "rescue", "always")
TASK_LISTS: Final = ("pre_tasks", "tasks", "post_tasks", "handlers")
_BARE: Final = ("when", "until", "failed_when", "changed_when", "that", "loop", "with_items")
_MAGIC: Final = frozenset(
    """hostvars groups group_names inventory_hostname inventory_hostname_short inventory_dir inventory_file playbook_dir
    play_hosts role_path role_name omit environment item lookup query q now range dict namespace undef vars loop true false
    none True False None environment ansible_facts ansible_loop joiner cycler lipsum""".split()
)
_ENVIRONMENT: Final = Environment(autoescape=False)  # noqa: S701 - parsed only, never rendered
_SECRET_NAME: Final = re.compile(r"(?:^|_)(?:password|passwd|secret|token|api_key|private_key|passphrase)$")
_INTEGER_NAME: Final = re.compile(r"(?:^|_)(?:port|count|retries|days|seconds|minutes|size_mb|interval)$")
_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


@dataclass
class Usage:
    """What is seen of variables while walking a play: used, asserted, optional, made on the way, looped over."""

    used: dict[str, None] = field(default_factory=dict)
    asserted: dict[str, None] = field(default_factory=dict)
    optional: dict[str, Any] = field(default_factory=dict)
    made: set[str] = field(default_factory=set)
    looped: set[str] = field(default_factory=set)
    lookups: dict[str, None] = field(default_factory=dict)
    unreadable: int = 0


@dataclass(frozen=True)
class Expression:
    """One template's findings, kept so that a text seen before costs nothing."""

    used: tuple[str, ...] = ()
    optional: tuple[tuple[str, Any], ...] = ()
    asserted: tuple[str, ...] = ()
    lookups: tuple[str, ...] = ()
    whole: str = ""
    unreadable: bool = False


def walk_task(task: Mapping[Any, Any], usage: Usage) -> None:
    """Note what one task uses and makes. Blocks are walked by the caller."""
    for name in ("register", "loop_var", "index_var"):
        if isinstance(task.get(name), str):
            usage.made.add(task[name])
    control = task.get("loop_control")
    if isinstance(control, dict):
        usage.made.update(str(control[name]) for name in ("loop_var", "index_var") if name in control)
    if isinstance(task.get("vars"), dict):
        usage.made.update(str(name) for name in task["vars"])
    for key, value in task.items():
        module = str(key).rpartition(".")[2]
        if module == "set_fact" and isinstance(value, dict):
            usage.made.update(str(name) for name in value)
        if module == "assert" and isinstance(value, dict):
            for condition in _texts(value.get("that")):
                usage.asserted.update(dict.fromkeys(_expression(condition, bare=True).asserted))
        if str(key) in BLOCKS:
            continue
        if str(key) == "loop" or str(key).startswith("with_"):
            for text in _texts(value):
                whole = _expression(text, bare=False).whole
                usage.looped.update({whole} if whole else ())
        note(value, usage, key=str(key))


def note(value: Any, usage: Usage, *, key: str = "") -> None:
    """Note every variable that a value's templates use."""
    for text, bare in _templates(value, key):
        found = _expression(text, bare=bare)
        usage.used.update(dict.fromkeys(found.used))
        usage.optional.update(dict(found.optional))
        usage.lookups.update(dict.fromkeys(found.lookups))
        usage.unreadable += found.unreadable


def collect(
    usage: Usage,
    *,
    prompts: Iterable[Variable],
    defaults: Mapping[str, Any],
    known: Iterable[str],
    declared: tuple[str, ...] | None,
    types: Mapping[str, VariableType],
) -> tuple[Variable, ...]:
    """The variables a playbook takes: required ones first, each with its type and default.

    `defaults` are the values of plays and roles, `known` the names the inventory defines, `declared` what the
    metadata says is required (it overrides what we infer), `types` the metadata's types.
    """
    known = set(known)
    prompted = {variable.name: variable for variable in prompts}
    required = dict.fromkeys(declared) if declared is not None else _required(usage, prompted, defaults, known)
    settable = (name for name, value in defaults.items() if not _is_computed(value))
    names = dict.fromkeys([*required, *prompted, *settable, *(n for n in usage.optional if n not in defaults)])
    found = []
    for name in names:
        if not _NAME.fullmatch(name) or name.startswith(("_", "ansible_")) or name in usage.made - set(required):
            continue
        default = _default(name, defaults, usage)
        needed = name in required
        prompt = prompted.get(name)
        if prompt and prompt.default is not None and default is None:
            default, needed = prompt.default, declared is not None and needed
        if needed and default in ("", [], {}):
            default = None
        found.append(
            Variable(
                name=name,
                type=types.get(name)
                or (prompt.type if prompt and prompt.type == "secret" else _type(name, default, usage)),
                required=needed,
                default=default,
                description=prompt.description if prompt else "",
            )
        )
    return tuple(sorted(found, key=lambda variable: not variable.required))


def _required(
    usage: Usage, prompted: Mapping[str, Variable], defaults: Mapping[str, Any], known: set[str]
) -> dict[str, None]:
    wanted = {name: None for name, variable in prompted.items() if variable.default is None}
    for name in usage.asserted:
        if defaults.get(name) in (None, "", [], {}) and name not in usage.made:
            wanted[name] = None
    for name in usage.used:
        settled = name in defaults or name in known or name in usage.made or name in usage.optional or name in prompted
        if not settled and name not in _MAGIC and not name.startswith("ansible_"):
            wanted[name] = None
    return wanted


def _is_computed(value: Any) -> bool:
    # A default that is a template is the playbook's own wiring (paths, commands), nothing that a person would set.
    return isinstance(value, Marked) or any(not bare for _, bare in _templates(value))


def _default(name: str, defaults: Mapping[str, Any], usage: Usage) -> Any:
    value = defaults[name] if name in defaults else usage.optional.get(name)
    return None if _is_computed(value) else plain(value)


def _type(name: str, default: Any, usage: Usage) -> VariableType:
    if _SECRET_NAME.search(name):
        return "secret"
    match default:
        case bool():
            return "boolean"
        case int():
            return "integer"
        case float():
            return "number"
        case list():
            return "list"
        case dict():
            return "object"
    if default is None and name in usage.looped:
        return "list"
    return "integer" if default is None and _INTEGER_NAME.search(name) else "string"


def _templates(value: Any, key: str = "") -> Iterator[tuple[str, bool]]:
    waiting: list[tuple[Any, str]] = [(value, key)]
    while waiting:
        item, name = waiting.pop()
        if isinstance(item, str):
            if "{{" in item or "{%" in item:
                yield item, False
            elif name in _BARE and name not in ("loop", "with_items") and len(item) < 2_000:
                yield item, True
        elif isinstance(item, dict):
            waiting.extend((inner, str(inner_key)) for inner_key, inner in item.items() if str(inner_key) not in BLOCKS)
            waiting.extend((str(inner_key), "") for inner_key in item if "{{" in str(inner_key))
        elif isinstance(item, (list, tuple)):
            waiting.extend((inner, name) for inner in item)


@lru_cache(maxsize=20_000)
def _expression(text: str, *, bare: bool) -> Expression:
    try:
        with warnings.catch_warnings():
            # A backslash in somebody's regular expression is no concern of ours.
            warnings.simplefilter("ignore")
            tree = _ENVIRONMENT.parse("{{ " + text + " }}" if bare and "{{" not in text else text)
    except (TemplateError, RecursionError):
        return Expression(unreadable=True)
    stored = {node.name for node in tree.find_all(nodes.Name) if node.ctx != "load"}
    optional: dict[str, Any] = {}
    for kept in tree.find_all(nodes.Filter):
        if kept.name in ("default", "d") and isinstance(kept.node, nodes.Name):
            first = kept.args[0] if kept.args else None
            optional[kept.node.name] = first.value if isinstance(first, nodes.Const) else None
    asserted: list[str] = []
    tested: list[str] = []
    for test in tree.find_all(nodes.Test):
        if test.name in ("defined", "undefined") and isinstance(test.node, nodes.Name):
            (asserted if test.name == "defined" else tested).append(test.node.name)
            tested.append(test.node.name)
    for test_name in re.findall(r"\b([A-Za-z_]\w*)\s*\|\s*length\s*(?:>\s*0|>=\s*1|!=\s*0)", text):
        asserted.append(test_name)
    for name in tested:
        optional.setdefault(name, None)
    calls = [node for node in tree.find_all(nodes.Call) if isinstance(node.node, nodes.Name)]
    lookups = [
        f"{call.node.name}({_first(call)})"
        for call in calls
        if isinstance(call.node, nodes.Name) and call.node.name in ("lookup", "query", "q")
    ]
    used = dict.fromkeys(n.name for n in tree.find_all(nodes.Name) if n.ctx == "load" and n.name not in stored)
    outputs = list(tree.find_all(nodes.Output))
    whole = ""
    if len(outputs) == 1 and len(outputs[0].nodes) == 1:
        inner = outputs[0].nodes[0]
        while isinstance(inner, nodes.Filter) and inner.node is not None:
            inner = inner.node
        whole = inner.name if isinstance(inner, nodes.Name) else ""
    return Expression(tuple(used), tuple(optional.items()), tuple(asserted), tuple(lookups), whole)


def _first(call: nodes.Call) -> str:
    first = call.args[0] if call.args else None
    return repr(first.value) if isinstance(first, nodes.Const) else "computed"


def _texts(value: Any) -> list[str]:
    if isinstance(value, str):
        return [value]
    return [item for item in value if isinstance(item, str)] if isinstance(value, list) else []
