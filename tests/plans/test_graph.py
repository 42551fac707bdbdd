"""The drawing of a plan's steps."""

import re

from hypothesis import given
from hypothesis import strategies as st

from plans.graph import SHOWN, Node, draw


def node(key, state="Pending", tone="idle", **more):
    return Node(key=key, title=key, sub="", state=state, icon="draft", tone=tone, href=f"#step-{key}", **more)


def test_a_step_stands_right_of_all_it_waits_for():
    drawing = draw([node(key) for key in "abcd"], {"b": ["a"], "c": ["a"], "d": ["b", "c"]})
    x = {box.node.key: box.x for box in drawing.boxes}
    assert x["a"] < x["b"] == x["c"] < x["d"]
    assert len(drawing.curves) == 4
    assert all(box.x + box.width <= drawing.width and box.y + box.height <= drawing.height for box in drawing.boxes)


def test_boxes_of_one_column_do_not_touch():
    boxes = sorted(draw([node(str(n)) for n in range(5)], {}).boxes, key=lambda box: box.y)
    assert all(above.y + above.height < below.y for above, below in zip(boxes, boxes[1:], strict=False))


def test_many_steps_are_drawn_as_groups_that_show_the_worst_of_them():
    nodes = [node(f"s{n}", "Completed", "ok") for n in range(999)]
    nodes[500] = node("s500", "Failed", "bad")
    drawing = draw(nodes, {})
    assert len(drawing.boxes) <= SHOWN
    assert [box.node.href for box in drawing.boxes if box.node.tone == "bad"] == ["#step-s500"]
    assert drawing.says == "998 completed, 1 failed"


def test_the_edge_into_a_running_step_is_hot():
    drawing = draw([node("a"), node("b", spins=True)], {"b": ["a"]})
    assert [curve.hot for curve in drawing.curves] == [True]


def test_no_step_is_no_drawing():
    assert draw([], {}).boxes == []


@given(st.lists(st.tuples(st.sets(st.integers(0, 11), max_size=4), st.booleans()), min_size=2, max_size=12))
def test_no_curve_runs_behind_a_box(wanted):
    upstream = {f"s{n}": [f"s{one}" for one in sorted(befores) if one < n] for n, (befores, _) in enumerate(wanted)}
    undoing = [node(f"undo s{n}", undoes=f"s{n}") for n, (_, is_undone) in enumerate(wanted) if is_undone]
    drawing = draw([*(node(key) for key in upstream), *undoing], upstream)
    assert len(drawing.boxes) == len(wanted) + len(undoing)
    for curve in drawing.curves:
        for x, y in points_of(curve.path):
            assert not any(box.x < x < box.x + box.width and box.y < y < box.y + box.height for box in drawing.boxes)
            assert 0 <= y <= drawing.height
            assert 0 <= x <= drawing.width


def points_of(path):
    """Points along a path of cubic curves and straight lines, close enough to find any box."""
    numbers = [
        (kind, [float(one) for one in values.split()]) for kind, values in re.findall(r"([MCHV])([^MCHV]+)", path)
    ]
    x = y = 0.0
    for kind, values in numbers:
        if kind == "M":
            x, y = values
        elif kind == "H":
            yield from ((x + (values[0] - x) * part / 20, y) for part in range(21))
            x = values[0]
        elif kind == "V":
            yield from ((x, y + (values[0] - y) * part / 40) for part in range(41))
            y = values[0]
        else:
            x1, y1, x2, y2, x3, y3 = values
            for part in range(21):
                t = part / 20
                yield tuple(
                    (1 - t) ** 3 * a + 3 * (1 - t) ** 2 * t * b + 3 * (1 - t) * t**2 * c + t**3 * d
                    for a, b, c, d in ((x, x1, x2, x3), (y, y1, y2, y3))
                )
            x, y = x3, y3
