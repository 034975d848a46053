"""Powers of ints that a call gives, and functions of logarithms at infinities."""

from __future__ import annotations

import numpy as np
import pytest

import graphc as gc
from graphc.errors import RuntimeFailure


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int64", "uint64"])
def test_integers_to_powers_that_a_call_gives(dtype: str) -> None:
    x, y = (gc.placeholder(f"power_{name}", ("n",), dtype) for name in ("base", "exponent"))
    a, b = np.arange(-20, 20).astype(dtype), (np.arange(40) * 7 % 67).astype(dtype)
    run = gc.compile([x, y], x**y)
    np.testing.assert_array_equal(run(a, b), a**b)
    np.testing.assert_array_equal(gc.evaluate(x**y, {x: a, y: b}), a**b)
    if dtype.startswith("i"):
        for call in (run, lambda a, b: gc.evaluate(x**y, {x: a, y: b})):
            with pytest.raises(RuntimeFailure, match="negative integer powers"):
                call(a, b - 1)


def test_small_integer_bases_are_numpys() -> None:
    x, y = gc.placeholder("flag", (4,), "bool"), gc.placeholder("other", (4,), "bool")
    a, b = np.array([0, 0, 1, 1], bool), np.array([0, 1, 0, 1], bool)
    found = gc.evaluate(gc.pow(x, y), {x: a, y: b})
    np.testing.assert_array_equal(found, np.power(a, b), strict=True)


def test_logaddexp_and_its_derivative_at_infinities() -> None:
    x, y = gc.placeholder("log_a", ("n",), "float64"), gc.placeholder("log_b", ("n",), "float64")
    z = gc.logaddexp(x, y)
    a = np.array([np.inf, -np.inf, np.inf, -np.inf, 0.0, 1e308])
    b = np.array([np.inf, -np.inf, -np.inf, 3.0, 1000.0, 1e308])
    value, dx, dy = gc.compile([x, y], [z, *gc.grad(gc.sum(z), [x, y])])(a, b)
    np.testing.assert_array_equal(value, np.logaddexp(a, b))
    np.testing.assert_array_equal(dx, [0.5, 0.5, 1, 0, 0, 0.5])
    np.testing.assert_array_equal(dy, [0.5, 0.5, 0, 1, 1, 0.5])
