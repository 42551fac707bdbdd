"""The drawing of a plan's steps."""

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
