"""Parts of large pictures that are repeated: what is joined, what is not, and how it is drawn."""

from __future__ import annotations

import re
from collections.abc import Callable

import numpy as np
import pytest

import graphc as gc
from graphc.ir.graph import walk
from graphc.ir.node import Variable
from graphc.show.collapse import collapse
from graphc.show.draw import _picture
from graphc.show.equal import all_marks, in_common
from graphc.show.picture import Box, Cluster, Kind, Look, Picture

LEVELS = pytest.mark.parametrize("level", ["model", "math", "full"])


def by_hand(count: int) -> gc.Tensor:
    """Blocks without names, each with four variables and a number of its own."""
    h = gc.placeholder("parts_x", ("n", 16))
    for i in range(count):
        w, v = (gc.variable(np.zeros((16, 16), "float32"), name=f"{n}{i}") for n in "WV")
        b, c = (gc.variable(np.zeros(16, "float32"), name=f"{n}{i}") for n in "bc")
        a = gc.tanh(h @ w + b)
        h = h + gc.sigmoid(a @ v + c) * a - gc.exp(-h) * (i + 0.5)
    return gc.mean(h * h)


def chain() -> gc.Tensor:
    """2,400 operations, each pair with scalars of its own."""
    t = gc.placeholder("parts_c", ("n",))
    for i in range(1200):
        t = t * (1.5 + i / 1024) + (i + 0.25)
    return t


def pairs() -> gc.Tensor:
    """600 equal terms, added up two by two."""
    x = gc.placeholder("parts_p", ("n",))
    terms = [gc.sin(x * (i + 1.5)) * gc.exp(x) for i in range(600)]
    while len(terms) > 1:
        pairs = zip(terms[::2], terms[1::2], strict=False)
        terms = [a + b for a, b in pairs] + terms[len(terms) // 2 * 2 :]
    return terms[0]


def many_results() -> list[gc.Tensor]:
    x = gc.placeholder("parts_f", ("n",))
    return [gc.tanh(x * (i + 0.5)) for i in range(1000)]


def blocks_with_names() -> gc.Tensor:
    h = gc.placeholder("parts_n", ("n", 8))
    for i in range(150):
        with gc.scope(f"block{i}"):
            w = gc.variable(np.zeros((8, 8), "float32"), name=f"block{i}/w")
            h = h + gc.tanh(h @ w) * gc.sigmoid(h) - gc.exp(-h) * (i + 0.5)
    return gc.sum(h)


def step() -> gc.Graph:
    loss = by_hand(60)
    leaves = [n.output() for n in walk([loss]) if not n.inputs]
    variables = [t for t in leaves if isinstance(t, Variable)]
    gradients = gc.grad(loss, variables)
    updates = [(v, v - 0.1 * g) for v, g in zip(variables, gradients, strict=True)]
    x = next(t for t in leaves if t.name == "parts_x")
    return gc.Graph([x], [loss], updates, "step")


def titles(picture: Picture) -> list[str]:
    found, pending = list[str](), [picture.whole]
    while pending:
        cluster = pending.pop()
        found += cluster.lines[:1]
        pending += cluster.children
    return found


@LEVELS
@pytest.mark.parametrize(
    ("make", "most"),
    [
        (lambda: by_hand(200), 45),
        (chain, 8),
        (pairs, 250),
        (many_results, 8),
        (blocks_with_names, 30),
        (step, 125),
    ],
    ids=["blocks", "chain", "pairs", "results", "named", "step"],
)
def test_thousands_of_nodes_are_a_picture_to_look_at(
    make: Callable[[], object], most: int, level: str
) -> None:
    """Few marks, and one ranking of them, are what the layout needs to take a part of a second."""
    picture = _picture(make(), "graph", level, 5000)
    assert 3 < len(picture.marks) <= most
    assert not picture.simple
    assert sorted(all_marks(picture.whole)) == list(range(len(picture.marks)))
    ends = {m for a in picture.arrows for m in (a.tail, a.head)}
    assert ends == set(range(len(picture.marks)))


def test_many_thousands_of_nodes_are_joined_as_well() -> None:
    t = x = gc.placeholder("parts_m", ("n",))
    for i in range(1_800):
        t = gc.sin(t * (1 + i)) + x
    picture = _picture(t, "graph", "math", 5000)
    assert len(picture.marks) < 10
    assert "1799 one after another" in titles(picture)


def test_copies_are_found_that_read_the_others_from_the_last_to_the_first() -> None:
    """As a backward pass does whose transposes were made in the order of the forward pass."""
    picture, count = Picture(), 30
    forward = [picture.mark(picture.whole, Look.INPUT, "x")]
    for _ in range(count):
        for word in ("tanh", "exp"):
            forward.append(picture.mark(picture.whole, Look.OP, word))
            picture.arrow(forward[-2], forward[-1])
    turned = []
    for start in forward[2::2]:
        turned.append(picture.mark(picture.whole, Look.MOVE, "transpose"))
        picture.arrow(start, turned[-1])
    last = forward[-1]
    for read in reversed(turned):
        for word in ("×", "−a"):
            mark = picture.mark(picture.whole, Look.OP, word)
            picture.arrow(last, mark)
            if word == "×":
                picture.arrow(read, mark)
            last = mark
    collapse(picture)
    assert titles(picture).count("30 one after another") == 2
    assert ("30 side by side", "transpose") in {m.lines for m in picture.marks}
    assert len(picture.marks) == 6


@LEVELS
def test_a_copy_has_what_all_copies_have(level: str) -> None:
    picture = _picture(by_hand(200), "graph", level, 5000)
    (frame,) = (c for c in picture.whole.children if c.box is Box.PART)
    assert frame.lines == ("199 one after another",)
    inside = [picture.marks[m] for m in frame.marks]
    looks = [m.look for m in inside]
    assert looks.count(Look.VARIABLE) == 4
    assert looks.count(Look.CONTRACT) == 2
    assert len(looks) == 4 + 2 + 10  # what `by_hand` writes: + + + × × − and tanh sigmoid exp -
    assert {"W…", "V…", "b…", "c…"} == {m.lines[0] for m in inside if m.look is Look.VARIABLE}


@pytest.mark.parametrize("level", ["math", "full"])
def test_copies_lead_to_the_next_one(level: str) -> None:
    """In the chain the sum of one goes to the product of the next, and the last to the result."""
    picture = _picture(chain(), "graph", level, 5000)
    (frame,) = (c for c in picture.whole.children if c.box is Box.PART)
    (last,) = (a for a in picture.arrows if a.kind is Kind.NEXT)
    assert {last.tail, last.head} == set(frame.marks)
    inner = [a for a in picture.arrows if {a.tail, a.head} == set(frame.marks)]
    assert {(a.tail, a.head) for a in inner} == {(last.head, last.tail), (last.tail, last.head)}
    shown = sorted(picture.marks[m].lines[0] for m in frame.marks)
    assert [re.sub("[·a ]", "", s) for s in shown] in (["+…", "×…"], ["+…", "…×"])


def test_counts_are_those_of_the_graph() -> None:
    picture = _picture(many_results(), "graph", "full", 5000)
    assert any("1000 side by side" in line for m in picture.marks for line in m.lines) or (
        "1000 side by side" in titles(picture)
    )
    picture = _picture(step(), "graph", "math", 5000)
    found = titles(picture)
    assert "59 one after another" in found  # forward: the first one reads the input
    assert {"forward", "backward", "update"} <= set(found)


def test_what_is_read_in_different_ways_stays_apart() -> None:
    """The gates of a cell read the same and are read by different operations."""
    h, cells = gc.placeholder("parts_g", ("n", 8)), gc.placeholder("parts_h", ("n", 8))
    out = []
    for i in range(25):
        w1, w2, w3 = (gc.variable(np.zeros((8, 8), "float32"), name=f"w{i}{k}") for k in "abc")
        f, g, o = gc.sigmoid(h @ w1), gc.sigmoid(h @ w2), gc.sigmoid(h @ w3)
        out.append(f * cells + gc.tanh(g) - o / (1 + i))
    picture = _picture(out, "graph", "full", 5000)
    assert len(picture.marks) > 60 or any(t.startswith("25 ") for t in titles(picture))
    gates = [m for m in picture.marks if m.lines[-1] == "sigmoid"]
    assert len(gates) % 3 == 0


def test_small_pictures_and_sizes_are_left_alone() -> None:
    x = gc.placeholder("parts_s", ("n",))
    t = x
    for i in range(20):
        t = gc.tanh(t) + (i + 1.5)
    assert len(_picture(t, "graph", "math", 5000).marks) == 42
    h = gc.placeholder("parts_z", ("n", 70))
    for i in range(69):  # each layer is smaller than the one before it
        h = gc.tanh(h @ gc.variable(np.zeros((70 - i, 69 - i), "float32"), name=f"w{i}"))
    assert len(_picture(h, "graph", "math", 5000).marks) > 200


def test_numbers_in_common() -> None:
    assert in_common([("a × 0.5", "axis 1"), ("a × 2", "axis 1")]) == ("a × …", "axis 1")
    assert in_common([("W1", "8 × 8"), ("W12", "8 × 8")]) == ("W…", "8 × 8")
    assert in_common([("W1",)] * 3) == ("W1",)


def test_clusters_are_whole() -> None:
    picture = _picture(step(), "graph", "full", 5000)

    def check(cluster: Cluster) -> None:
        assert cluster.marks or cluster.children or cluster is picture.whole
        for child in cluster.children:
            check(child)

    check(picture.whole)


def test_equal_kernels_and_differences_are_joined_too() -> None:
    """The views of what is compiled, whose frames have numbers, and of two graphs."""
    t = gc.placeholder("parts_k", ("n", 4))
    for i in range(120):
        w = gc.variable(np.full((4, 4), i / 64, "float32"), name=f"k{i}")
        t = gc.tanh(t @ w) * 2 + gc.exp(-t)
    x = next(n.output() for n in walk([t]) if n.output().name == "parts_k")
    function = gc.compile([x], t, target="reference")
    kernels = _picture(function, "kernels", "math", 5000)
    assert len(kernels.marks) < 60
    assert any(title.endswith("one after another") for title in titles(kernels))
    assert any(title.startswith("kernel ") for title in titles(kernels))
    assert len(_picture(t, "diff", "math", 5000).marks) < 60
