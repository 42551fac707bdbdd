"""References to earlier results and to state: `{{ steps.deploy.output.url }}` found, checked and resolved. Pure.

What stands between braces is an expression, which the parser of Jinja2 reads; all around it stays as it is, byte for byte.
Of its language only paths, constants and (in conditions) comparisons and logic are let through. They are evaluated here, so
nothing can be called and nothing can be computed that takes long. A value that is one reference keeps its type; a line end
after it, as texts of several lines often have, is no part of the value.
"""

from __future__ import annotations

import json
import operator
import re
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate
from typing import Any, Final

from jinja2 import Environment, TemplateSyntaxError, nodes
from jinja2.parser import Parser

from audit.canonical import storable
from plans.conf import LARGEST_RESOLVED
from plans.errors import brief

ROOTS: Final = ("steps", "state", "item", "index")
STEP_PARTS: Final = ("output", "status")  # what may be read of an earlier step
STATE_SCOPES: Final = ("global", "session", "execution", "step")
STATE_KEY: Final = re.compile(r"[a-z][a-z0-9_]{0,63}")
LONGEST: Final = 2_000
DEEPEST: Final = 100  # levels of an expression; `a or b or c` has one for each `or`, and a path one for each part
DEEPEST_BRACKETS: Final = 20  # reading one takes a dozen calls, of which Python nests a thousand
Path = tuple[Any, ...]
_PATHS: Final = (nodes.Getattr, nodes.Getitem, nodes.Name, nodes.Const)
_LOGIC: Final = (nodes.Compare, nodes.Operand, nodes.And, nodes.Or, nodes.Not, nodes.List, nodes.Tuple, nodes.Neg)
_COMPARISONS: Final[Mapping[str, Callable[[Any, Any], Any]]] = {
    "eq": operator.eq,
    "ne": operator.ne,
    "gt": operator.gt,
    "gteq": operator.ge,
    "lt": operator.lt,
    "lteq": operator.le,
    "in": lambda one, several: one in several,
    "notin": lambda one, several: one not in several,
}
_ENDS: Final = ((), ("\n",), ("\r\n",))  # what may stand after one path for its value to keep its type
_STATEMENT: Final = (
    "holds a statement or a comment, {% or {#; only references such as {{ steps.deploy.output.url }} are filled in"
)
_TOO_LONG: Final = LONGEST + 10  # a condition is also read with braces around it
_INSIDE: Final = re.compile(r"""((?:'(?:\\.|[^'\\])*+'|"(?:\\.|[^"\\])*+"|[^'"])*?)\}\}""", re.DOTALL)
_ENVIRONMENT: Final = Environment()  # noqa: S701  (it only parses: nothing is rendered)


class Unresolvable(ValueError):
    """A reference leads nowhere, or a condition can not be decided: the step has no such output, or was skipped."""

    def __init__(self, sentence: str) -> None:
        super().__init__(storable(sentence))  # a step keeps it as its error, whatever the name it looked for


class _Nowhere(Exception):
    """Why a path can not be followed."""


@dataclass(frozen=True, slots=True)
class _Read:
    """A text that was read: its parts in order, the paths in them, and what is wrong with it wherever it stands.

    Without parts it can not be read at all. What is wrong besides was not always refused, so a plan that somebody approved
    may still hold it.
    """

    parts: tuple[str | nodes.Node, ...] = ()
    paths: tuple[Path, ...] = ()
    wrong: str = ""


def is_template(value: Any) -> bool:
    """Whether a text holds something that looks like a reference."""
    return isinstance(value, str) and ("{{" in value or "{%" in value or "{#" in value)


def has_any(value: Any) -> bool:
    """Whether any text in a JSON value holds something that looks like a reference."""
    return any(is_template(part) for part in parts_of(value))


def parts_of(value: Any) -> Iterator[Any]:
    """A JSON value and every value in it, however deep."""
    left = [value]
    while left:
        yield (value := left.pop())
        if isinstance(value, list):
            left += reversed(value)
        elif isinstance(value, dict):
            left += reversed(value.values())


def errors_in(
    value: Any, *, upstream: Collection[str], fan_out: bool = False, loc: tuple[Any, ...] = ()
) -> list[tuple[tuple[Any, ...], str]]:
    """What is wrong with the references in a JSON value, each with its place in it.

    `upstream` are the keys of all steps that come before.
    """
    if is_template(value):
        if len(value) > LONGEST:
            return [(loc, f"A text with references has at most {LONGEST} characters.")]
        read = _read(value)
        return [(loc, f"{brief(value)!r} {error}.") for error in _errors(read, upstream, fan_out)]
    found: list[tuple[tuple[Any, ...], str]] = []
    pairs = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, item in pairs:
        if is_template(name):
            found.append(((*loc, name), f"The name {brief(name)!r} holds a reference; only values may."))
        found += errors_in(item, upstream=upstream, fan_out=fan_out, loc=(*loc, name))
    return found


def condition_errors(text: str, *, upstream: Collection[str], fan_out: bool = False) -> list[str]:
    """What is wrong with a condition such as `steps.check.output.expiring != []`."""
    if len(text) > LONGEST:
        return [f"A condition has at most {LONGEST} characters."]
    read = _read(text, condition=True)
    return [f"The condition {brief(text)!r} {error}." for error in _errors(read, upstream, fan_out)]


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
    """Whether a text is one reference and nothing else but a line end, so that its value keeps its type."""
    return is_template(text) and _is_path(_read(text).parts)


def resolve(value: Any, scope: Mapping[str, Any]) -> Any:
    """The value with each reference replaced by what it leads to. Raises Unresolvable, also for more than is kept."""
    return _resolved(value, scope, _Room())


def holds(condition: str, scope: Mapping[str, Any]) -> bool:
    """Whether a condition holds. Raises Unresolvable if it refers to something that is not there, or means nothing."""
    try:
        (tree,) = _readable(_read(condition, condition=True))
        return bool(_evaluated(tree, scope))
    except Exception as error:  # whatever it is: the step fails, and the plan it belongs to comes to an end
        raise Unresolvable(f"The condition {brief(condition)!r} can not be decided: {error}.") from error


class _Room:
    """What the references of one input may bring in together; a value counts each time it is used."""

    def __init__(self) -> None:
        self._used = 0

    def taken(self, value: Any) -> Any:
        """The value, if there is room for it. Raises _Nowhere."""
        self._used += len(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))
        if self._used > LARGEST_RESOLVED:
            limit = f"the references of an input bring in at most {LARGEST_RESOLVED}"
            raise _Nowhere(f"with it, they would be {self._used} characters or more, and {limit}")
        return value


def _resolved(value: Any, scope: Mapping[str, Any], room: _Room) -> Any:
    if isinstance(value, list):
        return [_resolved(item, scope, room) for item in value]
    if isinstance(value, dict):
        return {key: _resolved(item, scope, room) for key, item in value.items()}
    if not is_template(value):
        return value
    try:
        parts = _readable(_read(value))
        if _is_path(parts):
            return room.taken(_follow(_path(parts[0]), scope))
        return "".join(part if isinstance(part, str) else room.taken(str(_value(part, scope))) for part in parts)
    except Exception as error:
        raise Unresolvable(f"{brief(value)!r} leads nowhere: {error}.") from error


def _readable(read: _Read) -> tuple[Any, ...]:
    if not read.parts:
        raise _Nowhere(f"it {read.wrong}")
    return read.parts


def _is_path(parts: tuple[Any, ...]) -> bool:
    return bool(parts) and parts[1:] in _ENDS and isinstance(parts[0], nodes.Getattr | nodes.Getitem | nodes.Name)


def _all_paths(value: Any) -> Iterator[Path]:
    """Every path of a JSON value; what can not be read refers to nothing, and is told by errors_in."""
    for part in parts_of(value):
        if is_template(part):
            yield from _read(part).paths


def _read(text: str, *, condition: bool = False) -> _Read:
    """What a text is made of: a condition is one expression, anything else is a text with expressions in braces."""
    return _read_once(text, condition) if len(text) <= _TOO_LONG else _Read(wrong="is too long")


@lru_cache(maxsize=256)  # of the same plan, the same text is looked at several times, and often stands in many places
def _read_once(text: str, condition: bool) -> _Read:
    try:
        pieces = ["", text, ""] if condition else _pieces(text)
        parts = [_parsed(piece) if place % 2 else piece for place, piece in enumerate(pieces)]
    except (TemplateSyntaxError, RecursionError) as error:
        why = getattr(error, "message", None) or "it is nested too deeply"
        return _Read(wrong=f"can not be read: {why.removesuffix('.')}" if condition else f"is no reference: {why}")
    if any("{%" in text or "{#" in text for text in pieces[::2]):
        return _Read(wrong=_STATEMENT)  # to hand it on as text would not be what somebody approved
    trees = [part for part in parts if isinstance(part, nodes.Node)]
    found = [*map(_too_deep, pieces[1::2]), *(_unfit(tree, condition) for tree in trees)]
    kept = tuple(part for part in parts if part)
    return _Read(kept, tuple(path for tree in trees for path in _paths(tree)), next(filter(None, found), ""))


def _pieces(text: str) -> list[str]:
    """What stands outside of the braces and what stands inside, in turn. Raises TemplateSyntaxError."""
    pieces, place = [], 0
    while (begin := text.find("{{", place)) >= 0:
        inside = _INSIDE.match(text, begin + 2)
        if inside is None:
            raise TemplateSyntaxError("its {{ or a quote in it is not closed", 1)
        pieces += [text[place:begin], inside[1]]
        place = inside.end()
    return [*pieces, text[place:]]


def _parsed(source: str) -> nodes.Node:
    """An expression, and nothing after it. Raises TemplateSyntaxError and RecursionError."""
    parser = Parser(_ENVIRONMENT, source, state="variable")
    tree = parser.parse_expression()
    if not parser.stream.eos:
        raise TemplateSyntaxError(f"it goes on after its end, with {brief(parser.stream.current.value)!r}", 1)
    return tree


def _unfit(tree: nodes.Node, condition: bool) -> str:
    """What an expression holds that none may, or that a value may not."""
    if isinstance(tree, nodes.Const) and not condition and not _is_brace(tree.value):
        return f"holds a constant in braces; write {brief(json.dumps(tree.value))} without them"
    allowed = (*_PATHS, *_LOGIC) if condition else _PATHS
    for depth, layer in enumerate(_layers(tree)):
        if depth >= DEEPEST:
            return f"is nested deeper than {DEEPEST} levels"
        for node in layer:
            if isinstance(node, nodes.Sub):
                return "has a minus; a key with a hyphen is written steps['kuma-deploy']"
            if not isinstance(node, allowed):
                return f"holds a {type(node).__name__.lower()}, which references can not have"
            if isinstance(node, nodes.Getitem) and not isinstance(node.arg, nodes.Const):
                return "has a computed index, which references can not have"
            if isinstance(node, nodes.Const) and isinstance(node.value, str) and storable(node.value) != node.value:
                return "holds a character that can not be stored (NUL or half of a surrogate pair)"
    return ""


def _is_brace(value: Any) -> bool:
    """Whether a constant is a text that could not be written without braces around it."""
    return isinstance(value, str) and "{" in value


def _too_deep(source: str) -> str:
    deepest = max(accumulate((sign in "([{") - (sign in ")]}") for sign in source))
    return f"has more than {DEEPEST_BRACKETS} brackets in each other" if deepest > DEEPEST_BRACKETS else ""


def _layers(tree: nodes.Node) -> Iterator[list[nodes.Node]]:
    """The nodes of a tree, level by level: its own walk calls itself, and Python ends that."""
    layer = [tree]
    while layer:
        yield layer
        layer = [child for node in layer for child in node.iter_child_nodes()]


def _errors(read: _Read, upstream: Collection[str], fan_out: bool) -> list[str]:
    if read.wrong:
        return [read.wrong]
    return [error for path in read.paths if (error := _path_error(path, upstream, fan_out))]


def _path_error(path: Path, upstream: Collection[str], fan_out: bool) -> str:
    root = path[0]
    if private := [part for part in path[1:] if isinstance(part, str) and part.startswith("_")]:
        return f"reads {brief(private[0])}, which nothing may read"
    if root not in ROOTS:
        return f"refers to {brief(root)}; there are {', '.join(ROOTS)}"
    if root in ("item", "index") and not fan_out:
        return f"refers to {root}, which only a step with for_each has"
    if root == "steps":
        if len(path) < 3 or path[2] not in STEP_PARTS:
            return "must read output or status of a step: steps.KEY.output.NAME"
        if path[1] not in upstream:
            return f"refers to {brief(path[1])}, which does not come before this step"
    return _state_error(path) if root == "state" else ""


def _state_error(path: Path) -> str:
    """What can be known of a remembered value before the run; whether it is there is only known then."""
    if len(path) < 3 or path[1] not in STATE_SCOPES:
        return f"must read state.SCOPE.KEY; the scopes are {', '.join(STATE_SCOPES)}"
    if not isinstance(path[2], str) or not STATE_KEY.fullmatch(path[2]):
        return f"reads {brief(path[2])!r}, which is no key: lower case letters, digits and _, at most 64"
    return ""


def _paths(tree: nodes.Node) -> Iterator[Path]:
    """Every whole path of a tree, such as ("steps", "deploy", "output", "url")."""
    found = [
        node
        for layer in _layers(tree)
        for node in layer
        if isinstance(node, nodes.Getattr | nodes.Getitem | nodes.Name)
    ]
    inner = {id(node.node) for node in found if not isinstance(node, nodes.Name)}
    return (_path(node) for node in found if id(node) not in inner)


def _path(node: nodes.Node) -> Path:
    parts: list[Any] = []
    while isinstance(node, nodes.Getattr | nodes.Getitem):
        if isinstance(node, nodes.Getattr):
            parts.append(node.attr)
        else:
            parts.append(node.arg.value if isinstance(node.arg, nodes.Const) else "?")
        node = node.node
    return (node.name if isinstance(node, nodes.Name) else "?", *reversed(parts))


def _value(node: nodes.Node, scope: Mapping[str, Any]) -> Any:
    return node.value if isinstance(node, nodes.Const) else _follow(_path(node), scope)


def _evaluated(node: Any, scope: Mapping[str, Any]) -> Any:
    """What an expression of a condition comes to, as Python has it. Raises whatever its operators raise."""
    match node:
        case nodes.And():
            return _evaluated(node.left, scope) and _evaluated(node.right, scope)
        case nodes.Or():
            return _evaluated(node.left, scope) or _evaluated(node.right, scope)
        case nodes.Not():
            return not _evaluated(node.node, scope)
        case nodes.Neg():
            return -_evaluated(node.node, scope)
        case nodes.List():
            return [_evaluated(item, scope) for item in node.items]
        case nodes.Tuple():
            return tuple(_evaluated(item, scope) for item in node.items)
        case nodes.Compare():
            left = _evaluated(node.expr, scope)
            for operand in node.ops:
                right = _evaluated(operand.expr, scope)
                if not _COMPARISONS[operand.op](left, right):
                    return False
                left = right
            return True
    return _value(node, scope)


def _follow(path: Path, scope: Mapping[str, Any]) -> Any:
    value: Any = scope
    for place, step in enumerate(path):
        try:
            value = value[step]
        except (KeyError, IndexError, TypeError) as error:
            if path[0] == "state" and place == 2:
                why = f"nothing is remembered as {brief(path[1])}.{brief(path[2])}, or it has expired"
                raise _Nowhere(why) from error
            raise _Nowhere(f"there is no {brief(step)}") from error
    return value
