"""Running reductions: accuracy, special values, derivatives at zeros and ties, NumPy's names."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import graphc as gc
from graphc.errors import ArgumentError, DTypeError, OutOfRangeError

Array = np.ndarray[Any, Any]
v = gc.placeholder("cumulative_v", ("cumulative_n",), "float64")


def gradient(y: gc.Tensor, values: Any, weights: Any = None) -> Array:
    weights = np.ones(y.ndim * (len(values),)) if weights is None else np.asarray(weights)
    found: Array = gc.evaluate(gc.vjp(y, v, gc.constant(weights)), {v: np.asarray(values, float)})
    return found


# -- accuracy --------------------------------------------------------------------------------------
LONG = 60_000
_COMPILED: dict[int, Any] = {}


def compiled(axis: int) -> Any:
    if axis not in _COMPILED:
        w = gc.placeholder("cumulative_w", ("cumulative_a", "cumulative_b"))
        _COMPILED[axis] = gc.compile([w], [gc.cumsum(w, axis), gc.logcumsumexp(w, axis)])
    return _COMPILED[axis]


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("kind", ["tenths", "large first", "signs"])
def test_errors_do_not_grow_with_the_number_of_elements(axis: int, kind: str) -> None:
    """Within 8 eps of the sum of absolute values so far; NumPy's own are not."""
    rng = np.random.default_rng(axis)
    data = {
        "tenths": np.full((3, LONG), 0.1),
        "large first": np.concatenate([np.full((3, 1), 2.0**24), np.ones((3, LONG - 1))], 1),
        "signs": rng.standard_normal((3, LONG)) + 0.1,
    }[kind].astype("float32")
    data = data if axis == 1 else np.ascontiguousarray(data.T)
    truth = np.cumsum(data.astype(np.longdouble), axis)
    allowed = 8 * np.finfo("float32").eps * np.cumsum(np.abs(data.astype(np.longdouble)), axis)
    w = gc.placeholder("cumulative_w", ("cumulative_a", "cumulative_b"))
    assert np.all(np.abs(compiled(axis)(data)[0] - truth) <= allowed)
    assert np.all(np.abs(gc.evaluate(gc.cumsum(w, axis), {w: data}) - truth) <= allowed)
    if kind != "signs":
        assert not np.all(np.abs(np.cumsum(data, axis) - truth) <= allowed), "a control"


@pytest.mark.parametrize("axis", [0, 1])
def test_logcumsumexp_of_many(axis: int) -> None:
    """Equal numbers, whose sums would stop growing at 2**24, and slowly growing ones."""
    rng = np.random.default_rng(5)
    rows = np.stack([np.zeros(LONG), np.arange(LONG) * 1e-4, rng.standard_normal(LONG) * 5])
    data = np.ascontiguousarray(rows if axis else rows.T, "float32")
    truth = np.logaddexp.accumulate(data.astype(np.longdouble), axis=axis)
    w = gc.placeholder("cumulative_w", ("cumulative_a", "cumulative_b"))
    for found in (compiled(axis)(data)[1], gc.evaluate(gc.logcumsumexp(w, axis), {w: data})):
        np.testing.assert_allclose(found, truth, rtol=2e-7, atol=1e-7)


# -- special values --------------------------------------------------------------------------------
def test_special_values_compiled() -> None:
    """Signs of zeros, infinities and NaN at each place."""
    pool = np.array([-0.0, 0.0, 1.0, -2.0, np.inf, -np.inf, np.nan])
    rows = np.array(np.meshgrid(pool, pool, pool, pool)).reshape(4, -1).T
    s = gc.placeholder("cumulative_s", (rows.shape[0], 4), "float64")
    outputs = [f(s, 1) for f in (gc.cumsum, gc.cumprod, gc.cummax, gc.cummin, gc.logcumsumexp)]
    found = gc.compile([s], outputs)(rows)
    ufuncs = (np.add, np.multiply, np.maximum, np.minimum, np.logaddexp)
    with np.errstate(all="ignore"):
        for ours, ufunc in zip(found, ufuncs, strict=True):
            expected = ufunc.accumulate(rows, axis=1)
            np.testing.assert_allclose(ours, expected, rtol=1e-15)
            zeros = (expected == 0) & (ufunc in (np.add, np.multiply))  # of the others any is right
            np.testing.assert_array_equal(np.signbit(ours)[zeros], np.signbit(expected)[zeros])


# -- derivatives -----------------------------------------------------------------------------------
@pytest.mark.parametrize("zeros", [(), (0,), (2,), (1, 3), (0, 1, 2, 3, 4)])
def test_the_gradient_of_products_is_that_of_the_polynomial(zeros: tuple[int, ...]) -> None:
    values = np.array([2.0, -3.0, 0.5, 4.0, -1.5])
    values[list(zeros)] = 0
    weights = np.array([1.0, 2.0, -1.0, 0.5, 3.0])
    expected = [
        sum(
            weights[i] * np.prod([values[m] for m in range(i + 1) if m != j])
            for i in range(j, len(values))
        )
        for j in range(len(values))
    ]
    np.testing.assert_allclose(gradient(gc.cumprod(v), values, weights), expected)


def test_second_derivatives_of_products_at_zeros() -> None:
    total = gc.sum(gc.cumprod(v) * gc.constant(np.array([1.0, 2.0, 3.0])))
    values = np.array([2.0, 0.0, 0.0])
    found = gc.evaluate(gc.hessian(total, v), {v: values})
    # x + 2 x y + 3 x y z
    np.testing.assert_allclose(found, [[0, 2, 0], [2, 0, 6], [0, 6, 0]])


@pytest.mark.parametrize("reverse", [False, True])
def test_ties_are_shared_equally(reverse: bool) -> None:
    """As by `max` of the elements so far."""
    values = np.array([1.0, 3.0, 3.0, 2.0, 3.0, 5.0, 5.0])
    for function, of_all in ((gc.cummax, gc.max), (gc.cummin, gc.min)):
        numbers = values if function is gc.cummax else -values
        for i in range(len(values)):
            unit = np.eye(len(values))[i]
            part = slice(i, None) if reverse else slice(0, i + 1)
            expected = gradient(of_all(v[part]), numbers) if i else None
            found = gradient(function(v, reverse=reverse), numbers, unit)
            if expected is not None:
                np.testing.assert_allclose(found, expected)


def test_forward_mode_is_the_transpose_of_reverse_mode() -> None:
    rng = np.random.default_rng(2)
    values, t, g = (rng.standard_normal(6) for _ in range(3))
    values[2] = 0
    for f in (gc.cumsum, gc.cumprod, gc.cummax, gc.cummin, gc.logcumsumexp):
        for reverse in (False, True):
            y = f(v, reverse=reverse)
            forward = gc.evaluate(gc.jvp(y, v, gc.constant(t)), {v: values})
            np.testing.assert_allclose(g @ forward, gradient(y, values, g) @ t, rtol=1e-12)


def test_an_untaken_branch_adds_no_nan() -> None:
    values = np.array([1.0, np.inf, 2.0, 3.0])
    for f in (gc.cumsum, gc.cumprod, gc.logcumsumexp, gc.cummax):
        y = gc.sum(gc.where(v < 0, f(v), v * 2))
        np.testing.assert_array_equal(gc.evaluate(gc.grad(y, v), {v: values}), [2, 2, 2, 2])


# -- the functions ---------------------------------------------------------------------------------
def test_with_an_initial_value() -> None:
    values = np.array([[1, 2], [3, 4]])
    for ours, numpys in (
        (gc.cumulative_sum, np.cumulative_sum),
        (gc.cumulative_prod, np.cumulative_prod),
    ):
        for axis in (0, 1):
            found = gc.evaluate(ours(values, axis=axis, include_initial=True))
            np.testing.assert_array_equal(found, numpys(values, axis=axis, include_initial=True))
    found = gc.evaluate(gc.cumulative_sum([1, 2, 3], include_initial=True, reverse=True))
    np.testing.assert_array_equal(found, [6, 5, 3, 0])


def test_dtypes() -> None:
    small = np.array([100, 100, 100], np.int8)
    assert gc.cumsum(small).dtype.name == "int64"
    assert gc.cumprod(small.astype("uint8")).dtype.name == "uint64"
    assert gc.cumsum(np.array([True, True])).dtype.name == "int64"
    assert gc.cummax(small).dtype.name == "int8"
    np.testing.assert_array_equal(
        gc.evaluate(gc.cumsum(small, dtype="int8")), np.cumsum(small, dtype="int8")
    )
    with pytest.raises(DTypeError):
        gc.cumsum(small, dtype="bool")


def test_methods_of_ufuncs() -> None:
    m = gc.placeholder("cumulative_m", (3, 4), "float64")
    data = np.random.default_rng(0).standard_normal((3, 4))
    for ufunc in (np.add, np.multiply, np.maximum, np.minimum, np.logaddexp):
        for options in ({}, {"axis": 1}):
            found = gc.evaluate(ufunc.accumulate(m, **options), {m: data})
            np.testing.assert_allclose(found, ufunc.accumulate(data, **options), rtol=1e-15)
    with pytest.raises(ArgumentError, match=r"subtract\.accumulate"):
        np.subtract.accumulate(m)
    with pytest.raises(ArgumentError, match=r"maximum\.accumulate\(\.\.\., out=\)"):
        np.maximum.accumulate(m, out=data)


def test_bad_axes() -> None:
    m = gc.placeholder("cumulative_m", (3, 4), "float64")
    with pytest.raises(ArgumentError, match="along which axis") as caught:
        gc.cumulative_sum(m)
    assert "gc.cumsum" in caught.value.hint
    with pytest.raises(ArgumentError, match="a scalar has no axis"):
        gc.cumulative_prod(gc.constant(1.0))
    for f in (gc.cumsum, gc.cumprod, gc.cummax, gc.cummin, gc.logcumsumexp):
        with pytest.raises(OutOfRangeError):
            f(m, 2)
