"""Integrals of formulas, sums and products of unknown length, and derivatives of special functions,
held to mpmath: values, gradients and Hessians."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import mpmath as mp
import numpy as np
import pytest
import sympy as sp

import graphc as gc
from graphc.errors import RuntimeFailure

x, y = sp.symbols("x y", real=True)
t, u = sp.symbols("t u")
k = sp.Symbol("k", integer=True)
ORDERS = ((0, 0), (1, 0), (0, 1), (2, 0), (1, 1), (0, 2))
Exact = Callable[[Any, Any], Any]


def derivatives(e: Any, at: tuple[float, float], dtype: str = "float64") -> list[float]:
    """The value and the derivatives of `ORDERS`, interpreted."""
    given = [gc.placeholder(name, (), dtype) for name in "xy"]
    made = gc.from_sympy(e, dict(zip((x, y), given, strict=True)))
    first = gc.grad(made, given, unconnected="zero")
    rows = [gc.grad(g, given, unconnected="zero") for g in first]
    wanted = [made, *first, rows[0][0], rows[0][1], rows[1][1]]
    return [float(v) for v in gc.evaluate(wanted, dict(zip(given, at, strict=True)))]


def exact(f: Exact, at: tuple[float, float]) -> list[float]:
    with mp.workdps(16):
        return [float(mp.re(mp.diff(f, at, n) if any(n) else f(*map(mp.mpf, at)))) for n in ORDERS]


def quad(f: Callable[[Any], Any], *ends: Any) -> Any:
    return mp.quad(f, ends)


INTEGRALS: list[tuple[Any, Exact, tuple[float, float]]] = [
    (sp.Integral(sp.exp(-(t**2) * x) * sp.cos(y * t) / (1 + t**4), (t, 0, 1)),
     lambda a, b: quad(lambda t: mp.exp(-t * t * a) * mp.cos(b * t) / (1 + t**4), 0, 1), (0.3, 2)),
    (sp.Integral(sp.exp(-(t**2) * x) / (1 + t**4 * y), (t, -sp.oo, sp.oo)),
     lambda a, b: 2 * quad(lambda t: mp.exp(-t * t * a) / (1 + t**4 * b), 0, 1, 3, 30), (0.3, 2)),
    (sp.Integral(sp.exp(-(t**2)) / (1 + t**4), (t, x, y)),
     lambda a, b: quad(lambda t: mp.exp(-t * t) / (1 + t**4), a, b), (0.3, 2)),
    (sp.Integral(sp.sqrt(t) / (sp.exp(x * (t - y)) + 1), (t, 0, sp.oo)),
     lambda a, b: quad(lambda t: mp.sqrt(t) / (mp.exp(a * (t - b)) + 1), 0, 1, 2, 4, 10, 90),
     (1.3, 2)),
    (sp.Abs(sp.Integral(sp.exp(sp.I * x * t) / (1 + t**2), (t, 0, y))),
     lambda a, b: abs(quad(lambda t: mp.expj(a * t) / (1 + t * t), 0, b)), (1.3, 2)),
    (sp.Integral(sp.exp(-t), (t, sp.oo, x)) * y, lambda a, b: -mp.exp(-a) * b, (0.4, 3)),
    (sp.Integral(x, (t, 1, y)), lambda a, b: a * (b - 1), (0.4, 3)),
]  # fmt: skip


@pytest.mark.parametrize(("e", "f", "at"), INTEGRALS, ids=[str(row[0])[:50] for row in INTEGRALS])
def test_integrals(e: Any, f: Exact, at: tuple[float, float]) -> None:
    np.testing.assert_allclose(derivatives(e, at), exact(f, at), rtol=2e-12, atol=1e-13)


def test_an_integral_of_no_length_has_derivatives() -> None:
    """f(y) - f(x) by the ends: -f' and f' by them twice."""
    e = sp.Integral(sp.exp(-(t**2)), (t, x, y))
    f, slope = np.exp(-4.0), -4 * np.exp(-4.0)
    wanted = [0, -f, f, -slope, 0, slope]
    np.testing.assert_allclose(derivatives(e, (2.0, 2.0)), wanted, rtol=1e-13, atol=1e-15)


def test_an_end_at_which_the_integrand_is_infinite() -> None:
    """int_0^y cos(x t) / sqrt(t) dt: by y it is the integrand."""
    found = derivatives(sp.Integral(sp.cos(x * t) / sp.sqrt(t), (t, 0, y)), (0.3, 2.0))
    by_y, twice = np.cos(0.6) / 2**0.5, -0.3 * np.sin(0.6) / 2**0.5 - np.cos(0.6) / 2**2.5
    np.testing.assert_allclose(found[2], by_y, rtol=1e-13)
    np.testing.assert_allclose(found[5], twice, rtol=1e-12)


def test_nested_integrals() -> None:
    e = sp.Integral(sp.exp(-x * t * u), (t, 0, u), (u, 0, y))
    inner = sp.Integral(sp.Integral(sp.exp(-x * t * u), (t, 0, u)), (u, 0, y))
    with mp.workdps(20):
        wanted = float(mp.quad(lambda b: (1 - mp.exp(-1.3 * b * b)) / (1.3 * b), [0, 1.2]))
    for each in (e, inner):
        made = gc.from_sympy(each, {x: 1.3, y: 1.2})
        np.testing.assert_allclose(gc.evaluate(made, {}), wanted, rtol=1e-14)


def test_points_and_float32_native() -> None:
    e = sp.Integral(sp.exp(-(t**2) * x), (t, -sp.oo, sp.oo))
    at = np.array([0.5, 1.0, 4.0])
    value, slope = gc.lambdify(x, e, gradient=True)(at)
    np.testing.assert_allclose(value, np.sqrt(np.pi / at), rtol=1e-14)
    np.testing.assert_allclose(slope[:, 0], -0.5 * np.sqrt(np.pi) * at**-1.5, rtol=1e-14)
    debye = gc.lambdify(y, sp.Integral(t**3 / (sp.exp(t) - 1), (t, 0, y)), gradient=True)
    value, slope = debye(2.0)
    np.testing.assert_allclose(value, float(mp.quad(lambda t: t**3 / mp.expm1(t), [0, 2])), 1e-14)
    np.testing.assert_allclose(slope, [8 / np.expm1(2)], rtol=1e-14)
    single = gc.lambdify(x, e, dtype="float32")(at.astype("float32"))
    assert single.dtype == np.float32
    np.testing.assert_allclose(single, np.sqrt(np.pi / at), rtol=1e-5)


@pytest.mark.parametrize("e", [
    sp.Integral(sp.Abs(t - x), (t, 0, 1)), sp.Integral(sp.Heaviside(t - x), (t, 0, 1)),
    sp.Integral(sp.cos(1000 * x * t), (t, 0, 1)), sp.Integral(sp.exp(t * x), (t, 0, sp.oo)),
    sp.Integral(sp.exp(-((t - 100) ** 2) * x), (t, -sp.oo, sp.oo)), sp.Integral(x / t, (t, 0, 1)),
])  # fmt: skip
def test_what_is_not_near_its_integral_fails(e: Any) -> None:
    with pytest.raises(RuntimeFailure, match="integral over t is not found"):
        gc.evaluate(gc.from_sympy(e, {x: gc.constant(0.3, "float64")}), {})


SPECIAL: list[tuple[Any, Exact, tuple[float, float]]] = [
    (sp.polylog(2, x * y), lambda a, b: mp.polylog(2, a * b), (0.3, 2)),
    (sp.polylog(y, x), lambda a, b: mp.polylog(b, a), (0.3, 2)),
    (sp.elliptic_k(x) * y, lambda a, b: mp.ellipk(a) * b, (0.0, 2)),
    (sp.elliptic_k(x) * y, lambda a, b: mp.ellipk(a) * b, (0.9, 2)),
    (sp.elliptic_e(x) * y, lambda a, b: mp.ellipe(a) * b, (0.0, 2)),
    (sp.elliptic_f(x, y), mp.ellipf, (4.3, 0.3)),
    (sp.elliptic_f(x, y), mp.ellipf, (1.3, -3.0)),
    (sp.elliptic_e(x, y), mp.ellipe, (-4.3, 0.3)),
    (sp.elliptic_pi(x, y), mp.ellippi, (0.3, 0.5)),
    (sp.elliptic_pi(sp.Rational(1, 3), x, y), lambda a, b: mp.ellippi(mp.mpf(1) / 3, a, b),
     (4.3, 0.5)),
    (sp.zeta(x) * y, lambda a, b: mp.zeta(a) * b, (2.3, 1)),
    (sp.zeta(x, y), mp.zeta, (2.3, 2)),
    (sp.lowergamma(x, y), lambda a, b: mp.gammainc(a, 0, b), (2.3, 2)),
    (sp.uppergamma(x, y), mp.gammainc, (2.3, 2)),
    (sp.LambertW(x) * y, lambda a, b: mp.lambertw(a) * b, (0.0, 2)),
    (sp.Si(x) + sp.Shi(x) * y, lambda a, b: mp.si(a) + mp.shi(a) * b, (0.5, 2)),
    (sp.expint(1, x) * y, lambda a, b: mp.e1(a) * b, (0.7, 2)),
    (sp.jn(1, x) * y, lambda a, b: b * mp.besselj(1.5, a) * mp.sqrt(mp.pi / 2 / a), (0.01, 2)),
    (sp.Product(1 + x / k**2, (k, 1, y)), lambda a, b: mp.fprod(1 + a / j**2 for j in range(1, 6)),
     (0.3, 5)),
    (sp.Product(x - k, (k, 1, y)), lambda a, b: mp.fprod(a - j for j in range(1, 6)), (2, 5)),
    (sp.Sum(x**k / sp.factorial(k), (k, 0, sp.oo)) * y, lambda a, b: mp.exp(a) * b, (0.3, 1)),
    (sp.polylog(sp.Rational(5, 2), -x) * y, lambda a, b: mp.polylog(2.5, -a).real * b, (50, 1)),
    (sp.Sum(x**k / k**2, (k, 1, sp.oo)), lambda a, b: mp.polylog(2, a), (0.3, 1)),
]  # fmt: skip


@pytest.mark.parametrize(("e", "f", "at"), SPECIAL, ids=[str(row[0])[:50] for row in SPECIAL])
def test_special_functions(e: Any, f: Exact, at: tuple[float, float]) -> None:
    np.testing.assert_allclose(derivatives(e, at), exact(f, at), rtol=1e-11, atol=1e-13)


def test_derivatives_at_points_where_their_usual_form_is_no_number() -> None:
    """By x at 0, once and twice."""
    for e, wanted in [
        (sp.LambertW(x), (0, 1, -2)), (sp.Si(x), (0, 1, 0)), (sp.Shi(x), (0, 1, 0)),
        (sp.jn(0, x), (1, 0, -1 / 3)), (sp.jn(2, x), (0, 0, 2 / 15)),
        (sp.elliptic_k(x), (np.pi / 2, np.pi / 8, 9 * np.pi / 64)),
        (sp.binomial(x, 3), (0, 1 / 3, -1)),
    ]:  # fmt: skip
        found = derivatives(e, (0.0, 1.0))
        np.testing.assert_allclose([found[0], found[1], found[3]], wanted, rtol=1e-14, atol=1e-15)


def test_a_number_that_is_taken_away_stays_a_difference() -> None:
    """exp(x) - 1 near 0, and what is made of it: SymPy has it as a sum with -1."""
    f = gc.lambdify(x, [sp.exp(x) - 1, x / (sp.exp(x) - 1)], jacobian=True)
    values, slopes = f(1e-10)
    np.testing.assert_allclose(values, [np.expm1(1e-10), 1 - 0.5e-10], rtol=1e-15)
    np.testing.assert_allclose(slopes[:, 0], [1, -0.5], rtol=1e-9)


def test_no_closed_form_says_what_to_do() -> None:
    with pytest.raises(gc.errors.ArgumentError) as caught:
        gc.lambdify(x, sp.Sum(sp.cos(x * k**2) / k**2, (k, 1, sp.oo)))
    assert "(k, 0, 100)" in str(caught.value.hint)
