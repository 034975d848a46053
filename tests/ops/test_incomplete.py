"""Incomplete integrals: derivatives by their parameters against mpmath, at ordinary places and far
out on either side, and second ones."""

from __future__ import annotations

from typing import Any

import mpmath
import numpy as np

import graphc as gc

mp = mpmath.mp.clone()
mp.dps = 40
GAMMA = [
    (1e-8, 0.3), (1e-3, 1e-10), (0.1, 1e-300), (0.2, 0.9), (0.3, 4.0), (0.5, 30.0), (1.0, 1.0),
    (1.7, 0.01), (2.5, 2.0), (2.5, 3.0), (3.0, 40.0), (12.0, 5.0), (15.9, 16.0), (40.0, 33.0),
    (40.0, 70.0), (900.0, 880.0), (900.0, 1000.0), (1e5, 1.001e5), (1e5, 0.999e5),
]  # fmt: skip
BETA = [
    (0.5, 0.5, 0.3), (0.1, 2.0, 1e-8), (1e-4, 0.7, 0.2), (2.0, 3.0, 0.4), (2.0, 3.0, 0.999),
    (3.0, 0.05, 0.6), (3.0, 0.05, 0.9999), (7.0, 40.0, 0.02), (7.0, 40.0, 0.16), (7.0, 40.0, 0.6),
    (30.0, 20.0, 0.6), (300.0, 400.0, 0.42), (300.0, 400.0, 0.47), (1.0, 1.0, 0.5),
    (0.3, 90.0, 0.05), (60.0, 0.4, 0.9),
]  # fmt: skip


def columns(points: list[Any], dtype: str = "float64") -> tuple[list[Any], list[Any]]:
    """A placeholder for each argument, and what they are given."""
    given = [np.array(v, dtype) for v in zip(*points, strict=True)]
    return [gc.placeholder(f"incomplete{i}", v.shape, dtype) for i, v in enumerate(given)], given


def gamma(a: Any, x: Any) -> Any:
    return mp.gammainc(a, 0, x, regularized=True)


def beta(a: Any, b: Any, x: Any) -> Any:
    return mp.betainc(a, b, 0, x, regularized=True)


def exact(function: Any, point: Any, order: tuple[int, ...]) -> float:
    """A derivative by differences, with three times the digits that are compared."""
    return float(mp.diff(function, tuple(mp.mpf(v) for v in point), order))


def test_gammainc_by_its_parameter() -> None:
    (a, x), given = columns(GAMMA)
    outputs = [gc.grad(gc.sum(f(a, x)), a) for f in (gc.gammainc, gc.gammaincc)]
    wanted = np.array([exact(gamma, p, (1, 0)) for p in GAMMA])
    for found in (gc.evaluate(outputs, dict(zip((a, x), given, strict=True))),
                  gc.compile([a, x], outputs)(*given)):  # fmt: skip
        np.testing.assert_allclose(found[0], wanted, rtol=2e-11)
        np.testing.assert_array_equal(found[1], -found[0])


def test_betainc_by_its_parameters() -> None:
    inputs, given = columns(BETA)
    outputs = gc.grad(gc.sum(gc.betainc(*inputs)), inputs)
    found = gc.evaluate(outputs, dict(zip(inputs, given, strict=True)))
    for i, order in enumerate(((1, 0, 0), (0, 1, 0), (0, 0, 1))):
        wanted = [exact(beta, p, order) for p in BETA]
        np.testing.assert_allclose(found[i], wanted, rtol=1e-10)
    for one, other in zip(found, gc.compile(inputs, outputs)(*given), strict=True):
        np.testing.assert_allclose(other, one, rtol=1e-10)


def test_second_derivatives() -> None:
    points = [(0.4, 0.7), (2.5, 1.5), (2.5, 6.0), (20.0, 22.0)]
    (a, x), given = columns(points)
    (by_a,) = gc.grad(gc.sum(gc.gammainc(a, x)), [a])
    twice = gc.evaluate(gc.grad(gc.sum(by_a), [a, x]), dict(zip((a, x), given, strict=True)))
    for found, order in zip(twice, ((2, 0), (1, 1)), strict=True):
        np.testing.assert_allclose(found, [exact(gamma, p, order) for p in points], rtol=1e-9)


def test_at_the_ends_nothing_changes() -> None:
    """In float32 too, and where one argument is broadcast."""
    a = gc.placeholder("incomplete_a", (), "float32")
    x = gc.placeholder("incomplete_x", (4,), "float32")
    ends = {a: 2.5, x: [0.0, np.inf, 1.0, 3.0]}
    each = gc.evaluate(gc.jvp(gc.gammainc(a, x), a, gc.ones((), "float32")), ends)
    np.testing.assert_array_equal(each[:2], 0)
    wanted = [exact(gamma, (2.5, v), (1, 0)) for v in (1, 3)]
    np.testing.assert_allclose(each[2:], wanted, rtol=1e-6)
    of_beta = gc.grad(gc.sum(gc.betainc(a, 1.5, x)), a)
    assert gc.evaluate(of_beta, {a: 2.0, x: [0.0, 1.0, 0.0, 1.0]}) == 0
