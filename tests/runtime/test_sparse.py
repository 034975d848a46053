"""Sparse Jacobians and Hessians: their values against dense ones, patterns, passes, errors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import scipy.sparse

import graphc as gc
from graphc.errors import ArgumentError, GradientError
from graphc.runtime.sparse import SparseDerivative, SparseFunction

rng = np.random.default_rng(9)


def banded(x: Any) -> Any:
    p = gc.pad(x, (1, 1))
    return gc.exp(p[:-2]) * p[1:-1] - gc.sin(p[2:]) * p[1:-1]


def rosenbrock(x: Any) -> Any:
    return gc.sum(100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2)


CASES: dict[str, tuple[Callable[[Any], Any], tuple[int, ...], int, str]] = {
    "banded": (banded, (20,), 3, "forward"),
    "wide": (lambda x: gc.sum(x.reshape(5, 4) ** 2, axis=1), (20,), 1, "reverse"),
    "a full row": (lambda x: gc.concat([gc.sum(x**2, keepdims=True), x]), (9,), 2, "reverse"),
    "scalar": (gc.sum, (4,), 1, "reverse"),
    "of a matrix": (lambda x: x[1:] * x[:-1], (4, 3), 2, "forward"),
    "dense": (gc.softmax, (4,), 4, "forward"),
    "of nothing": (gc.floor, (3,), 1, "forward"),
    "of a scalar": (lambda x: gc.stack([x, x * x]), (), 1, "forward"),
}


@pytest.mark.parametrize("name", CASES)
def test_jacobian(name: str) -> None:
    f, shape, passes, mode = CASES[name]
    sparse: SparseFunction = gc.sparse_jacobian(f)
    a = rng.uniform(0.5, 1.5, shape)
    made = sparse.of(a)
    assert (made.passes, made.mode) == (passes, mode)
    assert made.dense == (name == "dense")
    assert ("it is dense" in repr(made)) == made.dense
    x = gc.placeholder("x", shape, "float64")
    dense = gc.evaluate(gc.jacobian(f(x), x), {x: a}).reshape(made.shape)
    assert not (dense[~made.pattern.toarray()] != 0).any()
    graph = gc.evaluate(made.values, {made.inputs[0]: a})
    np.testing.assert_allclose(graph, dense[made.pattern.nonzero()], rtol=1e-13)


def test_matrices_are_scipys_and_fresh() -> None:
    sparse = gc.sparse_jacobian(banded)
    a, b = rng.normal(size=(2, 30))
    first, second = sparse(a), sparse(b)
    assert scipy.sparse.issparse(first)
    assert first.format == "csr"
    first.data[:] = 0
    first.indices[:] = 0
    x = gc.placeholder("x", (30,), "float64")
    for found, at in ((second, b), (sparse(a), a)):
        expected = gc.evaluate(gc.jacobian(banded(x), x), {x: at})
        np.testing.assert_allclose(found.toarray(), expected, rtol=1e-13)
    assert len(sparse._made) == 1


def test_hessian() -> None:
    """Rosenbrock's is tridiagonal: three colours; one with a full row: two."""
    for f, passes in ((rosenbrock, 3), (lambda x: x[0] * gc.sum(x**3), 2)):
        sparse = gc.sparse_hessian(f)
        a = rng.normal(size=7)
        x = gc.placeholder("x", (7,), "float64")
        expected = gc.evaluate(gc.hessian(f(x), x), {x: a})
        np.testing.assert_allclose(sparse(a).toarray(), expected, rtol=1e-12)
        assert sparse.of(a).passes == passes
        assert sparse.of(a).mode == "symmetric"


def test_of_tensors_with_other_inputs() -> None:
    x, k = gc.placeholder("x", (4,), "float64"), gc.placeholder("k", (), "float64")
    w = gc.variable(np.arange(4.0), name="w")
    made: SparseDerivative = gc.sparse_jacobian(k * x**2 * w, x)
    assert made.inputs == [x, k]
    a = np.array([1.0, 2.0, 3.0, 4.0])
    np.testing.assert_array_equal(made(a, 10.0).toarray(), np.diag(20 * a * w.value))
    np.testing.assert_array_equal(made(k=1.0, x=a).toarray(), np.diag(2 * a * w.value))
    by_w = gc.sparse_jacobian(k * x**2 * w, w, inputs=[k, x])
    np.testing.assert_array_equal(by_w(2.0, a).toarray(), np.diag(2 * a**2))
    second = gc.sparse_jacobian(lambda a, b: a * b[::-1], argnums=1)
    np.testing.assert_array_equal(second(a, a).toarray(), np.diag(a)[:, ::-1])


def test_ten_thousand_variables_take_three_passes() -> None:
    n = 10_000
    made = gc.sparse_jacobian(banded).of(np.ones(n))
    assert repr(made) == (
        "<sparse Jacobian 10000 x 10000: 29998 of 100000000 entries, 3 passes forward>"
    )


X = gc.placeholder("sparse_x", (3,), "float64")
NAMED = gc.placeholder("sparse_named", ("n",), "float64")
WRONG: dict[str, tuple[type[Exception], Callable[[], Any]]] = {
    "no tensor": (ArgumentError, lambda: gc.sparse_jacobian(1.0, X)),
    "a list": (ArgumentError, lambda: gc.sparse_jacobian(X, [X])),
    "by nothing": (ArgumentError, lambda: gc.sparse_hessian(gc.sum(X))),
    "an int": (GradientError, lambda: gc.sparse_jacobian(gc.argmax(X), X)),
    "a Hessian of a vector": (GradientError, lambda: gc.sparse_hessian(X, X)),
    "named sizes": (ArgumentError, lambda: gc.sparse_jacobian(NAMED * 2, NAMED)),
    "a function by a tensor": (ArgumentError, lambda: gc.sparse_jacobian(gc.sum, X)),
    "a function of tensors": (ArgumentError, lambda: gc.sparse_jacobian(gc.sum)(X)),
    "no such argument": (ArgumentError, lambda: gc.sparse_jacobian(gc.sum, argnums=1)([1.0])),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_arguments(name: str) -> None:
    kind, call = WRONG[name]
    with pytest.raises(kind) as caught:
        call()
    error: Any = caught.value
    assert error.op in ("sparse_jacobian", "sparse_hessian")
    assert __file__ in error.where
