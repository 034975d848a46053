"""Jacobians and Hessians: against SymPy and closed forms; structures; the cost."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import sympy as sp

import graphc as gc
from graphc.errors import ArgumentError, GradientError
from graphc.ir.graph import Graph
from graphc.ir.structure import flatten

Array = np.ndarray[Any, Any]
MODES = [gc.jacobian, gc.jacfwd, gc.jacrev]


@dataclass
class Params:
    w: Any
    b: Any


def f64(name: str, shape: Any = ()) -> gc.Tensor:
    return gc.placeholder(name, shape, "float64")


# -- against SymPy ---------------------------------------------------------------------------------
EXPRESSIONS: list[Callable[[Any, Any], list[Any]]] = [
    lambda m, x: [x[0] * x[1], m.sin(x[2]) * x[0], m.exp(x[1] * x[2]), x[2] ** 3 / x[0]],
    lambda m, x: [m.log(x[0] + x[1] ** 2), x[2]],
    lambda m, x: [m.tanh(x[0]) * m.sqrt(x[1]) * m.cos(x[2] * x[0])],
]


@pytest.mark.parametrize("function", EXPRESSIONS)
@pytest.mark.parametrize("mode", MODES)
def test_jacobian_is_that_of_sympy(function: Any, mode: Any) -> None:
    symbols, at = sp.symbols("x:3"), [0.5, 1.25, 0.75]
    whole = sp.Matrix(function(sp, symbols)).jacobian(symbols)
    expected = whole.subs(list(zip(symbols, at, strict=True)))
    x = f64("x", (3,))
    found = gc.evaluate(mode(gc.stack(function(gc, x)), x), {x: at})
    np.testing.assert_allclose(found, np.array(expected, float), rtol=1e-14)


@pytest.mark.parametrize("function", EXPRESSIONS)
def test_hessian_is_that_of_sympy(function: Any) -> None:
    symbols, at = sp.symbols("x:3"), [0.5, 1.25, 0.75]
    total = sum(function(sp, symbols))
    expected = sp.hessian(total, symbols).subs(list(zip(symbols, at, strict=True)))
    x = f64("x", (3,))
    y = gc.sum(gc.stack(function(gc, x)))
    twice = gc.jacrev(gc.jacrev(lambda x: gc.sum(gc.stack(function(gc, x)))))(x)
    for found in gc.evaluate([gc.hessian(y, x), twice], {x: at}):
        np.testing.assert_allclose(found, np.array(expected, float), rtol=1e-13, atol=1e-14)


def test_third_derivatives() -> None:
    """Of sum(x^3) x_0: symmetric in all its axes."""
    x = f64("x", (2,))
    found = gc.evaluate(gc.jacobian(gc.hessian(gc.sum(x**3) * x[0], x), x), {x: [2.0, 3.0]})
    expected = np.zeros((2, 2, 2))
    expected[0, 0, 0] = 24 * 2.0  # of x0^4
    expected[1, 1, 1] = 6 * 2.0  # of x1^3 x0
    for index in ((0, 1, 1), (1, 0, 1), (1, 1, 0)):
        expected[index] = 6 * 3.0
    np.testing.assert_allclose(found, expected, rtol=1e-15)


# -- shapes and structures -------------------------------------------------------------------------
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    "shapes", [((), ()), ((2, 3), (4,)), ((1,), (2, 2)), ((3,), ()), ((0,), (2,))]
)
def test_blocks_have_the_shapes_of_both(mode: Any, shapes: Any) -> None:
    """y_i = sum_j c_ij x_j^2 + x_0."""
    rng = np.random.default_rng(0)
    y_shape, x_shape = shapes
    x, c = f64("x", x_shape), rng.normal(size=(*y_shape, *x_shape))
    at = rng.normal(size=x_shape)
    axes = tuple(range(len(y_shape), len(y_shape) + len(x_shape)))
    y = gc.sum(gc.constant(c) * x * x, axis=axes)
    block = mode(y, x)
    assert block.shape == (*y_shape, *x_shape)
    np.testing.assert_allclose(gc.evaluate(block, {x: at}), 2 * c * at, rtol=1e-14)


@pytest.mark.parametrize("mode", MODES)
def test_named_sizes(mode: Any) -> None:
    x = f64("x", ("n",))
    f = gc.compile([x], mode(x[1:] * x[:-1], x))
    for n in (1, 2, 5):
        a = np.arange(1.0, n + 1)
        expected = np.zeros((n - 1, n))
        for i in range(n - 1):
            expected[i, i], expected[i, i + 1] = a[i + 1], a[i]
        np.testing.assert_array_equal(f(a), expected)


@pytest.mark.parametrize("mode", MODES)
def test_structures_as_jax_nests_them(mode: Any) -> None:
    w, b = f64("w", (2,)), f64("b")
    found = mode({"s": [gc.sum(w * w) * b], "t": (w, None)}, Params(w, b))
    values = gc.evaluate(found, {w: [1.0, 2.0], b: 3.0})
    assert isinstance(values["s"][0], Params)
    np.testing.assert_array_equal(values["s"][0].w, [6, 12])
    assert values["s"][0].b == 5
    np.testing.assert_array_equal(values["t"][0].w, np.eye(2))
    np.testing.assert_array_equal(values["t"][0].b, [0, 0])
    assert values["t"][1] is None


def test_hessian_of_a_structure_with_blocks_of_zeros() -> None:
    """sum(x^3) + 2 sum(y) + x_0 sum(y)."""
    x, y = f64("x", (2,)), f64("y", (2,))
    f = gc.sum(x**3) + 2 * gc.sum(y) + x[0] * gc.sum(y)
    found = gc.evaluate(gc.hessian(f, {"x": x, "y": y}), {x: [2.0, -1.0], y: [5.0, 7.0]})
    np.testing.assert_array_equal(found["x"]["x"], [[12, 0], [0, -6]])
    np.testing.assert_array_equal(found["x"]["y"], [[1, 1], [0, 0]])
    np.testing.assert_array_equal(found["y"]["x"], [[1, 0], [1, 0]])
    np.testing.assert_array_equal(found["y"]["y"], np.zeros((2, 2)))
    nothing = gc.evaluate([gc.hessian(2 * gc.sum(x), x), gc.jacobian(y, x)], {x: [1, 2], y: [1, 2]})
    np.testing.assert_array_equal(nothing, np.zeros((2, 2, 2)))


def test_functions_and_their_arguments() -> None:
    def f(x: Any, p: Any) -> Any:
        return x * p["k"] ** 2, {"aux": p["k"]}

    x, k = np.array([1.0, 2.0]), np.array(3.0)
    (by_x, by_p), aux = gc.jacobian(f, (0, 1), has_aux=True)(x, {"k": k})
    by_x, by_k, aux = gc.evaluate([by_x, by_p["k"], aux["aux"]])
    np.testing.assert_array_equal(by_x, 9 * np.eye(2))
    np.testing.assert_array_equal(by_k, [6, 12])
    assert aux == 3
    second = gc.jit(gc.hessian(lambda p, x: gc.sum(f(x, p)[0])), target="reference")
    assert second({"k": k}, x)["k"]["k"] == 6
    each = gc.jit(gc.vmap(gc.jacobian(lambda x: gc.sin(x) * gc.sum(x))), target="reference")
    a = np.arange(6.0).reshape(3, 2)
    expected = [np.diag(np.cos(v) * v.sum()) + np.sin(v)[:, None] for v in a]
    np.testing.assert_allclose(each(a), expected, rtol=1e-14)


def test_through_loops_branches_and_linear_algebra() -> None:
    a = f64("a", (2, 2))

    def step(h: Any, _: Any) -> Any:
        h = gc.cond(gc.sum(h) > 0, lambda h: gc.tanh(h @ a), lambda h: h, h)
        return h, gc.sum(h)

    m = np.array([[2.0, 0.5], [0.3, 1.5]])
    h, ys = gc.scan(step, gc.ones((2, 2), "float64"), length=3)
    y = gc.linalg.inv(a) @ h + ys[:2]
    forward, reverse = gc.evaluate([gc.jacfwd(y, a), gc.jacrev(y, a)], {a: m})
    np.testing.assert_allclose(forward, reverse, rtol=1e-12, atol=1e-14)
    step_size = 1e-6
    for index in np.ndindex(2, 2):
        e = np.zeros((2, 2))
        e[index] = step_size
        low, high = gc.evaluate(y, {a: m - e}), gc.evaluate(y, {a: m + e})
        np.testing.assert_allclose(
            forward[(..., *index)], (high - low) / 2e-6, rtol=1e-7, atol=1e-8
        )


# -- cost ------------------------------------------------------------------------------------------
def test_the_cheaper_mode_is_taken() -> None:
    """A tall Jacobian goes forwards, a wide one backwards: products by units as there are fewer."""
    a, b, x = f64("a", (50, 20)), f64("b", (20, 3)), f64("x", (3,))
    y = a @ gc.tanh(b @ x)
    assert gc.jacobian(y, x) is gc.jacfwd(y, x)
    assert gc.jacobian(x[0] * gc.sum(y), a) is gc.jacrev(x[0] * gc.sum(y), a)


def test_the_jacobian_of_a_product_is_the_matrix() -> None:
    a, x = f64("a", ("n", 3)), f64("x", (3,))
    for mode in MODES:
        compiled = gc.compile([a, x], mode(a @ x, x))
        assert not any(n.op.name in ("matmul", "iota") for n in compiled.optimized.nodes)
        m = np.arange(6.0).reshape(2, 3)
        np.testing.assert_array_equal(compiled(m, m[0]), m)


def test_the_logistic_hessian_is_one_large_product() -> None:
    """x' diag(p (1 - p) / n) x: the products by unit vectors are gone."""
    w, t = gc.placeholder("w", (100,)), gc.placeholder("t", ("n",))
    x = gc.placeholder("x", ("n", 100))
    second = gc.hessian(gc.mean(gc.softplus(-t * (x @ w))), w)
    compiled = gc.compile([w, x, t], second)
    assert Counter(n.op.name for n in compiled.optimized.nodes)["matmul"] == 1
    rng = np.random.default_rng(1)
    a, b = rng.normal(size=(50, 100)).astype("float32"), rng.normal(size=100).astype("float32") / 10
    p = 1 / (1 + np.exp(-a @ b))
    signs = np.sign(rng.normal(size=50)).astype("float32")
    np.testing.assert_allclose(compiled(b, a, signs), a.T * (p * (1 - p)) @ a / 50, atol=1e-5)


def test_it_is_one_graph_not_a_stack_of_passes() -> None:
    x = f64("x", (40,))
    y = gc.sum(gc.sin(x[1:] * x[:-1]) ** 2)
    assert len(Graph([x], [gc.hessian(y, x)]).nodes) < 150


# -- errors ----------------------------------------------------------------------------------------
X = f64("jacobian_x", (2,))
WRONG: dict[str, tuple[type[Exception], Callable[[], Any]]] = {
    "no tensor": (ArgumentError, lambda: gc.jacobian(3.0, X)),
    "by nothing": (ArgumentError, lambda: gc.jacrev(X)),
    "by a number": (ArgumentError, lambda: gc.jacfwd(X, [1.0])),
    "of an integer": (GradientError, lambda: gc.jacobian(gc.argmax(X), X)),
    "a Hessian of a vector": (GradientError, lambda: gc.hessian(X * X, X)),
    "no such argument": (ArgumentError, lambda: gc.hessian(gc.sum, 2)(X)),
    "tensors and positions": (ArgumentError, lambda: gc.jacobian(X, X, argnums=0)),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_arguments(name: str) -> None:
    kind, call = WRONG[name]
    with pytest.raises(kind) as caught:
        call()
    error: Any = caught.value
    assert error.op in ("jacobian", "jacfwd", "jacrev", "hessian")
    assert __file__ in error.where


def _banded(x: gc.Tensor) -> gc.Tensor:
    wide = gc.pad(x, (1, 1))
    return gc.sin(x) * x - wide[:-2] * wide[2:]


STRUCTURED: dict[str, Callable[[Any], Any]] = {
    "a band": _banded,
    "a row without zeros and a diagonal": lambda x: gc.concat([gc.sum(x * x)[None], x[1:] ** 3]),
    "a matrix by a matrix": lambda x: gc.exp(gc.reshape(x, (2, 6))),
    "no zero": gc.softmax,
    "all zero": lambda x: gc.ones_like(x) * 3.0,
    "in a dict": lambda x: {"near": _banded(x), "far": (gc.softmax(x), gc.sum(x))},
}


@pytest.mark.parametrize("name", STRUCTURED)
@pytest.mark.parametrize("second", [False, True])
def test_structure_saves_passes_and_changes_no_number(name: str, second: bool) -> None:
    f, a = STRUCTURED[name], np.linspace(-1.0, 1.0, 12)
    x = f64("structured x", (12,))
    y: Any = _total(f(x)) if second else f(x)
    derive = gc.hessian if second else gc.jacobian
    plain, sparse = flatten(derive(y, x))[0], flatten(derive(y, x, sparse="auto"))[0]
    for one, two in zip(gc.evaluate(plain, {x: a}), gc.evaluate(sparse, {x: a}), strict=True):
        np.testing.assert_allclose(two, one, rtol=1e-13, atol=1e-13)


def _total(y: object) -> gc.Tensor:
    return sum((gc.sum(leaf * leaf) for leaf in flatten(y)[0]), gc.constant(0.0, "float64"))


def test_a_band_takes_three_passes() -> None:
    """Sixty sines and their cosines are computed, not sixty for each of sixty columns."""
    x = gc.placeholder("band x", (60,), "float64")
    made = [gc.jacobian(_banded(x), x, sparse=s) for s in ("auto", "")]
    cost = [gc.compile([x], j).cost().flops for j in made]
    assert 5 * cost[0] < cost[1], cost


def test_named_sizes_have_no_structure_that_is_known() -> None:
    x = gc.placeholder("named structured x", ("n",), "float64")
    j = gc.jacobian(_banded(x), x, sparse="auto")
    a = np.linspace(0.0, 1.0, 5)
    (plain,) = gc.evaluate([gc.jacobian(_banded(x), x)], {x: a})
    np.testing.assert_allclose(gc.evaluate(j, {x: a}), plain)


@pytest.mark.parametrize("derive", [gc.jacobian, gc.hessian])
def test_another_way_of_using_structure_is_refused(derive: Any) -> None:
    x = gc.placeholder("refused structured x", (3,), "float64")
    with pytest.raises(ArgumentError, match="unknown way of using the structure"):
        derive(gc.sum(x * x), x, sparse="csr")
