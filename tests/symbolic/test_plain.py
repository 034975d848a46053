"""Equations as plain text: Python's signs and precedence, lines for what is used twice."""

from __future__ import annotations

import ast

import numpy as np
import pytest

import graphc as gc
from graphc.symbolic.plain import plain

x, w = gc.placeholder("x", ("n", 4), "float64"), gc.placeholder("w", (4, 4), "float64")
a, b, v = (gc.placeholder(n, s, "float64") for n, s in (("a", ()), ("b", ()), ("v", (4,))))
i = gc.placeholder("i", (), "int64")

# Each text is Python, so that NumPy says whether it means what the graph does.
TEXTS = (
    (a - (b - a), "a - (b - a)"),
    (a - b - a, "a - b - a"),
    (a / (b * a), "a / (b * a)"),
    ((a + b) * a, "(a + b) * a"),
    (-a * b, "-a * b"),
    (-(a + b), "-(a + b)"),
    ((-a) ** 2, "(-a)**2"),
    (-(a**2), "-a**2"),
    (a ** -b, "a**(-b)"),
    ((a**b) ** 2, "(a**b)**2"),
    (a + -2.0, "a - 2"),
    (x @ w @ w, "x @ w @ w"),
    (x @ (w @ w), "x @ (w @ w)"),
    (x @ w.T, "x @ w.T"),
    ((x + v) @ v, "(x + v) @ v"),
    (gc.tanh(x @ w) + 1, "tanh(x @ w) + 1"),
    (w[1:, ::2], "w[1:4, 0:3:2]"),
    (gc.sum(x, axis=1), "sum(x, axis=1)"),
    (gc.zeros((3,), "float64") + v[:3], "0 + v[0:3]"),
    (gc.cond(a > 0, gc.exp, lambda t: t * b, a + b), "(exp((a + b)) if a > 0 else (a + b) * b)"),
    (gc.switch(i, [gc.sin, gc.cos], a), "choose(i, sin(a), cos(a))"),
)


@pytest.mark.parametrize(("tensor", "expected"), TEXTS, ids=[e for _, e in TEXTS])
def test_text(tensor: gc.Tensor, expected: str) -> None:
    (line,) = plain([("y", tensor)])
    assert line == f"y = {expected}"


def test_texts_mean_what_the_graph_does() -> None:
    rng = np.random.default_rng(0)
    arrays = {t: rng.uniform(0.5, 2, size=[3 if s == gc.dim("n") else s for s in t.shape])
              for t in (x, w, a, b, v)}  # fmt: skip
    known = {t.name: value for t, value in arrays.items()}
    names = {**known, "n": 3, "tanh": np.tanh, "exp": np.exp, "sin": np.sin, "sum": np.sum}
    names |= {"cos": np.cos, "choose": lambda i, *sides: sides[i], "i": 1}
    for tensor, expected in TEXTS:
        found = gc.evaluate(tensor, arrays | {i: 1})
        np.testing.assert_allclose(eval(expected, {}, dict(names)), found, rtol=1e-12)


def test_a_mask_is_how_it_is_drawn() -> None:
    key = gc.random.key(1)
    kept = gc.where(gc.random.bernoulli(key, 0.5, (4,)), v, 0.0)
    assert plain([("y", kept)]) == ["y = where(bernoulli(key, 0.5), v, 0)"]


def test_lines() -> None:
    h = gc.tanh(x @ w)
    assert plain([("h", h), ("y", gc.sum(h * h))]) == [
        "h = tanh(x @ w)", "y = sum(h * h, axes=(0, 1))",
    ]  # fmt: skip
    assert plain([("y", gc.sum(h * h))])[0] == "v1 = tanh(x @ w)"
    assert plain([("v1", a), ("y", h * h)]) == ["v2 = tanh(x @ w)", "v1 = a", "y = v2 * v2"]
    long = a
    for _ in range(60):
        long = gc.sin(long) + 1
    assert len(plain([("y", long)])) > 2


def test_a_sum_with_a_name_is_reshaped_where_it_is_read() -> None:
    """`keepdims` belongs to the call of sum, which is on another line."""
    total = gc.sum(x, axis=1)
    lines = plain([("y", x / total[:, None] + gc.log(total)[:, None])])
    rng = np.random.default_rng(0)
    values = rng.uniform(0.5, 2, (3, 4))
    names = {"x": values, "n": 3, "sum": np.sum, "reshape": np.reshape, "log": np.log}
    for line in lines:
        exec(line, {}, names)
    np.testing.assert_allclose(
        names["y"], gc.evaluate(x / total[:, None] + gc.log(total)[:, None], {x: values})
    )


def test_the_equations_of_a_classifiers_kernels_are_python() -> None:
    z, labels = gc.placeholder("plain_z", ("n", 3)), gc.placeholder("plain_labels", ("n",), "int64")
    loss = gc.mean(gc.softmax_cross_entropy(z, labels))
    step = gc.compile([z, labels], [loss, gc.grad(loss, z)], target="reference")
    lines = [line for kernel in step.kernels for line in kernel.text]
    assert len(lines) > 5
    for line in lines:
        ast.parse(line)
