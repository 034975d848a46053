"""What the C library lacks, made of what it has, in forms that neither overflow nor cancel.

For processors without a fused multiply-add: the square in an exponent is split into a part that is
exact and a small rest (T. Dekker, "A floating-point technique for extending the available
precision", 1971), as no instruction gives its rounding error.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from graphc.lower.vector_math.bessel import bessel_i0, bessel_i0e, bessel_i1, bessel_i1e
from graphc.lower.vector_math.emit import Code, Value
from graphc.lower.vector_math.error_function import scaled_complement
from graphc.lower.vector_math.gamma import digamma, lgamma
from graphc.lower.vector_math.quantile import erfcinv, erfinv, ndtri


def sigmoid(code: Code, x: Value) -> Value:
    """1 / (1 + e**-x)."""
    e = code.libm("exp", -code.abs(x))
    return code.select(x < 0.0, e, 1.0) / (e + 1.0)


def softplus(code: Code, x: Value) -> Value:
    """log(1 + e**x) = max(x, 0) + log1p(e**-|x|)."""
    e = code.libm("exp", -code.abs(x))
    return code.select(x > 0.0, x, 0.0) + code.libm("log1p", e)


def log1mexp(code: Code, x: Value) -> Value:
    """log(1 - e**-x), by what is exact on its side of log 2."""
    near = code.libm("log", -code.libm("expm1", -x))
    return code.select(x < math.log(2), near, code.libm("log1p", -code.libm("exp", -x)))


def _exp_of_square(code: Code, x: Value, factor: float) -> Value:
    """e**(factor x**2)."""
    format = code.format
    head = code.number(code.word(x) & -(1 << (format.fraction // 2 + 1)))
    power = code.libm("exp", head * head * factor)
    return power * code.libm("exp", (x - head) * (x + head) * factor)


def erfcx(code: Code, x: Value) -> Value:
    """e**(x**2) erfc x."""
    r, low = scaled_complement(code, code.abs(x))
    a = code.at_most(code.abs(x), 30.0)  # its power is inf, and there is no inf - inf in it
    grown = _exp_of_square(code, a, 1.0)
    return code.select(x < 0.0, grown + (grown - r), r + low)


def ndtr(code: Code, x: Value) -> Value:
    """(1 + erf(x / sqrt 2)) / 2."""
    size = code.abs(x)
    r, low = scaled_complement(code, size * math.sqrt(0.5))
    tail = (r + low) * 0.5 * _exp_of_square(code, code.at_most(size, 40.0), -0.5)
    return code.select(x < 0.0, tail, 1.0 - tail)


def log_ndtr(code: Code, x: Value) -> Value:
    """log((1 + erf(x / sqrt 2)) / 2)."""
    size = code.abs(x)
    r, low = scaled_complement(code, size * math.sqrt(0.5))
    half = (r + low) * 0.5
    tail = half * _exp_of_square(code, code.at_most(size, 40.0), -0.5)
    above = code.libm("log1p", -tail)
    floor = 2.0 ** (2 - code.format.bias)
    below = code.libm("log", code.at_least(half, floor)) - size * 0.5 * size
    return code.select(x < 0.0, below, above)


def gamma(code: Code, x: Value) -> Value:
    """The C library's, which is called tgamma."""
    return code.libm("tgamma", x)


OVER_LIBM: dict[str, Callable[[Code, Value], Value]] = {
    f.__name__: f
    for f in (
        sigmoid,
        softplus,
        log1mexp,
        erfcx,
        ndtr,
        log_ndtr,
        lgamma,
        gamma,
        digamma,
        erfinv,
        erfcinv,
        ndtri,
        bessel_i0,
        bessel_i1,
        bessel_i0e,
        bessel_i1e,
    )
}
