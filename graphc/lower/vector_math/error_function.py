"""erf, erfc, erfcx, ndtr and log_ndtr.

erf is a polynomial near 0, and elsewhere one minus e to the power of a polynomial: log(1 - erf x)
is so smooth that one polynomial holds it up to where erf rounds to 1; and since 1 - erf x falls,
from 0.23 where it takes over, its own error counts less and less. (That form: N. Juffa's `erff`.)

The others have tails that erf does not know. All come from the scaled complement

    e**(a**2) erfc a = (1 + P(q)) / (1 + 2 a),   q = (a - c) / (a + c),   a >= 0

in which one polynomial serves the whole half line, as q goes from -1 to 1 (M. Shepherd and
J. Laframboise, "Chebyshev approximation of (1 + 2x) exp(x^2) erfc x in 0 <= x < inf", 1981). The
square in the exponent is carried with its rounding error, which the tail would multiply by a**2.
The coefficients are minimax fits, rounded one by one, the rest fitted again.
"""

from __future__ import annotations

import math

from graphc.lower.vector_math.emit import Code, Value
from graphc.lower.vector_math.exponential import RANGE, expm1_reduced
from graphc.lower.vector_math.logarithm import log_of_parts, parts, parts_of_complement

SMALL = 0.85  # below, the polynomial in x
ONE = {32: 4.0, 64: 6.0}  # erf x rounds to 1 above

# P of erf x = x + x P(x**2), 0 <= x <= 0.85; relative error 2**-27.1, 2**-56.2
NEAR = {
    32: (
        0.12837916612625122,
        -0.37612587213516235,
        0.1128283217549324,
        -0.026806071400642395,
        0.005055843386799097,
        -0.000633843766991049,
    ),
    64: (
        0.1283791670955126,
        -0.3761263890318416,
        0.11283791670977131,
        -0.02686617064974264,
        0.005223977674823466,
        -0.0008548330100228925,
        0.00012055452127212461,
        -1.4928599121383635e-05,
        1.650857649125423e-06,
        -1.6811559712156878e-07,
        1.7090483106910667e-08,
        -1.5950256423967164e-09,
    ),
}

# W of log(1 - erf x) = -2 x + x W(x), 0.85 <= x <= 4 or 6; error over erf x 2**-29.5, 2**-56.7
FAR = {
    32: (
        0.8713913559913635,
        -0.6353171467781067,
        -0.10595619678497314,
        0.02351497672498226,
        -0.0035232319496572018,
        0.0002929205074906349,
        -8.192916538973805e-06,
    ),
    64: (
        0.8716208266827423,
        -0.6366196641532066,
        -0.10277339986138788,
        0.019131893137195287,
        0.0001991662438679945,
        -0.0016751108225850687,
        0.000556634471716047,
        1.5343039019925524e-05,
        -0.00010445883642727456,
        6.045214771851849e-05,
        -2.206157895884574e-05,
        5.9042582263803214e-06,
        -1.199978337178036e-06,
        1.8469027906864842e-07,
        -2.0948640177833673e-08,
        1.65504019518944e-09,
        -8.138632390460918e-11,
        1.875306406168311e-12,
    ),
}


def erf(code: Code, x: Value) -> Value:
    """The error function."""
    size = code.at_most(code.abs(x), ONE[code.format.bits])
    near = code.fma(size, code.polynomial(size * size, NEAR), size)
    # the power, as a sum: its rounding error would be multiplied by 1 - erf x
    w = code.polynomial(size, FAR)
    head = size * -2.0
    power = code.fma(size, w, head)
    error = code.fma(size, w, head - power)
    scale, p = expm1_reduced(code, power, low=error)
    far = code.fma(p, -scale, 1.0 - scale)
    return code.copysign(code.select(size < SMALL, near, far), x)


# P of e**(a**2) erfc a, and its c; error over the result 2**-27.2, 2**-55.7
CENTRE = {32: 2.0, 64: 4.0}
SCALED = {
    32: (
        0.27697837352752686,
        -0.09276382625102997,
        -0.16603010892868042,
        0.16405057907104492,
        -0.054222334176301956,
        -0.008024671114981174,
        0.008730991743505001,
        0.001229508314281702,
        -0.0014735638396814466,
        -0.00036932676448486745,
        0.00022834223636891693,
        6.732694600941613e-05,
        -2.2116608306532726e-05,
    ),
    64: (
        0.2329951186255525,
        -0.1396211168405623,
        0.015379652102619299,
        0.0680970542546701,
        -0.10103906603628587,
        0.09373283499906823,
        -0.0663303658124633,
        0.037167515526870476,
        -0.016197734057115304,
        0.005031970065555017,
        -0.0007577732767377218,
        -0.00019925713803465412,
        0.0001506215457218228,
        -2.439776888384494e-05,
        -1.1221419884967078e-05,
        5.706642967681815e-06,
        2.9218462402608354e-07,
        -8.211370399740234e-07,
        7.724812352653658e-08,
        1.063688565332174e-07,
        -2.0413048064215584e-08,
        -1.23589968242483e-08,
        3.113182456674079e-09,
        9.332858645879365e-10,
        -2.5653212348050204e-10,
    ),
}
GROWN = {32: 9.39, 64: 26.635}  # 2 e**(a**2) is inf there
FAR_AWAY = 2.0**60  # 1 + 2 a is 2 a long before


def scaled_complement(code: Code, a: Value) -> tuple[Value, Value]:
    """e**(a**2) erfc a for a >= 0, and what was rounded off."""
    near = code.at_most(a, FAR_AWAY)
    result, low = _scaled_complement(code, near, 0.5 / (a + 0.5))  # 1 + 2 a may be infinite
    return result, code.select(a < FAR_AWAY, low, 0.0)


def _scaled_complement(code: Code, a: Value, inverse: Value) -> tuple[Value, Value]:
    """That of 0 <= a <= FAR_AWAY, `inverse` being 1 / (1 + 2 a)."""
    centre = CENTRE[code.format.bits]
    towards = code.reciprocal(a + centre)
    q = (a - centre) * towards
    missing = code.fma(q, -a, code.fma(q + 1.0, -centre, a))  # what q (a + c) lacks
    p = code.polynomial(code.fma(towards, missing, q), SCALED)
    result = code.fma(p, inverse, inverse)
    residual = code.fma(result + result, -a, 1.0) + (p - result)
    return result, residual * inverse


def _of_limited(code: Code, a: Value) -> tuple[Value, Value]:
    """`scaled_complement` of 0 <= a <= FAR_AWAY, in fewer instructions."""
    return _scaled_complement(code, a, code.reciprocal(code.fma(a, 2.0, 1.0)))


def _with_decay(code: Code, r: Value, low: Value, square: Value, rest: Value) -> Value:
    """(r + low) e**-(square + rest), where that is rounded once, also to a subnormal number."""
    spare = code.format.fraction + 10
    scale, p = expm1_reduced(code, -square, spare, low=-rest)
    return (code.fma(r, p, low) + r) * scale * 2.0**-spare


def erfc(code: Code, x: Value) -> Value:
    """1 - erf x, which is not 0 before it underflows."""
    a = code.at_most(code.abs(x), math.sqrt(-RANGE[code.format.bits].underflow) * 0.9999)
    square = a * a
    tail = _with_decay(code, *_of_limited(code, a), square, code.fma(a, a, -square))
    return code.select(x < 0.0, 2.0 - tail, tail)


def erfcx(code: Code, x: Value) -> Value:
    """e**(x**2) erfc x; below 0 it is 2 e**(x**2) less that of -x."""
    size = code.abs(x)
    r, low = scaled_complement(code, size)
    a = code.at_most(size, GROWN[code.format.bits])
    square = a * a
    scale, p = expm1_reduced(code, square, low=code.fma(a, a, -square))
    half = code.fma(p, scale, code.fma(r, -0.5, scale))
    return code.select(x < 0.0, half + half, r + low)


def _normal_limit(code: Code, size: Value) -> Value:
    """At most where P(Z > size) has rounded to 0."""
    return code.at_most(size, math.sqrt(-2.0 * RANGE[code.format.bits].underflow) * 0.9999)


def _normal_tail(code: Code, a: Value, r: Value, low: Value) -> Value:
    """P(Z > a) of a standard normal Z, r + low being e**(a**2 / 2) of that, doubled."""
    square = a * a
    return _with_decay(code, r, low, square * 0.5, code.fma(a, a, -square) * 0.5) * 0.5


def ndtr(code: Code, x: Value) -> Value:
    """(1 + erf(x / sqrt 2)) / 2."""
    a = _normal_limit(code, code.abs(x))
    tail = _normal_tail(code, a, *_of_limited(code, a * math.sqrt(0.5)))
    return code.select(x < 0.0, tail, 1.0 - tail)


def log_ndtr(code: Code, x: Value) -> Value:
    """log((1 + erf(x / sqrt 2)) / 2), of one logarithm.

    Below 0 that of half the scaled complement, less x**2 / 2; above, that of one minus the tail.
    """
    size = code.abs(x)
    r, low = scaled_complement(code, size * math.sqrt(0.5))
    tail = _normal_tail(code, _normal_limit(code, size), r, low)
    e, f = parts_of_complement(code, tail)

    floor = 2.0 ** (2 - code.format.bias)
    far_e, far_f = parts(code, code.at_least((r + low) * 0.5, floor))
    below = x < 0.0
    result = log_of_parts(code, code.select(below, far_e, e), code.select(below, far_f, f))
    half = size * 0.5  # a square may overflow where half of it does not
    square = half * size
    rest = code.select(square < math.inf, code.fma(half, size, -square), 0.0)
    result = code.select(below, (result - rest) - square, result)
    return -code.abs(result)  # also where it rounds to zero
