"""gc.latex of everything that it takes, what KaTeX takes of it, and what a notebook shows."""

from __future__ import annotations

import re

import numpy as np
import pytest

import graphc as gc
from graphc.errors import ArgumentError
from tests.equations.katex import COMMANDS, commands
from tests.equations.samples import outputs

X = gc.placeholder("x", ("n", 3))
W = gc.variable(np.ones((3, 2), "float32"), name="W")


def test_sixty_outputs_have_only_what_katex_takes() -> None:
    known = set(COMMANDS.read_text(encoding="utf-8").split("\n"))
    texts = outputs()
    assert len(texts) >= 60
    for name, text in texts.items():
        assert commands(text) <= known, f"{name}: {sorted(commands(text) - known)}"
        assert balanced(text), f"{name}: {text}"


def balanced(text: str) -> bool:
    """Braces, environments and brackets are closed in the order in which they were opened, and each
    line of equations has one `&` outside of them."""
    stack: list[str] = []
    for found in re.finditer(r"\\(begin|end){(\w+)}|\\(left|right)(?![a-z])|(?<!\\)([{}])", text):
        environment, name, bracket, brace = found.groups()
        if environment == "begin" or bracket == "left" or brace == "{":
            stack.append(name or bracket or brace)
        elif not stack or stack.pop() != {"right": "left", "}": "{"}.get(bracket or brace, name):
            return False
    return not stack


def test_every_line_has_a_left_side() -> None:
    for name, text in outputs().items():
        if text.startswith(r"\begin{aligned}") and not name.startswith("derivation"):
            lines = text.splitlines()[1:-1]
            assert all(re.match(r"(\S.*)? &(=|\\leftarrow|\\sim) ", line) for line in lines), text


def test_of_lists_dicts_and_names() -> None:
    h = gc.tanh(X @ W)
    total = gc.sum(h * h)
    assert gc.latex({"h": h, "loss": total}).splitlines() == [
        r"\begin{aligned}",
        r"h &= \tanh\left(x W\right) \\",
        r"\mathrm{loss} &= \sum_{i=1}^{n} \sum_{j=1}^{2} \left(h \odot h\right)_{i,j}",
        r"\end{aligned}",
    ]
    assert gc.latex(total, names=dict(locals())).splitlines()[1] == r"h &= \tanh\left(x W\right) \\"
    assert re.findall(r"(\S+) &=", gc.latex([h, [total, X]])) == ["y_{1}", "y_{2}", "y_{3}"]
    assert re.findall(r"(\S+) &=", gc.latex({"a": {"b": h}, "c": X})) == ["a_{b}", "c"]


def test_of_functions_graphs_and_kernels() -> None:
    loss = gc.mean(X @ W)
    step = gc.compile([X], {"loss": loss}, {W: W - 0.5 * gc.grad(loss, W)}, target="reference")
    text = gc.latex(step)
    assert r"\mathrm{loss} &= \frac{1}" in text
    assert r"W &\leftarrow W - 0.5 \cdot" in text
    assert gc.latex(step.graph).count("\\\\") == text.count("\\\\")
    once = gc.Graph([X], [gc.log(gc.exp(X)) * 1 + 0])
    assert r"\exp" in gc.latex(once)
    assert r"\exp" not in gc.latex(once, optimized=True)
    assert gc.latex(gc.compile([X], gc.tanh(X) + 1).kernels[0]).splitlines()[1] in (
        r"y &= \tanh\left(\mathrm{a}_{1}\right) + 1", r"y &= \tanh\left(x\right) + 1"
    )  # fmt: skip


def test_of_models() -> None:
    net = gc.nn.Sequential([gc.nn.Dense(4, "tanh", name="hidden"), gc.nn.Dense(1, name="head")])
    with pytest.raises(ArgumentError, match="was not built"):
        gc.latex(net)
    net.init(("n", 3))
    hidden, result = gc.latex(net).splitlines()[1:-1]
    w, b = (rf"{letter}_{{\mathrm{{sequential/hidden}}}}" for letter in "Wb")
    assert hidden == rf"\mathrm{{hidden}} &= \tanh\left(x {w} + {b}\right) \\"
    assert result.startswith(r"y &= \mathrm{hidden} W_{\mathrm{sequential/head}}")


def test_an_lstm_is_its_equations() -> None:
    """The state at each time from that before, and nothing of the time axis's plumbing."""
    layer = gc.nn.LSTM(3, name="lstm").init(("n", 5, 2))
    lines = gc.latex(layer).splitlines()[1:-1]
    assert lines[:2] == [r"h_{0} &= 0_{n \times 3} \\", r"c_{0} &= 0_{n \times 3} \\"]
    assert lines[2].startswith(r"v_{1,t} &= x_{:,t,:} W_{\mathrm{lstm}} + b_{\mathrm{lstm}} + h_")
    assert lines[4].startswith(r"h_{t} &= \sigma\left({v_{1,t}}_{[:, 9:12]}\right) \odot \tanh")
    assert lines[5] == r"y &= h_{5}"


def test_dropout_is_a_product_with_its_mask() -> None:
    layer = gc.nn.Dropout(0.2)
    x = gc.placeholder("x", ("n", 3))
    y = layer(x, training=True)
    (law, result) = gc.latex(y * 2).splitlines()[1:-1]
    assert law.startswith(r"m_{1} &\sim \operatorname{Bernoulli}_{")
    assert law.endswith(r"}\left(0.8\right)^{n \times 3} \\")
    assert result == r"y &= 2 \cdot \left(m_{1} \odot \left(1.25 \cdot x\right)\right)"


def test_a_jitted_function_and_what_has_no_equations() -> None:
    @gc.jit
    def f(a: gc.Tensor) -> gc.Tensor:
        return gc.exp(a)

    with pytest.raises(ArgumentError, match="before its first call"):
        gc.latex(f)
    for wrong in (3, [], [3], "x"):
        with pytest.raises(ArgumentError, match="no equations"):
            gc.latex(wrong)


def test_what_a_notebook_shows() -> None:
    t = gc.tanh(X)
    assert t._repr_latex_() == r"$\displaystyle \tanh\left(x\right)$"
    shown = str(t._repr_html_())
    assert "<svg" in shown
    assert r"\tanh\left(x\right)" in shown
    step = gc.compile([X], t, target="reference")
    assert r"y &amp;= \tanh" in str(step._repr_html_())
    net = gc.nn.Dense(2, name="<script>")
    assert net._repr_svg_() is None
    assert net._repr_html_() is None or "<script>" not in str(net._repr_html_())
    net.init(("n", 3))
    assert "&lt;script&gt;" in str(net._repr_html_())
    assert "<script" not in str(net._repr_html_())
    assert str(net._repr_html_()).count("<svg") == str(net._repr_svg_()).count("<svg") == 1
    canary = gc.placeholder("<img src=x onerror=alert(1)>", (2,)) * 2
    assert "<img" not in str(canary._repr_html_())
