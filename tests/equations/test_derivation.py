"""gc.derive: the lines are those of a textbook, each is right, and the last ones are gc.grad's."""

from __future__ import annotations

import re
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import sympy as sp

import graphc as gc
from graphc.equations.derivation import Derivation
from graphc.errors import ArgumentError, GradientError

RNG = np.random.default_rng(0)


def f64(name: str, *shape: Any) -> gc.Tensor:
    return gc.placeholder(name, shape, "float64")


def check(derived: Derivation, loss: gc.Tensor, wrt: list[gc.Tensor], values: Any) -> Any:
    """Every form of every line has one value, and the last ones are gc.grad's; all the values.
    `values` are by placeholder and variable, in the layout of the graph."""
    turned = {t.name: v.T if derived.turned else v for t, v in values.items()}
    known = derived.evaluate(turned)
    for line in derived.lines:
        for form in line.forms:
            found = np.broadcast_to(derived.value(form, known), np.shape(known[line.name]))
            np.testing.assert_allclose(found, known[line.name], rtol=1e-9, err_msg=line.text)
    inputs = {t: v for t, v in values.items() if not isinstance(t, gc.Variable)}
    for t, expected in zip(wrt, gc.evaluate(gc.grad(loss, wrt), inputs), strict=True):
        found = known[derived[t].name]
        np.testing.assert_allclose(found.T if derived.turned else found, expected, rtol=1e-9)
    return known


def test_one_weight() -> None:
    x, y, w = f64("x"), f64("y"), gc.variable(np.array(0.3), "w")
    z = w * x
    loss = (z - y) ** 2
    derived = gc.derive(loss, w)
    assert str(derived).splitlines() == [
        "The computation:",
        "  z = w * x",
        "  loss = (z - y)**2",
        "",
        "Derivatives of each step:",
        "  dloss/dz = 2*(z - y)",
        "  dz/dw = x",
        "",
        "The chain rule, from the loss backwards:",
        "  dloss/dw = dloss/dz * dz/dw",
        "           = 2*(z - y) * x",
        "           = 2*x*(z - y)",
        "           = 2*x*(w*x - y)",
    ]
    known = check(derived, loss, [w], {x: np.array(1.5), y: np.array(2.0)})
    assert (known["loss"], known["dloss/dw"]) == (pytest.approx(2.4025), pytest.approx(-4.65))
    with_numbers = gc.derive((w * 1.5 - 2.0) ** 2, w, names={})
    assert with_numbers[w].forms[-1].text in ("9*w/2 - 6", "3*(3*w - 4)/2")


def test_a_linear_chain_of_three() -> None:
    x, y, w1, w2, w3 = (f64(name) for name in ("x", "y", "w1", "w2", "w3"))
    y1 = w1 * x
    y2 = w2 * y1
    y3 = w3 * y2
    L = (y3 - y) ** 2
    derived = gc.derive(L, [w1, w2, w3])
    assert derived[w1].forms[0].text == "dL/dy3 * dy3/dy2 * dy2/dy1 * dy1/dw1"
    course = {w1: "2*(y3 - y)*w3*w2*x", w2: "2*(y3 - y)*w3*y1", w3: "2*(y3 - y)*y2"}
    for w, formula in course.items():
        assert sp.expand(sp.sympify(derived[w].forms[2].text) - sp.sympify(formula)) == 0
    assert r"\frac{\partial L}{\partial w_{1}} &= \frac{\partial L}{\partial y_{3}} \cdot" in (
        derived.latex
    )
    numbers = (1.1, 0.4, 0.7, -0.3, 2.0)
    check(derived, L, [w1, w2, w3], {
        t: np.array(v) for t, v in zip((x, y, w1, w2, w3), numbers, strict=True)
    })  # fmt: skip


def network(layout: str) -> Any:
    """The course's network 2-3-3-1 with binary cross-entropy; m examples."""
    rows = layout == "rows"
    sizes = (2, 3, 3, 1)
    shapes = [s if rows else s[::-1] for s in pairwise(sizes)]
    W = [f64(f"W{i}", *s) for i, s in enumerate(shapes, start=1)]
    b = [f64(f"b{i}", *((n,) if rows else (n, 1))) for i, n in enumerate(sizes[1:], start=1)]
    X, y = (f64(name, *(("m", n) if rows else (n, "m"))) for name, n in (("X", 2), ("y", 1)))
    product = (lambda w, h: h @ w) if rows else (lambda w, h: w @ h)
    z1 = product(W[0], X) + b[0]
    h1 = gc.sigmoid(z1)
    z2 = product(W[1], h1) + b[1]
    h2 = gc.sigmoid(z2)
    z3 = product(W[2], h2) + b[2]
    p = gc.sigmoid(z3)
    loss = gc.mean(-y * gc.log(p) - (1 - y) * gc.log(1 - p))
    names = {"z1": z1, "h1": h1, "z2": z2, "h2": h2, "z3": z3, "p": p, "loss": loss}
    leaves = [*W, *b, X, y]
    values = {t: RNG.normal(size=[4 if s == gc.dim("m") else s for s in t.shape]) for t in leaves}
    values[y] = RNG.integers(0, 2, size=values[y].shape).astype(float)
    return loss, [*W, *b], names, values


@pytest.mark.parametrize("written", ["rows", "columns"])
@pytest.mark.parametrize("layout", ["rows", "columns"])
def test_the_network_of_the_course(written: str, layout: str) -> None:
    """By columns: dz3 = p - y, dW3 = dz3 h2^T, dh2 = W3^T dz3, dz2 = dh2 * s'(z2), and so on."""
    loss, weights, names, values = network(written)
    derived = gc.derive(loss, weights, names=names, layout=layout)
    assert derived.turned == (written != layout)
    known = check(derived, loss, weights, values)
    if layout == "rows":
        known = {name: np.asarray(v).T for name, v in known.items()}
    m = 4
    course = {"dz3": (known["p"] - known["y"]) / m}
    for i, before in ((3, "h2"), (2, "h1"), (1, "X")):
        dz = course[f"dz{i}"]
        course[f"dW{i}"] = dz @ known[before].T
        course[f"db{i}"] = dz.sum(axis=1, keepdims=True)
        if i > 1:
            course[f"dh{i - 1}"] = known[f"W{i}"].T @ dz
            s = 1 / (1 + np.exp(-known[f"z{i - 1}"]))
            course[f"dz{i - 1}"] = course[f"dh{i - 1}"] * s * (1 - s)
    for name, expected in course.items():
        np.testing.assert_allclose(np.reshape(known[name], expected.shape), expected, rtol=1e-9)
    lines = {line.name: line for line in derived.lines}
    assert lines["dz2"].forms[0].text == "dh2 * dh2/dz2"
    assert lines["dz2"].forms[1].text == "dh2 * h2 * (1 - h2)"
    if layout == "columns":
        assert lines["dW3"].forms[-1].text == "dz3 @ h2.T"
        assert lines["dh2"].forms[-1].text == "W3.T @ dz3"
        assert r"\mathrm{d}h_{2} &= W_{3}^{\top} \mathrm{d}z_{3}" in derived.latex
    else:
        assert lines["dW3"].forms[-1].text == "h2.T @ dz3"
        assert lines["dh2"].forms[-1].text == "dz3 @ W3.T"


def test_scores_of_classes() -> None:
    """DZ = P - Y, over the number of examples."""
    X, W = f64("X", "m", 4), f64("W", 4, 3)
    labels = gc.placeholder("labels", ("m",), "int64")
    Z = X @ W
    L = gc.mean(gc.softmax_cross_entropy(Z, labels))
    derived = gc.derive(L, W)
    values = {X: RNG.normal(size=(5, 4)), W: RNG.normal(size=(4, 3)), labels: np.arange(5) % 3}
    known = check(derived, L, [W], values)
    assert "softmax(Z, axis=1) - onehot[3](labels)" in str(derived)
    scores = values[X] @ values[W]
    P = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(known["dZ"], (P - np.eye(3)[values[labels]]) / 5, rtol=1e-9)
    assert known["dW"].shape == (4, 3)


def test_a_variable_on_several_ways() -> None:
    x, w = f64("x"), f64("w")
    a = w * x
    b = gc.tanh(w + a)
    L = a * b + gc.exp(w)
    derived = gc.derive(L, w)
    assert derived[w].forms[0].text.count("+") == 3
    check(derived, L, [w], {x: np.array(0.7), w: np.array(-0.4)})
    X, V = f64("X", 3, 3), f64("V", 3, 3)
    H = gc.tanh(X @ V)
    K = gc.tanh(H @ V) + H
    loss = gc.sum(K * K)
    check(gc.derive(loss, V), loss, [V], {X: RNG.normal(size=(3, 3)), V: RNG.normal(size=(3, 3))})


def test_steps_without_a_formula_and_without_names() -> None:
    """A kink, a loop, a reduction: the derivative comes from the graph."""
    x, w = f64("x", 4, 3), f64("w", 3)
    r = gc.relu(x * w)
    last, _ = gc.scan(lambda s, row: (gc.tanh(s + row * w), None), gc.zeros(3, "float64"), r)
    loss = gc.sum(last) + gc.max(r)
    values = {x: RNG.normal(size=(4, 3)), w: RNG.normal(size=3)}
    check(gc.derive(loss, w), loss, [w], values)
    check(gc.derive(loss, w, names={}), loss, [w], values)


def test_names_of_variables_of_python_and_given_ones() -> None:
    x = f64("x")
    hidden_state = gc.tanh(x)
    total = hidden_state * hidden_state
    assert "hidden_state = tanh(x)" in str(gc.derive(total, x))
    assert "h = tanh(x)" in str(gc.derive(total, x, names={"h": hidden_state, "n": 3}))
    assert r"\mathrm{hidden}_{\mathrm{state}} &= \tanh\left(x\right)" in gc.derive(total, x).latex
    twice = gc.placeholder("x", (2,), "float64")
    two = gc.derive(total * gc.sum(twice), [x, twice], names={"h": hidden_state})
    assert two[x].name != two[twice].name


def test_results_of_layers_are_steps() -> None:
    """Where they have no other name; parameters are called by their paths."""
    net = gc.nn.Sequential([gc.nn.Dense(3, "tanh"), gc.nn.Dense(1)], name="net")
    x = gc.placeholder("x", ("n", 2))
    loss = gc.mean(net(x) ** 2)
    derived = gc.derive(loss, net.variables())
    kernel = net.layers()[1].kernel
    lines = {line.name: line for line in derived.lines}
    assert {"dense1", "dense2"} <= lines.keys()
    assert derived[kernel].forms[-1].text.startswith("x.T @ (ddense1 * (1 - dense1")
    assert derived[kernel].label == r"\mathrm{d}W_{\mathrm{net/dense1}}"
    data = RNG.normal(size=(4, 2)).astype("float32")
    found = derived.evaluate({"x": data})[derived[kernel].name]
    np.testing.assert_allclose(found, gc.evaluate(gc.grad(loss, kernel), {x: data}), rtol=1e-5)


def test_forms_of_a_function_of_something() -> None:
    """In terms of the result, and with no other functions than were there."""
    x, w = f64("x"), f64("w")
    p = gc.tanh(w * x)
    q = gc.sigmoid(gc.exp(p) - w)
    derived = gc.derive(gc.square(q), [w], names={"p": p, "q": q})
    lines = {line.name: line.forms[-1].text for line in derived.lines}
    assert lines["dp/dw"] == "x*(1 - p**2)"
    assert lines["dq/dp"] == "q*(1 - q)*exp(p)"
    check(derived, gc.square(q), [w], {x: np.array(0.3), w: np.array(0.8)})


def test_markdown_and_a_notebook() -> None:
    x = f64("x")
    derived = gc.derive(gc.sin(x) ** 2, x)
    assert derived.markdown.count("$$") == 4
    assert derived.markdown.startswith("**The computation**")
    assert str(derived._repr_latex_()).startswith("$\\displaystyle \\begin{aligned}")


def test_errors() -> None:
    x, w = f64("x", 3, 3), f64("w", 3, 3)
    loss = gc.sum(gc.linalg.inv(x @ w))
    with pytest.raises(ArgumentError, match="unknown layout"):
        gc.derive(loss, w, layout="diagonals")
    with pytest.raises(ArgumentError, match="not names of tensors"):
        gc.derive(loss, w, names=[loss])  # type: ignore[arg-type]
    with pytest.raises(ArgumentError, match="by columns") as caught:
        str(gc.derive(loss, w, layout="columns"))
    assert "layout" in caught.value.hint
    with pytest.raises(GradientError):
        gc.derive(x @ w, w)
    with pytest.raises(ArgumentError, match="x has no value"):
        gc.derive(gc.sum(gc.exp(x)), x).evaluate()


def test_the_loss_of_two_classes_reads_as_in_a_course() -> None:
    """Its guards against 0 times infinity are no part of a formula, and p - y is what is left."""
    X, t = gc.placeholder("X", ("m", 3)), gc.placeholder("t", ("m",))
    w = gc.variable(np.float32([0.5, -1, 2]), name="w")
    z = X @ w
    L = gc.mean(gc.nn.losses.binary_cross_entropy(z, t))
    derived = gc.derive(L, w, names={"z": z, "L": L})
    assert "L = sum(t * softplus(-z) + (1 - t) * softplus(z), axis=0) / m" in str(derived)
    assert "= (sigmoid(z) - t) / m\n" in str(derived)
    assert r"\frac{\sigma\left(z\right) - t}{m}" in derived.latex
    drawn = "".join(re.findall(r'label="([^"]*)"', gc.draw(gc.grad(L, w)).source))
    assert "sigmoid" in drawn
    assert "inf" not in drawn
    values = {"X": np.float32([[1, 2, 0], [0, 1, 1]]), "t": np.float32([1, 0])}
    found = derived.evaluate(values)
    z_ = values["X"] @ np.float32([0.5, -1, 2])
    expected = values["X"].T @ ((1 / (1 + np.exp(-z_)) - values["t"]) / 2)
    np.testing.assert_allclose(found["dw"], expected, rtol=1e-5)
    of_graph = gc.evaluate(gc.grad(L, w), {X: values["X"], t: values["t"]})
    np.testing.assert_allclose(found["dw"], of_graph, rtol=1e-5)


def test_a_neuron_of_vectors() -> None:
    """A derivative by a vector is a vector times a number, without the matrices in between."""
    x, w, b, y = f64("x", 3), f64("w", 3), f64("b"), f64("y")
    z = x @ w + b
    p = gc.sigmoid(z)
    L = (p - y) ** 2
    derived = gc.derive(L, [w, b])
    assert derived[w].forms[-1].text == "x * dz"
    assert derived[b].forms[-1].text == "dz"
    assert r"\mathrm{d}w &= x \cdot \mathrm{d}z" in derived.latex
    check(derived, L, [w, b], {x: RNG.normal(size=3), w: RNG.normal(size=3),
                               b: np.float64(0.3), y: np.float64(1.0)})  # fmt: skip
    assert gc.latex(gc.grad(x @ w, w)) == "x"


@pytest.mark.parametrize("is_left", [True, False])
def test_the_derivative_by_a_matrix_is_an_outer_product(is_left: bool) -> None:
    v, W, u = f64("v", 3), f64("W", 3, 3), f64("u", 3)
    h = gc.tanh(W @ v if is_left else v @ W)
    L = h @ u
    derived = gc.derive(L, [W, v])
    own = "dh * (1 - h**2)"
    assert derived[W].forms[-1].text == (f"outer({own}, v)" if is_left else f"outer(v, {own})")
    assert r"\otimes" in derived.latex
    assert "reshape" not in str(derived) + derived.latex
    values = {v: RNG.normal(size=3), W: RNG.normal(size=(3, 3)), u: RNG.normal(size=3)}
    check(derived, L, [W, v], values)


def test_products_of_matrices_that_were_no_vectors_stay() -> None:
    """A layer of one unit: what it reads has a row for each example."""
    x, w = f64("x", "m", 3), f64("w", 3, 1)
    loss = gc.sum(gc.tanh(x @ w))
    assert gc.latex(gc.grad(loss, w)).count(r"x^{\top}") == 1
    assert r"\otimes" not in gc.latex(gc.grad(loss, x))
