"""Derivatives of products, of any order and at any number of zeros: those of the polynomial."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
import sympy as sp

import graphc as gc

Array = np.ndarray[Any, Any]
RNG = np.random.default_rng(0)
POINTS = list(itertools.product([0.0, 2.0, -3.0], repeat=4))


def along(polynomial: Any, symbols: list[Any], weights: Array) -> Any:
    """The derivative in the direction of `weights`."""
    return sum(sp.diff(polynomial, s) * int(w) for s, w in zip(symbols, weights, strict=True))


def derivatives(x: gc.Tensor, first: Any, second: Any) -> list[gc.Tensor]:
    """The gradients of prod(x), of its derivative along `first`, and of that along `second`."""
    found = [gc.grad(gc.prod(x), x)]
    for weights in (first, second):
        found.append(gc.grad(gc.sum(found[-1] * weights), x))
    return found


@pytest.fixture(scope="module")
def expected() -> tuple[list[Array], list[Any]]:
    """Two directions, and the three gradients as functions of a point."""
    symbols = list(sp.symbols("x:4"))
    directions = [RNG.integers(-4, 5, 4).astype(float) for _ in range(2)]
    polynomials = [sp.prod(symbols)]
    for weights in directions:
        polynomials.append(along(polynomials[-1], symbols, weights))
    gradients = [[sp.diff(p, s) for s in symbols] for p in polynomials]
    return directions, [sp.lambdify([symbols], g) for g in gradients]


def test_up_to_the_third_at_every_pattern_of_zeros(expected: Any) -> None:
    directions, gradients = expected
    x = gc.placeholder("x", (4,), "float64")
    tensors = derivatives(x, *directions)
    for point in POINTS:
        found = gc.evaluate(tensors, {x: np.array(point)})
        for got, wanted in zip(found, gradients, strict=True):
            np.testing.assert_allclose(got, wanted(point), rtol=1e-13, atol=1e-13)


def test_compiled_for_a_named_size(expected: Any) -> None:
    directions, gradients = expected
    x, v, w = (gc.placeholder(name, ("n",), "float64") for name in "xvw")
    f = gc.compile([x, v, w], derivatives(x, v, w))
    for point in POINTS:
        for got, wanted in zip(f(np.array(point), *directions), gradients, strict=True):
            np.testing.assert_allclose(got, wanted(point), rtol=1e-13, atol=1e-13)
    for got in f(*np.zeros((3, 0))):
        assert got.shape == (0,)


@pytest.mark.parametrize("axis", [0, 1, 2, (0, 2), (2, 1), None])
def test_over_axes_of_what_has_zeros(axis: Any) -> None:
    """Against differences, which are right for a polynomial of degree 1 in each element."""
    at = RNG.integers(-1, 2, (2, 3, 2)).astype(float)
    x = gc.placeholder("x", at.shape, "float64")
    y = gc.prod(x, axis=axis)
    first = gc.vjp(y, x, RNG.normal(size=[int(s) for s in y.shape]))
    loss = gc.sum(first * RNG.normal(size=at.shape))
    second = gc.evaluate(gc.grad(loss, x), {x: at})
    for i in np.ndindex(at.shape):
        step = np.zeros_like(at)
        step[i] = 1
        low, high = (gc.evaluate(loss, {x: at + s * step}) for s in (-1, 1))
        np.testing.assert_allclose(second[i], (high - low) / 2, rtol=1e-12, atol=1e-12)


def test_hessian_of_one_and_of_two_zeros() -> None:
    x = gc.placeholder("x", (3,), "float64")
    f = gc.compile([x], gc.grad(gc.sum(gc.grad(gc.prod(x), x)), x))
    np.testing.assert_array_equal(f(np.array([0.0, 2.0, 3.0])), [5, 3, 2])
    np.testing.assert_array_equal(f(np.array([0.0, 0.0, 3.0])), [3, 3, 0])
