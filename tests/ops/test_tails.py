"""Functions of the normal distribution and of small exponentials, far out: values and derivatives
against mpmath, as interpreted and as compiled, in both floats."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import mpmath
import numpy as np
import pytest

import graphc as gc
from graphc.nn.activations import gelu

Array = np.ndarray[Any, Any]
mp = mpmath.mp.clone()
mp.dps = 60
BOTH = ["float32", "float64"]

SIDES = [s * v for v in (0.0, 1e-30, 1e-4, 0.3, 0.7, 1, 2.5, 4, 5, 5.5, 6, 9, 13) for s in (1, -1)]
FAR = [-1e18, -3e8, -1e4, -200.0, -38.0, *SIDES]


def ndtr(x: Any) -> Any:
    return mp.erfc(-x / mp.sqrt(2)) / 2


def density(x: Any) -> Any:
    return mp.exp(-x * x / 2) / mp.sqrt(2 * mp.pi)


ROOT = mp.sqrt(8 / mp.pi)


def share(x: Any) -> Any:
    """(1 + tanh(u)) / 2 of the approximation of gelu, as 1 / (1 + exp(-2 u))."""
    return 1 / (1 + mp.exp(-ROOT * (x + mp.mpf("0.044715") * x**3)))


# name -> what it is called by, points, value, derivative, and the error of the derivative in units
# of x**2 eps: an exponent -x*x is rounded once before its exponential
FUNCTIONS: dict[str, tuple[Any, list[float], Any, Any, float]] = {
    "erfc": (gc.erfc, SIDES, mp.erfc, lambda x: -2 / mp.sqrt(mp.pi) * mp.exp(-x * x), 2),
    "erfcx": (
        gc.erfcx,
        [v for v in SIDES if v > -9],
        lambda x: mp.exp(x * x) * mp.erfc(x),
        lambda x: 2 * x * mp.exp(x * x) * mp.erfc(x) - 2 / mp.sqrt(mp.pi),
        8,
    ),
    "log_ndtr": (
        gc.log_ndtr,
        FAR,
        lambda x: mp.log(ndtr(x)) if x < 0 else mp.log1p(-ndtr(-x)),
        lambda x: density(x) / ndtr(x),
        2,
    ),
    "log1mexp": (
        gc.log1mexp,
        [1e-30, 1e-8, 1e-3, 0.3, 0.6931, 0.6932, 1, 5, 40, 80],
        lambda x: mp.log(-mp.expm1(-x)),
        lambda x: mp.exp(-x) / -mp.expm1(-x),
        0,
    ),
    "gelu": (gelu, SIDES, lambda x: x * ndtr(x), lambda x: ndtr(x) + x * density(x), 16),
    "gelu_tanh": (
        lambda x: gelu(x, approximate=True),
        SIDES,
        lambda x: x * share(x),
        lambda x: share(x) + x * share(x) * share(-x) * ROOT * (1 + 3 * mp.mpf("0.044715") * x * x),
        64,
    ),
}


def assert_close(found: Array, exact: list[Any], units: list[float]) -> None:
    """Each within so many units in its last place."""
    for value, truth, allowed in zip(found, exact, units, strict=False):
        unit = np.spacing(np.abs(found.dtype.type(float(truth))))
        assert abs(mp.mpf(float(value)) - truth) <= allowed * mp.mpf(float(unit)), (value, truth)


@pytest.mark.parametrize("dtype", BOTH)
@pytest.mark.parametrize("name", FUNCTIONS)
def test_value_and_derivative(name: str, dtype: str) -> None:
    call, points, value, derivative, squares = FUNCTIONS[name]
    at = np.array(points, dtype)
    x = gc.placeholder("x", ("n",), dtype)
    y = call(x)
    wanted = [y, gc.grad(gc.sum(y), x)]
    exact = [mp.mpf(float(v)) for v in at]
    units = [6 + squares * min(float(v) ** 2, 400.0) for v in at]
    interpreted, compiled = gc.evaluate(wanted, {x: at}), gc.compile([x], wanted)(at)
    assert_close(interpreted[0], [value(v) for v in exact], units)  # SciPy's
    assert_close(compiled[0], [value(v) for v in exact], units if "gelu" in name else [4.0] * 99)
    for found in (interpreted, compiled):
        assert_close(found[1], [derivative(v) for v in exact], units)


@pytest.mark.parametrize("compiled", [False, True])
def test_log_ndtr_at_the_ends_of_the_range(compiled: bool) -> None:
    x = gc.placeholder("x", ("n",), "float64")
    y = gc.log_ndtr(x)
    wanted = [y, gc.grad(gc.sum(y), x)]
    at = np.array([-np.inf, -1e300, -1e150, 1e150, np.inf])
    found = gc.compile([x], wanted)(at) if compiled else gc.evaluate(wanted, {x: at})
    np.testing.assert_allclose(found[0], [-np.inf, -np.inf, -5e299, 0, 0], rtol=1e-15)
    np.testing.assert_allclose(found[1], [np.inf, 1e300, 1e150, 0, 0], rtol=1e-15)


def test_gelu_of_a_negative_number_in_float32() -> None:
    x = gc.placeholder("x", ("n",))
    found = gc.compile([x], gelu(x))(np.array([-4, -5, -5.5, -6], "float32"))
    expected = [float(v * ndtr(v)) for v in (-4, -5, mp.mpf(-5.5), -6)]
    np.testing.assert_allclose(found, expected, rtol=3e-6)


@pytest.mark.parametrize("call", [gc.erfc, gc.erfcx, gc.log_ndtr, gc.log1mexp])
def test_second_derivatives(call: Callable[[Any], Any]) -> None:
    x = gc.placeholder("x", (), "float64")
    first = gc.grad(call(x), x)
    second = gc.grad(first, x)
    for at in (0.3, 1.7):
        low, high = (float(gc.evaluate(first, {x: at + s})) for s in (-1e-5, 1e-5))
        found = float(gc.evaluate(second, {x: at}))
        np.testing.assert_allclose(found, (high - low) / 2e-5, rtol=1e-8)
