"""Reads YAML written by strangers: bounded in size, depth and expansion, and it never runs or builds anything.

Pure: nothing here knows Django, Celery or Channels.
"""

from __future__ import annotations

import codecs
import math
import re
from collections.abc import Hashable
from dataclasses import dataclass
from typing import Any, Final

import yaml

LARGEST_FILE_BYTES: Final = 1_000_000
MOST_NODES: Final = 50_000
DEEPEST: Final = 60
VAULT_HEADER: Final = "$ANSIBLE_VAULT;"
_LINE_PREFIX: Final = re.compile(r"^[ \-?:]*", re.MULTILINE)


class UnreadableYaml(ValueError):
    """A file that cannot be read as YAML; `sentence` says why, `line` where (1-based, None when unknown)."""

    def __init__(self, sentence: str, *, line: int | None = None) -> None:
        super().__init__(sentence)
        self.sentence = sentence
        self.line = line


@dataclass(frozen=True, slots=True)
class Marked:
    """A value whose tag we keep but never interpret, such as `!vault` or `!unsafe`."""

    tag: str


@dataclass(frozen=True, slots=True)
class Document:
    """What one file held: its value, and remarks that do not stop us from reading it."""

    value: Any
    remarks: tuple[str, ...]


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """The safe loader with markers for unknown tags, remarks for duplicate keys, and dates left as text."""

    def __init__(self, stream: str) -> None:
        super().__init__(stream)
        self.remarks: list[str] = []

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Hashable, Any]:
        if isinstance(node, yaml.MappingNode):
            self.flatten_mapping(node)
        mapping: dict[Hashable, Any] = {}
        for key_node, value_node in node.value:
            key = self.construct_object(key_node, deep=True)
            if not isinstance(key, Hashable):
                raise UnreadableYaml(
                    f"A mapping key is a list or a mapping (line {key_node.start_mark.line + 1}).",
                    line=key_node.start_mark.line + 1,
                )
            if key in mapping:
                self.remarks.append(
                    f"The key “{key}” appears twice (line {key_node.start_mark.line + 1}); the last one counts."
                )
            mapping[key] = self.construct_object(value_node, deep=deep)
        return mapping

    def construct_yaml_map(self, node: Any) -> Any:
        data: dict[Hashable, Any] = {}
        yield data
        data.update(self.construct_mapping(node))

    def construct_marked(self, _suffix: str, node: Any) -> Marked:
        return Marked(str(node.tag))

    def construct_plain(self, node: Any) -> str:
        return str(node.value)


_Loader.add_constructor("tag:yaml.org,2002:map", _Loader.construct_yaml_map)
_Loader.add_constructor("tag:yaml.org,2002:timestamp", _Loader.construct_plain)
_Loader.add_constructor("tag:yaml.org,2002:binary", lambda self, node: self.construct_marked("", node))
_Loader.add_multi_constructor("!", _Loader.construct_marked)
_Loader.add_multi_constructor("tag:", _Loader.construct_marked)


def decode(raw: bytes) -> str:
    """Turn a file's bytes into text: UTF-8, or UTF-16 when a byte order mark says so.

    Raises UnreadableYaml for anything else, for NUL bytes and for files above one megabyte.
    """
    if len(raw) > LARGEST_FILE_BYTES:
        raise UnreadableYaml(f"The file is larger than {LARGEST_FILE_BYTES // 1000} kB and was not read.")
    encoding = "utf-16" if raw.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) else "utf-8-sig"
    try:
        text = raw.decode(encoding)
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise UnreadableYaml(f"The file is not UTF-8 text (line {line}).", line=line) from None
    if "\0" in text:
        line = text.count("\n", 0, text.index("\0")) + 1
        raise UnreadableYaml(f"The file holds NUL bytes and is not text (line {line}).", line=line)
    return text


def load(text: str) -> Document:
    """Read the first YAML document of a text (an empty text is None).

    Raises UnreadableYaml with one sentence, for broken YAML as well as for aliases that explode or nesting without end.
    """
    if _could_be_deep(text):
        _check_depth(text)
    loader = _Loader(text)
    try:
        node = loader.get_node() if loader.check_node() else None
        if node is None:
            return Document(None, ())
        _check_size(node)
        value = loader.construct_document(node)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark else None
        where = f" (line {line})" if line else ""
        raise UnreadableYaml(
            f"The file is no valid YAML{where}: {error.problem or error.context}.", line=line
        ) from None
    except yaml.YAMLError as error:
        first = str(error).splitlines()[0] if str(error) else "unreadable"
        raise UnreadableYaml(f"The file is no valid YAML: {first}.") from None
    except (ValueError, RecursionError, OverflowError) as error:
        if isinstance(error, UnreadableYaml):
            raise
        raise UnreadableYaml("The file holds a value that is too long or nested too deeply.") from None
    finally:
        loader.dispose()
    return Document(value, tuple(loader.remarks))


def plain(value: Any) -> Any:
    """The JSON form of a loaded value: keys as text, markers as their tag in angle brackets."""
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [plain(item) for item in value]
    if isinstance(value, Marked):
        return f"<{value.tag}>"
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value if value is None or isinstance(value, (str, int, float, bool)) else str(value)


def _could_be_deep(text: str) -> bool:
    # A bound that is cheap and never too low, so that ordinary files are parsed once only.
    inline = max((len(found) for found in _LINE_PREFIX.findall(text)), default=0)
    return text.count("[") + text.count("{") + inline > 4 * DEEPEST


def _check_depth(text: str) -> None:
    depth = 0
    try:
        for event in yaml.parse(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader)):
            if isinstance(event, yaml.CollectionStartEvent):
                depth += 1
                if depth > DEEPEST:
                    raise _too_deep(event.start_mark)
            elif isinstance(event, yaml.CollectionEndEvent):
                depth -= 1
    except yaml.YAMLError:
        return  # the reading proper says what is wrong, and where


def _check_size(root: Any) -> None:
    count, waiting = 0, [(root, 0)]
    while waiting:
        node, depth = waiting.pop()
        count += 1
        if count > MOST_NODES:
            raise UnreadableYaml(f"The file grows beyond {MOST_NODES} values once its aliases are expanded.")
        if depth > DEEPEST:
            raise _too_deep(node.start_mark)
        if isinstance(node, yaml.SequenceNode):
            waiting.extend((child, depth + 1) for child in node.value)
        elif isinstance(node, yaml.MappingNode):
            waiting.extend((child, depth + 1) for pair in node.value for child in pair)


def _too_deep(mark: Any) -> UnreadableYaml:
    line = mark.line + 1 if mark else None
    return UnreadableYaml(f"The file is nested deeper than {DEEPEST} levels (line {line}).", line=line)
