"""Linear algebra: NumPy's values, derivatives against differences, failures with a name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import scipy.linalg
import sympy as sp

import graphc as gc
from graphc.errors import ArgumentError, DTypeError, LinAlgError, ShapeError

Array = np.ndarray[Any, Any]
RNG = np.random.default_rng(0)


def matrices(*shape: int) -> Array:
    """Well-conditioned matrices."""
    return RNG.normal(size=shape) + 3 * np.eye(shape[-1])


def positive(*shape: int) -> Array:
    a = RNG.normal(size=shape)
    return a @ np.swapaxes(a, -1, -2) + np.eye(shape[-1])


def assert_gradient(f: Callable[..., Any], *arrays: Array) -> None:
    """d/dx of a random projection of f(*xs), for every x, in a random direction."""
    xs = [gc.placeholder(f"x{i}", a.shape, "float64") for i, a in enumerate(arrays)]
    y = f(*xs)
    weights = RNG.normal(size=[int(s) for s in y.shape])
    loss = gc.sum(y * weights)
    gradients = gc.evaluate(gc.grad(loss, xs), dict(zip(xs, arrays, strict=True)))
    for i, g in enumerate(gradients):
        direction = RNG.normal(size=arrays[i].shape)
        ends = []
        for step in (1e-6, -1e-6):
            moved = [a + step * direction if j == i else a for j, a in enumerate(arrays)]
            ends.append(gc.evaluate(loss, dict(zip(xs, moved, strict=True))))
        np.testing.assert_allclose((g * direction).sum(), (ends[0] - ends[1]) / 2e-6, rtol=1e-6)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    ("a", "b"), [((3, 3), (3,)), ((3, 3), (3, 2)), ((4, 3, 3), (3, 2)), ((3, 3), (4, 3, 1)),
                 ((2, 1, 3, 3), (5, 3, 2)), ((0, 3, 3), (3, 1)), ((0, 0), (0,)), ((3, 3), (3, 0))]
)  # fmt: skip
def test_solve_equals_numpy(a: Any, b: Any, dtype: str) -> None:
    left, right = matrices(*a).astype(dtype), RNG.normal(size=b).astype(dtype)
    x, y = gc.placeholder("x", a, dtype), gc.placeholder("y", b, dtype)
    found = gc.evaluate(gc.linalg.solve(x, y), {x: left, y: right})
    expected = np.linalg.solve(left, right)
    assert found.dtype == expected.dtype
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("trans", [0, 1, 2, "N", "T", "C"])
@pytest.mark.parametrize("lower", [True, False])
def test_solve_triangular_is_scipys(trans: Any, lower: bool) -> None:
    a, b = matrices(5, 5), matrices(5, 5)[:, :2]
    for unit in (True, False):
        found = gc.linalg.solve_triangular(a, b, trans, lower, unit)
        wanted = scipy.linalg.solve_triangular(a, b, trans, lower, unit)
        np.testing.assert_allclose(gc.evaluate(found), wanted, rtol=1e-10)
    with pytest.raises(ArgumentError, match="no way to transpose"):
        gc.linalg.solve_triangular(a, b, trans="transposed")


def test_solve_of_a_symbolic_batch() -> None:
    x, y = gc.placeholder("x", ("b", "n", "n")), gc.placeholder("y", ("n", "k"))
    assert gc.linalg.solve(x, y).shape == (gc.dim("b"), gc.dim("n"), gc.dim("k"))


@pytest.mark.parametrize(
    ("a", "b"), [((3, 3), (3,)), ((3, 3), (3, 2)), ((4, 3, 3), (3, 2)), ((3, 3), (4, 3, 1)),
                 ((2, 1, 3, 3), (5, 3, 2))]
)  # fmt: skip
def test_solve_gradient(a: Any, b: Any) -> None:
    assert_gradient(gc.linalg.solve, matrices(*a), RNG.normal(size=b))


def test_solve_second_derivative() -> None:
    def first(a: Any, b: Any) -> Any:
        x = gc.linalg.solve(a, b)
        return gc.grad(gc.sum(x * x), a)

    assert_gradient(first, matrices(3, 3), RNG.normal(size=(3,)))


@pytest.mark.parametrize("shape", [(3, 3), (2, 3, 3), (1, 1), (0, 0), (0, 2, 2)])
@pytest.mark.parametrize("name", ["inv", "det", "cholesky"])
def test_functions_of_one_matrix_equal_numpy(name: str, shape: Any) -> None:
    values = positive(*shape)
    x = gc.placeholder("x", shape, "float64")
    found = gc.evaluate(getattr(gc.linalg, name)(x), {x: values})
    np.testing.assert_array_equal(found, getattr(np.linalg, name)(values))


def test_slogdet_equals_numpy_at_singular_matrices_too() -> None:
    values = np.stack([matrices(3, 3), -matrices(3, 3), np.zeros((3, 3))])
    x = gc.placeholder("x", (3, 3, 3), "float64")
    found = gc.evaluate(gc.linalg.slogdet(x), {x: values})
    for given, expected in zip(found, np.linalg.slogdet(values), strict=True):
        np.testing.assert_array_equal(given, expected)


@pytest.mark.parametrize("shape", [(3, 3), (2, 4, 4)])
def test_gradients_of_one_matrix(shape: Any) -> None:
    assert_gradient(gc.linalg.inv, matrices(*shape))
    assert_gradient(gc.linalg.det, matrices(*shape))
    assert_gradient(lambda a: gc.linalg.slogdet(a)[1], matrices(*shape))
    transposed = lambda a: gc.ops.shape.matrix_transpose(a)  # noqa: E731
    assert_gradient(lambda a: gc.linalg.cholesky(a + transposed(a)), positive(*shape))


def test_numpys_own_functions_build_nodes() -> None:
    x, y = gc.placeholder("x", (2, 2)), gc.placeholder("y", (2,))
    assert np.linalg.solve(x, y) is gc.linalg.solve(x, y)
    assert np.linalg.inv(x) is gc.linalg.inv(x)


@pytest.mark.parametrize(
    ("build", "why"),
    [
        (lambda a: gc.linalg.solve(a, np.ones(2)), "singular"),
        (lambda a: gc.linalg.inv(a), "singular"),
        (lambda a: gc.linalg.cholesky(a), "not positive definite"),
    ],
)
def test_failures_name_the_op_and_the_line(build: Callable[[Any], Any], why: str) -> None:
    a = gc.placeholder("a", (2, 2), "float64")
    y = build(a)
    with pytest.raises(LinAlgError, match=why) as caught:
        gc.evaluate(y, {a: -np.ones((2, 2))})
    assert caught.value.op == y.node.op.name or y.node.op.name == "reshape"
    line = build.__code__.co_firstlineno
    assert caught.value.where == f"{__file__}:{line}"


@pytest.mark.parametrize(
    ("build", "error"),
    [
        (lambda: gc.linalg.inv(gc.placeholder("x", (2, 3))), ShapeError),
        (lambda: gc.linalg.det(gc.placeholder("x", (3,))), ShapeError),
        (lambda: gc.linalg.inv(gc.placeholder("x", (2, 2), "int64")), DTypeError),
        (lambda: gc.linalg.solve(np.eye(3), np.ones((2, 2))), ShapeError),
        (lambda: gc.linalg.solve(np.eye(3), np.ones(2)), ShapeError),
        (lambda: gc.linalg.solve(np.ones((3, 2, 2)), np.ones((3, 4))), ShapeError),
    ],
)
def test_wrong_operands(build: Callable[[], Any], error: Any) -> None:
    with pytest.raises(error) as caught:
        build()
    assert caught.value.expected
    assert caught.value.given
    assert caught.value.op in ("inv", "det", "solve")


# -- determinants of singular matrices -------------------------------------------------------------
def of_rank(rank: int, n: int, scale: float = 1.0) -> Array:
    """Integers, so that singular is singular."""
    while True:
        a = RNG.integers(-3, 4, (n, rank)) @ RNG.integers(-3, 4, (rank, n))
        if np.linalg.matrix_rank(a) == rank:
            return a * scale


def det_derivatives(n: int, along: Array) -> tuple[Callable[[Array], Array], ...]:
    """The gradient of the determinant, and that of its derivative along a matrix, by SymPy."""
    m = sp.Matrix(n, n, sp.symbols(f"m:{n * n}"))
    first = m.det(method="laplace").diff(m)
    second = sum(first[i] * along.flat[i] for i in range(n * n)).diff(m)
    functions = [sp.lambdify(list(m), list(e)) for e in (first, second)]
    return tuple(lambda a, f=f: np.reshape(f(*a.ravel()), (n, n)) * 1.0 for f in functions)


@pytest.mark.parametrize("n", [1, 2, 3, 4])
def test_det_has_two_derivatives_at_every_rank(n: int) -> None:
    along = RNG.integers(-3, 4, (n, n)).astype(float)
    a = gc.placeholder("a", (n, n), "float64")
    first = gc.grad(gc.linalg.det(a), a)
    second = gc.grad(gc.sum(first * along), a)
    compiled, expected = gc.compile([a], [first, second]), det_derivatives(n, along)
    for rank in range(n + 1):
        at = of_rank(rank, n)
        size = max(1.0, np.linalg.norm(at, 2)) ** n  # of the products that cancel
        for found in (gc.evaluate([first, second], {a: at}), compiled(at)):
            for got, wanted in zip(found, expected, strict=True):
                np.testing.assert_allclose(got, wanted(at), atol=1e-13 * size)


def test_gradient_of_larger_determinants_compiled() -> None:
    """By LAPACK, of named sizes: regular ones, ones of lower rank, ones that are not finite, and
    determinants that leave the range, in one batch."""
    a = gc.placeholder("larger_a", ("lb", "ln", "ln"), "float64")
    first = gc.grad(gc.sum(gc.linalg.det(a)), a)
    function = gc.compile([a], first)
    assert "NumPy" not in function.explain()
    one = of_rank(5, 5)
    rows = [one, of_rank(4, 5), of_rank(3, 5), one * 1e-90, one * 1e100, np.full((5, 5), np.nan)]
    for batch in (np.stack(rows), np.stack(rows[:1]), np.zeros((0, 5, 5)), np.ones((2, 1, 1))):
        found, expected = function(batch), gc.evaluate(first, {a: batch})
        for got, wanted in zip(found, expected, strict=True):
            scale = np.abs(wanted).max(initial=1e-300) if np.isfinite(wanted).all() else 1
            np.testing.assert_allclose(got / scale, wanted / scale, atol=1e-12)


def test_second_derivative_of_larger_determinants_compiled() -> None:
    """By LAPACK too, at lower ranks as well; the reference is a difference of first ones, which are
    polynomials of degree 4."""
    a, along = (gc.placeholder(f"twice_{name}", ("tb", "tn", "tn"), "float64") for name in "ag")
    loss = gc.sum(gc.linalg.det(a))
    second = gc.hvp(loss, a, along)
    function = gc.compile([a, along], second)
    assert "NumPy" not in function.explain()
    batch = np.stack([of_rank(5, 5), of_rank(4, 5), of_rank(3, 5)])
    g, first = RNG.normal(size=(3, 5, 5)), gc.grad(loss, a)
    steps = np.array([-2, -1, 1, 2]) * 0.5
    slopes = [gc.evaluate(first, {a: batch + h * g}) for h in steps]
    weights = np.array([1, -8, 8, -1]) / (12 * 0.5)
    wanted = sum(w * slope for w, slope in zip(weights, slopes, strict=True))
    scale = np.abs(slopes).max()
    for found in (function(batch, g), gc.evaluate(second, {a: batch, along: g})):
        np.testing.assert_allclose(found / scale, wanted / scale, atol=1e-12)
    assert np.isnan(function(np.full((1, 5, 5), np.nan), g[:1])).all()


@pytest.mark.parametrize("n", [3, 6])
def test_symmetric_equations(n: int) -> None:
    """Indefinite ones; what is above the diagonal is not read, and the derivative is symmetric."""
    a, b = gc.placeholder("half_a", (2, n, n), "float64"), gc.placeholder("half_b", (n,), "float64")
    x = gc.linalg.solve(a, b, assume_a="sym")
    loss = gc.sum(x * x)
    outputs = [x, *gc.grad(loss, [a, b])]
    whole = RNG.normal(size=(2, n, n)) + np.diag(np.where(np.arange(n) % 2, 9.0, -9.0))
    whole = np.tril(whole) + np.tril(whole, -1).swapaxes(-1, -2)
    given, side = np.tril(whole) + np.triu(np.full((n, n), np.nan), 1), RNG.normal(size=n)
    full = gc.linalg.solve(a, b)
    by_all = gc.evaluate([full, *gc.grad(gc.sum(full * full), [a, b])], {a: whole, b: side})
    by_all[1] = (by_all[1] + by_all[1].swapaxes(-1, -2)) / 2
    function = gc.compile([a, b], outputs)
    for found in (gc.evaluate(outputs, {a: given, b: side}), function(given, side)):
        for got, wanted in zip(found, by_all, strict=True):
            np.testing.assert_allclose(got, wanted, rtol=1e-10, atol=1e-12)
    with pytest.raises(LinAlgError, match=r"solve: .*singular"):
        gc.compile([a, b], x)(np.zeros((2, n, n)), side)


@pytest.mark.parametrize("n", [1, 3, 6, 70])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_symmetric_equations_of_right_sides_that_are_not_finite(n: int, dtype: str) -> None:
    """Which elements are infinite and which NaN depends on the order of the elimination: programs
    and the interpreter have one."""
    a, b = gc.placeholder("a of such", (2, n, n), dtype), gc.placeholder("b", (n, 9), dtype)
    x = gc.linalg.solve(a, b, assume_a="sym")
    whole, side = RNG.normal(size=(2, n, n)).astype(dtype), RNG.normal(size=(n, 9)).astype(dtype)
    for column, value in enumerate((np.inf, -np.inf, np.nan, np.inf)):
        side[RNG.integers(n), column] = value
    found, expected = gc.compile([a, b], x)(whole, side), gc.evaluate(x, {a: whole, b: side})
    np.testing.assert_allclose(found, expected, rtol=1e-3 if dtype == "float32" else 1e-9)
    assert np.isfinite(found[..., 4:]).all()
    assert not np.isfinite(found[..., :4]).all(axis=1).any()


def test_gradient_of_det_compiled_in_a_batch_of_all_sorts() -> None:
    """Singular, regular, nearly singular; determinants that under- and overflow; NaN."""
    a = gc.placeholder("a", ("b", 3, 3), "float64")
    f = gc.compile([a], gc.grad(gc.sum(gc.linalg.det(a)), a))
    one = of_rank(3, 3)
    rows = [of_rank(2, 3), one, of_rank(2, 3) + 1e-12 * one, one * 1e-120, one * 1e120]
    rows.append(one * np.array([[1e-9], [1.0], [1e9]]))
    found = f(np.stack([*rows, np.full((3, 3), np.nan)]))
    (cofactors, _) = det_derivatives(3, np.zeros((3, 3)))
    for got, at in zip(found, rows, strict=False):
        exact = np.array(cofactors(np.vectorize(sp.Rational, otypes=[object])(at)), float)
        np.testing.assert_allclose(got, exact, rtol=1e-12, atol=1e-13 * np.abs(exact).max())
    assert np.isnan(found[-1]).all()


def test_a_third_derivative_of_det_needs_a_regular_matrix() -> None:
    a = gc.placeholder("a", (4, 4), "float64")
    along = [gc.constant(RNG.normal(size=(4, 4)), "float64") for _ in range(2)]

    def second(a: Any) -> Any:
        return gc.grad(gc.sum(gc.grad(gc.linalg.det(a), a) * along[0]), a)

    def third(a: Any) -> Any:
        return gc.grad(gc.sum(second(a) * along[1]), a)

    assert_gradient(second, matrices(4, 4))
    assert_gradient(third, matrices(4, 4))
    with pytest.raises(LinAlgError, match="singular"):
        gc.evaluate(third(a), {a: np.zeros((4, 4))})


def test_the_logarithm_of_a_determinant_has_no_derivative_at_zero() -> None:
    a = gc.placeholder("a", (2, 2), "float64")
    with pytest.raises(LinAlgError, match="singular"):
        gc.evaluate(gc.grad(gc.linalg.slogdet(a)[1], a), {a: np.ones((2, 2))})
