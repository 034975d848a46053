"""LaTeX of tensors: exact text for each construct, and no text that a name could break."""

from __future__ import annotations

import contextlib
import re

import numpy as np
import pytest

import graphc as gc
from graphc.errors import GradientError
from graphc.ir.op import registry
from graphc.symbolic.latex import escape, latex
from tests.op_samples import SAMPLES

x = gc.placeholder("x", ("n", 4))
w = gc.placeholder("w", (4, 4))
w1 = gc.placeholder("w1", (4,))
i = gc.placeholder("i", (3,), "int64")

TEXTS = (
    (x + 1, r"x + 1"),
    (2 * x, r"2 \cdot x"),
    (x @ w, r"x w"),
    (x @ w @ w, r"x w w"),
    ((x + 1) @ w, r"\left(x + 1\right) w"),
    ((x @ w) * x, r"x \cdot \left(x w\right)"),
    ((x @ w) ** 2, r"\left(x w\right)^{2}"),
    (x @ w + w1, r"x w + w_{1}"),
    (x @ w.T, r"x w^{\top}"),
    (gc.tanh(x @ w) @ w, r"\tanh{\left(x w \right)} w"),
    (1 / x, r"\frac{1}{x}"),
    (gc.exp(-x), r"e^{- x}"),
    (gc.sqrt(x), r"\sqrt{x}"),
    (gc.sigmoid(x), r"\sigma{\left(x \right)}"),
    (gc.relu(x), r"\operatorname{relu}{\left(x \right)}"),
    (abs(x), r"\left|{x}\right|"),
    (
        gc.where(x > 0, x, 0),
        r"\begin{cases} x & \text{for}\: x > 0 \\0 & \text{otherwise} \end{cases}",
    ),
    (gc.sum(x), r"\sum_{i=1}^{n} \sum_{j=1}^{4} x_{i,j}"),
    (gc.sum(x, 1), r"\sum_{i=1}^{4} x_{:,i}"),
    (gc.sum(w1), r"\sum_{i=1}^{4} {w_{1}}_{i}"),
    (gc.sum(x + 1, 0), r"\sum_{i=1}^{n} \left(x + 1\right)_{i,:}"),
    (gc.mean(x, 0), r"\frac{\sum_{i=1}^{n} x_{i,:}}{n}"),
    (gc.prod(w1), r"\prod_{i=1}^{4} {w_{1}}_{i}"),
    (gc.max(x, 1), r"\max_{i} x_{:,i}"),
    (gc.argmin(x, 1), r"\operatorname{argmin}_{i} x_{:,i}"),
    (gc.softmax(x), r"\operatorname{softmax}\left(x\right)"),
    (gc.logsumexp(x, 1), r"\operatorname{logsumexp}\left(x\right)"),
    (w[1], r"w_{[1, :]}"),
    (w[:, 1:3], r"w_{[:, 1:3]}"),
    (gc.take(w, i), r"w_{[i]}"),
    (gc.take(w, i, axis=1), r"w_{[:, i]}"),
    (gc.reshape(w, (16,)), r"\operatorname{reshape}_{16}\left(w\right)"),
    (gc.expand_dims(w1, 0), r"w_{1}"),
    (gc.zeros((3, 4)), r"0"),
    (gc.size(x), r"4 \cdot n"),
    (gc.flip(w1), r"\operatorname{flip}\left(w_{1}\right)"),
    (gc.permute_dims(gc.placeholder("t", (1, 2, 3)), (2, 0, 1)),
     r"\operatorname{permute}_{2, 0, 1}\left(t\right)"),
)  # fmt: skip


@pytest.mark.parametrize(("tensor", "expected"), TEXTS, ids=[e for _, e in TEXTS])
def test_text(tensor: gc.Tensor, expected: str) -> None:
    assert latex(tensor) == expected


def test_the_front_door() -> None:
    assert gc.latex(x + 1) == "x + 1"


def test_a_shared_node_gets_a_name() -> None:
    h = gc.tanh(x @ w)
    assert latex(gc.sum(h * h)).splitlines() == [
        r"\begin{aligned}",
        r"t_{1} &= \tanh{\left(x w \right)} \\",
        r"& \sum_{i=1}^{n} \sum_{j=1}^{4} \left(t_{1}^{2}\right)_{i,j}",
        r"\end{aligned}",
    ]


def test_gradient_of_a_dense_layer() -> None:
    b = gc.placeholder("b", (4,))
    found = latex(gc.grad(gc.sum(gc.tanh(x @ w + b)), w))
    assert found.splitlines()[1:-1] == [
        r"t_{1} &= \tanh{\left(x w + b \right)} \\",
        r"& x^{\top} \left(1 - t_{1}^{2}\right)",
    ]


def test_gradient_of_cross_entropy_is_the_textbooks() -> None:
    z, y = gc.placeholder("z", ("n", 3)), gc.placeholder("y", ("n",), "int64")
    found = latex(gc.grad(gc.mean(gc.softmax_cross_entropy(z, y)), z))
    assert found == (
        r"\frac{\operatorname{softmax}\left(z\right) - \begin{cases} 1 & \text{for}\: y = "
        r"\mathrm{index}_{1} \\0 & \text{otherwise} \end{cases}}{n}"
    )


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
        ("a_b", r"\mathrm{a\_b}"), ("50%", r"\mathrm{50\%}"), ("{x}", r"\mathrm{\{x\}}"),
        (r"\input{/etc/passwd}", r"\mathrm{\backslash{}input\{/etc/passwd\}}"),
        ("$x$ & y # ^ ~", r"\mathrm{\$x\$ \& y \# \^{} \~{}}"), ("a\nb", r"\mathrm{a b}"),
        ("é", r"\mathrm{é}"), ("x" * 100, r"\mathrm{" + "x" * 40 + "...}"),
    ],
)  # fmt: skip
def test_names_are_escaped(name: str, expected: str) -> None:
    assert escape(name) == expected
    assert latex(gc.placeholder(name)) == expected


def test_distinct_tensors_of_one_label_stay_distinct() -> None:
    assert latex(gc.variable(1.0, name="w") + gc.variable(2.0, name="w")) == "w + w^{(2)}"
    assert latex(gc.placeholder("w1") * gc.placeholder("w_1")) == r"w_{1} \cdot w_{1}^{(2)}"


def well_formed(text: str) -> bool:
    """Braces and `\\left` balance, and nothing has two subscripts."""
    depth = 0
    for c in re.sub(r"\\[{}]", "", text):
        depth += (c == "{") - (c == "}")
        if depth < 0:
            return False
    lefts, rights = (len(re.findall(rf"\\{side}\b", text)) for side in ("left", "right"))
    return depth == 0 and lefts == rights and not re.search(r"_\{[^{}]*\}_", text)


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


def test_a_constant_array_is_a_symbol() -> None:
    assert latex(w1 * np.arange(4, dtype="float32")) == r"w_{1} \cdot \mathrm{constant}"
