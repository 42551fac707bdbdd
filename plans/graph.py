"""Draws the steps of a plan as boxes and curves: pure arithmetic; the template writes the SVG, classes colour it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

WIDTH, HEIGHT, GAP_X, GAP_Y, EDGE = 230, 60, 58, 18, 2
SHOWN: Final = 12
_CLIPPED: Final = 30


@dataclass(frozen=True, slots=True)
class Node:
    """What one box stands for. `sub` is the line under its title; `state` and its looks come from the status."""

    key: str
    title: str
    sub: str
    state: str
    icon: str
    tone: str
    href: str
    spins: bool = False


@dataclass(frozen=True, slots=True)
class Segment:
    """One part of a group's bar."""

    x: float
    width: float
    tone: str


@dataclass(frozen=True, slots=True)
class Box:
    """A box at its place, with the places of the texts inside it."""

    node: Node
    x: int
    y: int
    segments: tuple[Segment, ...] = ()
    width: int = WIDTH
    height: int = HEIGHT

    @property
    def text_x(self) -> int:
        return self.x + 14

    @property
    def title_y(self) -> int:
        return self.y + 21

    @property
    def sub_y(self) -> int:
        return self.y + 37

    @property
    def icon_y(self) -> int:
        return self.y + 42

    @property
    def state_x(self) -> int:
        return self.x + 29

    @property
    def state_y(self) -> float:
        return self.y + 51.5

    @property
    def bar_y(self) -> int:
        return self.y + 52


@dataclass(frozen=True, slots=True)
class Curve:
    """One dependency: a path and its arrow head. `hot`: work flows into its end now."""

    path: str
    arrow: str
    hot: bool


@dataclass(frozen=True, slots=True)
class Drawing:
    """The whole picture, with the sentence that says the same."""

    width: int
    height: int
    boxes: list[Box] = field(default_factory=list)
    curves: list[Curve] = field(default_factory=list)
    says: str = ""
    wide: bool = False


def draw(nodes: Sequence[Node], upstream: Mapping[str, Iterable[str]]) -> Drawing:
    """Place the steps in columns by what they depend on. More than 12 are drawn as groups, in the order of work."""
    if not nodes:
        return Drawing(0, 0)
    says = ", ".join(f"{count} {state.lower()}" for state, count in Counter(node.state for node in nodes).items())
    if len(nodes) > SHOWN:
        groups = _grouped(nodes)
        order = {group.node.key: [groups[i - 1].node.key] if i else [] for i, group in enumerate(groups)}
        return _place([group.node for group in groups], order, says, {g.node.key: g.segments for g in groups})
    return _place(nodes, upstream, says, {})


def _place(
    nodes: Sequence[Node],
    upstream: Mapping[str, Iterable[str]],
    says: str,
    segments: Mapping[str, tuple[Segment, ...]],
) -> Drawing:
    columns = _columns([node.key for node in nodes], upstream)
    height = max(len(column) for column in columns) * (HEIGHT + GAP_Y) - GAP_Y + 2 * EDGE
    by_key = {node.key: node for node in nodes}
    boxes: dict[str, Box] = {}
    for number, column in enumerate(columns):
        top = (height - (len(column) * (HEIGHT + GAP_Y) - GAP_Y)) // 2
        for row, key in enumerate(column):
            place = (EDGE + number * (WIDTH + GAP_X), top + row * (HEIGHT + GAP_Y))
            bar = tuple(Segment(place[0] + 14 + part.x, part.width, part.tone) for part in segments.get(key, ()))
            boxes[key] = Box(by_key[key], *place, segments=bar)
    curves = [_curve(boxes[before], boxes[key]) for key in boxes for before in upstream.get(key, ()) if before in boxes]
    width = len(columns) * (WIDTH + GAP_X) - GAP_X + 2 * EDGE
    return Drawing(width, height, list(boxes.values()), curves, says, wide=len(columns) > 3)


def _columns(keys: Sequence[str], upstream: Mapping[str, Iterable[str]]) -> list[list[str]]:
    """Each step one column after the last of those it waits for. Keys come in the order of work."""
    depth: dict[str, int] = {}
    for key in keys:
        depth[key] = 1 + max((depth[before] for before in upstream.get(key, ()) if before in depth), default=-1)
    columns: list[list[str]] = [[] for _ in range(max(depth.values()) + 1)]
    for key in keys:
        columns[depth[key]].append(key)
    return columns


def _curve(start: Box, end: Box) -> Curve:
    x1, y1 = start.x + start.width, start.y + start.height // 2
    x2, y2 = end.x - 7, end.y + end.height // 2
    bend = (x1 + x2) / 2
    path = f"M{x1} {y1}C{bend:.1f} {y1} {bend:.1f} {y2} {x2} {y2}"
    return Curve(path, f"M{x2} {y2 - 4}L{x2 + 7} {y2}L{x2} {y2 + 4}z", hot=end.node.spins)


def _grouped(nodes: Sequence[Node]) -> list[Box]:
    """At most twelve groups of neighbouring steps, each with a bar of its steps' states."""
    size = -(-len(nodes) // SHOWN)
    groups = []
    for first in range(0, len(nodes), size):
        part = nodes[first : first + size]
        worst = max(part, key=lambda node: _ATTENTION.get(node.tone, 0))
        counts = Counter(node.tone for node in part)
        segments, x = [], 0.0
        for tone, count in counts.items():
            width = (WIDTH - 28) * count / len(part)
            segments.append(Segment(x, width, tone))
            x += width
        title = f"{first + 1} to {first + len(part)}" if len(part) > 1 else part[0].title
        same = sum(node.state == worst.state for node in part)
        node = Node(
            key=f"group-{first}",
            title=title,
            sub=f"{part[0].key[:14]} … {part[-1].key[:14]}" if len(part) > 1 else part[0].sub,
            state=f"{same} of {len(part)} {worst.state.lower()}",
            icon=worst.icon,
            tone=worst.tone,
            href=worst.href,
            spins=worst.spins,
        )
        groups.append(Box(node, 0, 0, segments=tuple(segments)))
    return groups


_ATTENTION: Final = {"bad": 5, "warn": 4, "run": 3, "you": 2, "idle": 1, "ok": 0}


def clipped(text: str, length: int = _CLIPPED) -> str:
    """A text short enough for a box."""
    return text if len(text) <= length else f"{text[: length - 1]}…"
