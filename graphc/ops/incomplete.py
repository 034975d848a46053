"""Incomplete integrals of the gamma and beta distributions, with derivatives by every argument.

The integrals are SciPy's. By their last argument the derivative is the density; by a parameter it
is an integral of the density times a logarithm: p(t) = t^(a-1) e^-t / gamma(a) changes with a by
p(t) (log t - psi(a)), and that is integrated from 0 to x. From x on it is minus that, since both
together are 1 for every a. The side is taken on which the logarithm keeps its sign, so that nothing
cancels; on the lower one, with t = x e^-u, integration by parts leaves

    P(a, x) (log x - psi(a + 1)) - x^a / gamma(a + 1) integral of u e^(-a u) d/du e^(-x e^-u) du,

both of whose terms have one sign, too, and which has no pole at a = 0. For beta the same holds with
(1 - t)^(b-1) / B(a, b) for e^-t / gamma(a), and psi(a) - psi(a + b) for psi(a).

Integrals over u from 0 on are sums over places u = s exp(v - e^-v) at even steps of v: the rule of
Takahasi and Mori, Double exponential formulas for numerical integration, 1974, for integrands that
decay as an exponential; it sees all scales between the fastest change, at s, and the slowest decay.
All of it is ordinary operations, so that second derivatives are there too.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from graphc.ir.dtype import float64
from graphc.ir.node import Tensor, apply
from graphc.ir.shape import broadcast
from graphc.loops.primitives import special
from graphc.ops.build import cast, float_type, operands
from graphc.ops.create import iota
from graphc.ops.elementwise import (
    equal,
    exp,
    expm1,
    isinf,
    less,
    log,
    log1p,
    logical_and,
    logical_or,
    maximum,
    minimum,
    sqrt,
    stop_gradient,
    where,
)
from graphc.ops.gamma import POLES, digamma, lgamma
from graphc.ops.powers import xlog1py, xlogy
from graphc.ops.reduce import sum
from graphc.ops.scalar import binary_float_function, define, named, stretch
from graphc.ops.shape import expand_dims

PLACES = 96  # at which an integrand is taken
FIRST, SMALLEST = -3.6, 1e-18  # of v; and of an integrand, beside its largest
LARGE = 16.0  # from here on Stirling's series has all digits


# -- densities, accurate for large parameters ------------------------------------------------------
def _rest(z: Tensor) -> Tensor:
    """What lgamma(z) is above (z - 1/2) log z - z + log(2 pi) / 2: 1/(12 z) - 1/(360 z^3) ..."""
    w = maximum(z, LARGE)
    v = 1 / (w * w)
    series = (1 / 12 - v * (1 / 360 - v * (1 / 1260 - v * (1 / 1680 - v / 1188)))) / w
    direct = lgamma(z) - xlogy(z - 0.5, z) + z - 0.5 * math.log(2 * math.pi)
    return where(less(z, LARGE), direct, series)


def _power_density(p: Tensor, x: Tensor) -> Tensor:
    """x^p e^-x / gamma(p + 1)."""
    q = maximum(p, LARGE)
    change = (x - q) / q
    large = q * (log1p(change) - change) - 0.5 * log(2 * math.pi * q) - _rest(q)
    return exp(where(less(p, LARGE), xlogy(p, x) - x - lgamma(p + 1), large))


def _beta_density(a: Tensor, b: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """x^a y^b / beta(a, b), for y = 1 - x."""
    change = x * b - y * a
    exponent = a * log1p(change / a) + b * log1p(-change / b)
    rest = _rest(a) + _rest(b) - _rest(a + b)
    return sqrt(a * b / (2 * math.pi * (a + b))) * exp(exponent - rest)


# -- integrals from 0 on ---------------------------------------------------------------------------
def _integral(integrand: Callable[[Tensor], Tensor], scale: Tensor, rate: Tensor) -> Tensor:
    """That of a function of u along a new last axis, which changes fastest within `scale` of 0 and
    decays as e^(-rate u) in the end."""
    scale, rate = stop_gradient(scale), stop_gradient(rate)
    last = maximum(log(-math.log(SMALLEST) / (rate * scale)), 3.9)
    step = (last - FIRST) / (PLACES - 1)
    v = FIRST + step * cast(iota((PLACES,), 0), float64)
    back = exp(-v)
    u = scale * exp(v - back)
    return step[..., 0] * sum(integrand(u) * u * (1 + back), -1)


def _spread(*values: Tensor) -> list[Tensor]:
    """With one axis more, for the places of an integral."""
    return [expand_dims(v, -1) for v in values]


def _together(*given: Tensor) -> list[Tensor]:
    """In float64 and of one shape."""
    shape = broadcast("incomplete", *(t.shape for t in given))
    return [stretch(cast(t, float64), shape) for t in given]


def _gamma_by_parameter(a: Tensor, x: Tensor) -> Tensor:
    """The derivative of gammainc(a, x) by a. Source: see the top of this file."""
    to = a.dtype
    a, x = _together(a, x)
    is_lower = less(x, maximum(exp(digamma(a)), 1.0))
    a_, x_, psi_, is_lower_ = _spread(a, x, digamma(a), is_lower)
    below, above = a_ - x_, 1 - (a_ - 1) / x_

    def integrand(u: Tensor) -> Tensor:
        exponent = where(
            is_lower_, -a_ * u - x_ * expm1(-u), (a_ - 1) * log1p(u / x_) - u
        )
        factor = where(is_lower_, u * x_ * exp(-u), (log(x_ + u) - psi_) * a_ / x_)
        return factor * exp(exponent)

    fastest = where(
        is_lower_, 1 + maximum(below, 0.0) + sqrt(x_), maximum(above, 0.0) + 1 / sqrt(x_)
    )
    found = _integral(integrand, 1 / fastest, where(is_lower_, a_ + 1, 1.0))
    edge = where(is_lower, gammainc(a, x) * (log(x) - digamma(a + 1)), 0.0)
    value = edge - _power_density(a, x) * found
    return cast(where(logical_or(equal(x, 0), isinf(x)), 0.0, value), to)


def _beta_by_first(a: Tensor, b: Tensor, x: Tensor, y: Tensor, log_x: Tensor) -> Tensor:
    """The derivative of betainc(a, b, x) by a, all in float64, for y = 1 - x."""
    mean = digamma(a) - digamma(a + b)
    is_lower = logical_or(
        less(log_x, mean), logical_and(less(x, 0.5), less(x * b, 1.0))
    )
    a_, b_, x_, y_, mean_, log_x_, is_lower_ = _spread(a, b, x, y, mean, log_x, is_lower)

    def integrand(u: Tensor) -> Tensor:
        lost = -expm1(-u)
        to_upper = log1p(lost * where(is_lower_, x_ / y_, y_ / x_))
        exponent = where(
            is_lower_,
            (b_ - 2) * to_upper - (a_ + 1) * u,
            (a_ - 1) * to_upper - b_ * u,
        )
        factor = where(is_lower_, u, log_x_ + to_upper - mean_)
        return factor * exp(exponent)

    fastest = where(
        is_lower_,
        1 + maximum(a_ - b_ * x_ / y_, 0.0) + sqrt(b_ * x_) / y_,
        maximum(b_ - (a_ - 1) * y_ / x_, 0.0)
        + sqrt(maximum(a_, 1.0) * y_) / x_
        + minimum(b_, 1.0),
    )
    found = _integral(integrand, 1 / fastest, where(is_lower_, a_ + 1, b_))
    edge = where(is_lower, betainc(a, b, x) * (log_x - digamma(a + 1) + digamma(a + b)), 0.0)
    factor = where(is_lower, (b - 1) * x / (a * y * y), 1 / x)
    value = edge - _beta_density(a, b, x, y) * factor * found
    return where(logical_or(equal(x, 0), equal(y, 0)), 0.0, value)


def _beta_by_parameter(second: bool, *given: Tensor) -> Tensor:
    """The derivative of betainc(a, b, x) by a, or by b: I(a, b, x) = 1 - I(b, a, 1 - x)."""
    to = given[0].dtype
    a, b, x = _together(*given)
    y, log_y = 1 - x, log1p(-x)
    if second:
        return cast(-_beta_by_first(b, a, y, x, log_y), to)
    log_x = where(less(x, 0.5), log(x), log1p(-y))
    return cast(_beta_by_first(a, b, x, y, log_x), to)


# -- the functions ---------------------------------------------------------------------------------
def _in_float64(function: Callable[..., Tensor], *given: Tensor) -> Tensor:
    return cast(function(*(cast(t, float64) for t in given)), given[0].dtype)


def _gammainc_slope(a: Tensor, x: Tensor) -> Tensor:
    """x^(a - 1) e^-x / gamma(a)."""
    return _in_float64(lambda a, x: _power_density(a - 1, x), a, x)


gammainc = binary_float_function(
    "gammainc", special("gammainc", 2), lambda s, a, x: s.lowergamma(a, x) / s.gamma(a),
    "The lower incomplete gamma function over gamma(a): the integral from 0 to x. By SciPy.",
    host=True, cost=200, facts=POLES,
    partials=lambda f, out, a, x: (
        lambda: _gamma_by_parameter(a, x), lambda: _gammainc_slope(a, x)
    ),
)  # fmt: skip
gammaincc = binary_float_function(
    "gammaincc", special("gammaincc", 2), lambda s, a, x: s.uppergamma(a, x) / s.gamma(a),
    "1 - gammainc(a, x): the integral from x on. By SciPy.", host=True, cost=200, facts=POLES,
    partials=lambda f, out, a, x: (
        lambda: -_gamma_by_parameter(a, x), lambda: -_gammainc_slope(a, x)
    ),
)  # fmt: skip


def _betainc_slope(a: Tensor, b: Tensor, x: Tensor) -> Tensor:
    """x^(a - 1) (1 - x)^(b - 1) / beta(a, b): of large parameters by the density of one less."""

    def slope(a: Tensor, b: Tensor, x: Tensor) -> Tensor:
        sizes = lgamma(a + b) - lgamma(a) - lgamma(b)
        direct = exp(xlogy(a - 1, x) + xlog1py(b - 1, -x) + sizes)
        p, q = (maximum(t - 1, LARGE) for t in (a, b))
        ratio = (p + q + 1) * (p + q) / (p * q)
        large = logical_and(less(LARGE, a - 1), less(LARGE, b - 1))
        return where(large, ratio * _beta_density(p, q, x, 1 - x), direct)

    return _in_float64(slope, a, b, x)


_BETAINC = define(
    "betainc", special("betainc", 3), lambda s, a, b, x: s.betainc_regularized(a, b, 0, x),
    host=True, cost=200, facts=POLES,
    partials=lambda f, out, *given: (
        lambda: _beta_by_parameter(False, *given), lambda: _beta_by_parameter(True, *given),
        lambda: _betainc_slope(*given),
    ),
    doc="The incomplete beta function over beta(a, b): the integral from 0 to x. By SciPy.",
)  # fmt: skip


@named(_BETAINC)
def betainc(a: Any, b: Any, x: Any) -> Tensor:
    given = operands("betainc", a, b, x)
    to = float_type(given[0].dtype)
    return apply(_BETAINC, [cast(t, to) for t in given]).output()


FUNCTIONS = {f.__name__: f for f in (gammainc, gammaincc, betainc)}
