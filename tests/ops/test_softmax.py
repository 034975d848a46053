"""Rows with infinities in the softmax family: what IEEE arithmetic makes of the formula, and where
that has no answer, NaN as SciPy's; the same interpreted, compiled, and for the formula as written.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import scipy.special

import graphc as gc
from graphc.nn import losses

Array = np.ndarray[Any, Any]
INF, NAN = np.inf, np.nan
ROWS = np.array(list(itertools.product([0.0, 2.0, -1000.0, 1000.0, INF, -INF, NAN], repeat=3)))


def formula(z: Array) -> Array:
    """exp(z) / sum(exp(z)) with the exponents' range of 80 bits."""
    e = np.exp(z.astype(np.longdouble))
    return e / np.sum(e, axis=-1, keepdims=True)


def naive(z: gc.Tensor) -> gc.Tensor:
    return gc.exp(z) / gc.sum(gc.exp(z), axis=1, keepdims=True)


# what is computed, the ways to write it, and the truth
CASES: dict[str, tuple[list[Callable[[Any], Any]], Callable[[Array], Array]]] = {
    "softmax": ([gc.softmax, naive], formula),
    "log_softmax": (
        [gc.log_softmax, lambda z: gc.log(gc.softmax(z)), lambda z: gc.log(naive(z))],
        lambda z: scipy.special.log_softmax(z, axis=-1),
    ),
    "logsumexp": (
        [lambda z: gc.logsumexp(z, axis=1), lambda z: gc.log(gc.sum(gc.exp(z), axis=1))],
        lambda z: scipy.special.logsumexp(z, axis=-1),
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_rows_with_infinities(name: str) -> None:
    ways, truth = CASES[name]
    z = gc.placeholder("z", ("n", 3), "float64")
    with np.errstate(all="ignore"):
        expected = truth(ROWS).astype(float)
    for found in gc.compile([z], [way(z) for way in ways])(ROWS):
        np.testing.assert_allclose(found, expected, rtol=1e-14, atol=1e-300)
    np.testing.assert_allclose(gc.evaluate(ways[0](z), {z: ROWS}), expected, rtol=1e-14)


def test_the_logarithm_of_two_exponentials_at_infinities() -> None:
    values = [0.0, 1.0, 1000.0, -1000.0, INF, -INF, NAN]
    a, b = (v.ravel() for v in np.meshgrid(values, values))
    x, y = gc.placeholder("x", ("n",), "float64"), gc.placeholder("y", ("n",), "float64")
    z = gc.log(gc.exp(x) + gc.exp(y))
    found, slope = gc.compile([x, y], [z, gc.grad(gc.sum(z), x)])(a, b)
    with np.errstate(invalid="ignore"):
        np.testing.assert_allclose(found, np.logaddexp(a, b), rtol=1e-15)
    finite = np.isfinite(a) & np.isfinite(b)
    share = scipy.special.expit(a[finite] - b[finite])
    np.testing.assert_allclose(slope[finite], share, rtol=1e-15)


@pytest.mark.parametrize("compiled", [False, True])
def test_a_target_of_zero_at_a_logit_of_minus_infinity(compiled: bool) -> None:
    z, t = gc.placeholder("z", ("n", 3), "float64"), gc.placeholder("t", ("n", 3), "float64")
    loss = losses.softmax_cross_entropy(z, t)
    wanted = [loss, *gc.grad(gc.sum(loss), [z, t])]
    logits = np.array([[0, -INF, 1], [0, -INF, 1], [0.5, 1, 2]])
    targets = np.array([[1.0, 0, 0], [0.5, 0.25, 0.25], [0, 1, 0]])
    if compiled:
        value, by_logit, by_target = gc.compile([z, t], wanted)(logits, targets)
    else:
        value, by_logit, by_target = gc.evaluate(wanted, {z: logits, t: targets})
    log_p = scipy.special.log_softmax(logits, axis=1)
    rest = -log_p[2, 1]
    np.testing.assert_allclose(value, [1.3132616875182228, INF, rest], rtol=1e-15)
    p = np.exp(log_p)
    np.testing.assert_allclose(by_logit[[0, 2]], (p - targets)[[0, 2]], atol=1e-15)
    np.testing.assert_allclose(by_target[0], [-log_p[0, 0], 0, -log_p[0, 2]], rtol=1e-15)
    np.testing.assert_allclose(by_target[2], -log_p[2], rtol=1e-15)


def test_labels_beside_logits_of_minus_infinity() -> None:
    z, t = gc.placeholder("z", ("n", 3), "float64"), gc.placeholder("t", ("n",), "int64")
    loss = losses.softmax_cross_entropy(z, t)
    logits = np.array([[0, -INF, 1], [0, -INF, 1], [0, INF, 1]])
    value, slope = gc.compile([z, t], [loss, gc.grad(gc.sum(loss), z)])(logits, [0, 1, 0])
    np.testing.assert_allclose(value, [1.3132616875182228, INF, INF], rtol=1e-15)
    np.testing.assert_allclose(slope[0], [0.2689414213699951 - 1, 0, 0.7310585786300049])


def test_binary_cross_entropy_of_infinite_logits() -> None:
    z, t = gc.placeholder("z", ("n",), "float64"), gc.placeholder("t", ("n",), "float64")
    loss = losses.binary_cross_entropy(z, t)
    f = gc.compile([z, t], [loss, gc.grad(gc.sum(loss), z)])
    value, slope = f(np.array([-INF, INF, -INF, INF]), np.array([0.0, 1, 1, 0]))
    np.testing.assert_array_equal(value, [0, 0, INF, INF])
    np.testing.assert_array_equal(slope, [0, 0, -1, 1])


@pytest.mark.parametrize("m", [0, 1, 3])
def test_an_axis_that_is_empty_at_all_sizes_above_0(m: int) -> None:
    x = gc.placeholder("x", ("m", "max(1 - m, 0)"), "float64")
    names = [gc.softmax, gc.log_softmax, gc.logsumexp]
    f = gc.compile([x], [name(x + 0, axis=(0, 1)) for name in names] + [gc.softmax(x)])
    given = np.full((m, max(1 - m, 0)), 1000.0)
    for found, expected in zip(f(given), [given, given, -INF, given], strict=True):
        np.testing.assert_array_equal(found, expected)


def test_one_element_on_an_axis_that_is_empty_at_all_sizes_above_0() -> None:
    n, m = gc.dim("n"), gc.dim("m")
    x, y = gc.placeholder("x", (n, m), "float64"), gc.placeholder("y", (n,), "float64")
    z = y[gc.dim("min(m, n)") : gc.dim("min(1, n)")]  # one element where m is 0
    f = gc.compile([x, y], [gc.softmax(z), gc.log_softmax(z), gc.logsumexp(z)])
    found = f(np.zeros((2, 0)), np.array([1000.0, 5]))
    for value, expected in zip(found, [1, 0, 1000], strict=True):
        np.testing.assert_array_equal(value, expected)
