"""erf: a polynomial near 0, and elsewhere one minus e to the power of a polynomial.

log(1 - erf x) is so smooth that one polynomial holds it up to where erf rounds to 1; and since
1 - erf x falls, from 0.23 where it takes over, its own error counts less and less. (That form:
N. Juffa's `erff`.) The coefficients are minimax fits (Remez exchange at 60 digits, then rounded one
by one, the rest fitted again).
"""

from __future__ import annotations

from graphc.lower.vector_math.emit import Code, Value
from graphc.lower.vector_math.exponential import expm1_reduced

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
