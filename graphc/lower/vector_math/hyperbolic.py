"""sinh and cosh from e**|x|; asinh, acosh and atanh from log1p, in forms that do not cancel."""

from __future__ import annotations

import math

from graphc.lower.vector_math.emit import Code, Value
from graphc.lower.vector_math.exponential import expm1_reduced
from graphc.lower.vector_math.logarithm import log1p

# P of sinh x = x + x**3 P(x**2), 0 <= x <= 1; relative error 2**-31.6, 2**-61.8
SINH = {
    32: (0.1666666716337204, 0.00833331048488617, 0.00019842895562760532, 2.7822131869470468e-06),
    64: (
        0.16666666666666669,
        0.008333333333332912,
        0.00019841269841593408,
        2.755731910671157e-06,
        2.505213101980081e-08,
        1.605665609958688e-10,
        7.776742672978718e-13,
    ),
}
INFINITE = {32: 89.6, 64: 710.6}  # sinh and cosh are
HUGE = {32: 2.0**40, 64: 2.0**80}  # a**2 + 1 is a**2 long before


def _quarter_of_power(code: Code, size: Value) -> Value:
    """e**size / 4 for size >= 0, which is finite where the functions are."""
    scale, p = expm1_reduced(code, code.at_most(size, INFINITE[code.format.bits]), -2)
    return code.fma(p, scale, scale)


def cosh(code: Code, x: Value) -> Value:
    """(e**x + e**-x) / 2."""
    quarter = _quarter_of_power(code, code.abs(x))
    half = code.fma(code.reciprocal(quarter), 0.0625, quarter)
    return half + half


def sinh(code: Code, x: Value) -> Value:
    """(e**x - e**-x) / 2; a polynomial below 1, where that would cancel."""
    size = code.abs(x)
    square = size * size
    near = code.fma(size * square, code.polynomial(square, SINH), size)
    quarter = _quarter_of_power(code, size)
    half = code.fma(code.reciprocal(quarter), -0.0625, quarter)
    return code.copysign(code.select(size < 1.0, near, half + half), x)


def asinh(code: Code, x: Value) -> Value:
    """log(a + sqrt(a**2 + 1)) of a = |x|, as log1p(a + a**2 / (1 + sqrt(a**2 + 1)))."""
    size = code.abs(x)
    huge = size > HUGE[code.format.bits]
    a = code.at_most(size, HUGE[code.format.bits])
    root = code.intrinsic("sqrt", code.fma(a, a, 1.0))
    u = code.fma(a, a / (root + 1.0), a)
    return code.copysign(_log1p_or_double(code, huge, size, u), x)


def acosh(code: Code, x: Value) -> Value:
    """log(x + sqrt(x**2 - 1)), as log1p(t + sqrt(t) sqrt(t + 2)) of t = x - 1; NaN below 1."""
    huge = x > HUGE[code.format.bits]
    t = code.at_most(x, HUGE[code.format.bits]) - 1.0
    u = t + code.intrinsic("sqrt", code.fma(t, t, t + t))
    return code.select(x < 1.0, math.nan, _log1p_or_double(code, huge, x, u))


def _log1p_or_double(code: Code, huge: Value, x: Value, u: Value) -> Value:
    """log(1 + u), but log(2 x) where x is huge."""
    value = log1p(code, code.select(huge, x, u))
    return code.select(huge, value + math.log(2), value)


def atanh(code: Code, x: Value) -> Value:
    """log((1 + a) / (1 - a)) / 2 of a = |x|, as log1p(2 a + 2 a**2 / (1 - a)) / 2."""
    a = code.at_most(code.abs(x), 2.0)  # NaN as all beyond 1
    double = a + a
    value = log1p(code, code.fma(a, double / (1.0 - a), double))
    return code.copysign(value * 0.5, x)
