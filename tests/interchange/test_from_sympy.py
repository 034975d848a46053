"""Expressions of SymPy as graphs, held to SymPy's own numbers and derivatives."""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sympy as sp
from sympy.codegen import cfunctions as c
from sympy.codegen import numpy_nodes

import graphc as gc
from graphc.errors import ArgumentError, GradientError
from graphc.ir.graph import walk
from graphc.ir.op import Kind
from graphc.ops.formula_functions import BUILDERS, REWRITES
from graphc.ops.scipy_functions import SCIPY_FUNCTIONS

x, y, z = sp.symbols("x y z")
i, j, n = sp.symbols("i j n", integer=True)
f = sp.Function("f")
RNG = np.random.default_rng(0)
X = gc.placeholder("front_x", ("n",), "float64")
Y = gc.placeholder("front_y", (), "float64")
AT_X, AT_Y = np.array([0.3, 0.7, 1.4]), 0.6


def value(e: Any, at_x: Any = AT_X, at_y: float = AT_Y) -> Any:
    made = gc.from_sympy(e, {x: X, y: Y})
    return np.broadcast_to(gc.evaluate(made, {X: at_x, Y: at_y}), np.shape(at_x))


def exact(e: Any, at_x: Any = AT_X, at_y: float = AT_Y) -> Any:
    """SymPy's digits."""
    points = [{x: sp.Float(a, 40), y: sp.Float(at_y, 40)} for a in np.asarray(at_x).tolist()]
    return np.array([float(sp.N(e.subs(p).doit(), 25)) for p in points])


FORMULAS = [
    x + y, x - y, 3 - x - y, x * y / 3, sp.sqrt(30) / sp.pi * x, -x, x**2, x**5, x**-2, x**17,
    x ** sp.Rational(3, 2), 1 / sp.sqrt(x), x ** sp.Rational(1, 3), 2**x, x**y, x**-y,
    (x + y) ** sp.E, sp.exp(-(x**2)) * y, sp.exp(2) * x, sp.log(x), sp.log(x, 3),
    sp.Rational(7, 3) + x * sp.Float("0.1"), sp.sin(x), sp.cos(x), sp.tan(x),
    sp.sec(x) + sp.csc(x) + sp.cot(x), sp.asin(x / 2), sp.acos(x / 2), sp.atan(x), sp.atan2(y, x),
    sp.asec(2 + x), sp.acsc(2 + x), sp.acot(x), sp.sinh(x), sp.cosh(x), sp.tanh(x),
    sp.sech(x) + sp.csch(x) + sp.coth(x), sp.asinh(x), sp.acosh(1 + x), sp.atanh(x / 2),
    sp.asech(x / 2), sp.acsch(x), sp.acoth(2 + x), sp.sinc(x), sp.Abs(x - 1), sp.sign(x - 1),
    sp.floor(3 * x), sp.ceiling(3 * x), sp.frac(3 * x), sp.Mod(x, y), sp.Mod(-x, y),
    sp.Max(x, y, sp.S.Half), sp.Min(x, y, 1), sp.Heaviside(x - 1), sp.KroneckerDelta(x, x),
    sp.erf(x), sp.erfc(x), sp.erfi(x), sp.erfinv(x / 2), sp.gamma(x), sp.loggamma(x),
    sp.digamma(x), sp.polygamma(2, x), sp.beta(x, y), sp.factorial(x), sp.harmonic(x),
    sp.RisingFactorial(x, 2 * y), sp.binomial(3 + x, y), sp.lowergamma(x, y), sp.uppergamma(x, y),
    sp.legendre(4, x), sp.chebyshevt(5, x), sp.hermite(3, x), sp.laguerre(3, x),
    sp.jacobi(2, 1, 2, x), sp.assoc_legendre(2, 1, x / 2), sp.gegenbauer(3, 2, x),
    sp.besselj(0, x), sp.bessely(1, x), sp.besseli(y, x), sp.besseli(0, x), sp.besseli(1, x),
    sp.besselk(2, x), sp.jn(2, x), sp.yn(1, x), sp.airyai(x), sp.airybi(x), sp.Ei(x), sp.Si(x),
    sp.Ci(x), sp.Shi(x), sp.Chi(x), sp.fresnels(x), sp.fresnelc(x), sp.expint(1, x),
    sp.LambertW(x), sp.zeta(x + 1), sp.elliptic_k(x / 2), sp.elliptic_e(x / 2),
    sp.elliptic_f(x, y), c.expm1(x), c.log1p(x), c.log2(x), c.log10(x), c.exp2(x), c.hypot(x, y),
    numpy_nodes.logaddexp(x, y), numpy_nodes.logaddexp2(x, y),
    sp.Piecewise((x, x < 0.5), (y, x < 1), (x**2, True)), sp.ITE(x > 1, x < y, y > 0),
    sp.Piecewise((1, sp.And(x > 0.5, sp.Not(x > 1))), (2, sp.Or(x < 0.1, x > 1.2)), (3, True)),
    sp.Sum(x**i / sp.factorial(i), (i, 0, 10)), sp.Sum(sp.cos(i * x) / i**2, (i, 1, 200)),
    sp.Sum(y * i, (i, 1, 50)) * x, sp.Sum(i * x, (i, 5, 2)), sp.Sum(i * x, (i, 5, 4)),
    sp.Sum(i * j * x, (i, 1, j), (j, 1, 40)), sp.Product(1 + x / i, (i, 1, 5)),
    sp.Product(1 + x / i, (i, 1, 60)), sp.Product(i * x, (i, 5, 2)),
    sp.Derivative(sp.sin(x) * y, x), sp.Derivative(x**3, x, 2), sp.Subs(y * z, z, x),
    sp.UnevaluatedExpr(x + 1) * 2, sp.re(x) + sp.conjugate(y) + sp.im(x), sp.arg(x - 1),
    sp.li(x + 2), sp.Li(x + 2), sp.dirichlet_eta(x + 1), sp.hyper([1, 1], [2], -x / 2),
    sp.meijerg([[], []], [[0], []], x), sp.rootof(z**5 - z - 1, 0) * x,
    sp.LeviCivita(0, i, 2).subs(i, x) + x, sp.Abs(1 / (1 + sp.I * x)), sp.re(sp.exp(sp.I * x * y)),
    sp.Piecewise((x, sp.Contains(2 * x, sp.S.Naturals0)), (y, sp.Contains(x, sp.Interval(1, 2))),
                 (3, True)), sp.elliptic_pi(x / 2, y),
    sp.elliptic_pi(sp.Rational(1, 3), 3 * x, y),
    sp.polylog(2, x / 2), sp.polylog(-1, x / 2),
    sp.expint(-1, x), sp.SingularityFunction(x, sp.S.Half, 2), sp.catalan(x), sp.jn(0, x),
    sp.betainc(x, y, 0, sp.S.Half),
    sp.Product(1 + x / i, (i, 1, 10 * y)),
    20 * sp.log(sp.Abs((1 / (z**2 + z + 1)).subs(z, sp.I * x)), 10),
]  # fmt: skip


@pytest.mark.parametrize("e", FORMULAS, ids=lambda e: str(e)[:40])
def test_equals_sympy(e: Any) -> None:
    wanted = np.array([bool(e.subs({x: a, y: AT_Y})) for a in AT_X]) if e.is_Boolean else exact(e)
    np.testing.assert_allclose(value(e), wanted, rtol=2e-14, atol=2e-15)


@pytest.mark.parametrize(("e", "same"), [
    (sp.erf2(x, y), sp.erf(y) - sp.erf(x)), (c.Sqrt(x), sp.sqrt(x)), (c.Cbrt(x), sp.cbrt(x)),
    (c.fma(x, y, y), x * y + y), (numpy_nodes.maximum(x, y), sp.Max(x, y)),
])  # fmt: skip
def test_equals_what_sympy_gives_for(e: Any, same: Any) -> None:
    np.testing.assert_allclose(value(e), exact(same), rtol=2e-14)


def test_a_long_sum_over_two_indices_is_a_reduction() -> None:
    made = gc.from_sympy(sp.Sum(sp.sin(i * j * x) / i, (i, 1, 40), (j, 1, 35)), {x: X})
    a, b = np.arange(1, 41)[:, None], np.arange(1, 36)
    wanted = [(np.sin(a * b * at) / a).sum() for at in AT_X]
    np.testing.assert_allclose(gc.evaluate(made, {X: AT_X}), wanted, rtol=1e-12)
    assert len(ops(made)) < 20


def test_conditions_without_an_answer_are_nan() -> None:
    e = sp.Piecewise((x, x < 0.5), (y, x > 1))
    np.testing.assert_array_equal(value(e), [0.3, np.nan, AT_Y])


def test_derivatives_of_what_sympy_does_not_know_to_be_real() -> None:
    e = (sp.Abs(x - 1) * x).diff(x)
    assert e.has(sp.Derivative)
    np.testing.assert_allclose(value(e), np.abs(AT_X - 1) + AT_X * np.sign(AT_X - 1))


def test_steps() -> None:
    at = np.array([-1.0, 0.0, 1.0, np.nan])
    np.testing.assert_array_equal(value(sp.Heaviside(x), at), [0, 0.5, 1, np.nan])
    np.testing.assert_array_equal(value(sp.Heaviside(x, 1), at), [0, 1, 1, np.nan])
    np.testing.assert_array_equal(value(sp.KroneckerDelta(x, y), at, 1.0), [0, 0, 1, 0])
    np.testing.assert_array_equal(value(sp.sinc(x), np.array([0.0])), [1])


# -- random expressions, and their derivatives -----------------------------------------------------
UNARY: list[Callable[[Any], Any]] = [
    sp.sin, sp.cos, sp.tanh, sp.exp, sp.atan, lambda e: sp.log(e**2 + 1),
    lambda e: sp.sqrt(e**2 + 2), sp.erf, lambda e: e**3, lambda e: 1 / (e**2 + 1),
    lambda e: sp.Piecewise((e, e > 0), (e**2, True)),
]  # fmt: skip
BINARY: list[Callable[[Any, Any], Any]] = [
    lambda a, b: a + b, lambda a, b: a * b, lambda a, b: a - b / 3, sp.Max, lambda a,
    b: a / (b**2 + 1), lambda a, b: (a**2 + 1) ** sp.tanh(b),
]  # fmt: skip


def drawn(rng: random.Random, depth: int) -> Any:
    if depth == 0:
        return rng.choice([x, y, x, y, sp.Rational(rng.randint(1, 9), 7), sp.pi, sp.sqrt(3)])
    if rng.random() < 0.5:
        return rng.choice(UNARY)(drawn(rng, depth - 1))
    return rng.choice(BINARY)(drawn(rng, depth - 1), drawn(rng, rng.randint(0, depth - 1)))


@pytest.mark.parametrize("seed", range(25))
def test_random_expressions_and_derivatives(seed: int) -> None:
    rng = random.Random(seed)
    e = drawn(rng, 4) + x * y
    made = gc.from_sympy(e, {x: X, y: Y})
    total = gc.sum(made)
    slopes = gc.grad(total, [X, Y], unconnected="zero")
    got = gc.evaluate([made, *slopes], {X: AT_X, Y: AT_Y})
    np.testing.assert_allclose(np.broadcast_to(got[0], 3), exact(e), rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(got[1], exact(e.diff(x)), rtol=1e-10, atol=1e-10)
    np.testing.assert_allclose(got[2], exact(e.diff(y)).sum(), rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("e", [
    sp.besselj(2, x), sp.besselk(1, x), sp.Si(x), sp.fresnels(x), sp.airyai(x), sp.Ei(x),
    sp.erfinv(x / 2), sp.LambertW(x), sp.gamma(x), sp.loggamma(x), sp.polygamma(1, x),
    sp.atan2(x, y),
])  # fmt: skip
def test_derivatives_of_functions(e: Any) -> None:
    """First and second: SymPy's derivatives of what SciPy computes are formulas again."""
    made = gc.from_sympy(e, {x: X, y: Y})
    first = gc.grad(gc.sum(made), X)
    second = gc.grad(gc.sum(first), X)
    got = gc.evaluate([first, second], {X: AT_X, Y: AT_Y})
    np.testing.assert_allclose(got[0], exact(e.diff(x)), rtol=1e-12)
    np.testing.assert_allclose(got[1], exact(e.diff(x, 2)), rtol=1e-11)


def test_no_derivative_by_an_order_says_so() -> None:
    made = gc.from_sympy(sp.besselj(x, y), {x: X, y: Y})
    with pytest.raises(GradientError, match=r"besselj: no derivative by argument 1"):
        gc.grad(gc.sum(made), X)


def test_scipy_is_called_in_a_compiled_program() -> None:
    f = gc.compile([X], gc.from_sympy(sp.besselj(0, x) ** 2, {x: X}))
    np.testing.assert_allclose(f(AT_X), exact(sp.besselj(0, x) ** 2), rtol=1e-14)


# -- what the graph is like ------------------------------------------------------------------------
def ops(*tensors: Any) -> list[str]:
    return [n.op.name for n in walk(list(tensors)) if n.op.kind is not Kind.LEAF]


def test_orders_that_have_an_op() -> None:
    assert ops(gc.from_sympy(sp.besseli(0, x), {x: X})) == ["i0"]
    assert ops(gc.from_sympy(sp.besseli(2, x), {x: X}))[-1] == "special"
    assert ops(gc.from_sympy(sp.polygamma(2, x), {x: X})) == ["polygamma"]


def test_powers_and_quotients_are_what_they_mean() -> None:
    given = {x: X}
    assert ops(gc.from_sympy(x**2, given)) == ["square"]
    assert ops(gc.from_sympy(sp.sqrt(x), given)) == ["sqrt"]
    assert gc.from_sympy(1 / x, given).node.op.name == "divide"
    assert "power" not in ops(gc.from_sympy(x**7 + x**-3 + x ** sp.Rational(5, 2), given))


def test_numbers_are_one_constant_rounded_once() -> None:
    made = gc.from_sympy(sp.sqrt(30) / sp.pi * x * sp.E**2 * 3, {x: X})
    assert ops(made) == ["multiply"]
    (number,) = [t for t in made.node.inputs if t is not X]
    (array,) = [n.attrs["value"].array for n in walk([number]) if "value" in n.attrs]
    assert array == float((sp.sqrt(30) / sp.pi * sp.E**2 * 3).evalf(40))
    single = gc.placeholder("front_single")
    assert gc.from_sympy(x / 3, {x: single}).dtype is gc.float32


def test_sums_of_numbers_are_numbers() -> None:
    total = sp.Sum(i * j, (i, 1, j), (j, 1, 4)) + sp.Sum(1 / i**2, (i, 1, sp.oo))
    made = gc.from_sympy(total * x, {x: X})
    assert ops(made) == ["multiply"]
    np.testing.assert_allclose(gc.evaluate(made, {X: AT_X}), (65 + np.pi**2 / 6) * AT_X)


def test_equal_subexpressions_are_one_node() -> None:
    shared = sp.sin(x * y) ** 2
    made = gc.from_sympy([shared + x, sp.exp(shared), {"k": shared}], {x: X, y: Y})
    found = ops(made[0], made[1], made[2]["k"])
    assert found.count("sin") == found.count("square") == 1
    assert isinstance(made, list)


def test_deep_expressions() -> None:
    """Deeper than Python's stack, and shared so that a tree of it would have 2^3000 leaves."""
    e: Any = x
    for _ in range(3000):
        e = sp.Add(sp.sin(e, evaluate=False), e, evaluate=False)
    assert len(ops(gc.from_sympy(e, {x: X}))) == 6000


def test_the_page_lists_all_functions() -> None:
    """In three rows: those with an op, those that are written as others, those that SciPy has."""
    page = Path(__file__).parents[2].joinpath("docs/sympy.md").read_text(encoding="utf-8")
    table = page.partition("## Functions")[2].partition("\n\nOrthogonal")[0]
    rows = [set(re.findall(r"`(\w+)`", row)) for row in table.splitlines() if row.startswith("| ")]
    rows = [row for row in rows if row]
    hidden = {"sigmoid", "softplus", "log1mexp", "erfcx", "log_ndtr"}  # not SymPy's
    by_scipy = SCIPY_FUNCTIONS.keys() - {"polygamma"}  # of an order that is a number
    assert rows[2] == by_scipy
    assert rows[1] == REWRITES.keys() - {"Derivative", "polygamma"}
    assert rows[0] == BUILDERS.keys() - by_scipy - hidden - (REWRITES.keys() - {"polygamma"})


# -- matrices and elements -------------------------------------------------------------------------
def test_a_matrix_is_a_tensor_with_two_more_axes() -> None:
    made = gc.from_sympy(sp.Matrix([[x, y, 1], [0, x * y, 2]]), {"x": X, "y": Y})
    got = gc.evaluate(made, {X: AT_X, Y: AT_Y})
    wanted = [[[a, AT_Y, 1], [0, a * AT_Y, 2]] for a in AT_X]
    np.testing.assert_allclose(got, wanted)


def test_matrix_symbols_and_indexed() -> None:
    m, v = sp.MatrixSymbol("m", 2, 2), sp.IndexedBase("v")
    given_m = gc.placeholder("front_m", (2, 2), "float64")
    given_v = gc.placeholder("front_v", ("b", 60), "float64")
    a, w = np.array([[1.0, 2.0], [3.0, 5.0]]), np.random.default_rng(0).normal(size=(4, 60))
    made = gc.from_sympy(m * m.T + m.inv(), {m: given_m})
    wanted = a @ a.T + np.linalg.inv(a)
    np.testing.assert_allclose(gc.evaluate(made, {given_m: a}), wanted, atol=1e-13)
    series = sp.Sum(v[i] * y**i, (i, 0, 50)) + v[3] * v[59]
    made = gc.from_sympy(series, {v: given_v, y: Y})
    wanted = (w[:, :51] * AT_Y ** np.arange(51)).sum(1) + w[:, 3] * w[:, 59]
    np.testing.assert_allclose(gc.evaluate(made, {given_v: w, Y: AT_Y}), wanted)


def test_matrix_expressions_of_any_size() -> None:
    n, k = sp.symbols("n k", integer=True)
    a, b, c = sp.MatrixSymbol("a", n, n), sp.MatrixSymbol("b", n, k), sp.MatrixSymbol("c", n, k)
    shapes = {a: ("r", 7, 7), b: (7, 5), c: (7, 5)}
    given = {s: gc.placeholder(f"front_{s}", shape, "float64") for s, shape in shapes.items()}
    given[x] = gc.placeholder("front_r", ("r",), "float64")
    rng = np.random.default_rng(0)
    A, B, C = rng.normal(size=(3, 7, 7)), rng.normal(size=(7, 5)), rng.normal(size=(7, 5))
    S = np.array([1.0, 2.0, 3.0])
    e = 2 * x * a * (b - 3 * c) + a.inv() * b - a**2 * sp.HadamardProduct(b, c) + a.T * b
    column = S[:, None, None]
    inverse, turned = np.linalg.inv(A), A.swapaxes(1, 2)
    wanted = 2 * column * (A @ (B - 3 * C)) + inverse @ B - A @ A @ (B * C) + turned @ B
    arrays = dict(zip(given.values(), (A, B, C, S), strict=True))
    np.testing.assert_allclose(gc.evaluate(gc.from_sympy(e, given), arrays), wanted, rtol=1e-9)
    scalar = gc.from_sympy(sp.Trace(a.T * a) * x + sp.Determinant(a), given)
    wanted = (A * A).sum((1, 2)) * S + np.linalg.det(A)
    np.testing.assert_allclose(gc.evaluate(scalar, arrays), wanted, rtol=1e-9)
    with pytest.raises(ArgumentError, match="without a tensor: b"):
        gc.from_sympy(a * b, {a: given[a]})


def test_matrix_expressions_with_matrices_of_numbers() -> None:
    m = sp.MatrixSymbol("m", 2, 2)
    given = {m: gc.placeholder("front_m32", (2, 2)), x: gc.placeholder("front_s32", ())}
    e = m * sp.Matrix([[1, x], [0, 2]]) + sp.Identity(2) * x + sp.OneMatrix(2, 2)
    made = gc.from_sympy(e, given)
    a = np.array([[1.0, 2.0], [3.0, 5.0]], "float32")
    wanted = a @ [[1, 0.5], [0, 2]] + np.eye(2) * 0.5 + 1
    assert made.dtype is gc.float32
    np.testing.assert_allclose(gc.evaluate(made, {given[m]: a, given[x]: 0.5}), wanted, rtol=1e-6)


def test_functions_and_derivatives_are_symbols_where_given() -> None:
    t = sp.Symbol("t")
    q = sp.Function("q")(t)
    made = gc.from_sympy(q.diff(t) ** 2 / 2 - sp.cos(q), {q: X, q.diff(t): Y})
    got = gc.evaluate(made, {X: AT_X, Y: AT_Y})
    np.testing.assert_allclose(got, AT_Y**2 / 2 - np.cos(AT_X))


# -- sums of as many terms as a call says ----------------------------------------------------------
A = sp.IndexedBase("A")
COUNTED = [
    sp.Sum(x**i * sp.cos(y * i), (i, 0, n)), sp.Sum(x / i, (i, n + 1, 2 * n + 2)),
    sp.Sum(sp.Sum(x ** (i + j), (j, 0, i)), (i, 0, n)) * y, sp.Sum(y * x, (i, 3, n)),
    sp.Sum(f(x * i), (i, 0, n)),
]  # fmt: skip


@pytest.mark.parametrize("e", COUNTED, ids=lambda e: str(e)[:40])
def test_bounds_that_are_symbols(e: Any) -> None:
    """Values, and two derivatives, are those of as many terms written out."""
    count = gc.placeholder("front_n", (), "float64")
    made = gc.from_sympy(e, {x: X, y: Y, n: count, f: gc.sin})
    total = gc.sum(made)
    slopes = gc.grad(total, [X, Y], unconnected="zero")
    second = gc.grad(gc.sum(slopes[0]), X, unconnected="zero")
    for terms in (5, 1, 0):
        written = sp.expand(e.replace(f, sp.sin).subs(n, terms).doit())
        feeds = {X: AT_X, Y: AT_Y, count: float(terms)}
        found = gc.evaluate([made, *slopes, second], feeds)
        wanted = [exact(written), exact(written.diff(x)), exact(written.diff(y)).sum(),
                  exact(written.diff(x, 2))]  # fmt: skip
        for a, b in zip(found, wanted, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-13)


def test_bounds_of_each_point_backwards_and_without_end() -> None:
    """By Karr's convention, as SymPy sums: what lies between the bounds is taken away."""
    low, high = (gc.placeholder(name, ("m",), "float64") for name in ("front_low", "front_high"))
    a, b = sp.symbols("a b")
    made = gc.from_sympy(sp.Sum(i**2, (i, a, b)), {a: low, b: high})
    slope = gc.grad(gc.sum(made), low, unconnected="zero")
    starts, ends = [1, 5, 5, 5, 0, 0], [3, 4, 2, 5, np.inf, np.nan]
    found, by_bound = gc.evaluate([made, slope], {low: starts, high: ends})
    pairs = zip(starts[:4], ends[:4], strict=True)
    wanted = [float(sp.Sum(i**2, (i, p, q)).doit()) for p, q in pairs]
    np.testing.assert_array_equal(found, [*wanted, np.nan, np.nan])
    np.testing.assert_array_equal(by_bound, np.zeros(6))


def test_native_sums_of_elements_and_their_digits() -> None:
    """The likelihood of a sample as books write it, of an array of any length."""
    sample, mu = gc.placeholder("front_a", ("n",), "float32"), gc.placeholder("front_mu", ())
    size = gc.size(sample)
    loss = gc.from_sympy(sp.Sum((A[i] - y) ** 2, (i, 0, n - 1)), {A: sample, y: mu, n: size})
    fit = gc.compile([sample, mu], [loss, gc.grad(loss, mu), gc.grad(loss, sample)])
    data = RNG.normal(1000.0, 1.0, 3001).astype("float32")
    value, by_mu, by_sample = fit(data, 10.0)
    rest = data.astype("float64") - 10.0
    np.testing.assert_allclose(value, np.sum(rest**2), rtol=3e-7)
    np.testing.assert_allclose(by_mu, -2 * rest.sum(), rtol=3e-7)
    np.testing.assert_allclose(by_sample, 2 * rest, rtol=3e-7)
    slope = gc.grad(loss, mu)
    needed = gc.compile([sample, mu], [loss, slope, gc.grad(slope, mu)], target="reference")
    loops = [node for node in needed.optimized.nodes if "body" in node.attrs]
    assert loops
    assert not any(t.shape for node in loops for t in node.outputs)  # none adds up an array


# -- functions of tensors --------------------------------------------------------------------------
@pytest.mark.parametrize("e", [
    f(x, y) ** 2, f(2 * x, 1), f(x, y).diff(y) * x, f(x, y).diff(x, 2), f(x * y, 3).diff(x),
    f(x, y).diff(x, y) + f(y, x), f(f(x, y), y).diff(x), f(1, 2) + x,
    sp.Derivative(f(x, y), (y, 2)) * f(3, y),
], ids=str)  # fmt: skip
def test_a_function_of_tensors_and_its_derivatives(e: Any) -> None:
    """As the same expression with SymPy's own formula in place of the function."""
    formula = sp.Lambda((x, y), sp.sin(x) * sp.exp(x * y))
    mine = {f: lambda a, b: gc.sin(a) * gc.exp(a * b), x: X, y: Y}
    feeds = {X: AT_X, Y: AT_Y}
    found = gc.from_sympy(e, mine)
    by_name = gc.from_sympy(e, {"f" if k is f else k: v for k, v in mine.items()})
    wanted = exact(e.subs(f, formula).doit())
    np.testing.assert_allclose(gc.evaluate(found, feeds), wanted, rtol=1e-13)
    np.testing.assert_allclose(gc.evaluate(by_name, feeds), wanted, rtol=1e-13)


def test_the_gradient_of_a_variable_through_a_derivative_by_a_symbol() -> None:
    """A law that a network is to satisfy: u'' + u, for u = sin(w x)."""
    w = gc.variable(2.0, dtype="float64")
    rest = gc.from_sympy(f(x).diff(x, 2) + f(x), {x: X, f: lambda a: gc.sin(w * a)})
    slope = gc.grad(gc.sum(rest), w)
    wanted = np.sum(-4 * np.sin(2 * AT_X) + (1 - 4) * AT_X * np.cos(2 * AT_X))
    np.testing.assert_allclose(gc.evaluate(slope, {X: AT_X}), wanted, rtol=1e-13)


# -- complex numbers -------------------------------------------------------------------------------
COMPLEX = [
    sp.exp(sp.I * x), (1 + 2 * sp.I) * x - sp.I, sp.sqrt(x - 5 + 0 * y + sp.I / 3), sp.I**x,
    x**sp.I, sp.sin(x + sp.I * y) / (y + sp.I), sp.Piecewise((sp.I * x, x > 0.5), (y, True)),
    sp.conjugate(sp.exp(sp.I * x)) * sp.arg(x + sp.I), sp.im(sp.exp(sp.I * x)) * sp.I,
    sp.hankel1(0, x) + sp.hankel2(y, x) / 3, sp.hn1(1, x) - sp.hn2(0, x) * y, sp.Ynm(2, 1, x, y),
    sp.Znm(2, 1, x, y) * sp.I,
    sp.Sum(sp.exp(sp.I * i * x), (i, 0, 40)), sp.log(-2) * x, sp.sqrt(-3) * sp.cosh(sp.I + x),
]  # fmt: skip


@pytest.mark.parametrize("e", COMPLEX, ids=lambda e: str(e)[:40])
def test_complex_formulas_of_real_tensors_equal_sympy(e: Any) -> None:
    points = [{x: sp.Float(a, 40), y: sp.Float(AT_Y, 40)} for a in AT_X.tolist()]
    wanted = np.array([complex(sp.N(e.subs(p).doit(), 25)) for p in points])
    np.testing.assert_allclose(value(e), wanted, rtol=1e-13)
    single = gc.from_sympy(e, {x: gc.placeholder("front_single", ("n",)), y: 0.5})
    assert single.dtype is gc.complex64


def test_complex_tensors() -> None:
    w = gc.placeholder("front_w", ("n",), "complex128")
    at = np.array([1 + 2j, -0.5j, 3.0])
    made = gc.from_sympy(sp.Abs(z) ** 2 + sp.re(z) + sp.I * sp.conjugate(z) + 1 / z, {z: w})
    wanted = np.abs(at) ** 2 + at.real + 1j * at.conj() + 1 / at
    np.testing.assert_allclose(gc.evaluate(made, {w: at}), wanted, rtol=1e-14)


# -- errors ----------------------------------------------------------------------------------------
def test_one_error_lists_all() -> None:
    e = f(z) + y * sp.Symbol("b a d") + sp.DiracDelta(x) + sp.lerchphi(x, 2, 1)
    e += sp.Sum(x, (i, 1, sp.oo)) + sp.Integral(x, (z, 0, sp.oo)) + sp.Integral(sp.exp(z) / z, z)
    with pytest.raises(ArgumentError) as caught:
        gc.from_sympy([e, sp.zoo * x, sp.zeta(z, x, evaluate=False)], {x: X})
    given = str(caught.value)
    over = "Sum over i from 1 to oo"
    for part in ("f(z)", "y", "b a d", "z", "DiracDelta", "lerchphi", over, "not a number"):
        assert part in given, part
    assert "Integral over z" in given
    assert ".doit()" in str(caught.value.hint)
    assert "test_from_sympy.py" in given


@pytest.mark.parametrize("bad", ["x + 1", object(), gc.constant(1.0), None])
def test_what_is_no_expression(bad: Any) -> None:
    with pytest.raises(ArgumentError, match="from_sympy"):
        gc.from_sympy(bad, {x: X})


def test_symbols_that_are_no_dict() -> None:
    with pytest.raises(ArgumentError, match="a dict of symbols and tensors"):
        gc.from_sympy(x, [X])  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "name", ["__import__('os').abort()", "a b", "", 'q"; abort()', "exp", "if", "\x00", "x" * 9999]
)
def test_any_name_is_safe(name: str) -> None:
    s = sp.Symbol(name)
    made = gc.from_sympy(sp.sin(s) + s**2, {s: X})
    assert gc.evaluate(made, {X: AT_X}) == pytest.approx(np.sin(AT_X) + AT_X**2)
    assert gc.from_sympy(s, {name: X}) is X
    with pytest.raises(ArgumentError, match="without a tensor"):
        gc.from_sympy(s, {})


# -- and back --------------------------------------------------------------------------------------
def test_there_and_back() -> None:
    a, b = sp.symbols("front_x front_y", real=True)
    pieces = sp.Piecewise((a, a > b), (b, True))
    for e in (sp.sin(a) ** 2 + b * sp.exp(-a), sp.Max(a, b) / 4, pieces):
        assert gc.to_sympy(gc.from_sympy(e, {a: X, b: Y})) == e
    assert gc.to_sympy(X + Y, {X: z}) == z + b


def test_functions_of_scipy_have_their_expressions() -> None:
    b = sp.Symbol("front_x", real=True)
    made = gc.from_sympy(sp.besselj(1, x) * 2, {x: X})
    assert gc.to_sympy(made) == 2 * sp.besselj(1, b)
    assert r"J_{1}\left(" in gc.latex(made)


def test_what_has_no_expression_is_named() -> None:
    with pytest.raises(ArgumentError, match=r"given: +sum"):
        gc.to_sympy(gc.sum(X))
    with pytest.raises(ArgumentError, match="not a tensor"):
        gc.to_sympy(x)  # type: ignore[arg-type]
