"""cbrt and hypot.

    cbrt x = 2**k cbrt(2**j m),   x = 2**(3 k + j) m,   j = -1, 0 or 1,   3/4 <= m < 3/2

A polynomial in m is right to 10 bits (20 for float64), and one step of Halley's iteration triples
them; what the cube lacks is computed with its rounding error.
"""

from __future__ import annotations

import math

from graphc.lower.vector_math.emit import Code, Value
from graphc.lower.vector_math.logarithm import parts

# cbrt m, 3/4 <= m < 3/2; relative error 2**-10.6, 2**-19.6
CBRT = {
    32: (0.5646827220916748, 0.5323455333709717, -0.0974288210272789),
    64: (
        0.43004921831470205,
        1.0153597175827074,
        -0.7579089404818606,
        0.4367079279942589,
        -0.14468577811094915,
        0.02047795458776087,
    ),
}
CBRT_2 = 1.2599210498948732


def cbrt(code: Code, x: Value) -> Value:
    """The cube root, of negative numbers too."""
    format = code.format
    e, f = parts(code, code.abs(x))
    m = f + 1.0
    shifted = code.fma(e, 1 / 3, format.shift + format.bias)
    k = shifted - (format.shift + format.bias)
    j = code.fma(k, -3.0, e)
    one = code.constant(x.type, 1.0)
    up, down = j > 0.5, j < -0.5
    m = m * code.select(up, 2.0, code.select(down, 0.5, one))
    root = code.select(up, CBRT_2, code.select(down, 1 / CBRT_2, one))
    y = code.polynomial(f + 1.0, CBRT) * root
    square = y * y
    cube = square * y
    missing = (m - cube) - code.fma(square, y, -cube) - code.fma(y, y, -square) * y
    y = code.fma(y, missing / (cube + cube + m), y)
    y = y * code.number(code.word(shifted) << format.fraction)
    y = code.select(code.abs(x) < math.inf, y, x)
    return code.select(x.equals(0.0), x, code.copysign(y, x))


def hypot(code: Code, x: Value, y: Value) -> Value:
    """sqrt(x**2 + y**2), of float32 in double, of float64 scaled by a power of two so that neither
    square overflows or vanishes; infinite if one is, even beside a NaN."""
    if code.format.bits == 32:
        a, b = (code.convert("fpext", v, "double") for v in (x, y))
        root = code.intrinsic("sqrt", code.fma(a, a, b * b))
        value = code.convert("fptrunc", root, "float")
    else:
        value = _hypot_of_float64(code, code.abs(x), code.abs(y))
    for operand in (x, y):
        value = code.select(code.abs(operand).equals(math.inf), math.inf, value)
    return value


def _hypot_of_float64(code: Code, a: Value, b: Value) -> Value:
    """That of a and b >= 0. The smaller square is the one that is rounded by itself."""
    one = code.constant(a.type, 1.0)
    swap = b > a
    greater, lesser = code.select(swap, b, a), code.select(swap, a, b)
    large, small = greater > 2.0**500, greater < 2.0**-400
    scale = code.select(large, 2.0**-600, code.select(small, 2.0**600, one))
    back = code.select(large, 2.0**600, code.select(small, 2.0**-600, one))
    greater, lesser = greater * scale, lesser * scale
    return code.intrinsic("sqrt", code.fma(greater, greater, lesser * lesser)) * back
