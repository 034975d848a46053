"""lgamma, gamma and digamma, in float64; those of a float32 are computed in it, and rounded.

Of a >= 5/2 by Stirling's formula (1730), with a polynomial in 1 / a**2, a minimax fit, in place of
the series, which does not converge:

    log Gamma(a) = (a - 1/2) (log a - 1) - 1/2 + log(2 pi) / 2 + W(1 / a**2) / a
    psi(a) = log a - 1 / (2 a) - V(1 / a**2) / a**2

Below, on [0.7, 5/2], by a polynomial that is multiplied with what has the function's zeros, so that
these are exact; its variable t = (a - c) / (a + c) keeps the pole at 0 away. A smaller a is moved
up by one. Negative numbers follow by reflection:

    Gamma(-a) Gamma(a) = -pi / (a sin(pi a)),   psi(-a) = psi(a) + 1 / a + pi / tan(pi a)

log a and log Gamma(a) are sums of two floats: what is rounded off the exponent of Gamma is
multiplied by it. Near the zeros of lgamma and digamma at negative numbers the reflection cancels:
there the error is one of about 1e-15, which a float32 does not see.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from functools import wraps

from graphc.lower.vector_math.emit import FLOAT64, Code, Value
from graphc.lower.vector_math.exponential import exp_of_sum
from graphc.lower.vector_math.logarithm import log, log_as_sum
from graphc.lower.vector_math.trigonometric import COS, SIN

LARGE, SMALL = 2.5, 0.7
OVERFLOW = 2.556348e305  # of log Gamma
CENTRE = 1.328125  # c
CONSTANT, CONSTANT_LOW = 0.4189385332046727, 1.6728209650585413e-17  # (log(2 pi) - 1) / 2
# where psi is 0, as a sum of two floats
ROOT = (1.4616321449683622, 9.549995429965697e-17)

# W, 2.5 <= a; absolute error 2**-58.7
STIRLING = {
    64: (
        0.0833333333333332,
        -0.00277777777767201,
        0.0007936507679452703,
        -0.000595235159451485,
        0.000841559033150629,
        -0.0019095221436576967,
        0.006180767405353329,
        -0.024765696194783825,
        0.10284964308632143,
        -0.3727681442839399,
        1.0159940542135,
        -1.7694425632078032,
        1.4453135981776193,
    ),
}

# V, 2.5 <= a; absolute error 2**-59.6
STIRLING_SLOPE = {
    64: (
        0.08333333333333119,
        -0.008333333332019032,
        0.003968253684380416,
        -0.0041666353858306505,
        0.007573682843340194,
        -0.021001633900904742,
        0.08050084233127437,
        -0.3776804800752958,
        1.8621595666545177,
        -8.331360678646094,
        29.995526862622523,
        -77.96047966682833,
        127.19694494533007,
        -96.74672430439661,
    ),
}

# log Gamma(a) / ((a - 1) (a - 2)), 0.7 <= a <= 2.5; relative error 2**-54.9
NEAR = {
    64: (
        0.5102494672387273,
        -0.4535498241650841,
        0.12920320075667308,
        -0.15599037013670305,
        0.08604827806516159,
        -0.09573482275447291,
        0.06423226898845232,
        -0.06916318483582026,
        0.05116321251663442,
        -0.054154905718252766,
        0.042497529983753515,
        -0.04450538666002977,
        0.036241966757940385,
        -0.03774306579593654,
        0.03302168929963244,
        -0.03326565275819952,
        0.01670819415904725,
        -0.025267970347287002,
        0.08070130769215812,
        -0.042049929732130197,
        -0.08640130458139629,
    ),
}

# psi(a) / (a - its root), 0.7 <= a <= 2.5; relative error 2**-51.4
NEAR_SLOPE = {
    64: (
        1.0318195812879059,
        -1.3857858984160039,
        0.9967554723572543,
        -1.0652075603428601,
        1.0122926758232027,
        -1.0427230083173629,
        1.0214344154742543,
        -1.036924852847615,
        1.0250973491279756,
        -1.0343960495595277,
        1.026897766274426,
        -1.0339350227479536,
        1.027506662695984,
        -1.0142310103101901,
        1.0331838823800006,
        -1.2801996950451209,
        0.9968119892434442,
        1.0519833092874444,
        1.1096534701471752,
        -10.769749399234884,
        1.2482462151913463,
        18.226504406767987,
    ),
}


def in_double(formula: Callable[[Code, Value], Value]) -> Callable[[Code, Value], Value]:
    """`formula` of float64, and of a float32 as one."""

    @wraps(formula)
    def computed(code: Code, x: Value) -> Value:
        if code.format is FLOAT64:
            return formula(code, x)
        wide = replace(code, format=FLOAT64)
        result = formula(wide, wide.convert("fpext", x, "double"))
        return code.convert("fptrunc", result, "float")

    return computed


def _two_sum(x: Value, y: Value) -> tuple[Value, Value]:
    """x + y, and what was rounded off (Knuth)."""
    total = x + y
    rounded = total - x
    return total, (x - (total - rounded)) + (y - rounded)


def _moved(code: Code, a: Value) -> tuple[Value, Value, Value]:
    """Whether a is small; a moved up by one if it is; and the variable t of that."""
    small = a < SMALL
    y = code.select(small, a + 1.0, a)
    return small, y, (y - CENTRE) / (y + CENTRE)


def _log_gamma(code: Code, a: Value, log_a: tuple[Value, Value]) -> tuple[Value, Value, Value]:
    """Whether a > 0 is small, and log Gamma(a), or log Gamma(a + 1) if it is, as a sum."""
    z = 1.0 / a
    w = code.polynomial(z * z, STIRLING) * z
    high, low = log_a
    power, factor = high - 1.0, a - 0.5
    product = factor * power
    rest = code.fma(factor, power, -product)
    rest = code.fma(factor, ((high - power) - 1.0) + low, rest)
    far, error = _two_sum(product, code.constant("double", CONSTANT))
    far_low = (rest + error) + (w + CONSTANT_LOW)

    small, y, t = _moved(code, a)
    near = (y - 1.0) * (y - 2.0) * code.polynomial(t, NEAR)
    large = a >= LARGE
    value = code.select(large, far + far_low, near)
    return small, value, code.select(large, (far - value) + far_low, 0.0)


def _half_turn(code: Code, a: Value) -> tuple[Value, Value, Value]:
    """|sin(pi a)|, cos(pi r) of the same sign as that sine, and n: a >= 0 is n + r, n its nearest
    integer."""
    n = code.rint(a)
    r = a - n
    size = code.abs(r)
    steep = size > 0.25
    angle = code.select(steep, 0.5 - size, size) * math.pi
    square = angle * angle
    sine = code.fma(angle * square, code.polynomial(square, SIN), angle)
    cosine = code.fma(square, code.fma(square, code.polynomial(square, COS), -0.5), 1.0)
    sine, cosine = code.select(steep, cosine, sine), code.select(steep, sine, cosine)
    return sine, code.copysign(cosine, r), n


@in_double
def lgamma(code: Code, x: Value) -> Value:
    """log |Gamma(x)|."""
    a = code.abs(x)
    high, low = log_as_sum(code, a)
    small, value, _ = _log_gamma(code, a, (high, low))
    sine, _, _ = _half_turn(code, a)
    above = code.select(small, (value - high) - low, value)
    below = -log(code, sine * (1 / math.pi)) - code.select(small, value, value + high)
    result = code.select(x < 0.0, below, above) + 0.0  # no -0 at 1
    result = code.select(a.equals(0.0), math.inf, result)
    huge = code.select(a < math.inf, math.inf, x)  # a pole below 0; as SciPy's, -inf of -inf
    return code.select(a < OVERFLOW, result, huge)


@in_double
def gamma(code: Code, x: Value) -> Value:
    """Gamma(x), NaN at the negative integers."""
    a = code.abs(x)
    finite = code.at_most(a, 256.0)  # Gamma is infinite there, its inverse 0
    small, value, low = _log_gamma(code, finite, log_as_sum(code, finite))
    sine, r, n = _half_turn(code, a)
    below = x < 0.0
    power = exp_of_sum(code, code.select(below, -value, value), code.select(below, -low, low))
    one = code.constant("double", 1.0)
    under = code.select(below, sine * code.select(small, one, a), code.select(small, a, one))
    result = power * (code.select(below, -math.pi, one) / under)
    # the sign of sin(pi a) = (-1)**n sin(pi r), which is that of r too
    sign = code.copysign(one, r)
    odd = code.number(code.word(sign) ^ (code.word(n + FLOAT64.shift) << 63))
    result = code.select(below, code.select(sine.equals(0.0), math.nan, result * odd), result)
    result = code.select(a.equals(0.0), 1.0 / x, result)
    return code.select(a < math.inf, result, code.select(x > 0.0, x, math.nan))


@in_double
def digamma(code: Code, x: Value) -> Value:
    """The derivative of log Gamma(x); NaN at the negative integers."""
    a = code.abs(x)
    z = 1.0 / a
    square = z * z
    far = log(code, a) - code.fma(square, code.polynomial(square, STIRLING_SLOPE), z * 0.5)
    small, y, t = _moved(code, a)
    near = ((y - ROOT[0]) - ROOT[1]) * code.polynomial(t, NEAR_SLOPE)
    value = code.select(a >= LARGE, far, near)
    sine, cosine, _ = _half_turn(code, a)
    turn = cosine * math.pi / sine
    below = code.select(sine.equals(0.0), math.nan, value + turn + code.select(small, 0.0, z))
    above = value - code.select(small, z, 0.0)
    result = code.select(x < 0.0, below, above)
    return code.select(a.equals(0.0), -1.0 / x, result)
