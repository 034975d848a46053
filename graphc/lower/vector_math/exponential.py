"""exp, exp2, expm1, tanh, sigmoid, softplus and log1mexp: all from e**r for small r.

    x = k ln 2 + r,   |r| <= ln 2 / 2,   e**x = 2**k (1 + r + r**2 Q(r))

k is rounded by adding 1.5 * 2**fraction, which also leaves it as an integer in the low bits of the
sum; no conversion between floats and integers is needed, so a NaN does no harm on the way through.
ln 2 is subtracted in two parts, the first short enough that k times it is exact (Cody and Waite,
"Software Manual for the Elementary Functions", 1980). The coefficients are minimax fits (Remez
exchange at 60 digits, then rounded one by one, the rest fitted again).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from graphc.lower.vector_math.emit import Code, Operand, Value
from graphc.lower.vector_math.logarithm import (
    LN2,
    log1p_of_unit,
    log_of_parts,
    parts,
    parts_of_complement,
)

LOG2_E = 1.4426950408889634
# ln 2, as exact as two floats are
LN2_SUM = {
    32: (0.6931471824645996, -1.904654212733931e-09),
    64: (0.6931471805599453, 2.3190468138462996e-17),
}

# Q of e**r = 1 + r + r**2 Q(r), |r| <= 0.3467; error relative to e**r: 2**-28.2, 2**-57.9
EXP = {
    32: (
        0.4999999403953552,
        0.16666516661643982,
        0.04166810214519501,
        0.00836918130517006,
        0.0013838349841535091,
    ),
    64: (
        0.5000000000000011,
        0.16666666666666435,
        0.04166666666652579,
        0.008333333333475829,
        0.0013888888944850997,
        0.0001984126955495759,
        2.4801491781207945e-05,
        2.75575367010844e-06,
        2.763072923650556e-07,
        2.5017552226849395e-08,
    ),
}

# the same Q; error relative to e**r - 1: 2**-28.7, 2**-61.5
EXPM1 = {
    32: (
        0.5,
        0.1666666567325592,
        0.04166635870933533,
        0.008333389647305012,
        0.0013940668432042003,
        0.00019845883070956916,
    ),
    64: (
        0.5,
        0.16666666666666677,
        0.04166666666666669,
        0.008333333333321848,
        0.0013888888888891387,
        0.00019841269885149867,
        2.48015872808124e-05,
        2.7557245382559276e-06,
        2.755733000971652e-07,
        2.5108598253642856e-08,
        2.0893225224921583e-09,
    ),
}


@dataclass(frozen=True)
class _Range:
    """Where each function has reached its limit, for one width of float."""

    underflow: float  # e**x rounds to 0 below
    overflow: float  # e**x is inf above
    minus_one: float  # e**x - 1 rounds to -1 below
    one: float  # tanh x rounds to 1 above


RANGE = {32: _Range(-104.0, 89.0, -18.0, 10.0), 64: _Range(-746.0, 710.0, -38.0, 20.0)}


@dataclass(frozen=True)
class _Reduced:
    """x = k ln 2 + r with r = exact + low, rounded; `shifted` has k + offset in its low bits."""

    shifted: Value
    exact: Value
    low: Value
    r: Value


def _reduce(code: Code, x: Value, offset: int, low: Operand = 0.0) -> _Reduced:
    """The reduction of x + low, where low is below the last place of x."""
    ln2_high, ln2_low = LN2[code.format.bits]
    shift = code.format.shift + offset
    shifted = code.fma(x, LOG2_E, shift)
    k = shifted - shift
    exact = code.fma(k, -ln2_high, x)
    rest = code.fma(k, -ln2_low, low)
    return _Reduced(shifted, exact, rest, exact + rest)


def _expm1_of_reduced(code: Code, reduced: _Reduced) -> Value:
    """e**r - 1, from the two parts of r: its rounding error enters only r**2."""
    r = reduced.r
    return code.fma(r * r, code.polynomial(r, EXP), reduced.low) + reduced.exact


def expm1_reduced(code: Code, x: Value, extra: int = 0, low: Operand = 0.0) -> tuple[Value, Value]:
    """(2**(k + extra), p) with e**(x + low) = 2**k (1 + p); the power must be a normal float."""
    reduced = _reduce(code, x, code.format.bias + extra, low)
    scale = code.number(code.word(reduced.shifted) << code.format.fraction)
    return scale, _expm1_of_reduced(code, reduced)


def exp(code: Code, x: Value) -> Value:
    """e**x."""
    return exp_of_sum(code, x, 0.0)


def exp_of_sum(code: Code, x: Value, low: Operand) -> Value:
    """e**(x + low), low being below the last place of x. 2**k is applied as two factors, so that
    both ends of the range are rounded once."""
    format, limits = code.format, RANGE[code.format.bits]
    x = code.at_most(code.at_least(x, limits.underflow), limits.overflow)
    reduced = _reduce(code, x, 2 * format.bias, low)
    return _scaled(code, reduced.shifted, _expm1_of_reduced(code, reduced))


def _scaled(code: Code, shifted: Value, p: Value) -> Value:
    """2**k (1 + p). The low bits: k + 2 bias = (half + bias) + (k - half + bias), the two biased
    exponents."""
    word = code.word(shifted)
    half = word >> 1
    first = code.number(half << code.format.fraction)
    second = code.number((word - half) << code.format.fraction)
    return (p + 1.0) * first * second


def exp2(code: Code, x: Value) -> Value:
    """2**x = 2**k e**(r ln 2), where r = x - k is exact."""
    format = code.format
    x = code.at_most(code.at_least(x, -2.0 * format.bias), format.bias + 2.0)
    offset = format.shift + 2 * format.bias
    shifted = x + offset
    r = x - (shifted - offset)
    high, low = LN2_SUM[format.bits]
    power = r * high
    rest = code.fma(r, low, code.fma(r, high, -power))
    p = code.fma(power * power, code.polynomial(power, EXP), rest) + power
    return _scaled(code, shifted, p)


def exp_of_negative(code: Code, x: Value) -> Value:
    """e**x for x <= 0, cheaper: k <= 0 needs one factor of its own and a constant one."""
    x = code.at_least(x, RANGE[code.format.bits].underflow)
    spare = code.format.fraction + 2
    scale, p = expm1_reduced(code, x, spare)
    return (p + 1.0) * scale * 2.0**-spare


def expm1(code: Code, x: Value) -> Value:
    """e**x - 1 = (2**k - 1) + 2**k r + 2**k r**2 Q(r), the first sum with its rounding error."""
    format, limits = code.format, RANGE[code.format.bits]
    clamped = code.at_most(code.at_least(x, limits.minus_one), limits.overflow)
    reduced = _reduce(code, clamped, format.bias)
    r = reduced.r
    # 2**(bias + 1) is not a float: the last binade is computed one lower, and doubled
    top = code.at_most(reduced.shifted, format.shift + 2 * format.bias)
    scale = code.number(code.word(top) << format.fraction)
    offset = scale - 1.0
    total = code.fma(r, scale, offset)
    error = code.fma(r, scale, offset - total) + ((scale - offset) - 1.0)
    c = (reduced.exact - r) + reduced.low
    rest = code.fma(r * r, code.polynomial(r, EXPM1), code.fma(r, c, c))
    y = (total + code.fma(rest, scale, error)) * ((reduced.shifted - top) + 1.0)
    return code.copysign(y, x)


# P of tanh x = x + x**3 P(x**2), |x| <= 15/16; relative error 2**-28.5, 2**-58.4
TANH_SMALL = 0.9375
TANH = {
    32: (
        -0.33333316445350647,
        0.13332819938659668,
        -0.05391502007842064,
        0.02160584181547165,
        -0.008149199187755585,
        0.002471053972840309,
        -0.00041373513522557914,
    ),
    64: (
        -0.33333333333333254,
        0.13333333333323946,
        -0.05396825396435775,
        0.021869488453942095,
        -0.008863234493453942,
        0.0035921194943377144,
        -0.0014557857237176663,
        0.0005898288062289259,
        -0.00023853458226310876,
        9.55922057323788e-05,
        -3.707345493443885e-05,
        1.3163612602939114e-05,
        -3.872629689500994e-06,
        8.027610586993989e-07,
        -8.452970515975086e-08,
    ),
}


def tanh(code: Code, x: Value) -> Value:
    """A polynomial near 0; elsewhere 1 - 2 / (e**(2|x|) + 1)."""
    size = code.abs(x)
    square = size * size
    small = code.fma(size * square, code.polynomial(square, TANH), size)

    double = code.at_most(size, RANGE[code.format.bits].one)
    double = double + double
    scale, p = expm1_reduced(code, double)
    large = code.fma(code.reciprocal(code.fma(p, scale, scale + 1.0)), -2.0, 1.0)
    return code.copysign(code.select(size < TANH_SMALL, small, large), x)


def sigmoid(code: Code, x: Value) -> Value:
    """1 / (1 + e**-x), both scaled by a tiny power of two: e**-x may pass the largest float."""
    format, limits = code.format, RANGE[code.format.bits]
    down = (format.bias + 1) // 2
    tiny = 2.0**-down
    x = code.at_least(code.at_most(-x, -limits.underflow), limits.minus_one)
    scale, p = expm1_reduced(code, x, -down)
    return code.quotient(tiny, code.fma(p, scale, tiny) + scale)


def softplus(code: Code, x: Value) -> Value:
    """log(1 + e**x) = max(x, 0) + log1p(e**-|x|)."""
    e = exp_of_negative(code, -code.abs(x))
    return code.select(x > 0.0, x, 0.0) + log1p_of_unit(code, e)


def log1mexp(code: Code, x: Value) -> Value:
    """log(1 - e**-x), of one logarithm: below log 2 that of 1 - e**-x, formed without a loss of
    digits; above, that of one minus a small number."""
    format, limits = code.format, RANGE[code.format.bits]
    spare = format.fraction + 2
    scale, p = expm1_reduced(code, -code.at_most(x, -limits.underflow), spare)
    power = scale * 2.0**-spare  # 1 or 1/2 where it counts
    near_e, near_f = parts(code, code.fma(p, -power, 1.0 - power))
    e, f = parts_of_complement(code, (p + 1.0) * scale * 2.0**-spare)
    near = x < math.log(2)
    result = log_of_parts(code, code.select(near, near_e, e), code.select(near, near_f, f))
    result = code.select(x.equals(0.0), -math.inf, -code.abs(result))
    return code.select(x < 0.0, math.nan, result)
