"""convolve, correlate and interp: NumPy's values for every mode, gradients, errors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import graphc as gc

RNG = np.random.default_rng(11)
SIZES = ((5, 3), (3, 5), (4, 4), (1, 6), (6, 1), (6, 2), (2, 7))


def vector(size: int, dtype: str) -> Any:
    if dtype == "bool":
        return RNG.random(size) < 0.5
    values = RNG.normal(size=size) * 3
    return (values + (1j * RNG.normal(size=size) if "complex" in dtype else 0)).astype(dtype)


@pytest.mark.parametrize("mode", ["full", "same", "valid"])
def test_equals_numpy(mode: str) -> None:
    """Whichever is longer, of every kind of dtype."""
    made, wanted = [], []
    for dtype in ("float64", "int8", "bool", "complex128"):
        for n, m in SIZES:
            a, v = vector(n, dtype), vector(m, dtype)
            for f in (np.convolve, np.correlate):
                made.append(f(gc.constant(a), gc.constant(v), mode))
                wanted.append(f(a, v, mode))
    for found, expected in zip(gc.evaluate(made), wanted, strict=True):
        assert found.dtype == expected.dtype
        np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-12)


def test_named_sizes_compiled() -> None:
    x, w = gc.placeholder("signal_x", ("n",)), gc.placeholder("signal_w", ("m",))
    step = gc.compile([x, w], [gc.convolve(x, w, mode) for mode in ("full", "same", "valid")])
    for n, m in ((7, 3), (4, 4), (9, 1)):
        a, v = vector(n, "float32"), vector(m, "float32")
        for found, mode in zip(step(a, v), ("full", "same", "valid"), strict=True):
            np.testing.assert_allclose(found, np.convolve(a, v, mode), rtol=1e-5, atol=1e-5)
    assert [k.source.count("for ") for k in step.kernels]  # loops over memory, nothing called back


@pytest.mark.parametrize("dtype", ["float64", "complex128"])
def test_gradients(dtype: str) -> None:
    """The gradients of a sum of products, as the sum of outer products says it."""
    x, w = gc.placeholder("signal_a", (6,), dtype), gc.placeholder("signal_v", (3,), dtype)
    matrix = gc.stack([gc.pad(w, (k, 5 - k)) for k in range(6)])
    pairs = []
    for y in (gc.convolve(x, w), x @ matrix):
        loss = gc.sum(gc.abs(y) ** 2 * np.arange(8.0))
        pairs.append([y, *gc.grad(loss, [x, w])])
    given = {x: vector(6, dtype), w: vector(3, dtype)}
    for a, b in zip(*gc.evaluate(pairs, given), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("size", [1, 2, 6])
def test_interpolation_is_numpys(size: int) -> None:
    points = np.sort(vector(size, "float64"))
    values = vector(size, "float64")
    x = np.concatenate([vector(20, "float64"), points, points - 1e-12, [np.inf, -np.inf, np.nan]])
    t, xp, fp = (gc.placeholder(f"interp_{n}", s, "float64") for n, s in
                 (("x", ("n",)), ("points", (size,)), ("values", (size,))))
    made = [np.interp(t, xp, fp), np.interp(t, xp, fp, -7.0, 9), np.interp(t, xp, fp * (1 + 2j))]
    made.append(np.interp(np.reshape(t, (-1, 1)), xp, fp, right=2.0))
    given = {t: x, xp: points, fp: values}
    wanted = [
        np.interp(x, points, values), np.interp(x, points, values, -7.0, 9),
        np.interp(x, points, values * (1 + 2j)),
        np.interp(x, points, values, right=2.0)[:, None],
    ]  # fmt: skip
    for found in (gc.evaluate(made, given), gc.compile([t, xp, fp], made)(x, points, values)):
        for a, b in zip(found, wanted, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-9, strict=True)


def test_gradients_of_an_interpolation() -> None:
    """By differences: of places, points and values."""
    t, xp, fp = (gc.placeholder(f"slope_{n}", (4,), "float64") for n in "xpf")
    y = gc.interp(t, xp, fp)
    slopes = gc.grad(gc.sum(y * y), [t, xp, fp])
    given = {t: np.array([0.3, 2.2, -5.0, 1.5]), xp: np.array([-1.0, 1, 2, 4]), fp: vector(4, "f8")}
    found = gc.evaluate(slopes, given)
    for which, slope in zip((t, xp, fp), found, strict=True):
        for i in range(4):
            shift = np.eye(4)[i] * 1e-6
            points = (given | {which: given[which] + s * shift} for s in (1, -1))
            ahead, behind = (gc.evaluate(gc.sum(y * y), point) for point in points)
            assert slope[i] == pytest.approx((ahead - behind) / 2e-6, rel=1e-6, abs=1e-7)


@pytest.mark.parametrize(
    ("error", "call"),
    [
        (gc.errors.ShapeError, lambda m, v: gc.convolve(m, v)),
        (gc.errors.ShapeError, lambda m, v: gc.convolve(v, v[:0])),
        (gc.errors.ArgumentError, lambda m, v: gc.correlate(v, v, "circular")),
        (gc.errors.ShapeError, lambda m, v: gc.interp(v, m, v)),
        (gc.errors.ShapeError, lambda m, v: gc.interp(v, v, v[:2])),
        (gc.errors.ShapeError, lambda m, v: gc.interp(v, v[:0], v[:0])),
        (gc.errors.DTypeError, lambda m, v: gc.interp(v, v * 1j, v)),
    ],
)
def test_bad_arguments(error: type[Exception], call: Callable[..., Any]) -> None:
    with pytest.raises(error) as raised:
        call(gc.placeholder("signal_matrix", (2, 3)), gc.placeholder("signal_vector", (3,)))
    assert raised.value.op
    assert raised.value.given
