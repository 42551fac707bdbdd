"""References to earlier results and to state: `{{ steps.deploy.output.url }}` found, checked and resolved. Pure.

Jinja2 parses them; of its language only paths, constants and (in conditions) comparisons and logic are let through, so
nothing can be called and nothing can be computed that takes long. A value that is one reference keeps its type.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from typing import Any, Final

from jinja2 import StrictUndefined, TemplateSyntaxError, UndefinedError, nodes
from jinja2.exceptions import SecurityError
from jinja2.nativetypes import NativeEnvironment
from jinja2.sandbox import ImmutableSandboxedEnvironment

ROOTS: Final = ("steps", "state", "item", "index")
STEP_PARTS: Final = ("output", "status")  # what may be read of an earlier step
STATE_SCOPES: Final = ("global", "session", "execution", "step")
STATE_KEY: Final = re.compile(r"[a-z][a-z0-9_]{0,63}")
LONGEST: Final = 2_000
_PATHS: Final = (
    nodes.Getattr,
    nodes.Getitem,
    nodes.Name,
    nodes.Const,
    nodes.TemplateData,
    nodes.Output,
    nodes.Template,
)
_LOGIC: Final = (nodes.Compare, nodes.Operand, nodes.And, nodes.Or, nodes.Not, nodes.List, nodes.Tuple, nodes.Neg)


class _Environment(ImmutableSandboxedEnvironment, NativeEnvironment):
    """Sandboxed, and a lone expression keeps its type. What is read is JSON: it has keys and no attributes."""

    def getattr(self, obj: Any, attribute: str) -> Any:
        """A key of an object, also where it has the name of a method, such as `items`; nothing of anything else."""
        if isinstance(obj, Mapping) and attribute in obj:
            return obj[attribute]
        return self.undefined(obj=obj, name=attribute)


_ENVIRONMENT: Final = _Environment(undefined=StrictUndefined, autoescape=False)


class Unresolvable(ValueError):
    """A reference leads nowhere: the step has no such output, or was skipped."""


def is_template(value: Any) -> bool:
    """Whether a text holds something that looks like a reference."""
    return isinstance(value, str) and ("{{" in value or "{%" in value or "{#" in value)


def has_any(value: Any) -> bool:
    """Whether any text in a JSON value holds something that looks like a reference."""
    return any(is_template(text) for text in _texts(value))


def errors_in(
    value: Any, *, upstream: Collection[str], fan_out: bool = False, loc: tuple[Any, ...] = ()
) -> list[tuple[tuple[Any, ...], str]]:
    """What is wrong with the references in a JSON value, each with its place in it.

    `upstream` are the keys of all steps that come before.
    """
    if is_template(value):
        return [(loc, error) for error in _template_errors(value, upstream, fan_out)]
    found: list[tuple[tuple[Any, ...], str]] = []
    pairs = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, item in pairs:
        if is_template(name):
            found.append(((*loc, str(name)[:80]), f"The name {str(name)[:80]!r} holds a reference; only values may."))
        found += errors_in(item, upstream=upstream, fan_out=fan_out, loc=(*loc, name))
    return found


def condition_errors(text: str, *, upstream: Collection[str], fan_out: bool = False) -> list[str]:
    """What is wrong with a condition such as `steps.check.output.expiring != []`."""
    if len(text) > LONGEST:
        return [f"A condition has at most {LONGEST} characters."]
    try:
        tree = _ENVIRONMENT.parse(as_template(text))
    except (TemplateSyntaxError, RecursionError) as error:
        return [f"The condition {text[:80]!r} can not be read: {getattr(error, 'message', 'it is nested too deeply')}."]
    return _tree_errors(tree, (*_PATHS, *_LOGIC), upstream, fan_out, text)


def steps_in(value: Any) -> set[str]:
    """The keys of the steps that a JSON value refers to."""
    return {key for key, _part in reads(value)}


def state_in(value: Any) -> set[tuple[str, str]]:
    """The scope and key of each remembered value that a JSON value refers to."""
    return {(str(path[1]), str(path[2])) for path in _all_paths(value) if len(path) > 2 and path[0] == "state"}


def reads(value: Any) -> set[tuple[str, str]]:
    """What a JSON value reads of earlier steps: pairs of a step's key and `output` or `status`."""
    return {(path[1], path[2]) for path in _all_paths(value) if len(path) > 2 and path[0] == "steps"}


def roots_in(value: Any) -> set[str]:
    """What the references of a JSON value start with: steps, state, item or index."""
    return {path[0] for path in _all_paths(value)}


def as_template(condition: str) -> str:
    """A condition as a value that holds it as a reference."""
    return "{{ (" + condition + ") }}" if condition else ""


def is_one(text: str) -> bool:
    """Whether a text is one reference and nothing else, so that its value keeps its type."""
    try:
        return is_template(text) and _lone(_ENVIRONMENT.parse(text.strip())) is not None
    except (TemplateSyntaxError, RecursionError):
        return False


def _all_paths(value: Any) -> Iterator[tuple[Any, ...]]:
    """Every path of a JSON value; what can not be read refers to nothing, and is told by errors_in."""
    for text in _texts(value):
        if is_template(text) and len(text) <= LONGEST + 10:
            try:
                yield from _paths(_ENVIRONMENT.parse(text))
            except (TemplateSyntaxError, RecursionError):
                continue


def resolve(value: Any, scope: Mapping[str, Any]) -> Any:
    """The value with each reference replaced by what it leads to. Raises Unresolvable."""
    if isinstance(value, list):
        return [resolve(item, scope) for item in value]
    if isinstance(value, dict):
        return {key: resolve(item, scope) for key, item in value.items()}
    if not is_template(value):
        return value
    tree = _ENVIRONMENT.parse(value)
    if _tree_errors(tree, _PATHS, scope.get("steps", {}), True, value):
        raise Unresolvable(f"{value[:80]!r} is no reference.")
    try:
        paths = _lone(tree)
        if paths is not None:
            return _follow(paths, scope, value)
        return "".join(_parts(tree, scope, value))
    except (UndefinedError, SecurityError) as error:
        raise Unresolvable(f"{value[:80]!r} leads nowhere: {error}.") from error


def holds(condition: str, scope: Mapping[str, Any]) -> bool:
    """Whether a condition holds. Raises Unresolvable if it refers to something that is not there."""
    try:
        result = _ENVIRONMENT.compile_expression(condition, undefined_to_none=False)(**scope)
        return bool(result)
    except (UndefinedError, SecurityError, TypeError) as error:
        raise Unresolvable(f"The condition {condition[:80]!r} can not be decided: {error}.") from error


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, list):
        for item in value:
            yield from _texts(item)
    elif isinstance(value, dict):
        for item in value.values():
            yield from _texts(item)


def _template_errors(text: str, upstream: Collection[str], fan_out: bool) -> list[str]:
    if len(text) > LONGEST:
        return [f"A text with references has at most {LONGEST} characters."]
    try:
        tree = _ENVIRONMENT.parse(text)
    except (TemplateSyntaxError, RecursionError) as error:
        return [f"{text[:80]!r} is no reference: {getattr(error, 'message', 'it is nested too deeply')}."]
    return _tree_errors(tree, _PATHS, upstream, fan_out, text)


def _tree_errors(
    tree: nodes.Template, allowed: tuple[type[nodes.Node], ...], upstream: Collection[str], fan_out: bool, text: str
) -> list[str]:
    for node in tree.find_all(nodes.Node):
        if isinstance(node, nodes.Sub) and nodes.Sub not in allowed:
            return [f"{text[:80]!r} has a minus; a key with a hyphen is written steps['kuma-deploy']."]
        if not isinstance(node, allowed):
            return [f"{text[:80]!r} holds a {type(node).__name__.lower()}, which references can not have."]
        if isinstance(node, nodes.Getattr) and node.attr.startswith("_"):
            return [f"{text[:80]!r} reads {node.attr}, which nothing may read."]
        if isinstance(node, nodes.Getitem) and not isinstance(node.arg, nodes.Const):
            return [f"{text[:80]!r} has a computed index, which references can not have."]
    return [error for path in _paths(tree) if (error := _path_error(path, upstream, fan_out, text))]


def _path_error(path: tuple[Any, ...], upstream: Collection[str], fan_out: bool, text: str) -> str:
    root = path[0]
    if root not in ROOTS:
        return f"{text[:80]!r} refers to {root}; there are {', '.join(ROOTS)}."
    if root in ("item", "index") and not fan_out:
        return f"{text[:80]!r} refers to {root}, which only a step with for_each has."
    if root == "steps":
        if len(path) < 3 or path[2] not in STEP_PARTS:
            return f"{text[:80]!r} must read output or status of a step: steps.KEY.output.NAME."
        if path[1] not in upstream:
            return f"{text[:80]!r} refers to {path[1]}, which does not come before this step."
    return _state_error(path, text) if root == "state" else ""


def _state_error(path: tuple[Any, ...], text: str) -> str:
    """What can be known of a remembered value before the run; whether it is there is only known then."""
    if len(path) < 3 or path[1] not in STATE_SCOPES:
        return f"{text[:80]!r} must read state.SCOPE.KEY; the scopes are {', '.join(STATE_SCOPES)}."
    if not isinstance(path[2], str) or not STATE_KEY.fullmatch(path[2]):
        return (
            f"{text[:80]!r} reads {str(path[2])[:70]!r}, which is no key: lower case letters, digits and _, at most 64."
        )
    return ""


def _paths(tree: nodes.Node) -> Iterator[tuple[Any, ...]]:
    """Every whole path of a tree, such as ("steps", "deploy", "output", "url")."""
    inner = {id(node.node) for node in tree.find_all((nodes.Getattr, nodes.Getitem))}  # type: ignore[attr-defined]
    for node in tree.find_all((nodes.Getattr, nodes.Getitem, nodes.Name)):
        if id(node) not in inner:
            yield tuple(_path(node))


def _path(node: nodes.Node) -> list[Any]:
    if isinstance(node, nodes.Name):
        return [node.name]
    if isinstance(node, nodes.Getattr):
        return [*_path(node.node), node.attr]
    if isinstance(node, nodes.Getitem) and isinstance(node.arg, nodes.Const):
        return [*_path(node.node), node.arg.value]
    return ["?"]


def _lone(tree: nodes.Template) -> tuple[Any, ...] | None:
    """The path, if the whole text is one reference."""
    if len(tree.body) == 1 and isinstance(tree.body[0], nodes.Output):
        parts = [part for part in tree.body[0].nodes if not isinstance(part, nodes.TemplateData)]
        if len(parts) == 1 and len(tree.body[0].nodes) == 1 and not isinstance(parts[0], nodes.Const):
            return tuple(_path(parts[0]))
    return None


def _parts(tree: nodes.Template, scope: Mapping[str, Any], text: str) -> Iterator[str]:
    for body in tree.body:
        for part in getattr(body, "nodes", ()):
            if isinstance(part, nodes.TemplateData):
                yield part.data
            elif isinstance(part, nodes.Const):
                yield str(part.value)
            else:
                yield str(_follow(tuple(_path(part)), scope, text))


def _follow(path: tuple[Any, ...], scope: Mapping[str, Any], text: str) -> Any:
    value: Any = scope
    for place, step in enumerate(path):
        try:
            value = value[step]
        except (KeyError, IndexError, TypeError) as error:
            if path[0] == "state" and place == 2:
                why = f"nothing is remembered as {path[1]}.{path[2]}, or it has expired"
                raise Unresolvable(f"{text[:80]!r} leads nowhere: {why}.") from error
            raise Unresolvable(f"{text[:80]!r} leads nowhere: there is no {step}.") from error
    return value
