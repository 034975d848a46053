"""Matrices of up to 4 rows, written out: as accurate as LAPACK where minors alone would not be."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
import pytest

import graphc as gc
from graphc.pipeline.pipeline import run_pipeline
from graphc.pipeline.stages import Stages
from graphc.planning.program import Call, walk_steps

RNG = np.random.default_rng(9)
Array = np.ndarray[Any, Any]


def exact_det(a: Array) -> float:
    rows = [[Fraction(x) for x in row] for row in a.tolist()]
    return float(_det(rows))


def _det(rows: list[list[Fraction]]) -> Fraction:
    if not rows:
        return Fraction(1)
    total = Fraction(0)
    for j, x in enumerate(rows[0]):
        minor = [row[:j] + row[j + 1 :] for row in rows[1:]]
        total += (-1) ** j * x * _det(minor)
    return total


def exact_solve(a: Array, b: Array) -> Array:
    """By Cramer's rule in fractions."""
    rows, right = a.tolist(), b.tolist()
    whole = _det([[Fraction(x) for x in row] for row in rows])
    found = []
    for j in range(len(rows)):
        changed = [
            [Fraction(right[i] if c == j else x) for c, x in enumerate(row)]
            for i, row in enumerate(rows)
        ]
        found.append(float(_det(changed) / whole))
    return np.array(found)


def near_rank_one(n: int) -> Array:
    return np.outer(RNG.normal(size=n), RNG.normal(size=n)) + 1e-7 * RNG.normal(size=(n, n))


def badly_scaled(n: int) -> Array:
    return RNG.normal(size=(n, n)) * 10.0 ** RNG.integers(-9, 9, (n, 1))


def assert_close(ours: Array, numpys: Array) -> None:
    assert np.quantile(ours, 0.9) <= 2 * np.quantile(numpys, 0.9) + 1e-15
    assert ours.max() <= 20 * numpys.max() + 1e-15


@pytest.mark.parametrize("n", [2, 3, 4])
@pytest.mark.parametrize("make", [near_rank_one, badly_scaled, lambda n: RNG.normal(size=(n, n))])
def test_as_accurate_as_lapack(make: Any, n: int) -> None:
    """Over 200 matrices, nine errors of ten are at most twice NumPy's, or some units, and none is
    far larger. (Of single matrices, one or the other has the luck.)"""
    a = gc.placeholder("small_a", ("b", n, n), "float64")
    b = gc.placeholder("small_b", ("b", n, 1), "float64")
    function = gc.compile([a, b], [gc.linalg.det(a), gc.linalg.solve(a, b)])
    left, right = np.stack([make(n) for _ in range(200)]), RNG.normal(size=(200, n, 1))
    dets, xs = function(left, right)
    exact = np.array([exact_det(m) for m in left])
    assert_close(*(np.abs(d / exact - 1) for d in (dets, np.linalg.det(left))))
    wanted = np.stack([exact_solve(m, v[:, 0]) for m, v in zip(left, right, strict=True)])
    size = np.abs(wanted).max(1, keepdims=True)
    errors = [np.abs((x[..., 0] - wanted) / size) for x in (xs, np.linalg.solve(left, right))]
    assert_close(*errors)


@pytest.mark.parametrize("n", [1, 2, 3, 4])
def test_determinants_of_float32_are_rounded_once(n: int) -> None:
    """Minors in float64 lose no digit that a float32 has, of matrices close to rank 1 neither."""
    a = gc.placeholder("minors_a", ("b", n, n), "float32")
    function = gc.compile([a], gc.linalg.det(a))
    for make in (near_rank_one, badly_scaled, lambda n: RNG.normal(size=(n, n)) * 1e9):
        given = np.stack([make(n) for _ in range(60)]).astype("float32")
        exact = np.array([exact_det(m) for m in given])
        np.testing.assert_allclose(function(given), exact.astype("float32"), rtol=2.5e-7)


@pytest.mark.parametrize("n", [2, 3, 4])
def test_a_product_of_pivots_leaves_the_range_only_if_the_determinant_does(n: int) -> None:
    exponents = [(200, -200, 0, 0), (-200, 200, 100, -100), (300, 250, -280, -260), (-150,) * 4]
    a = gc.placeholder("range_a", ("b", n, n), "float64")
    function = gc.compile([a], gc.linalg.det(a))
    rows = [np.diag(10.0 ** np.array(e[:n])) for e in exponents]
    for found, e in zip(function(np.stack(rows)), exponents, strict=True):
        with np.errstate(all="ignore"):
            np.testing.assert_allclose(found, np.float64(10.0) ** sum(e[:n]), rtol=1e-13)


@pytest.mark.parametrize("n", [1, 2, 3, 4])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_compiled_equals_numpy(n: int, dtype: str) -> None:
    a = gc.placeholder("written_a", ("b", n, n), dtype)
    spd = a @ gc.matrix_transpose(a) + 2 * np.eye(n, dtype=dtype)
    b = gc.placeholder("written_b", (n, 3), dtype)
    outputs = [
        gc.linalg.solve(a, b), gc.linalg.inv(a), gc.linalg.det(a), *gc.linalg.slogdet(a),
        gc.linalg.cholesky(spd), gc.linalg.triangular_solve(a, b, lower=True),
        gc.linalg.solve(spd, b, assume_a="pos"), gc.grad(gc.sum(gc.linalg.det(a)), a),
        gc.grad(gc.sum(gc.linalg.inv(a) ** 2), a),
    ]  # fmt: skip
    function = gc.compile([a, b], outputs)
    for count in (5, 1, 0):
        arrays = (
            (RNG.uniform(-1, 1, (count, n, n)) + 3 * np.eye(n)).astype(dtype),
            RNG.normal(size=(n, 3)).astype(dtype),
        )
        wanted = gc.evaluate(outputs, dict(zip((a, b), arrays, strict=True)))
        for got, expected in zip(function(*arrays), wanted, strict=True):
            scale = np.abs(expected).max(initial=1.0)
            np.testing.assert_allclose(got, expected, atol=50 * np.finfo(dtype).eps * scale)


def test_the_work_is_in_kernels_that_fuse() -> None:
    """A solve, and what is done with its result, are one kernel; nothing else is called."""
    a, b = gc.placeholder("fused_a", ("b", 3, 3)), gc.placeholder("fused_b", ("b", 3, 1))
    graph = gc.Graph([a, b], [gc.exp(gc.linalg.solve(a, b)) * 2])
    steps = list(walk_steps(run_pipeline(graph, Stages()).program.steps))
    assert len(steps) == 1
    assert isinstance(steps[0], Call)


def test_matrices_are_loaded_by_whole_vectors() -> None:
    """Not element by element from addresses of their own."""
    a, b = gc.placeholder("whole_a", ("b", 3, 3)), gc.placeholder("whole_b", ("b", 3, 1))
    for result in (gc.linalg.det(a), gc.linalg.solve(a, b)):
        inputs = [a] if result.ndim == 1 else [a, b]
        assert "gather" not in gc.compile(inputs, result).asm


def test_nan_goes_through() -> None:
    a = gc.placeholder("nan_a", (3, 3), "float64")
    for f in (gc.linalg.det, gc.linalg.inv):
        assert np.isnan(gc.compile([a], f(a))(np.full((3, 3), np.nan))).all()


@pytest.mark.parametrize("n", [1, 2, 3, 4])
def test_cofactors_are_nan_where_what_they_are_made_of_is(n: int) -> None:
    """A cofactor has the elements of the other rows and columns: no others decide it."""
    a = RNG.normal(size=(2, n, n))
    a[0, 0, -1] = np.nan
    x = gc.placeholder(f"with_nan_{n}", (2, n, n), "float64")
    slope = gc.grad(gc.sum(gc.linalg.det(x)), x)
    expected = np.empty_like(a)
    for b, i, j in np.ndindex(2, n, n):
        minor = np.delete(np.delete(a[b], i, 0), j, 1)
        value = np.nan if np.isnan(minor).any() else np.linalg.det(minor)
        expected[b, i, j] = (-1) ** (i + j) * value
    for found in (gc.evaluate(slope, {x: a}), gc.compile([x], slope)(a)):
        np.testing.assert_allclose(found, expected, rtol=1e-12)
