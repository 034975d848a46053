"""LaTeX of tensors: exact text for each construct, and no text that a name could break."""

from __future__ import annotations

import contextlib
import re
from collections import Counter
from itertools import pairwise

import numpy as np
import pytest

import graphc as gc
from graphc.errors import GradientError, GraphError
from graphc.ir.op import registry
from graphc.symbolic.latex import escape, latex
from tests.op_samples import SAMPLES
from tests.properties.generator import random_graph

x = gc.placeholder("x", ("n", 4))
w = gc.placeholder("w", (4, 4))
w1 = gc.placeholder("w1", (4,))
i = gc.placeholder("i", (3,), "int64")

u, v = gc.placeholder("u", (3,)), gc.placeholder("v", (4,))
a, c, m2 = gc.placeholder("a"), gc.placeholder("c"), gc.placeholder("m2_", (3, 4))

TEXTS = (
    (x + 1, r"x + 1"),
    (1 + x, r"1 + x"),
    (x + (x + a), r"x + \left(x + a\right)"),
    (x + -1, r"x - 1"),
    (2 * x, r"2 \cdot x"),
    (a * c, r"a \cdot c"),
    (x * v, r"x \odot v"),
    (a * x * x, r"a \cdot x \odot x"),
    (a * (x * x), r"a \cdot \left(x \odot x\right)"),
    (gc.outer(u, v), r"u \otimes v"),
    (gc.outer(v, u), r"v \otimes u"),
    (u[:, None] * v[None], r"u \otimes v"),
    (v[None] * u[:, None], r"v_{[\mathrm{new}, :]} \odot u_{[:, \mathrm{new}]}"),
    (w * w, r"w \odot w"),
    (w @ w, r"w w"),
    (x @ w, r"x w"),
    (x @ w @ w, r"x w w"),
    (x @ (w @ w), r"x \left(w w\right)"),
    (x @ v, r"x v"),
    (v @ w @ w1, r"v w w_{1}"),
    (v @ w1, r"v w_{1}"),
    (v[None] @ w, r"v_{[\mathrm{new}, :]} w"),
    ((x + 1) @ w, r"\left(x + 1\right) w"),
    ((x @ w) * x, r"\left(x w\right) \odot x"),
    ((x @ w) ** 2, r"\left(x w\right)^{\circ 2}"),
    (a**2, r"a^{2}"),
    (x**a, r"x^{\circ a}"),
    ((-a) ** c, r"\left(- a\right)^{c}"),
    (x @ w + w1, r"x w + w_{1}"),
    (x @ w.T, r"x w^{\top}"),
    (w.T * 2 @ w, r"\left(2 \cdot w^{\top}\right) w"),
    (gc.tanh(x @ w) @ w, r"\tanh\left(x w\right) w"),
    (1 / x, r"\frac{1}{x}"),
    (gc.exp(-x), r"\exp\left(- x\right)"),
    (gc.sqrt(x), r"\sqrt{x}"),
    (gc.sigmoid(x), r"\sigma\left(x\right)"),
    (gc.relu(x), r"\operatorname{relu}\left(x\right)"),
    (abs(x), r"\left|x\right|"),
    (x.astype("float64"), r"\operatorname{float64}\left(x\right)"),
    ((x > 0) & (x < a), r"\left(x > 0\right) \wedge \left(x < a\right)"),
    (
        gc.where(x > 0, x, 0),
        r"\begin{cases} x & \text{for}\: x > 0 \\ 0 & \text{otherwise} \end{cases}",
    ),
    (
        gc.cond(a > 0, gc.log, lambda t: t * 2, a),
        r"\begin{cases} \log\left(a\right) & \text{if}\: a > 0 \\ 2 \cdot a & \text{else} "
        r"\end{cases}",
    ),
    (
        gc.switch(i[0], [gc.log, lambda t: t * 2, lambda t: t], a),
        r"\begin{cases} \log\left(a\right) & \text{if}\: i_{[0]} \leq 0 \\ 2 \cdot a & \text{if}\: "
        r"i_{[0]} = 1 \\ a & \text{else} \end{cases}",
    ),
    (gc.checkpoint(lambda t: gc.exp(t) + 1)(a), r"\exp\left(a\right) + 1"),
    (gc.sum(x), r"\sum_{i=1}^{n} \sum_{j=1}^{4} x_{i,j}"),
    (gc.sum(x, 1), r"\sum_{i=1}^{4} x_{:,i}"),
    (
        gc.sum(x, 1, keepdims=True),
        r"\left(\sum_{i=1}^{4} x_{:,i}\right)_{[:, \mathrm{new}]}",
    ),
    (gc.sum(w1), r"\sum_{i=1}^{4} {w_{1}}_{i}"),
    (gc.sum(w1) + a, r"\left(\sum_{i=1}^{4} {w_{1}}_{i}\right) + a"),
    (gc.sum(x + 1, 0), r"\sum_{i=1}^{n} \left(x + 1\right)_{i,:}"),
    (gc.mean(x, 0), r"\frac{1}{n} \sum_{i=1}^{n} x_{i,:}"),
    (gc.prod(w1), r"\prod_{i=1}^{4} {w_{1}}_{i}"),
    (gc.max(x, 1), r"\max_{i} x_{:,i}"),
    (gc.maximum(x, v), r"\max\left(x, v\right)"),
    (gc.argmin(x, 1), r"\operatorname{argmin}_{i} x_{:,i}"),
    (gc.softmax(x), r"\operatorname{softmax}\left(x\right)"),
    (w[1], r"w_{[1, :]}"),
    (w[1:2], r"w_{[1:2, :]}"),
    (w[:, 1:3], r"w_{[:, 1:3]}"),
    (w[1, ::2], r"w_{[1, 0:3:2]}"),
    (gc.take(w, i), r"w_{[i]}"),
    (gc.take(w, i, axis=1), r"w_{[:, i]}"),
    (gc.reshape(w, (16,)), r"\operatorname{reshape}_{16}\left(w\right)"),
    (gc.expand_dims(w1, 0), r"{w_{1}}_{[\mathrm{new}, :]}"),
    (gc.zeros((3, 4)), r"0_{3 \times 4}"),
    (gc.broadcast_to(v, (3, 4)), r"\operatorname{broadcast}_{3 \times 4}\left(v\right)"),
    (gc.broadcast_to(v, (3, 4)) * m2, r"v \odot m_{2}"),
    (gc.zeros((3, 4)) + gc.ones((3, 4)), r"0 + 1_{3 \times 4}"),
    (gc.size(x), r"4 \cdot n"),
    (gc.flip(w1), r"\operatorname{flip}_{\mathrm{axes} = \left(0\right)}\left(w_{1}\right)"),
    (gc.concat([u, v]), r"\operatorname{concat}_{\mathrm{axis} = 0}\left(u, v\right)"),
    (gc.stack([v, w1], 1), r"\operatorname{stack}_{\mathrm{axis} = 1}\left(v, w_{1}\right)"),
    (gc.permute_dims(gc.placeholder("t", (1, 2, 3)), (2, 0, 1)),
     r"\operatorname{permute}_{2, 0, 1}\left(t\right)"),
)  # fmt: skip


@pytest.mark.parametrize(("tensor", "expected"), TEXTS, ids=[e for _, e in TEXTS])
def test_text(tensor: gc.Tensor, expected: str) -> None:
    assert latex(tensor) == expected


LOOPS = (
    (gc.while_loop(lambda s: s < c, lambda s: s * 2, a), [
        r"h_{0} &= a \\",
        r"h_{t} &= 2 \cdot h_{t - 1}, \quad t = 1, \ldots, T \\",
        r"T &= \min \left\{ t \geq 0 : \neg\left(h_{t} < c\right) \right\} \\",
        r"y &= h_{T}",
    ]),
    (gc.scan(lambda s, r: (s + r, s), a, v)[0], [
        r"h_{0} &= a \\", r"h_{t} &= h_{t - 1} + v_{t}, \quad t = 1, \ldots, 4 \\", r"y &= h_{4}",
    ]),
    (gc.scan(lambda s, r: (s + r, s), a, v)[1] * 2, [
        r"h_{0} &= a \\",
        r"h_{t} &= h_{t - 1} + v_{t}, \quad t = 1, \ldots, 4 \\",
        r"y_{t} &= h_{t - 1}, \quad t = 1, \ldots, 4 \\",
        r"z &= 2 \cdot y_{1:4}",
    ]),
    (gc.scan(lambda h, r: (gc.tanh(r @ w + h @ w + v),) * 2, w1, x, reverse=True)[1], [
        r"h_{n + 1} &= w_{1} \\",
        r"h_{t} &= \tanh\left(x_{t} w + h_{t + 1} w + v\right), \quad t = n, \ldots, 1 \\",
        r"y &= h_{1:n}",
    ]),
    (gc.scan(lambda s, r: ((s[1], s[0] * gc.exp(s[0] + r)), None), (a, c), v)[0][0], [
        r"h_{0} &= a \\", r"s_{0} &= c \\",
        r"s_{t} &= h_{t - 1} \cdot \exp\left(h_{t - 1} + v_{t}\right), \quad t = 1, \ldots, 4 \\",
        r"h_{t} &= s_{t - 1}, \quad t = 1, \ldots, 4 \\",
    ]),
    (gc.scan(lambda s, r: (gc.scan(lambda q, e: (q * e, None), s, r)[0], None), a, x)[0], [
        r"h_{0} &= a \\",
        r"c_{t,0} &= h_{t - 1}, \quad t = 1, \ldots, n \\",
        r"c_{t,s} &= c_{t,s - 1} \cdot {x_{t}}_{s}, \quad t = 1, \ldots, n,\; s = 1, \ldots, 4 \\",
        r"h_{t} &= c_{t,4}, \quad t = 1, \ldots, n \\",
     ]),
)  # fmt: skip


@pytest.mark.parametrize(("tensor", "lines"), LOOPS)
def test_loops_are_recurrences(tensor: gc.Tensor, lines: list[str]) -> None:
    found = latex(tensor).splitlines()[1:-1]
    assert well_formed(latex(tensor))
    assert found[: len(lines)] == lines


def test_a_first_state_that_has_the_name() -> None:
    """`h0` is the state at 0, which needs no line."""
    h0, W, U = gc.placeholder("h0", (3,)), gc.placeholder("W", (4, 3)), gc.placeholder("U", (3, 3))
    last, _ = gc.scan(lambda h, row: (gc.tanh(row @ W + h @ U), None), h0, x)
    assert latex(last).splitlines()[1:-1] == [
        r"h_{t} &= \tanh\left(x_{t} W + h_{t - 1} U\right), \quad t = 1, \ldots, n \\",
        r"y &= h_{n}",
    ]


def test_the_front_door() -> None:
    assert gc.latex(x + 1) == "x + 1"


def test_a_shared_node_gets_a_name() -> None:
    h = gc.tanh(x @ w)
    assert latex(gc.sum(h * h)).splitlines() == [
        r"\begin{aligned}",
        r"v_{1} &= \tanh\left(x w\right) \\",
        r"y &= \sum_{i=1}^{n} \sum_{j=1}^{4} \left(v_{1} \odot v_{1}\right)_{i,j}",
        r"\end{aligned}",
    ]


def test_gradient_of_a_dense_layer() -> None:
    b = gc.placeholder("b", (4,))
    found = latex(gc.grad(gc.sum(gc.tanh(x @ w + b)), w))
    assert found.splitlines()[1:-1] == [
        r"v_{1} &= \tanh\left(x w + b\right) \\",
        r"y &= x^{\top} \left(1 - v_{1} \odot v_{1}\right)",
    ]


def test_gradient_of_cross_entropy_is_the_textbooks() -> None:
    z, y = gc.placeholder("z", ("n", 3)), gc.placeholder("y", ("n",), "int64")
    found = latex(gc.grad(gc.sum(gc.softmax_cross_entropy(z, y)), z))
    assert found == (
        r"\operatorname{softmax}\left(z\right) - \operatorname{onehot}_{3}\left(y\right)"
    )


def test_the_gradient_of_a_mean_over_examples_has_a_factor() -> None:
    """Not the number, reshaped and stretched to a column."""
    z, y = gc.placeholder("z", ("n", 3)), gc.placeholder("y", ("n",), "int64")
    found = latex(gc.grad(gc.mean(gc.softmax_cross_entropy(z, y)), z))
    assert found == (
        r"\frac{1}{n} \cdot \left(\operatorname{softmax}\left(z\right)"
        r" - \operatorname{onehot}_{3}\left(y\right)\right)"
    )


def test_the_steps_of_adam_read_as_in_its_paper() -> None:
    """Its moments are m and v, and its corrections powers; what is no such power keeps its name."""
    w, g = gc.variable(np.float32(0), name="w"), gc.placeholder("g")
    updates = dict(gc.optim.Adam().minimize(g * w, [w]))
    text = gc.latex(gc.Graph([g], [], updates.items()))
    assert r"m_{w} &\leftarrow 0.9 \cdot m_{w} + 0.1 \cdot g" in text
    assert "1 - 0.9^{v_{1}}" in text
    assert r"\sqrt{1 - 0.999^{v_{1}}}" in text
    s = gc.placeholder("s")
    for factor, expected in ((np.log(0.9), "0.9^{s} - 1"), (0.3, r"\operatorname{expm1}")):
        assert expected in latex(gc.expm1(gc.constant(np.float32(factor)) * s))


def test_a_pooling_says_its_window() -> None:
    """Where windows lie side by side; else all of how they lie."""
    image = gc.placeholder("image", ("n", 1, 8, 8))
    text = latex(gc.nn.MaxPool2D(2)(image))
    assert r"\operatorname{windows}_{2 \times 2}\left(\mathrm{image}\right)" in text
    assert r"\mathrm{strides} = \left(1, 1\right)" in latex(gc.nn.MaxPool2D(2, strides=1)(image))


def test_a_name_of_a_line_is_free() -> None:
    """Also inside a body, whose lines are counted on their own; it may carry a superscript."""
    v1 = gc.placeholder("v1", (2, 2))
    h = gc.tanh(v1 @ v1)
    found = latex(h.T @ gc.scan(lambda s, r: (gc.exp(s) @ gc.exp(s).T + h, None), h, v1)[0])
    assert r"v_{1}^{\top}" not in found
    assert re.findall(r"v_{(\d).*} &=", found) == ["2", "3"]
    assert r"v_{2}^{\top}" in found
    assert r"v_{3,t} v_{3,t}^{\top}" in found
    assert well_formed(found)


def test_a_size_that_occurs_twice() -> None:
    t = gc.placeholder("t", ("n",))
    assert latex(gc.var(t)).splitlines()[1:-1] == [
        r"v_{1} &= t - \frac{\left(\sum_{i=1}^{n} t_{i}\right)_{[\mathrm{new}]}}{n} \\",
        r"y &= \frac{1}{n} \sum_{i=1}^{n} \left(v_{1} \odot v_{1}\right)_{i}",
    ]
    assert well_formed(latex(gc.grad(gc.var(t), t)))
    normal = (t - gc.mean(t)) / gc.sqrt(gc.var(t) + 1e-5)
    assert well_formed(latex(gc.grad(gc.sum(normal * normal * normal), t)))


def test_a_long_formula_is_cut_into_lines() -> None:
    t = gc.placeholder("x")
    for _ in range(2000):
        t = gc.sin(t) + 1
    lines = latex(t).splitlines()
    assert 50 < len(lines) < 200
    assert max(map(len, lines)) < 2000


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("x", "x"), ("w1", "w_{1}"), ("w_12", "w_{12}"), ("loss", r"\mathrm{loss}"),
        ("a_b", "a_{b}"), ("50%", r"\mathrm{50\%}"), ("{x}", r"\mathrm{\{x\}}"),
        (r"\input{/etc/passwd}", r"\mathrm{\backslash{}input\{/etc/passwd\}}"),
        ("$x$ & y # ^ ~", r"\mathrm{\$x\$ \& y \# \hat{\ } \tilde{\ }}"), ("a\nb", r"\mathrm{a b}"),
        ("é", r"\mathrm{\text{é}}"), ("lambda", r"\lambda"), ("sigma_x", r"\sigma_{x}"),
        ("dW2", r"\mathrm{d}W_{2}"), ("W1_out", r"W_{1,\mathrm{out}}"), ("lambda_", r"\lambda"),
        ("adam/net/w/second_moment", r"v_{\mathrm{net/w}}"), ("velocity", r"\mathrm{velocity}"),
        ("net/dense1/kernel", r"W_{\mathrm{net/dense1}}"), ("a/b_c", r"b_{c,\mathrm{a}}"),
        ("x" * 100, r"\mathrm{" + "x" * 40 + "...}"),
    ],
)  # fmt: skip
def test_names_are_escaped(name: str, expected: str) -> None:
    assert escape(name) == expected
    assert latex(gc.placeholder(name)) == expected


def test_distinct_tensors_of_one_label_stay_distinct() -> None:
    assert latex(gc.variable(1.0, name="w") + gc.variable(2.0, name="w")) == "w + w^{(2)}"
    assert latex(gc.placeholder("w1") * gc.placeholder("w_1")) == r"w_{1} \cdot w_{1}^{(2)}"
    n = gc.placeholder("n")
    assert latex(gc.sum(x) * n).endswith(r"\right) \cdot n^{(2)}")  # beside the dim n
    assert latex(gc.size(x, 0).astype("float32") / n) == (
        r"\frac{\operatorname{float32}\left(n\right)}{n^{(2)}}"
    )
    assert latex(gc.placeholder("NaN")) == r"\mathrm{NaN}^{(2)}"


# Each line: computations that differ, over the same leaves.
b1, b2 = gc.placeholder("b1", (), "bool"), gc.placeholder("b2", (), "bool")
m3 = gc.placeholder("m3", (2, 3, 4))
APART: tuple[tuple[gc.Tensor, ...], ...] = (
    (gc.outer(v, w1), gc.outer(w1, v), v * w1, v @ w1, v[None] @ w1[:, None], gc.stack([v, w1])),
    (w * w, w @ w, w**2, w @ w.T, w.T @ w, w * w.T, gc.sum(w * w), gc.exp(w), abs(w)),
    (x @ v, x @ v[:, None], v @ x.T, v[None] @ x.T, v @ w, v[None] @ w, w @ v, w @ v[:, None]),
    (a * x, x * v, x @ v, a * x * x, a * (x * x), (a + c) * x, a + c * x),
    (a - (c - a), a - c - a, -(a - c), -a - c, a / (c / a), a / c / a, a - -c, a + c),
    (gc.stack([v, w1]), gc.stack([v, w1], 1), gc.concat([v, w1]), gc.concat([w1, v]),
     gc.concat([w, w], 0), gc.concat([w, w], 1)),
    (gc.cond(a > 0, gc.sin, gc.cos, a), gc.cond(a > 0, gc.cos, gc.sin, a),
     gc.cond(a > c, gc.sin, gc.cos, a), gc.where(a > 0, gc.sin(a), gc.cos(a))),
    tuple(gc.constant(k) for k in (0.0, -0.0, 1.0, -1.0, np.nan, np.inf, -np.inf, 1e-9, 1e9)),
    tuple(gc.constant(k) for k in (np.zeros(3), np.ones(3), np.zeros((3, 1)), np.zeros((1, 3)),
                                   np.arange(3.0), np.arange(3.0)[None], np.arange(3.0)[:, None],
                                   np.arange(40.0), np.arange(40.0).reshape(4, 10),
                                   np.arange(1.0, 41.0), np.zeros((0, 2)), np.zeros((2, 0)))),
    tuple(gc.sum(m3, axes, keepdims) for axes in (0, 1, 2, (0, 1), (0, 2), None)
          for keepdims in (False, True)),
    tuple(f(m3, 1) for f in (gc.sum, gc.prod, gc.max, gc.min, gc.argmax, gc.argmin, gc.mean,
                             gc.softmax, gc.log_softmax, gc.logsumexp, gc.var, gc.all, gc.any)),
    (m3[0], m3[:1], m3[:, 0], m3[:, :1], m3[..., 0], m3[1], m3[0, 1], m3[:, ::2], m3[:, ::-1],
     m3[:, 1:], m3[:, :-1], gc.take(m3, [0]), gc.take(m3, [0], axis=1), m3[None], m3[:, None],
     gc.flip(m3), gc.flip(m3, 0)),
    (m3.reshape(6, 4), m3.reshape(4, 6), m3.reshape(24), m3.T, gc.matrix_transpose(m3),
     gc.permute_dims(m3, (1, 0, 2)), gc.pad(m3, [(0, 1)] * 3), gc.pad(m3, [(1, 0)] * 3)),
    (x.astype("float64"), x, x.astype("int32"), gc.floor(x), gc.ceil(x), gc.round(x), gc.sign(x)),
    (b1 & b2, b1 | b2, b1 ^ b2, ~b1, b1 == b2, (b1 & b2) | b1, b1 & (b2 | b1)),
    (a // c, a % c, gc.floor(a / c), a / c, a**c, c**a, gc.sqrt(a), a**0.5 + 0, a > c, a >= c),
    (gc.log(1 + a), gc.log1p(a), gc.exp(a) - 1, gc.expm1(a), gc.softplus(a), gc.relu(a),
     gc.maximum(a, 0), gc.sigmoid(a), 1 / (1 + gc.exp(-a)), gc.stop_gradient(a), gc.erf(a)),
    (gc.scan(lambda s, r: (s + r, s), a, v)[0], gc.scan(lambda s, r: (s * r, s), a, v)[0],
     gc.scan(lambda s, r: (s + r, s), a, v, reverse=True)[0],
     gc.scan(lambda s, r: (s + r, s), c, v)[0], gc.scan(lambda s, r: (s + r * r, r), a, v)[0]),
    (gc.scan(lambda s, r: (s + r, s), a, v)[1], gc.scan(lambda s, r: (s + r, s * r), a, v)[1]),
    (gc.while_loop(lambda s: s < c, lambda s: s * 2, a),
     gc.while_loop(lambda s: s < c, lambda s: s * 3, a),
     gc.while_loop(lambda s: s <= c, lambda s: s * 2, a),
     gc.while_loop(lambda s: s < c, lambda s: s * 2, c), gc.while_loop(lambda s: s < a, abs, c)),
    (gc.switch(i[0], [gc.sin, gc.cos], a), gc.switch(i[0], [gc.cos, gc.sin], a),
     gc.switch(i[1], [gc.sin, gc.cos], a), gc.switch(i[0], [gc.sin, gc.cos, gc.cos], a),
     gc.cond(i[0] > 0, gc.cos, gc.sin, a)),
    (gc.one_hot(i, 3), gc.one_hot(i, 4), gc.one_hot(i, 3, "int64")),
    (gc.iota((3, 4)), gc.iota((3, 4), 1), gc.iota((4, 3)), gc.iota((3, 4), 0, "int32")),
    (gc.einsum("ij,jk->ik", w, w), gc.einsum("ij,kj->ik", w, w), gc.einsum("ij,ij->ij", w, w)),
    (gc.linalg.inv(w), gc.linalg.det(w), *gc.linalg.slogdet(w), gc.linalg.solve(w, w),
     gc.linalg.solve(w, w.T), gc.diagonal(w), gc.trace(w), gc.diagonal(w, 1)),
)  # fmt: skip


@pytest.mark.parametrize("tensors", APART)
def test_different_computations_read_differently(tensors: tuple[gc.Tensor, ...]) -> None:
    texts = [latex(t) for t in tensors]
    assert len(set(tensors)) == len(tensors)
    twice = [t for t, count in Counter(texts).items() if count > 1]
    assert not twice, twice


def test_all_that_is_written_here_reads_differently() -> None:
    """The computations of all lines, but for those of leaves of one name and another shape."""
    tensors = {t for line in APART for t in line if t.node.inputs}
    by_text: dict[str, list[gc.Tensor]] = {}
    for t in tensors:
        by_text.setdefault(latex(t), []).append(t)
    assert not [text for text, found in by_text.items() if len(found) > 1]


def test_random_tensors_that_read_the_same_are_equal() -> None:
    """Whatever two tensors of a graph have one text, their values are the same."""
    compared = read_the_same = 0
    for seed in range(30):
        made = random_graph(seed)
        graph = made.graph
        inside = [t for node in graph.nodes for t in node.outputs if node.inputs]
        feeds = dict(zip(graph.inputs, made.arrays(0), strict=True))
        by_text: dict[str, list[gc.Tensor]] = {}
        for t in inside:
            text = latex(t)
            assert well_formed(text), text
            by_text.setdefault(text, []).append(t)
        alike = [pair for found in by_text.values() for pair in pairwise(found)]
        compared, read_the_same = compared + len(inside), read_the_same + len(alike)
        for first, second in alike:
            with contextlib.suppress(GraphError):  # sizes that only other inputs determine
                one, other = gc.evaluate([first, second], feeds)
                np.testing.assert_array_equal(one, other)
    assert read_the_same <= 0.1 * compared
    assert compared > 1000


def well_formed(text: str) -> bool:
    """Braces and `\\left` balance, and nothing has two subscripts."""
    depth = 0
    for c in re.sub(r"\\[{}]", "", text):
        depth += (c == "{") - (c == "}")
        if depth < 0:
            return False
    lefts, rights = (len(re.findall(rf"\\{side}\b", text)) for side in ("left", "right"))
    begins, ends = (re.findall(rf"\\{side}{{(\w+)}}", text) for side in ("begin", "end"))
    twice = re.search(r"[_^]\{[^{}]*\}[_^]\{[^{}]*\}[_^]", text)
    return depth == 0 and lefts == rights and sorted(begins) == sorted(ends) and not twice


@pytest.mark.parametrize("name", [n for n in SAMPLES if n in registry()])
def test_every_op_and_its_gradient_print(name: str) -> None:
    samples = SAMPLES[name]
    for case in samples.cases[:6]:
        inputs = case.placeholders(samples.takes[-1])
        made = case.call(*inputs)
        for t in made if isinstance(made, tuple) else (made,):
            assert well_formed(latex(t)), latex(t)
            floats = [v for v in inputs if v.dtype.is_float]
            if samples.domain and floats and t.dtype.is_float:
                with contextlib.suppress(GradientError):  # the sign of a determinant
                    assert well_formed(latex(gc.vjp(t, floats[0])))


def test_a_constant_array_is_its_numbers_or_a_hash() -> None:
    assert latex(w1 * np.arange(4, dtype="float32")) == r"w_{1} \odot \left(0, 1, 2, 3\right)"
    assert latex(gc.constant([[1, 2.5], [3, 4]])) == (
        r"\begin{pmatrix} 1 & 2.5 \\ 3 & 4 \end{pmatrix}"
    )
    found = latex(gc.constant(np.arange(40.0)))
    assert re.fullmatch(r"\\mathrm\{constant\}_\{40\}\^\{\\mathrm\{[0-9a-f]{8}\}\}", found)


@pytest.mark.parametrize("text", [t for t, _ in TEXTS], ids=[e for _, e in TEXTS])
def test_a_parser_of_formulas_takes_it(text: gc.Tensor) -> None:
    """Matplotlib's, which knows no environments, and lines neither."""
    mathtext = pytest.importorskip("matplotlib.mathtext")
    shown = latex(text)
    if r"\begin" in shown:
        assert well_formed(shown)
    else:
        mathtext.MathTextParser("path").parse(f"${shown}$")
