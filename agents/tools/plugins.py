"""Third-party tools, found by the entry point group `chiffon.tools`. A broken one never stops anything: it is left out.

An entry point leads to a tool, or to a class that makes one without arguments. What is left out, and why, is told by
`chiffon doctor`, the tools page and the log.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import Final

from agents.tools.base import Tool
from agents.tools.check import faults
from audit.canonical import storable
from audit.redaction import redact

GROUP: Final = "chiffon.tools"
RESERVED: Final = ("diagnostic.", "ansible.", "playbook.", "chiffon.", "state.")
_LONGEST_REASON: Final = 400
logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A third-party tool that is not offered, and why."""

    entry: str
    source: str
    reason: str

    def __str__(self) -> str:
        return f"{self.entry} of {self.source} is left out: {self.reason}"


@dataclass(frozen=True, slots=True)
class ThirdParty:
    """What the installed packages bring: tools with the package of each, by name, and what is left out."""

    tools: tuple[Tool, ...] = ()
    sources: tuple[tuple[str, str], ...] = ()  # tool, package and version
    left_out: tuple[LeftOut, ...] = ()


@cache
def third_party(ours: frozenset[str]) -> ThirdParty:
    """The third-party tools of this process, loaded once. `ours` are the names that are taken."""
    try:
        found = list(entry_points(group=GROUP))
    except Exception as error:  # one damaged package must not hide that the others are there
        logger.exception("the entry points of %s can not be read", GROUP)
        why = f"The packages' entry points can not be read: {type(error).__name__}."
        return ThirdParty(left_out=(LeftOut(GROUP, "an installed package", why),))
    loaded = load(found, ours)
    for left_out in loaded.left_out:
        logger.warning("tool %s", left_out)
    return loaded


def load(entries: Iterable[EntryPoint], ours: Collection[str]) -> ThirdParty:
    """Every entry point's tool, in the order of packages and names: of two with one name, the first counts."""
    tools: dict[str, Tool] = {}
    sources: dict[str, str] = {}
    left_out: list[LeftOut] = []
    for entry in sorted(entries, key=lambda entry: (_source(entry), entry.name)):
        source = _source(entry)
        tool, reason = _load(entry)
        if tool and not reason:
            reason = _clash(tool.name, ours, sources)
        if tool and not reason:
            tools[tool.name], sources[tool.name] = tool, source
        else:
            left_out.append(LeftOut(_said(entry.name)[:80], source, _said(reason)[:_LONGEST_REASON]))
    names = sorted(tools)
    return ThirdParty(
        tuple(tools[name] for name in names), tuple((name, sources[name]) for name in names), tuple(left_out)
    )


def _load(entry: EntryPoint) -> tuple[Tool | None, str]:
    """The tool an entry point leads to, or why it leads to none."""
    try:
        found = entry.load()
        tool = found() if isinstance(found, type) else found
    except (Exception, SystemExit) as error:
        return None, f"It can not be loaded ({type(error).__name__}: {error})."
    wrong = faults(tool)
    return (None, " ".join(wrong)) if wrong else (tool, "")


def _clash(name: str, ours: Collection[str], taken: dict[str, str]) -> str:
    if name in ours:
        return f"Chiffon has a tool called {name} of its own."
    if name.startswith(RESERVED):
        return f"Names that begin with {name.partition('.')[0]}. are Chiffon's own."
    return f"{taken[name]} has a tool called {name}, too." if name in taken else ""


def _source(entry: EntryPoint) -> str:
    try:
        return _said(f"{entry.dist.name} {entry.dist.version}")[:120] if entry.dist else "an unnamed package"
    except Exception:  # its metadata is damaged; the tool may work all the same
        return "an unnamed package"


def _said(text: str) -> str:
    """Words of somebody else, in one line that may be shown and logged."""
    return redact(storable(" ".join(text.split())))
