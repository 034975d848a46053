"""erfinv, erfcinv and ndtri, in float64; those of a float32 are computed in it, and rounded.

    erfinv u = u C(u**2),   |u| <= 0.7
    erfinv u = r T(q),   r = sqrt(-log p),   q = OFFSET (ROOT - r) / (r + SHIFT),   0.7 < u

where p = (1 - u) / 2 is the probability of the tail, which erfcinv and ndtri know better than
1 - u; q goes from -1 to 1 as p goes from the smallest float to 1/4. The coefficients are minimax
fits, rounded one by one, the rest fitted again.
"""

from __future__ import annotations

import math

from graphc.lower.vector_math.emit import Code, Value
from graphc.lower.vector_math.gamma import in_double
from graphc.lower.vector_math.logarithm import log

OFFSET, ROOT, SHIFT = 1.310331681280976, 4.276083794006401, 2.9

# C; relative error 2**-54.3
CENTRAL = {
    64: (
        0.886226925452758,
        0.23201366653459915,
        0.12755617531885935,
        0.0865521279829638,
        0.06495968072349703,
        0.05172936421754166,
        0.04287540128371391,
        0.035920287334045876,
        0.037271325695481326,
        -0.0144582033438146,
        0.2684906974746808,
        -1.0399583064205058,
        3.5526610973444512,
        -8.867945032888228,
        16.68003255937404,
        -22.588713829434184,
        21.04034245014153,
        -12.028092470156656,
        3.221740198532581,
        0.04227150659694256,
    ),
}

# T; relative error 2**-53.8
TAIL = {
    64: (
        0.9241260122571757,
        -0.16165228589363506,
        -0.14681840703680948,
        -0.09324071830688702,
        -0.05512614082244633,
        -0.03095943100378033,
        -0.01708302493945091,
        -0.009254090909473186,
        -0.004987944423659747,
        -0.0026616774885352026,
        -0.0014189034749590456,
        -0.0007507272844628194,
        -0.0003976660620820347,
        -0.00020924049624779762,
        -0.00011070022498125588,
        -5.788211037775233e-05,
        -2.969561082753983e-05,
        -1.5880933376980913e-05,
        -1.0287706190978377e-05,
        -4.380020442289797e-06,
        1.0371636444391955e-06,
        -1.2053651450228417e-06,
        -4.874838266082418e-06,
        -2.458211317672374e-07,
        3.700290772463725e-06,
        -1.8563811994071865e-07,
        -2.4929911875407424e-06,
        4.295708782474984e-08,
        9.887446260277673e-07,
        -2.821910542072301e-08,
        -2.354639873327767e-07,
        7.950058822802852e-11,
        1.950229678191696e-08,
    ),
}


def _quantile(code: Code, u: Value, p: Value) -> Value:
    """erfinv u, the probability of the tail on its side being p."""
    near = u * code.polynomial(u * u, CENTRAL)
    r = code.intrinsic("sqrt", -log(code, p))
    far = r * code.polynomial((ROOT - r) * OFFSET / (r + SHIFT), TAIL)
    far = code.select(p.equals(0.0), math.inf, far)
    return code.select(code.abs(u) <= 0.7, near, code.copysign(far, u))


@in_double
def erfinv(code: Code, x: Value) -> Value:
    """The inverse of erf; infinite at 1 and -1, NaN beyond."""
    return _quantile(code, x, code.fma(code.abs(x), -0.5, 0.5))


@in_double
def erfcinv(code: Code, x: Value) -> Value:
    """The inverse of erfc, from 0 to 2."""
    other = 2.0 - x
    result = _quantile(code, 1.0 - x, code.select(x < 1.0, x, other) * 0.5)
    return code.select(x < 0.0, math.nan, result)  # half of the least number below 0 is none


@in_double
def ndtri(code: Code, x: Value) -> Value:
    """The inverse of the distribution of a standard normal."""
    u = x - 0.5
    p = code.select(x < 0.5, x, 1.0 - x)
    return _quantile(code, u + u, p) * math.sqrt(2)
