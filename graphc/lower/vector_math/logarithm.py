"""log and log1p, from log(1 + f) = f - f**2 / 2 + f**3 P(f) on -1/4 <= f <= 1/2.

    log x = e ln 2 + log(1 + f),   x = 2**e (1 + f),   3/4 <= 1 + f < 3/2

The interval is not the usual one around 1 (sqrt(1/2) to sqrt(2)): with 3/4 to 3/2, log1p can form
f = x 2**-e - (1 - 2**-e) without a rounding error, for every e. P is a minimax fit (Remez exchange
at 60 digits, then rounded coefficient by coefficient, the rest fitted again).
"""

from __future__ import annotations

import math

from graphc.lower.vector_math.emit import Code, Value

# ln 2 = high + low; the high part is short, so that e times it is exact
LN2 = {
    32: (0.693145751953125, 1.4286068203094172e-06),
    64: (0.6931471803691238, 1.9082149292705877e-10),
}

# log10 2 likewise; log2 e and log10 e, as exact as two floats are
LOG10_2 = {
    32: (0.30103302001953125, -3.024355464731343e-06),
    64: (0.30102999566395283, 2.8363394551044964e-14),
}
LOG2_E = {
    32: (1.4426950216293335, 1.925963033500011e-08),
    64: (1.4426950408889634, 2.0355273740931033e-17),
}
LOG10_E = {
    32: (0.4342944920063019, -1.0103049952192578e-08),
    64: (0.4342944819032518, 1.098319650216765e-17),
}

# P; error relative to log(1 + f): 2**-27.5, 2**-57.3
LOG = {
    32: (
        0.33333462476730347,
        -0.2500019371509552,
        0.19990374147891998,
        -0.1664258986711502,
        0.14475609362125397,
        -0.1320902407169342,
        0.10589143633842468,
        -0.04601532965898514,
    ),
    64: (
        0.3333333333333278,
        -0.2499999999999922,
        0.20000000000196597,
        -0.1666666666712372,
        0.14285714262064533,
        -0.12499999922949713,
        0.11111112433114631,
        -0.10000005720124196,
        0.09090872305557178,
        -0.08333114900262287,
        0.0769273153861615,
        -0.07147329167775818,
        0.06668489585216861,
        -0.062041476465616516,
        0.05787923677200812,
        -0.057090953704614096,
        0.060323665164312465,
        -0.056900401988518506,
        0.036077461803391234,
        -0.010585869709368631,
    ),
}


def log_of_parts(code: Code, e: Value, f: Value) -> Value:
    """e ln 2 + log(1 + f). The sum of the two large terms is carried with its rounding error."""
    high, low = LN2[code.format.bits]
    large = e * high
    total = large + f
    error = (large - total) + f
    square = f * f
    rest = code.fma(f * square, code.polynomial(f, LOG), code.fma(e, low, error))
    return total + code.fma(square, -0.5, rest)


def log_as_sum(code: Code, x: Value) -> tuple[Value, Value]:
    """log x of x > 0 as a sum of two floats, right to about 6 bits more than one has."""
    e, f = parts(code, x)
    high, low = LN2[code.format.bits]
    large = e * high
    total = large + f
    error = (large - total) + f
    square = f * f
    half = square * 0.5
    half_low = code.fma(f, f, -square) * 0.5
    head = total - half
    error = error + (((total - head) - half) - half_low)
    rest = code.fma(f * square, code.polynomial(f, LOG), code.fma(e, low, error))
    total = head + rest
    return total, (head - total) + rest


def _exponent_field(code: Code, x: Value) -> Value:
    """e << fraction, for x = 2**e m with 3/4 <= m < 3/2."""
    format = code.format
    return (code.word(x) - format.pattern(0.75)) & (format.exponent_mask | format.sign_mask)


def _exponent(code: Code, field: Value) -> Value:
    """The float e of the integer e << fraction."""
    format = code.format
    if format.bits == 32:
        return code.convert("sitofp", field, "float") * 2.0**-format.fraction
    # no instruction before AVX-512 converts packed int64: put e + bias + 1 under the bits of 2**52
    base = 2.0**format.fraction
    word = (field + ((format.bias + 1) << format.fraction)) >> format.fraction
    return code.number(word | format.pattern(base)) - (base + format.bias + 1)


def _at_the_edges(code: Code, x: Value, result: Value) -> Value:
    """The logarithm of x where x is not positive and finite."""
    result = code.select(x < math.inf, result, x)
    result = code.select(x < 0.0, math.nan, result)
    return code.select(x.equals(0.0), -math.inf, result)


def parts(code: Code, x: Value) -> tuple[Value, Value]:
    """(e, f) with x = 2**e (1 + f), for x > 0. Subnormal x are scaled to normal first."""
    format = code.format
    subnormal = x < 2.0 ** (1 - format.bias)
    normal = code.select(subnormal, x * 2.0 ** (format.fraction + 1), x)
    field = _exponent_field(code, normal)
    f = code.number(code.word(normal) - field) - 1.0
    e = _exponent(code, field)
    return code.select(subnormal, e - float(format.fraction + 1), e), f


def log(code: Code, x: Value) -> Value:
    """The natural logarithm."""
    return _at_the_edges(code, x, log_of_parts(code, *parts(code, x)))


def log1p(code: Code, x: Value) -> Value:
    """log(1 + x)."""
    u = x + 1.0
    field = _exponent_field(code, u)
    # x 2**-e by its exponent field: the factor 2**-e itself would be subnormal at the top
    four = code.number(code.format.pattern(4.0) - field)
    f = code.number(code.word(x) - field) + code.fma(four, 0.25, -1.0)
    result = log_of_parts(code, _exponent(code, field), f)
    return code.copysign(_at_the_edges(code, u, result), x)


def _log_in_base(
    code: Code, x: Value, unit: tuple[float, float], factor: tuple[float, float]
) -> Value:
    """log x in another base: `unit` is that of 2, its first part short, and `factor` that of e."""
    e, f = parts(code, x)
    large = e * unit[0]
    scaled = f * factor[0]
    scaled_low = code.fma(f, factor[1], code.fma(f, factor[0], -scaled))
    total = large + scaled
    error = (large - total) + scaled
    square = f * f
    curved = code.fma(f * square, code.polynomial(f, LOG), square * -0.5)
    rest = code.fma(curved, factor[0], code.fma(e, unit[1], scaled_low))
    return _at_the_edges(code, x, total + (error + rest))


def log2(code: Code, x: Value) -> Value:
    """The logarithm in base 2, exact for powers of 2."""
    return _log_in_base(code, x, (1.0, 0.0), LOG2_E[code.format.bits])


def log10(code: Code, x: Value) -> Value:
    """The logarithm in base 10."""
    bits = code.format.bits
    return _log_in_base(code, x, LOG10_2[bits], LOG10_E[bits])


def log1p_of_unit(code: Code, x: Value) -> Value:
    """log(1 + x) for 0 <= x <= 1, where e is 0 or 1."""
    upper = x > 0.5
    f = code.select(upper, code.fma(x, 0.5, -0.5), x)
    e = code.select(upper, code.constant(x.type, 1.0), code.constant(x.type, 0.0))
    return log_of_parts(code, e, f)


def parts_of_complement(code: Code, x: Value) -> tuple[Value, Value]:
    """(e, f) with 1 - x = 2**e (1 + f), for 0 <= x <= 1/2; f is exact."""
    upper = x > 0.25
    f = code.select(upper, code.fma(x, -2.0, 1.0), -x)
    e = code.select(upper, code.constant(x.type, -1.0), code.constant(x.type, 0.0))
    return e, f
