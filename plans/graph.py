"""Draws the steps of a plan as boxes and curves: pure arithmetic; the template writes the SVG, classes colour it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from plans.dag import layers

WIDTH, HEIGHT, GAP_X, GAP_Y, EDGE = 230, 60, 58, 18, 2
LANE: Final = 8  # how high the room is that a curve has where it passes a column
BAR: Final = 22  # how much higher a box with a bar is
BEHIND: Final = 5  # how far the second sheet of a fan-out stands out
SHOWN: Final = 12
_CLIPPED: Final = 30


@dataclass(frozen=True, slots=True)
class Node:
    """What one box stands for. `sub` is the line under its title; `state` and its looks come from the status.

    `parts` are the tones of a fan-out's items, in order: it is drawn as a stack with a bar. `undoes` is the key of the
    step that this one undoes: it stands below the others, dashed until it runs. `marks` are icons with their meaning.
    """

    key: str
    title: str
    sub: str
    state: str
    icon: str
    tone: str
    href: str
    spins: bool = False
    parts: tuple[str, ...] | None = None
    undoes: str = ""
    ghost: bool = False
    marks: tuple[tuple[str, str], ...] = ()
    says: str = ""  # its state for the sentence about the whole, if that is not what the box shows

    @property
    def word(self) -> str:
        return self.says or self.state


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
    def sheet(self) -> tuple[int, int] | None:
        """Where the second sheet of a fan-out stands, behind the first."""
        return (self.x + BEHIND, self.y + BEHIND) if self.node.parts is not None else None

    @property
    def marks(self) -> list[tuple[int, str, str]]:
        """The place, icon and meaning of each mark, from the right."""
        return [(self.x + self.width - 24 - 18 * n, *mark) for n, mark in enumerate(self.node.marks)]

    @property
    def mark_y(self) -> int:
        return self.y + 9

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
        return self.y + 62


@dataclass(frozen=True, slots=True)
class Curve:
    """One dependency: a path and its arrow head. `hot`: work flows into its end now. `ghost`: it only may be gone."""

    path: str
    arrow: str
    hot: bool
    ghost: bool = False


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
    """Place the steps in columns by what they depend on, and what undoes them below.

    More than 12 are drawn as groups, in the order of work, with one more for all that undoes them.
    """
    if not nodes:
        return Drawing(0, 0)
    steps = [node for node in nodes if not node.undoes]
    undoing = [node for node in nodes if node.undoes]
    counts = Counter(node.word for node in steps)
    says = ", ".join(f"{count} {word.lower()}" for word, count in counts.items())
    if undoing:
        says += f"; {len(undoing)} can be undone"
    if len(steps) <= SHOWN:
        return _place(steps, undoing, upstream, says, {})
    groups = _grouped(steps)
    order = {group.node.key: [groups[place - 1].node.key] if place else [] for place, group in enumerate(groups)}
    shown, segments = [group.node for group in groups], {group.node.key: group.segments for group in groups}
    below = []
    if undoing:
        group = _group(undoing, "group-undo", f"Undo {len(undoing)} step{'s' if len(undoing) > 1 else ''}")
        below = [replace(group.node, undoes=shown[-1].key, ghost=all(node.ghost for node in undoing))]
        segments[group.node.key] = group.segments
    return _place(shown, below, order, says, segments)


def _place(
    nodes: Sequence[Node],
    undoing: Sequence[Node],
    upstream: Mapping[str, Iterable[str]],
    says: str,
    segments: Mapping[str, tuple[Segment, ...]],
) -> Drawing:
    columns = _with_lanes(_columns([node.key for node in nodes], upstream), upstream)
    by_key = {node.key: node for node in (*nodes, *undoing)}
    bars = {**{key: _bar(node.parts) for key, node in by_key.items() if node.parts is not None}, **segments}
    tall = HEIGHT + (BAR if bars else 0)
    edge = EDGE + (BEHIND if any(node.parts is not None for node in nodes) else 0)
    heights = [sum((LANE if isinstance(one, Lane) else tall) + GAP_Y for one in column) - GAP_Y for column in columns]
    height = max(heights)
    boxes: dict[str, Box] = {}
    passes: dict[tuple[str, str], list[tuple[int, int]]] = {}

    def put(key: str, x: int, y: int) -> None:
        bar = tuple(Segment(x + 14 + part.x, part.width, part.tone) for part in bars.get(key, ()))
        boxes[key] = Box(by_key[key], x, y, segments=bar, height=tall)

    for number, column in enumerate(columns):
        x, y = EDGE + number * (WIDTH + GAP_X), EDGE + (height - heights[number]) // 2
        for one in column:
            if isinstance(one, Lane):
                passes.setdefault((one.start, one.end), []).append((x, y + LANE // 2))
                y += LANE + GAP_Y
            else:
                put(one, x, y)
                y += tall + GAP_Y
    curves = [
        _curve(boxes[before], boxes[key], passes.get((before, key), ()))
        for key in boxes
        for before in upstream.get(key, ())
        if before in boxes
    ]
    lanes: Counter[int] = Counter()
    around: Counter[int] = Counter()
    for node in undoing:
        if (step := boxes.get(node.undoes)) is None:
            continue
        put(node.key, step.x, EDGE + height + 2 * GAP_Y + lanes[step.x] * (tall + GAP_Y))
        lanes[step.x] += 1
        is_free = not any(box.x == step.x and step.y < box.y < boxes[node.key].y for box in boxes.values())
        beside = None if is_free else min(10 + 6 * around[step.x], GAP_X - 12)
        curves.append(_undo_curve(step, boxes[node.key], beside))
        around[step.x] += not is_free
    below = max(lanes.values(), default=0)
    whole = height + (GAP_Y + below * (tall + GAP_Y) if below else 0) + EDGE + edge
    width = len(columns) * (WIDTH + GAP_X) - GAP_X + EDGE + edge
    if around[EDGE + (len(columns) - 1) * (WIDTH + GAP_X)]:
        width += GAP_X - 12  # beside the last column, too
    return Drawing(width, whole, list(boxes.values()), curves, says, wide=len(columns) > 3)


def _columns(keys: Sequence[str], upstream: Mapping[str, Iterable[str]]) -> list[list[str]]:
    """Each step one column after the last of those it waits for, in whatever order they are written."""
    known = set(keys)
    before = {key: [one for one in upstream.get(key, ()) if one in known] for key in keys}
    depth = {key: number for number, layer in enumerate(layers(before)) for key in layer}
    columns: list[list[str]] = [[] for _ in range(max(depth.values()) + 1)]
    for key in keys:
        columns[depth[key]].append(key)
    return columns


@dataclass(frozen=True, slots=True)
class Lane:
    """The room in one column for a curve that passes it, so that it never runs behind a box."""

    start: str
    end: str


def _with_lanes(columns: Sequence[Sequence[str]], upstream: Mapping[str, Iterable[str]]) -> list[list[str | Lane]]:
    """The columns with lanes for the curves that pass them: above the boxes if the curve comes from the upper half, else below."""
    column_of = {key: number for number, column in enumerate(columns) for key in column}
    found: list[list[str | Lane]] = [[]]
    for number, column in enumerate(columns):
        passing = [
            Lane(start, key)
            for later in columns[number + 1 :]
            for key in later
            for start in upstream.get(key, ())
            if column_of.get(start, number) < number
        ]
        before = found[-1]
        upper = {one.start if isinstance(one, Lane) else one for one in before[: len(before) // 2]}
        above = [lane for lane in passing if lane.start in upper]
        found.append([*above, *column, *(lane for lane in passing if lane not in above)])
    return found[1:]


def _bar(tones: Iterable[str]) -> tuple[Segment, ...]:
    """The bar of a group or a fan-out: a part for each tone, as wide as it is frequent."""
    counts = Counter(tones)
    segments, x, total = [], 0.0, sum(counts.values())
    for tone, count in counts.items():
        width = (WIDTH - 28) * count / total
        segments.append(Segment(x, width, tone))
        x += width
    return tuple(segments)


def _undo_curve(step: Box, undo: Box, beside: int | None) -> Curve:
    """Straight down; so far `beside` the column if other boxes stand in between."""
    x1, y1, x2, y2 = step.x + step.width // 2, step.y + step.height, undo.x + undo.width // 2, undo.y - 7
    path, arrow = f"M{x1} {y1}V{y2}", f"M{x2 - 4} {y2}L{x2} {y2 + 7}L{x2 + 4} {y2}z"
    if beside is not None:
        x1, y1, x2, y2 = x1 + step.width // 2, y1 - 12, undo.x + undo.width + 7, undo.y + undo.height // 2
        out = x1 + beside
        path = f"M{x1} {y1}C{out} {y1} {out} {y1} {out} {y1 + 10}V{y2 - 10}C{out} {y2} {out} {y2} {x2} {y2}"
        arrow = f"M{x2} {y2 - 4}L{x2 - 7} {y2}L{x2} {y2 + 4}z"
    return Curve(path, arrow, hot=undo.node.spins, ghost=undo.node.ghost)


def _curve(start: Box, end: Box, passes: Iterable[tuple[int, int]]) -> Curve:
    """From one box to the other, straight through the lanes at `passes` on its way."""
    x, y = start.x + start.width, start.y + start.height // 2
    x2, y2 = end.x - 7, end.y + end.height // 2
    path = f"M{x} {y}"
    for to_x, to_y, through in [*((lane_x, lane_y, WIDTH) for lane_x, lane_y in passes), (x2, y2, 0)]:
        bend = (x + to_x) / 2
        path += f"C{bend:.1f} {y} {bend:.1f} {to_y} {to_x} {to_y}" + (f"H{to_x + through}" if through else "")
        x, y = to_x + through, to_y
    return Curve(path, f"M{x2} {y2 - 4}L{x2 + 7} {y2}L{x2} {y2 + 4}z", hot=end.node.spins)


def _grouped(nodes: Sequence[Node]) -> list[Box]:
    """At most twelve groups of neighbouring steps, each with a bar of its steps' states."""
    size = -(-len(nodes) // SHOWN)
    groups = []
    for first in range(0, len(nodes), size):
        part = nodes[first : first + size]
        title = f"{first + 1} to {first + len(part)}" if len(part) > 1 else part[0].title
        groups.append(_group(part, f"group-{first}", title))
    return groups


def _group(part: Sequence[Node], key: str, title: str) -> Box:
    """Some steps as one box, looking like that of them which needs eyes most."""
    worst = max(part, key=lambda node: _ATTENTION.get(node.tone, 0))
    same = sum(node.word == worst.word for node in part)
    node = Node(
        key=key,
        title=title,
        sub=f"{part[0].key[:14]} … {part[-1].key[:14]}" if len(part) > 1 else part[0].sub,
        state=f"{same} of {len(part)} {worst.word.lower()}",
        icon=worst.icon,
        tone=worst.tone,
        href=worst.href,
        spins=worst.spins,
    )
    return Box(node, 0, 0, segments=_bar([one.tone for one in part]))


_ATTENTION: Final = {"bad": 5, "warn": 4, "run": 3, "you": 2, "idle": 1, "ok": 0}


def clipped(text: str, length: int = _CLIPPED) -> str:
    """A text short enough for a box."""
    return text if len(text) <= length else f"{text[: length - 1]}…"
