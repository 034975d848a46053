"""What Graphviz says while it lays a picture out, and what is made of that."""

from __future__ import annotations

import os
import re
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest

import graphc as gc
from graphc.show import render
from graphc.show.dot import to_dot
from graphc.show.fonts import without_messages
from graphc.show.given import given
from graphc.show.views import as_written

SVG = "{http://www.w3.org/2000/svg}"


def test_frames_that_graphviz_cannot_rank_apart_are_ranked_together(
    capfd: pytest.CaptureFixture[str],
) -> None:
    """A frame for each of 36 variables that Adam updates: Graphviz says on stderr that it fails."""
    net = gc.nn.Sequential([gc.nn.Dense(8, "relu") for _ in range(18)], name="m").init(("n", 8))
    x = gc.placeholder("x", ("n", 8))
    loss = gc.sum(net(x, training=True))
    step = gc.Graph([x], [loss], gc.optim.Adam().minimize(loss, net).items())
    source = to_dot(as_written(given(step), True), "TB")  # with each of the frames
    assert render.ONE_RANKING not in source
    drawn = render.render(source, "svg")
    assert capfd.readouterr().err == ""
    together = source.replace("graph [", f"graph [{render.ONE_RANKING} ", 1)
    assert drawn == render.render(together, "svg")


def training(*layers: object, metrics: bool) -> gc.Graph:
    """A step of Adam; metrics are sums, part of which depends on nothing that is computed."""
    gc.nn.seed(0)
    net = gc.nn.Sequential(list(layers), name="lanes").init(("n", 6))
    x, y = gc.placeholder("lanes_x", ("n", 6)), gc.placeholder("lanes_y", ("n",), "int64")
    out = net(x, training=True)
    losses = gc.softmax_cross_entropy(out, y)
    loss = gc.mean(losses)
    updates = dict(gc.optim.Adam(0.1).minimize(loss, net))
    names = ("total", "weight")
    total, weight = (gc.variable(np.zeros(()), name=f"accuracy/{n}") for n in names)
    if metrics:
        with gc.scope("accuracy"):
            right = gc.sum(gc.equal(gc.argmax(out, axis=1), y).astype("float64"))
            updates |= {total: total + right, weight: weight + gc.sum(gc.full(y.shape, 1.0))}
    return gc.Graph([x, y], [loss], updates.items())


def frames(svg: bytes) -> dict[str, tuple[float, float, float, float]]:
    """The title of each frame, and its left, right, top and bottom."""
    found = {}
    for group in ElementTree.fromstring(svg).iter(f"{SVG}g"):
        text, shape = group.find(f".//{SVG}text"), group.find(f".//{SVG}polygon")
        shape = group.find(f".//{SVG}path") if shape is None else shape
        if group.get("class") == "cluster" and text is not None and shape is not None:
            numbers = re.findall(r"-?[\d.]+", shape.get("points") or shape.get("d") or "")
            xs, ys = [float(n) for n in numbers[::2]], [float(n) for n in numbers[1::2]]
            found[text.text or ""] = min(xs), max(xs), min(ys), max(ys)
    return found


@pytest.mark.parametrize("level", ["math", "model"])
@pytest.mark.parametrize("depth", [1, 3, 8])
def test_lanes_stand_in_order(depth: int, level: str) -> None:
    layers = [gc.nn.Dense(5, "relu") for _ in range(depth)]
    step = training(*layers, gc.nn.Dropout(0.3), gc.nn.Dense(3), metrics=True)
    found = frames(gc.draw(step, level=level)._repr_svg_().encode())
    forward, backward, update = (found[name] for name in ("forward", "backward", "update"))
    assert forward[1] < backward[0]
    assert backward[1] < update[0]


def test_frames_are_no_larger_than_what_is_in_them() -> None:
    """The sum of weights depends on how many labels there are only; that of hits is far below."""
    step = training(*(gc.nn.Dense(5, "relu") for _ in range(3)), gc.nn.Dense(3), metrics=True)
    found = frames(gc.draw(step)._repr_svg_().encode())
    left, right, top, bottom = found["accuracy"]
    lane = found["update"]
    assert lane[0] < left < right < lane[1]
    assert bottom - top < 0.45 * (lane[3] - lane[2])


def test_what_graphviz_says_of_small_things_is_not_on_stderr(
    capfd: pytest.CaptureFixture[str],
) -> None:
    render.render('graph { a [label="a long label" fixedsize=true width=0.1] }', "svg")
    assert capfd.readouterr().err == ""


def test_known_lines_are_kept_apart(capfd: pytest.CaptureFixture[str]) -> None:
    with without_messages((b"known", b"\t")) as said:
        os.write(2, b"known 1\n\tmore\nanother\n")
    assert said == [b"known 1\n", b"\tmore\n"]
    assert capfd.readouterr().err == "another\n"
