"""The gamma family against mpmath, in both floats: values, derivatives, reflection to negative
numbers, beta with the signs of negative operands."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import mpmath
import numpy as np
import pytest

import graphc as gc
from graphc.errors import ArgumentError

mp = mpmath.mp.clone()
mp.dps = 50
ABOVE = [1e-300, 1e-5, 0.3, 0.69, 0.71, 1.46, 2.49, 2.51, 7.0, 8.5, 30.25, 1e4]
BELOW = [-1e-9, -0.25, -0.75, -1.5, -2.4, -5.5, -8.125, -20.75, -33.3]
TRUTH: dict[str, Callable[[Any], Any]] = {
    "lgamma": lambda x: mp.log(abs(mp.gamma(x))) if x < 1e3 else mp.loggamma(x),
    "digamma": mp.digamma,
    "trigamma": lambda x: mp.polygamma(1, x),
    "pentagamma": lambda x: mp.polygamma(3, x),
}


def test_values_and_derivatives_to_the_third() -> None:
    """lgamma and three derivatives of it, one program for each float, interpreted and compiled."""
    for dtype, points in (("float64", ABOVE + BELOW), ("float32", ABOVE[1:] + BELOW)):
        at = np.array(points, dtype)
        x = gc.placeholder("gamma_of", ("n",), dtype)
        wanted = [gc.lgamma(x)]
        for _ in range(2):
            wanted.append(gc.grad(gc.sum(wanted[-1]), x))
        wanted.append(gc.polygamma(3, x))
        for found in (gc.evaluate(wanted, {x: at}), gc.compile([x], wanted)(at)):
            for values, truth in zip(found, TRUTH.values(), strict=True):
                for point, value in zip(at, values, strict=True):
                    exact = truth(mp.mpf(float(point)))
                    if abs(exact) > float(np.finfo(dtype).max):
                        assert np.isinf(value)
                        continue
                    # where reflection cancels, the error is one of what cancels
                    size = max(abs(float(exact)), 1.0 if point < 0 else 0.0)
                    allowed = (8 if point > 0 else 64) * float(np.spacing(at.dtype.type(size)))
                    assert abs(mp.mpf(float(value)) - exact) <= allowed, (truth, point, value)


def test_gamma_of_float64_up_to_its_overflow() -> None:
    at = np.array([*np.linspace(3.1, 171.6, 60), -0.3, -1.6, -2.01, -30.7, -100.1, -170.4])
    x = gc.placeholder("gamma_at", ("n",), "float64")
    found = gc.compile([x], gc.gamma(x))(at)
    for point, value in zip(at, found, strict=True):
        exact = mp.gamma(mp.mpf(float(point)))
        units = 3 + abs(point) / 30  # of what x is multiplied with in the exponent
        assert abs(mp.mpf(float(value)) - exact) <= units * np.spacing(abs(float(exact))), point


def test_reflection_ends_however_far() -> None:
    """Half-way between whole numbers tan is infinite, so that psi'(x) is pi**2 - psi'(1 - x)."""
    x = gc.placeholder("far_below", ("n",), "float64")
    at = np.array([-1e6 + 0.5, -1e15 + 0.5])
    y = gc.polygamma(1, x)
    for found in (gc.evaluate(y, {x: at}), gc.compile([x], y)(at)):
        np.testing.assert_allclose(found, np.pi**2 + 1 / at, rtol=1e-13)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_beta_has_the_sign_of_its_gammas(dtype: str) -> None:
    pairs = np.array([[0.5, 1.2], [-0.5, 1.3], [-1.5, 0.7], [-2.3, -0.4], [3, -0.5], [30, 40]])
    a, b = pairs.T.astype(dtype)
    x, y = (gc.placeholder(name, ("n",), dtype) for name in ("beta_a", "beta_b"))
    z = gc.beta(x, y)
    value, dx, dy = gc.compile([x, y], [z, *gc.grad(gc.sum(z), [x, y])])(a, b)
    tolerance = 2e-7 if dtype == "float32" else 1e-13
    for i, (p, q) in enumerate(zip(a.tolist(), b.tolist(), strict=True)):
        exact = mp.beta(p, q)
        slopes = [exact * (mp.digamma(v) - mp.digamma(mp.mpf(p) + q)) for v in (p, q)]
        found = [value[i], dx[i], dy[i]]
        np.testing.assert_allclose(found, [float(v) for v in (exact, *slopes)], rtol=tolerance)


@pytest.mark.parametrize("order", [-1, 1.5, True, "x"])
def test_orders_that_are_none(order: Any) -> None:
    with pytest.raises(ArgumentError, match="static whole number"):
        gc.polygamma(order, 1.0)


def test_an_order_that_a_call_gives_is_refused() -> None:
    with pytest.raises(ArgumentError, match="static whole number"):
        gc.polygamma(gc.placeholder("order", (), "int64"), 1.0)
    assert gc.polygamma(0, 2.0) is gc.digamma(2.0)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_modified_bessel_functions_at_infinities(dtype: str) -> None:
    """Their limits, where SciPy has NaN; the interpreter and the kernels agree."""
    x = gc.placeholder("bessel", ("n",), dtype)
    outputs = [gc.i0(x), gc.i1(x), gc.i0e(x), gc.i1e(x)]
    given = np.array([np.inf, -np.inf, 1e4, -1e4, np.nan], dtype)
    huge = [np.inf] * 4
    for found in (gc.compile([x], outputs)(given), gc.evaluate(outputs, {x: given})):
        np.testing.assert_array_equal(found[0], [*huge, np.nan])
        np.testing.assert_array_equal(found[1], [np.inf, -np.inf, np.inf, -np.inf, np.nan])
        np.testing.assert_array_equal(found[2][:2], [0, 0])
        np.testing.assert_array_equal(found[3][:2], [0, 0])
