"""What Graphviz says while it lays a picture out, and what is made of that."""

from __future__ import annotations

import os

import pytest

import graphc as gc
from graphc.show import render
from graphc.show.fonts import without_messages


def test_frames_that_graphviz_cannot_rank_apart_are_ranked_together(
    capfd: pytest.CaptureFixture[str],
) -> None:
    """A frame for each of 36 variables that Adam updates: Graphviz says on stderr that it fails."""
    net = gc.nn.Sequential([gc.nn.Dense(8, "relu") for _ in range(18)], name="m").init(("n", 8))
    x = gc.placeholder("x", ("n", 8))
    loss = gc.sum(net(x, training=True))
    step = gc.Graph([x], [loss], gc.optim.Adam().minimize(loss, net).items())
    source = gc.draw(step, level="full").source
    assert render.ONE_RANKING not in source
    drawn = render.render(source, "svg")
    assert capfd.readouterr().err == ""
    together = source.replace("graph [", f"graph [{render.ONE_RANKING} ", 1)
    assert drawn == render.render(together, "svg")


def test_known_lines_are_kept_apart(capfd: pytest.CaptureFixture[str]) -> None:
    with without_messages((b"known", b"\t")) as said:
        os.write(2, b"known 1\n\tmore\nanother\n")
    assert said == [b"known 1\n", b"\tmore\n"]
    assert capfd.readouterr().err == "another\n"
